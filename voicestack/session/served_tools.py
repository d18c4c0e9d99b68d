"""The servers of tools of one session: what they have, the calls to them, and which the peer must approve.

A call runs beside the conversation: no reply and no turn waits for it. What it comes to is in the history,
and so in front of the LLM, from then on.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from voicestack.core.commands import CreateReply
from voicestack.core.errors import PeerProtocolError, StageError, StageTimeout, StageUnavailable
from voicestack.core.history import ApprovalItem, CallItem, ListingItem, VerdictItem
from voicestack.core.ids import ItemId, TurnId
from voicestack.core.notes import ItemAdded, Problem, ToolAnswered, ToolCalled, ToolsAsked, ToolsListed
from voicestack.core.offers import Offer, Served, offer_of
from voicestack.core.served import ServedTool, ToolFailure, ToolOutcome, ToolSource
from voicestack.core.tools import Toolbox
from voicestack.core.watching import Observer
from voicestack.session.links import Link, Place

if TYPE_CHECKING:
    from voicestack.session.mouth import LiveReply
    from voicestack.session.session import Session

log = logging.getLogger(__name__)

MAX_SERVERS = 16
"""In one session. Each is a connection that stays open."""

CHANGE_DELAY_S = 1.0
"""From the news that tools have changed to the question which: servers change several at a time."""

MAX_CHANGES = 50
"""Of lists in one session. Each is an item of the conversation, and a server must not fill it."""

NOT_ALLOWED = "The user did not allow this call."


@dataclass(slots=True)
class _Batch:
    """The calls of one reply that are not over, and whether the agent goes on by itself after them."""

    n_open: int = 0
    is_said: bool = False
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class _Pending:
    """A call that the peer has not decided about."""

    turn: TurnId
    item: CallItem
    source: ToolSource


@dataclass(slots=True)
class _Lists:
    """What the servers have said of their tools; which are being asked."""

    tools: dict[Place, tuple[ServedTool, ...]] = field(default_factory=dict)
    asked: set[Place] = field(default_factory=set)
    stale: set[Place] = field(default_factory=set)
    n_changes: int = 0


class ServedTools:
    """The served tools of one session.

    Args:
        session: Whose they are.
        observer: Is told of failures.
        obey: Given a wish for a reply that had to wait for a list of tools.
        go_on: Called when the calls of a reply that nobody asked for are over. None if the peer asks itself.
    """

    def __init__(
        self,
        session: "Session",
        observer: Observer,
        obey: Callable[[CreateReply], None],
        go_on: Callable[[], None] | None,
    ) -> None:
        self._session, self._observer = session, observer
        self._obey, self._go_on = obey, go_on
        self._links: dict[Place, Link] = {}
        self._lists = _Lists()
        self._pending: dict[ItemId, _Pending] = {}
        self._batches: dict[TurnId, _Batch] = {}
        self._waiting: CreateReply | None = None

    # --- which tools there are ------------------------------------------------------------------------

    def configure(self, toolbox: Toolbox) -> None:
        """The session has these servers now: ask the new ones for their tools, leave the others."""
        wanted = {source.place for source in toolbox.servers}
        for place in [
            place for place, link in self._links.items() if place not in wanted and not link.is_busy
        ]:
            self._links.pop(place).close()
            self._lists.tools.pop(place, None)
        self._ask(toolbox)

    def offer(self, toolbox: Toolbox) -> Offer:
        """What the LLM is offered of it now."""
        tools = self._lists.tools
        return offer_of(toolbox, {s: tools[s.place] for s in toolbox.servers if s.place in tools})

    def delay(self, wish: CreateReply) -> bool:
        """Keep the wish, in place of an earlier one, while servers say which tools they have for it.

        Returns:
            Whether it was kept.
        """
        toolbox = wish.options.toolbox or self._session.settings.toolbox
        if wish.options.aside:
            return False
        if wish.options.toolbox is not None:
            self._ask(toolbox)
        if all(source.place not in self._lists.asked for source in toolbox.servers):
            return False
        self._waiting = wish
        return True

    def forget(self) -> bool:
        """Drop the wish that waits. Returns whether there was one."""
        waited, self._waiting = self._waiting is not None, None
        return waited

    def _ask(self, toolbox: Toolbox) -> None:
        for source in toolbox.servers:
            place = source.place
            if place in self._lists.tools or place in self._lists.asked:
                continue
            link = self._links.get(place)
            if link is None:
                if len(self._links) >= MAX_SERVERS:
                    self._complain(source, f"a session has at most {MAX_SERVERS}")
                    continue
                link = self._links[place] = Link(
                    source, self._session.tool_servers, self._session.scope, partial(self._changed, place)
                )
            self._lists.asked.add(place)
            item = ListingItem(ItemId(self._session.new_id("mcpl")), source.label, status="in_progress")
            previous = self._session.history.add(item)
            self._session.tell(ToolsAsked(item, previous))
            self._session.scope.start(self._list(link, item, previous), name=f"tools-{source.label}")

    async def _list(self, link: Link, item: ListingItem, previous: ItemId | None) -> None:
        source = link.source
        failure = None
        try:
            async with link.server() as server:
                tools = await server.tools()
        except StageError as error:
            log.warning("the tools of '%s' are not known: %s", source.label, error)
            self._observer.stage_failed(error.stage, error.code)
            failure, tools = error, ()
        self._lists.asked.discard(source.place)
        if self._links.get(source.place) is link and failure is None:
            self._lists.tools[source.place] = tools
        item = replace(item, tools=tuple(filter(source.allowed.has, tools)), status="completed")
        self._session.history.write(item)
        self._session.tell(ToolsListed(item, previous, failed=failure is not None))
        if failure is not None:
            self._complain(source, _reason(failure))
        self._session.prime()
        wish = self._waiting
        if wish is not None and not self._lists.asked:
            self._waiting = None
            self._obey(wish)

    def _changed(self, place: Place) -> None:
        """The server says that its tools have changed. It is asked a moment later, once for many changes."""
        lists = self._lists
        if place in lists.stale or place not in self._links or lists.n_changes >= MAX_CHANGES:
            return
        lists.stale.add(place)
        self._session.scope.start(self._refresh(self._links[place]), name="tools-changed")

    async def _refresh(self, link: Link) -> None:
        source = link.source
        await asyncio.sleep(CHANGE_DELAY_S)
        self._lists.stale.discard(source.place)
        try:
            async with link.server() as server:
                tools = await server.tools()
        except StageError as error:
            log.warning("the new tools of '%s' are not known: %s", source.label, error)
            return
        if self._links.get(source.place) is not link or tools == self._lists.tools.get(source.place):
            return
        self._lists.n_changes += 1
        self._lists.tools[source.place] = tools
        item = ListingItem(ItemId(self._session.new_id("mcpl")), source.label, status="in_progress")
        previous = self._session.history.add(item)
        self._session.tell(ToolsAsked(item, previous))
        item = replace(item, tools=tuple(filter(source.allowed.has, tools)), status="completed")
        self._session.history.write(item)
        self._session.tell(ToolsListed(item, previous, failed=False))
        self._session.prime()

    def _complain(self, source: ToolSource, reason: str) -> None:
        message = f"The tools of the server '{source.label}' cannot be used: {reason}."
        self._session.tell(Problem(PeerProtocolError(message, code="mcp_server_unavailable")))

    @property
    def is_at_work(self) -> bool:
        """Whether a call is being made, or waits for the peer's approval."""
        return any(batch.n_open for batch in self._batches.values())

    # --- calls ----------------------------------------------------------------------------------------

    def take(self, live: "LiveReply", written: list[CallItem]) -> None:
        """These calls of a committed reply are complete: make those of served tools, or ask first."""
        for item in written:
            served = live.served.get(item.call.name)
            if served is None or item.remote is None:
                continue
            self._batches.setdefault(live.turn, _Batch()).n_open += 1
            if served.source.approval.is_needed(served.tool):
                self._request(live.turn, item, served)
            else:
                self._start(live.turn, item, served.source)

    def said(self, live: "LiveReply") -> None:
        """The reply has been said to its end."""
        batch = self._batches.get(live.turn)
        if batch is None:
            return
        by_itself = not live.tag and live.error is None
        batch.is_said = True
        batch.goes_on = by_itself and all(item.remote is not None for item in live.calls.values())
        self._settle(live.turn)

    def stopped(self, turn: TurnId) -> None:
        """The reply was cut off: what it wanted and has not been approved is not done any more.

        Calls that are on their way go on, as what they do cannot be taken back.
        """
        self._batches.pop(turn, None)
        for request in [request for request, one in self._pending.items() if one.turn == turn]:
            self._session.tell(ToolAnswered(self._pending.pop(request).item))

    def awaits(self, request: ItemId) -> bool:
        """Whether the peer can still decide about this."""
        return request in self._pending

    def decide(self, verdict: VerdictItem) -> None:
        """The peer says whether a call may be made. `awaits` says whether there is one."""
        one = self._pending.pop(verdict.request)
        if verdict.approve:
            self._start(one.turn, one.item, one.source)
            return
        message = f"{NOT_ALLOWED} {verdict.reason}".strip()
        self._answered(one.turn, one.item, ToolOutcome(failure=ToolFailure("tool_execution_error", message)))

    def _request(self, turn: TurnId, item: CallItem, served: Served) -> None:
        session, request_id = self._session, ItemId(self._session.new_id("mcpr"))
        assert item.remote is not None
        item = replace(item, remote=replace(item.remote, approval_id=request_id))
        session.history.write(item)
        self._pending[request_id] = _Pending(turn, item, served.source)
        request = ApprovalItem(
            request_id, item.id, served.source.label, served.tool.name, item.call.arguments
        )
        session.tell(ItemAdded(request, session.history.add(request)))

    def _start(self, turn: TurnId, item: CallItem, source: ToolSource) -> None:
        self._session.tell(ToolCalled(item.id))
        self._session.scope.start(self._call(turn, item, source), name=f"call-{item.id}")

    async def _call(self, turn: TurnId, item: CallItem, source: ToolSource) -> None:
        link = self._links.get(source.place)
        if link is None:  # the session has left the server since
            link = Link(source, self._session.tool_servers, self._session.scope)
        assert item.remote is not None
        try:
            async with link.server() as server:
                outcome = await server.call(item.remote.name, item.call.arguments)
        except StageError as error:
            log.warning("calling '%s': %s", source.label, error)
            self._observer.stage_failed(error.stage, error.code)
            code = 504 if isinstance(error, StageTimeout) else 502
            message = f"The server of the tool cannot be used: {_reason(error)}."
            outcome = ToolOutcome(failure=ToolFailure("http_error", message, code))
        finally:
            if self._links.get(source.place) is not link:
                link.close()
        self._answered(turn, item, outcome)

    def _answered(self, turn: TurnId, item: CallItem, outcome: ToolOutcome) -> None:
        assert item.remote is not None
        item = replace(item, remote=replace(item.remote, outcome=outcome))
        self._session.history.write(item)
        self._session.tell(ToolAnswered(item))
        self._session.prime()
        if turn in self._batches:
            self._batches[turn].n_open -= 1
            self._settle(turn)

    def _settle(self, turn: TurnId) -> None:
        batch = self._batches[turn]
        if batch.n_open or not batch.is_said:
            return
        del self._batches[turn]
        if batch.goes_on and self._go_on is not None:
            self._go_on()


def _reason(error: StageError) -> str:
    """For the peer: nothing of an address or a key."""
    match error:
        case StageTimeout():
            return "it did not answer in time"
        case StageUnavailable():
            return "it cannot be reached"
        case _:
            return "it refused, or did not do as MCP says"
