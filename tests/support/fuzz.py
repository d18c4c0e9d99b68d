"""A client that sends almost the right thing: whole sessions under a storm of frames, on virtual time.

Everything between the socket and the engines takes part: protocol, transport, session, turn machine, playout.
"""

import asyncio
import copy
import itertools
import json
import random
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from tests.property.test_realtime_wire import EVENTS as SENT
from tests.support.dialogue import SETTINGS, Figures, speech
from tests.support.realtime_check import check_server_frames, make_protocol
from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock
from voicestack.aio.scope import Scope
from voicestack.core.ids import SessionId
from voicestack.core.resample import resample
from voicestack.engines.scripted import EnergyVad, ScriptedAsr, ScriptedLlm, ScriptedTts
from voicestack.session.session import Session
from voicestack.session.tuning import Engines, Tuning
from voicestack.transports.websocket import RealtimeTransport
from voicestack.transports.ws_peer import WebSocketPeer, ignore_closed, ignore_message

LOUD = b64encode(resample(speech(400), 16_000, 24_000).tobytes()).decode()
QUIET = b64encode(bytes(48 * 400)).decode()
TALK = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 200}}},
}
EVENTS: list[dict[str, Any]] = [
    *(event for event in SENT if event.get("session") != {"type": "transcription"}),
    *({"type": "input_audio_buffer.append", "audio": sound} for sound in [LOUD, QUIET, QUIET] * 3),
    *({"type": "session.update", "session": session} for session in [TALK] * 3),
    {"type": "response.create", "response": {"conversation": "none", "output_modalities": ["text"]}},
    {"type": "conversation.item.create", "item": {"type": "function_call", "name": "f", "arguments": "{}"}},
    {
        "type": "conversation.item.create",
        "item": {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": LOUD}]},
    },
]
"""Mostly a conversation: otherwise nothing would be going on that a wrong frame could harm."""
ODD: tuple[Any, ...] = (None, True, 0, -1, 1e308, 3.7, "", "x", "\ud800", "y" * 600, [], [[]], {})
GARBAGE: tuple[str | bytes, ...] = (b"\0\1", "", "{}", "[]", "null", "[" * 5000, '{"type":NaN}', "\0")


@dataclass(slots=True)
class FuzzedPeer:
    """The server's end of a connection without a socket: has what `RealtimeTransport` uses of one."""

    client: str = "fuzz"
    frames: list[bytes] = field(default_factory=list)
    on_message: Callable[[str | bytes], None] = ignore_message
    on_closed: Callable[[int | None], None] = ignore_closed

    def send(self, messages: Sequence[bytes]) -> None:
        self.frames += messages

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def close(self, code: int, reason: str) -> None:
        raise AssertionError(f"no frame of a client's closes a connection, but: {code} {reason}")


class Storm:
    """Frames that are right, nearly right, or garbage, the same for the same seed.

    Args:
        events: Right ones, to begin with.
        seed: Of the random choices.
    """

    def __init__(self, events: Sequence[dict[str, Any]], seed: int) -> None:
        self._events, self._random = events, random.Random(seed)

    def frame(self) -> str | bytes:
        """The next one."""
        event = copy.deepcopy(self._random.choice(self._events))
        match self._random.randrange(10):
            case 0 | 1 | 2 | 3 | 4:
                return json.dumps(event)
            case 5 | 6 | 7:
                for _ in range(self._random.randint(1, 3)):
                    self._mutate(event)
                return json.dumps(event)
            case 8:
                return self._garble(json.dumps(event))
            case _:
                return self._random.choice(GARBAGE)

    def pause_ms(self) -> float:
        """How long until then."""
        return self._random.choice([0, 0, 0, 1, 20, 200, 700])

    def _mutate(self, event: dict[str, Any]) -> None:
        """Change something somewhere inside."""
        place: Any = event
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            key = self._random.choice(list(keys))
            inner = place[key]
            if isinstance(inner, dict | list) and inner and self._random.random() < 0.7:
                place = inner
                continue
            what = self._random.randrange(4)
            if what == 0:
                del place[key]
            elif what == 1 and isinstance(place, dict):
                place[f"{key}x"] = inner
            elif what == 2:
                place[key] = [inner] * 3
            else:
                place[key] = copy.deepcopy(self._random.choice(ODD))
            return

    def _garble(self, frame: str) -> str:
        at = self._random.randrange(len(frame) + 1)
        head, tail = frame[:at], frame[at:]
        return (head, f"{head}\0{tail}", head + frame, tail + head)[self._random.randrange(4)]


def weather_a_storm(storm: Storm, n_frames: int) -> tuple[int, int]:
    """One session under so many frames; fails when anything that is sent back is wrong.

    Returns:
        How many frames came back, and how many replies were given.
    """
    frames = run_virtual(_session(storm, n_frames), timeout_s=n_frames + 600)
    events = check_server_frames(frames)
    kinds = [event["type"] for event in events]
    assert kinds.count("response.created") == kinds.count("response.done"), "a reply without an end"
    _check_names(events)
    return len(frames), kinds.count("response.done")


def _check_names(events: list[dict[str, Any]]) -> None:
    """Items are referred to after they were announced. The input buffer announces its own."""
    known: set[str] = set()
    for event in events:
        kind = event["type"]
        if kind == "error":
            continue
        if "previous_item_id" in event and event["previous_item_id"] is not None:
            assert event["previous_item_id"] in known, event
        if kind.startswith("input_audio_buffer") and "item_id" in event:
            known.add(event["item_id"])
        elif "item" in event:
            if kind in ("conversation.item.added", "response.output_item.added"):
                known.add(event["item"]["id"])
            assert event["item"]["id"] in known, event
        elif "item_id" in event:
            assert event["item_id"] in known, event


async def _session(storm: Storm, n_frames: int) -> list[bytes]:
    clock, numbers = LoopClock(), itertools.count(1)
    peer = FuzzedPeer()
    protocol = make_protocol(SETTINGS, numbers=numbers)
    transport = RealtimeTransport(cast(WebSocketPeer, peer), protocol, tts_rate_hz=24_000, clock=clock)
    session = Session(
        SessionId("sess_1"),
        transport,
        Engines(
            EnergyVad(),
            ScriptedAsr(["what time | is it", "tell me more", ""]),
            ScriptedLlm(["It is five o'clock.", "Well, that depends.", ""], token_ms=10),
            ScriptedTts(),
        ),
        settings=SETTINGS,
        tuning=Tuning(),
        clock=clock,
        observer=Figures(),
        new_id=lambda prefix: f"{prefix}_{next(numbers)}",
    )

    async def client() -> None:
        await asyncio.sleep(0)
        for _ in range(n_frames):
            peer.on_message(storm.frame())
            await asyncio.sleep(storm.pause_ms() / 1000)
        # Whatever it was made to be, it can still be talked to.
        audio = {"input": {"turn_detection": None}}
        update = {"type": "realtime", "output_modalities": ["text"], "audio": audio}
        for event in (
            {"type": "response.cancel"},
            {"type": "input_audio_buffer.clear"},
            {"type": "session.update", "session": update},
            {"type": "response.create", "response": {"input": [], "metadata": {"the": "last"}}},
        ):
            await asyncio.sleep(20)
            peer.on_message(json.dumps(event))
        await asyncio.sleep(60)
        last = [json.loads(frame) for frame in peer.frames if b'"the":"last"' in frame]
        assert [event["type"] for event in last] == ["response.created", "response.done"]
        peer.on_closed(1000)

    async with Scope() as scope:
        scope.start(client(), name="client")
        await session.run()
    return peer.frames
