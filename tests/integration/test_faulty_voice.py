"""A voice that breaks off in the middle of whatever it says, the apology for that included."""

from collections.abc import AsyncGenerator

import pytest

from tests.support.dialogue import Dialogue, converse, speech
from voicestack.core.audio import SpokenFrame
from voicestack.core.budget import Budget
from voicestack.core.errors import StageUnavailable
from voicestack.core.notes import ReplyEnded
from voicestack.engines.scripted import ScriptedTts
from voicestack.ports import SpeechRequest

N_FRAMES = 20
"""0.4 s: more than leaves ahead of its time, so that some of it is queued when the voice breaks off."""


class BreakingTts(ScriptedTts):
    """Says no more than N_FRAMES of anything."""

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpokenFrame, None]:
        n_left = N_FRAMES
        async for frame in super().speak(request):
            yield frame
            n_left -= 1
            if not n_left:
                raise StageUnavailable("the voice broke off", stage="tts")


@pytest.mark.parametrize("enforced", [True, False])
def test_what_there_is_of_it_is_heard_and_the_session_lives(enforced: bool) -> None:
    async def script(d: Dialogue) -> None:
        for _ in range(2):
            await d.peer.say(speech(640))
            await d.peer.be_silent(9000)

    d = converse(script, tts=BreakingTts(), budget=Budget(enforced=enforced))
    assert [note.status for note in d.peer.notes(ReplyEnded) if isinstance(note, ReplyEnded)] == [
        "failed"
    ] * 2
    heard_ms = len(d.peer.heard_pcm()) / 24
    assert heard_ms >= 2 * 2 * N_FRAMES * 20, "of two answers and two apologies"
