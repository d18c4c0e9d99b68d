"""`/dashboard/api`: what are the dashboard's questions, and who may ask them?"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from voicestack.access.guard import Visitor
from voicestack.access.principal import Denied
from voicestack.core.errors import VoiceStackError
from voicestack.core.turn_record import Origin
from voicestack.server.dashboard.live import Feed
from voicestack.server.dashboard.live_route import LiveEndpoint
from voicestack.server.dashboard.wishes import Query, filter_of, page_of
from voicestack.server.stages.errors import told
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
        return NO_TURN if record is None else turn_row(record)

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
        "/turns/{id}": turn,
        "/compare": compare,
        "/replicas": replicas,
        "/capacity": capacity,
    }
    routes = [Route(API + path, _answered(question)) for path, question in questions.items()]
    return [*routes, Route(f"{API}/live", LiveEndpoint(shown.feed, shown.unix_ms), methods=["GET"])]


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
            return Response(found.body, found.status, found.headers, "application/json")
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


def _json(body: Json, status: int = 200) -> Response:
    """Nobody keeps a copy. NaN becomes null."""
    headers = {"Cache-Control": "no-store"}
    return Response(orjson.dumps(body), status, headers, "application/json")
