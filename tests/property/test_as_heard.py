"""Whatever interrupts whom and when: the language model is given what was heard, word for word."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.dialogue import Dialogue, converse, speech
from voicestack.core.commands import CancelReply, RetrieveItem, TruncateItem
from voicestack.core.history import Item
from voicestack.core.ids import ItemId, TurnId
from voicestack.core.notes import ItemRetrieved, ItemTruncated, MessageStarted
from voicestack.engines.scripted import ScriptedAsr, ScriptedLlm

ANSWERS = (
    "The sea is deep and blue, and nobody has ever seen more than a part of it.",
    "No.",
    "First you boil the water. Then you put the leaves into the pot, and then you wait.",
)


@dataclass(frozen=True, slots=True)
class Round:
    """The user asks; then something happens `after_ms` the end of the question.

    `truncate_ms` is what the peer claims to have played, None when it claims nothing.
    """

    how: str
    after_ms: int
    truncate_ms: int | None


ROUNDS = st.lists(
    st.builds(
        Round,
        st.sampled_from(["interrupt", "cancel", "listen"]),
        st.integers(0, 4000),
        st.none() | st.integers(0, 5000),
    ),
    min_size=1,
    max_size=4,
)


class Ear:
    """A peer's own account of what it played, from nothing but the frames and the instants of silence."""

    def __init__(self, d: Dialogue) -> None:
        self._d = d

    def frames(self, turn: TurnId) -> list[tuple[str, float, float]]:
        """Text, end in the reply's audio, and end on the peer's clock, in ms, of each frame of a reply."""
        out, end_ms, clock_ms = [], 0.0, 0.0
        for at_ns, of, frame in self._d.peer.played:
            if of == turn:
                duration_ms = len(frame.pcm) / 24
                clock_ms = max(clock_ms, at_ns / 1e6) + duration_ms
                end_ms += duration_ms
                out.append((frame.text, end_ms, clock_ms))
        return out

    def heard(self, turn: TurnId, silent_at_ms: float, claimed_ms: int | None) -> str:
        """The words whose frames were played to their end."""
        frames = self.frames(turn)
        if claimed_ms is not None:
            return "".join(text for text, end, _ in frames if end <= claimed_ms).strip()
        return "".join(text for text, _, clock in frames if clock <= silent_at_ms + 1e-6).strip()


@given(ROUNDS)
@settings(max_examples=25, deadline=None)
def test_the_context_is_what_was_heard(rounds: list[Round]) -> None:
    claims: dict[ItemId, int] = {}

    async def script(d: Dialogue) -> None:
        for n, one in enumerate(rounds):
            await d.peer.say(speech(400))
            await d.peer.be_silent(one.after_ms)
            if one.how == "cancel":
                d.peer.send(CancelReply())
            elif one.how == "interrupt":
                await d.peer.say(speech(200))
                await d.peer.be_silent(20)
            else:
                await d.peer.be_silent(6000)
            messages = [m for m in d.peer.notes(MessageStarted) if isinstance(m, MessageStarted)]
            if one.truncate_ms is not None and messages and (one.how != "listen" or n == len(rounds) - 1):
                n_before = len(d.peer.notes(ItemTruncated))
                d.peer.send(TruncateItem(messages[-1].item_id, one.truncate_ms))
                if len(d.peer.notes(ItemTruncated)) > n_before:
                    claims[messages[-1].item_id] = one.truncate_ms
        await d.peer.be_silent(8000)
        for message in d.peer.notes(MessageStarted):
            assert isinstance(message, MessageStarted)
            d.peer.send(RetrieveItem(message.item_id))

    texts = [f"question {n}" for n in range(20)]
    d = converse(script, asr=ScriptedAsr(texts), llm=ScriptedLlm(ANSWERS, token_ms=15))
    ear, flushed_ms = Ear(d), [at / 1e6 for at in d.peer.flushed]
    heard = []
    for message in d.peer.notes(MessageStarted):
        assert isinstance(message, MessageStarted)
        first_ms = min(at for at, turn, _ in d.peer.played if turn == message.turn) / 1e6
        later = [at for at in flushed_ms if at >= first_ms]
        next_turn_ms = (
            min((at for at, turn, _ in d.peer.played if turn > message.turn), default=1 << 62) / 1e6
        )
        silent_at_ms = later[0] if later and later[0] <= next_turn_ms else float("inf")
        heard.append(ear.heard(message.turn, silent_at_ms, claims.get(message.item_id)))
    kept = [one for one in d.session.history if isinstance(one, Item) and one.role == "agent"]
    assert [one.text for one in kept] == heard
    retrieved = [n.item for n in d.peer.notes(ItemRetrieved) if isinstance(n, ItemRetrieved)]
    assert retrieved == kept
    said_to_llm = " ".join(m.text for m in d.session.history.messages("") if m.role == "agent")
    assert said_to_llm.split() == " ".join(heard).split()
