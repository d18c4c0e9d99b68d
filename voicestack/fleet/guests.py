"""How does this server answer for others? With its own language model, after its own sessions."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from voicestack.core.errors import StageOverloaded
from voicestack.core.ids import SessionId
from voicestack.fleet.choose import Wish
from voicestack.fleet.roster import Importance, Roster
from voicestack.ports import Llm, LlmDelta, LlmRequest


class Guests:
    """Answers with the replica beside this server. It sends nothing on: two servers would send it to and fro.

    Args:
        roster: That replica alone.
    """

    def __init__(self, roster: Roster[Llm]) -> None:
        self._roster = roster

    async def reply(self, request: LlmRequest) -> AsyncGenerator[LlmDelta, None]:
        """See `ports.Llm`. The request's rung, SHED, says how important it is.

        Raises:
            StageOverloaded: those who are at home here have all places.
            StageError: nothing, or nothing more, will come.
        """
        pick = self._roster.pick(Wish(), Importance.HEDGE)
        if pick is None:
            raise StageOverloaded("no place is left", stage="llm")
        with pick.member.call(is_timed=False) as call:  # they wait for ours: that says nothing about ours
            async with aclosing(pick.member.engine.reply(request)) as deltas:
                async for delta in deltas:
                    call.first()
                    yield delta

    def release(self, session: SessionId) -> None:
        """See `ports.Llm`."""
        for member in self._roster.members.values():
            member.engine.release(session)

    def expect_ms(self) -> float:
        """How long one more request would wait for its first token, in one case of two."""
        return min(self._roster.forecast_ms(replica) for replica in self._roster.now())
