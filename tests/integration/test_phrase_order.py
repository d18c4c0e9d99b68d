"""Does the voice know which phrase of a reply somebody waits for in silence?"""

from tests.support.dialogue import Dialogue, converse, speech
from voicestack.engines.scripted import ScriptedLlm, ScriptedTts


def test_only_the_first_phrase_of_a_reply_does_not_follow() -> None:
    tts = ScriptedTts()

    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(8000)

    answer = "Well, it is five o'clock now. That is rather late. Good night."
    converse(script, tts=tts, llm=ScriptedLlm([answer]))
    asked = [request.follows for request in tts.requests if request.text in answer]
    assert len(asked) >= 3
    assert asked == [False] + [True] * (len(asked) - 1)
    prepared = [request for request in tts.requests if request.text not in answer]
    assert all(request.follows for request in prepared), "what nobody waits for is made when there is time"
