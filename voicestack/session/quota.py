"""May the agent answer now, or has whoever pays for it had enough for this minute?"""

from collections.abc import Callable
from dataclasses import replace

from voicestack.core.errors import RateLimited
from voicestack.core.notes import Note, Problem
from voicestack.core.standing import Standing
from voicestack.ports import Meter
from voicestack.turn.events import Event, WordsHeard
from voicestack.turn.policy import Policy
from voicestack.turn.state import State, User


class Unmetered:
    """Satisfies `ports.Meter` where nobody counts."""

    def refusal(self) -> RateLimited | None:
        """Never."""
        return None

    def begin(self) -> None:
        """Not counted."""

    def spend(self, n_tokens: int) -> None:
        """Not counted."""

    def standings(self) -> tuple[Standing, ...]:
        """There are no limits."""
        return ()


UNMETERED = Unmetered()


class Quota:
    """What a session does about a `Meter` that says no: it listens on, answers nothing, and says why.

    What the user says meanwhile is in the conversation, and the next answer is to all of it.

    Args:
        meter: Says so.
        tell: Reaches the peer.
        sheds_drafts: Whether no drafts are to be made now.
    """

    def __init__(
        self, meter: Meter, tell: Callable[[Note], None], sheds_drafts: Callable[[], bool] = bool
    ) -> None:
        self._meter, self._tell, self._sheds_drafts = meter, tell, sheds_drafts

    def require(self) -> None:
        """Let a reply that was asked for pass.

        Raises:
            RateLimited: there may be none now.
        """
        refusal = self._meter.refusal()
        if refusal is not None:
            raise refusal

    def allows(self) -> bool:
        """Whether a reply may begin that nobody asked for. The peer is told if not."""
        refusal = self._meter.refusal()
        if refusal is not None:
            self._tell(Problem(refusal))
        return refusal is None

    def restrain(self, policy: Policy, *, busy: bool) -> Policy:
        """The policy, `busy` or not, without replies that begin by themselves when there may be none."""
        if busy:
            policy = replace(policy, busy=True)
        if policy.draft_replies and self._sheds_drafts():
            policy = replace(policy, draft_replies=False)
        if not policy.create_reply or self._meter.refusal() is None:
            return policy
        return replace(policy, create_reply=False, idle_ns=None)

    def explain(self, event: Event, state: State, wanted: Policy, used: Policy) -> None:
        """Tell the peer when, for that reason alone, the event has led to no reply."""
        is_due = state.reply is None and state.user is User.QUIET and not state.awaited
        if (
            used.create_reply != wanted.create_reply
            and isinstance(event, WordsHeard)
            and state.heard
            and is_due
        ):
            self.allows()
