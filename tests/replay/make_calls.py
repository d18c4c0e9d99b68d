"""Record the calls that lie beside this file: `python -m tests.replay.make_calls [DIRECTORY]`.

They are sessions with scripted engines on virtual time, recorded as the server records them. Run it when the
format changes, or for a new call: the old recordings are there to notice when decisions change.
"""

import itertools
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.support.dialogue import Figures, speech
from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock
from voicestack.aio.scope import Scope
from voicestack.core.commands import AddItem, CancelReply, CommitAudio, Configure, CreateReply
from voicestack.core.history import Item
from voicestack.core.ids import ItemId, SessionId
from voicestack.core.settings import ServerVad, SessionSettings
from voicestack.engines.scripted import EnergyVad, ScriptedAsr, ScriptedLlm, ScriptedTts
from voicestack.session.recorder import Recorder
from voicestack.session.session import Session
from voicestack.session.tuning import Engines, Tuning
from voicestack.transports.memory import MemoryPeer

QUICK = SessionSettings(turn_detection=ServerVad(silence_duration_ms=200))
LONG = "The sea is deep and blue, and it is so large that nobody has ever seen more than a part of it."


@dataclass(frozen=True, slots=True)
class Call:
    """A user, and what answers."""

    user: Callable[[MemoryPeer], Awaitable[None]]
    asr: ScriptedAsr = field(default_factory=lambda: ScriptedAsr(["tell me", "about the sea"]))
    llm: ScriptedLlm = field(default_factory=lambda: ScriptedLlm([LONG, "Fine."], token_ms=10))
    settings: SessionSettings = QUICK


async def two_questions(peer: MemoryPeer) -> None:
    for _ in range(2):
        await peer.say(speech(700))
        await peer.be_silent(7000)


async def interrupts(peer: MemoryPeer) -> None:
    await peer.say(speech(700))
    await peer.be_silent(1500)
    await peer.say(speech(700))
    await peer.be_silent(3000)


async def hesitates(peer: MemoryPeer) -> None:
    await peer.say(speech(600))
    await peer.be_silent(140)
    await peer.say(speech(600))
    await peer.be_silent(7000)


async def one_question(peer: MemoryPeer) -> None:
    await peer.say(speech(700))
    await peer.be_silent(9000)


async def says_nothing_more(peer: MemoryPeer) -> None:
    peer.send(Configure(replace(QUICK, turn_detection=replace(ServerVad(), idle_timeout_ms=5000))))
    await peer.say(speech(700))
    await peer.be_silent(20_000)


async def types_and_cancels(peer: MemoryPeer) -> None:
    await peer.be_silent(100)
    peer.send(Configure(SessionSettings(turn_detection=None)))
    await peer.say(speech(640))
    peer.send(CommitAudio())
    await peer.be_silent(500)
    peer.send(AddItem(Item(ItemId("typed"), "user", "hello")))
    peer.send(CreateReply())
    await peer.be_silent(800)
    peer.send(CancelReply())
    await peer.be_silent(500)


def calls() -> Mapping[str, Call]:
    """One call of each kind, by the name of its recording."""
    return {
        "two_questions": Call(two_questions),
        "interrupted": Call(interrupts),
        "hesitation": Call(hesitates, asr=ScriptedAsr(["tell me | about the sea"])),
        "silent_user": Call(says_nothing_more),
        "typed_and_cancelled": Call(types_and_cancels),
        "words_too_late": Call(one_question, asr=ScriptedAsr(["tell me"], settle_ms=5000, final_ms=5000)),
        "words_late_and_excused": Call(
            one_question, asr=ScriptedAsr(["tell me"], settle_ms=2500, final_ms=10)
        ),
        "failed_unheard": Call(
            one_question, llm=ScriptedLlm([LONG], fail_after_tokens=0, n_failures=1, first_token_ms=500)
        ),
        "failed_while_heard": Call(
            one_question, llm=ScriptedLlm([LONG], fail_after_tokens=12, n_failures=1, token_ms=50)
        ),
    }


def record(directory: Path, name: str, call: Call) -> Path:
    """Hold the call on virtual time. Returns its recording."""
    recorder = Recorder(directory, SessionId(name))
    run_virtual(_hold(call, recorder))
    return recorder.path


async def _hold(call: Call, recorder: Recorder) -> None:
    clock, numbers = LoopClock(), itertools.count(1)
    peer = MemoryPeer(clock)
    session = Session(
        SessionId("sess_1"),
        peer,
        Engines(EnergyVad(), call.asr, call.llm, ScriptedTts()),
        settings=call.settings,
        tuning=Tuning(),
        clock=clock,
        observer=Figures(),
        recorder=recorder,
        new_id=lambda prefix: f"{prefix}_{next(numbers)}",
    )

    async def user() -> None:
        await call.user(peer)
        peer.hang_up()

    async with Scope() as scope:
        scope.start(user(), name="user")
        await session.run()


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, call in calls().items():
        record(target, name, call)
