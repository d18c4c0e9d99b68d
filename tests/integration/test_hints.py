"""Does the recogniser get to know what the peer of a session says about what it will hear?"""

from typing import Any

import orjson

from tests.support.dialogue import SETTINGS, Dialogue, converse, speech
from tests.support.realtime_check import make_protocol
from voicestack.core.commands import AddItem, Configure
from voicestack.core.hints import NO_HINTS, Hints
from voicestack.core.history import Item
from voicestack.core.ids import ItemId
from voicestack.core.notes import UserSaid
from voicestack.engines.scripted import ScriptedAsr
from voicestack.realtime.protocol import RealtimeProtocol

GERMAN = Hints("de", "Marille. Grüß Gott!")
SAID = {"language": "de-AT", "prompt": "Grüß Gott!", "keywords": ["Marille"]}


def update(protocol: RealtimeProtocol, kind: str, transcription: dict[str, Any] | None) -> Configure:
    """What a session is told when its peer says this of its transcription."""
    session = {"type": kind, "audio": {"input": {"transcription": transcription}}}
    received = protocol.receive(orjson.dumps({"type": "session.update", "session": session}).decode())
    (command,) = received.commands
    assert isinstance(command, Configure)
    return command


def test_an_update_counts_from_the_next_utterance_on() -> None:
    asr = ScriptedAsr(["what time is it"])
    protocol = make_protocol(SETTINGS)

    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(300))
        d.peer.send(update(protocol, "realtime", SAID))
        await d.peer.say(speech(300))  # the same utterance
        await d.peer.be_silent(3000)
        await d.peer.say(speech(640))
        await d.peer.be_silent(3000)
        d.peer.send(update(protocol, "realtime", None))
        await d.peer.say(speech(640))
        await d.peer.be_silent(3000)

    d = converse(script, asr=asr)
    assert asr.hints == [NO_HINTS, GERMAN, NO_HINTS]
    assert len(d.peer.notes(UserSaid)) == 3


def test_a_recording_is_heard_with_the_hints_of_its_time() -> None:
    asr = ScriptedAsr(["what time is it"])
    protocol = make_protocol(SETTINGS)

    async def script(d: Dialogue) -> None:
        d.peer.send(update(protocol, "transcription", SAID))
        d.peer.send(AddItem(Item(ItemId("rec"), "user", None, spoken=True), sound=speech(1500)))
        await d.peer.be_silent(2000)

    converse(script, asr=asr)
    assert asr.hints == [GERMAN]
