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
from voicestack.access.principal import Denied
from voicestack.core.errors import VoiceStackError
from voicestack.core.ids import SessionId
from voicestack.core.turn_record import Origin, TurnRecord
from voicestack.server.dashboard.live import Feed
from voicestack.server.dashboard.live_route import LiveEndpoint
from voicestack.server.dashboard.wishes import Query, filter_of, page_of
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
    """

    reader: LedgerReader
    feed: Feed
    replicas: Callable[[], Sequence[Json]]
    capacity: Callable[[], Json]
    origin: Origin
    keeps_transcripts: bool
    ring_turns: int
    unix_ms: Callable[[], int]
    record_dir: str = ""

    def recording_of(self, record: TurnRecord) -> Path:
        """Where the recording of a turn's call would be. It is made on the server that held it."""
        return Recorder(self.record_dir, SessionId(record.session)).path if self.record_dir else _NOWHERE


def api_routes(shown: Shown) -> list[Route]:
    """The routes, for whoever has a key."""

    async def me(reader: Reader, _: Request) -> Json:
        return {
            "tenant": reader.tenant,
            "is_operator": reader.is_operator,
            "region": shown.origin.region,
            "profile": shown.origin.profile,
            "release": shown.origin.release,
            "keeps_transcripts": shown.keeps_transcripts,
            "ring_turns": shown.ring_turns,
            **await asyncio.to_thread(shown.reader.extent, reader),
        }

    async def facets(reader: Reader, _: Request) -> Json:
        return await asyncio.to_thread(shown.reader.facets, reader)

    async def overview(reader: Reader, request: Request) -> Json:
        wanted = filter_of(_query(request), shown.unix_ms())
        return await asyncio.to_thread(shown.reader.overview, reader, wanted)

    async def heat(reader: Reader, request: Request) -> Json:
        wanted = filter_of(_query(request), shown.unix_ms())
        return await asyncio.to_thread(shown.reader.heat, reader, wanted)

    async def turns(reader: Reader, request: Request) -> Json:
        query = _query(request)
        wanted, (limit, after) = filter_of(query, shown.unix_ms()), page_of(query)
        return rows_of(await asyncio.to_thread(shown.reader.page, reader, wanted, limit, after))

    async def turn(reader: Reader, request: Request) -> Json | Denied:
        record = await asyncio.to_thread(shown.reader.find, reader, request.path_params["id"])
        if record is None:
            return NO_TURN
        is_kept = await asyncio.to_thread(shown.recording_of(record).is_file)
        return turn_row(record, f"{API}/turns/{record.id}/recording" if is_kept else None)

    async def recording(request: Request) -> Response:
        try:
            reader = reader_of(request.state.visitor)
            record = await asyncio.to_thread(shown.reader.find, reader, request.path_params["id"])
        except Unreadable:
            return _refusal(UNREADABLE)
        if record is None or not (path := shown.recording_of(record)).is_file():
            return _refusal(NO_TURN)
        headers = {"Cache-Control": "no-store"}
        return FileResponse(path, 200, headers, "application/x-ndjson", filename=path.name)

    async def compare(reader: Reader, request: Request) -> Json:
        query, now_ms = _query(request), shown.unix_ms()
        a, b = filter_of(query, now_ms, "a_"), filter_of(query, now_ms, "b_")
        return await asyncio.to_thread(shown.reader.compare, reader, a, b)

    async def replicas(reader: Reader, _: Request) -> Json | Denied:
        return {"replicas": list(shown.replicas())} if reader.is_operator else NOT_OPERATOR

    async def capacity(reader: Reader, _: Request) -> Json | Denied:
        return shown.capacity() if reader.is_operator else NOT_OPERATOR

    questions: Mapping[str, Question] = {
        "/me": me,
        "/facets": facets,
        "/overview": overview,
        "/heat": heat,
        "/turns": turns,
        "/compare": compare,
        "/replicas": replicas,
        "/capacity": capacity,
    }
    return [
        *(Route(API + path, _answered(question)) for path, question in questions.items()),
        Route(f"{API}/turns/{{id}}/recording", recording),
        Route(f"{API}/turns/{{id}}", _answered(turn)),
        Route(f"{API}/live", LiveEndpoint(shown.feed, shown.unix_ms), methods=["GET"]),
    ]


_NOWHERE = Path("/dev/null/none")

Question = Callable[[Reader, Request], Awaitable[Json | Denied]]


def _answered(question: Question) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        found: Json | Denied
        try:
            found = await question(reader_of(request.state.visitor), request)
        except Unreadable:
            found = UNREADABLE
        except VoiceStackError as error:
            failed = told(error)
            return _json(failed.answer.model_dump(), failed.status)
        if isinstance(found, Denied):
            return _refusal(found)
        return _json(found)

    return answer


def reader_of(visitor: Visitor) -> Reader:
    """Whoever asks, to the ledger."""
    return Reader(visitor.principal.tenant, visitor.principal.is_operator)


def rows_of(page: Page) -> Json:
    """A page of turns as JSON."""
    after = None if page.after is None else f"{page.after.began_ms}.{page.after.turn_id}"
    return {"turns": [turn_row(record) for record in page.records], "next": after, "n_total": page.n_total}


def _query(request: Request) -> Query:
    return request.query_params


def _refusal(denied: Denied) -> Response:
    return Response(denied.body, denied.status, denied.headers, "application/json")


def _json(body: Json, status: int = 200) -> Response:
    """Nobody keeps a copy. NaN becomes null."""
    headers = {"Cache-Control": "no-store"}
    return Response(orjson.dumps(body), status, headers, "application/json")
