"""Who is asking, and how are they told no?"""

from dataclasses import dataclass

import orjson

DEFAULT_TENANT = "default"
"""Whose keys are made without `--tenant`: the operator's own. Only it sees figures about the server."""


@dataclass(frozen=True, slots=True)
class Principal:
    """On whose behalf something is asked for.

    Attributes:
        tenant: Whose things it may see. Nothing of one tenant is reachable from another.
        key_id: The public part of the key, empty for somebody who came in without one.
        ephemeral: It came with an ephemeral secret that was made with that key: good for sessions only.
    """

    tenant: str = DEFAULT_TENANT
    key_id: str = ""
    ephemeral: bool = False

    @property
    def is_operator(self) -> bool:
        """Whether it may see figures about the whole server."""
        return self.tenant == DEFAULT_TENANT and not self.ephemeral


ANYONE = Principal()
"""Everybody, at a server without keys."""

_TYPES = {401: "invalid_request_error", 403: "invalid_request_error", 429: "rate_limit_error"}


@dataclass(frozen=True, slots=True)
class Denied:
    """No, as an HTTP answer.

    Attributes:
        status: HTTP status.
        code: Stable, for programs.
        message: What is wrong and what to do about it.
        retry_after_s: When to ask again, None if that is of no use.
    """

    status: int
    code: str
    message: str
    retry_after_s: int | None = None

    @property
    def body(self) -> bytes:
        """The Realtime API's error object as JSON."""
        kind = _TYPES.get(self.status, "invalid_request_error")
        message = self.message.encode("utf-8", "replace").decode()  # it may quote what is no text
        error = {"message": message, "type": kind, "param": None, "code": self.code}
        return orjson.dumps({"error": error})

    @property
    def headers(self) -> dict[str, str]:
        """What belongs to the answer, besides its type and length."""
        headers = {"Cache-Control": "no-store"}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers
