"""`/dashboard/api`: what are the dashboard's questions, and who may ask them?"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from voicestack.access.guard import Visitor
from voicestack.access.principal import Denied, Principal
from voicestack.core.errors import VoiceStackError
from voicestack.core.ids import SessionId
from voicestack.core.turn_record import Origin, TurnRecord
from voicestack.server.dashboard.live import Feed
from voicestack.server.dashboard.live_route import LiveEndpoint
from voicestack.server.dashboard.wishes import filter_of, page_of
from voicestack.server.stages.errors import told
from voicestack.session.recorder import Recorder
from voicestack.telemetry.pages import Page
from voicestack.telemetry.reading import LedgerReader, Unreadable
from voicestack.telemetry.turn_filter import Reader
from voicestack.telemetry.turn_rows import turn_row

API = "/dashboard/api"
RETRY_AFTER_S = 5

Json = Mapping[str, Any]

NOT_OPERATOR = Denied(
    403, "insufficient_permissions", "Figures about the whole server are for keys of the tenant 'default'."
)
UNREADABLE = Denied(503, Unreadable.code, "The ledger's store cannot be read now.", RETRY_AFTER_S)
NO_TURN = Denied(404, "not_found", "There is no such turn, or not any more.")


@dataclass(frozen=True, slots=True)
class Shown:
    """What the dashboard shows.

    Attributes:
        reader: Answers questions about turns.
        feed: Tells what happens.
        replicas: How each replica is, as in the API's `replicas`.
        capacity: What the server can take, as in the API's `capacity`.
        origin: Where the server belongs.
        keeps_transcripts: Whether the ledger holds words.
        ring_turns: How many turns are kept in memory.
        record_dir: Where recordings are; empty for none.
        unix_ms: The time.
        is_welcome: Whether somebody's key still counts.
    """

    reader: LedgerReader
    feed: Feed
    replicas: Callable[[], Sequence[Json]]
    capacity: Callable[[], Json]
    origin: Origin
    keeps_transcripts: bool
    ring_turns: int
    unix_ms: Callable[[], int]
    is_welcome: Callable[[Principal], bool]
    record_dir: str = ""

    def recording_of(self, record: TurnRecord) -> Path | None:
        """The recording of a turn's call; None if there is none here. It is on the server that held it."""
        if not self.record_dir:
            return None
        path = Recorder(self.record_dir, SessionId(record.session)).path
        return path if path.is_file() else None


class DashboardApi:
    """The routes of the questions, for whoever has a key.

    Args:
        shown: What they are about.
    """

    def __init__(self, shown: Shown) -> None:
        self._shown, self._reader = shown, shown.reader

    def routes(self) -> list[Route]:
        """All of them."""
        shown = self._shown
        questions: Mapping[str, Question] = {
            "/me": self._me,
            "/facets": self._facets,
            "/overview": self._overview,
            "/heat": self._heat,
            "/turns": self._turns,
            "/turns/{id}": self._turn,
            "/compare": self._compare,
            "/replicas": self._replicas,
            "/capacity": self._capacity,
        }
        return [
            *(Route(API + path, _answered(question)) for path, question in questions.items()),
            Route(f"{API}/turns/{{id}}/recording", _answered(self._recording)),
            Route(f"{API}/live", LiveEndpoint(shown.feed, shown.unix_ms, shown.is_welcome), methods=["GET"]),
        ]

    async def _me(self, reader: Reader, _: Request) -> Json:
        shown = self._shown
        return {
            "tenant": reader.tenant,
            "is_operator": reader.is_operator,
            "region": shown.origin.region,
            "profile": shown.origin.profile,
            "release": shown.origin.release,
            "keeps_transcripts": shown.keeps_transcripts,
            "ring_turns": shown.ring_turns,
            **await asyncio.to_thread(self._reader.extent, reader),
        }

    async def _facets(self, reader: Reader, _: Request) -> Json:
        return await asyncio.to_thread(self._reader.facets, reader)

    async def _overview(self, reader: Reader, request: Request) -> Json:
        wanted = filter_of(request.query_params, self._shown.unix_ms())
        return await asyncio.to_thread(self._reader.overview, reader, wanted)

    async def _heat(self, reader: Reader, request: Request) -> Json:
        wanted = filter_of(request.query_params, self._shown.unix_ms())
        return await asyncio.to_thread(self._reader.heat, reader, wanted)

    async def _turns(self, reader: Reader, request: Request) -> Json:
        query = request.query_params
        wanted, (limit, after) = filter_of(query, self._shown.unix_ms()), page_of(query)

        def listed() -> Json:
            return rows_of(self._reader.page(reader, wanted, limit, after))

        return await asyncio.to_thread(listed)

    async def _turn(self, reader: Reader, request: Request) -> Json | Denied:
        record = await asyncio.to_thread(self._reader.find, reader, request.path_params["id"])
        if record is None:
            return NO_TURN
        path = await asyncio.to_thread(self._shown.recording_of, record)
        return turn_row(record, f"{API}/turns/{record.id}/recording" if path else None)

    async def _recording(self, reader: Reader, request: Request) -> Response | Denied:
        record = await asyncio.to_thread(self._reader.find, reader, request.path_params["id"])
        path = None if record is None else await asyncio.to_thread(self._shown.recording_of, record)
        if path is None:
            return NO_TURN
        headers = {"Cache-Control": "no-store"}
        return FileResponse(path, 200, headers, "application/x-ndjson", filename=path.name)

    async def _compare(self, reader: Reader, request: Request) -> Json:
        query, now_ms = request.query_params, self._shown.unix_ms()
        a, b = filter_of(query, now_ms, "a_"), filter_of(query, now_ms, "b_")
        return await asyncio.to_thread(self._reader.compare, reader, a, b)

    async def _replicas(self, reader: Reader, _: Request) -> Json | Denied:
        return {"replicas": list(self._shown.replicas())} if reader.is_operator else NOT_OPERATOR

    async def _capacity(self, reader: Reader, _: Request) -> Json | Denied:
        return self._shown.capacity() if reader.is_operator else NOT_OPERATOR


Question = Callable[[Reader, Request], Awaitable[Json | Response | Denied]]


def _answered(question: Question) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        found: Json | Response | Denied
        try:
            found = await question(reader_of(request.state.visitor), request)
        except Unreadable:
            found = UNREADABLE
        except VoiceStackError as error:
            failed = told(error)
            return _json(failed.answer.model_dump(), failed.status)
        if isinstance(found, Denied):
            return Response(found.body, found.status, found.headers, "application/json")
        return found if isinstance(found, Response) else _json(found)

    return answer


def reader_of(visitor: Visitor) -> Reader:
    """Whoever asks, to the ledger."""
    return Reader(visitor.principal.tenant, visitor.principal.is_operator)


def rows_of(page: Page) -> Json:
    """A page of turns as JSON."""
    after = None if page.after is None else f"{page.after.began_ms}.{page.after.turn_id}"
    return {"turns": [turn_row(record) for record in page.records], "next": after, "n_total": page.n_total}


def _json(body: Json, status: int = 200) -> Response:
    """Nobody keeps a copy. NaN becomes null."""
    headers = {"Cache-Control": "no-store"}
    return Response(orjson.dumps(body), status, headers, "application/json")
