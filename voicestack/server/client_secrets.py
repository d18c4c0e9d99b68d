"""`POST /v1/realtime/client_secrets`: a key for one user's browser, with the session that it may open."""

from collections.abc import Callable

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from voicestack.access import secret
from voicestack.access.guard import Visitor
from voicestack.access.key_file import KeysInForce
from voicestack.access.secret import Claims
from voicestack.config.derived import settings_of
from voicestack.config.schema import Config
from voicestack.core.errors import PeerProtocolError
from voicestack.core.ids import SessionId
from voicestack.realtime.checks import JsonObject, anything, choice, record, text, whole
from voicestack.realtime.codes import error_fields
from voicestack.realtime.mcp_fields import refuse_keys
from voicestack.realtime.session_fields import NAME_CHARS, SESSION_UPDATE, ga_names
from voicestack.realtime.session_object import SessionObject
from voicestack.server.http_guard import NO_SECRET

_lifetime = whole(secret.LIFETIME_S.start, secret.LIFETIME_S.stop - 1)
_REQUEST = record(
    {
        "expires_after": record({"anchor": choice("created_at"), "seconds": _lifetime}),
        "session": anything,
    }
)
_MODEL = record({"model": text(at_most=NAME_CHARS)})


class SecretMint:
    """Makes ephemeral secrets.

    Args:
        config: What a session is like until its client says otherwise.
        keys: Hold the signing key.
        unix_s: Unix time.
        new_id: Names the session that is shown.
    """

    def __init__(
        self, config: Config, keys: KeysInForce, *, unix_s: Callable[[], int], new_id: Callable[[str], str]
    ) -> None:
        self._config, self._keys, self._unix_s, self._new_id = config, keys, unix_s, new_id

    async def answer(self, request: Request) -> Response:
        """Answer the request."""
        visitor: Visitor = request.state.visitor
        if visitor.principal.ephemeral:
            return Response(NO_SECRET.body, NO_SECRET.status, media_type="application/json")
        body = await request.body()
        try:
            answer = self._make(_decoded(body), visitor)
        except PeerProtocolError as error:
            return JSONResponse({"error": error_fields(error)}, status_code=400)
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})

    def _make(self, body: object, visitor: Visitor) -> JsonObject:
        wanted: JsonObject = _REQUEST(body, "body")
        given = wanted.get("session", {})
        session: JsonObject = {"type": "realtime", **SESSION_UPDATE(ga_names(given), "session")}
        refuse_keys(session.get("tools", []), "session.tools")
        model = _MODEL(given, "session").get("model")
        now_s = self._unix_s()
        claims = Claims(
            id=secret.new_name(),
            tenant=visitor.principal.tenant,
            key_id=visitor.principal.key_id,
            expires_at_s=now_s + wanted.get("expires_after", {}).get("seconds", secret.DEFAULT_LIFETIME_S),
            session=session,
            model=model,
        )
        shown = SessionObject.opening(
            SessionId(self._new_id("sess")),
            model or self._config.llm.model or "voicestack",
            settings_of(self._config),
            now_s + self._config.server.session_limit_s,
        ).patched(session)
        value = secret.sign(claims, self._keys.signing_key)
        return {"value": value, "expires_at": claims.expires_at_s, "session": shown.wire()}


def _decoded(body: bytes) -> object:
    try:
        return orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError:
        raise PeerProtocolError("The body is not JSON.", code="invalid_value", param="body") from None
