"""Does the voice know which phrase of a reply somebody waits for in silence?"""

from tests.support.dialogue import Dialogue, converse, speech
from voicestack.engines.scripted import ScriptedLlm, ScriptedTts


def test_only_the_first_phrase_of_a_reply_does_not_follow() -> None:
    tts = ScriptedTts()

    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(8000)

    converse(
        script, tts=tts, llm=ScriptedLlm(["Well, it is five o'clock now. That is rather late. Good night."])
    )
    assert len(tts.requests) >= 3
    assert [request.follows for request in tts.requests] == [False] + [True] * (len(tts.requests) - 1)
