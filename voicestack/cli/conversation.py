"""What has been said on a call, as its client sees it?

Sans I/O: server events and their arrival times go in, client events to send come out. It behaves as a
good client of the Realtime protocol does: when the user begins to speak it falls silent and reports what was
heard.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from voicestack.cli.speaker import Speaker
from voicestack.core.audio import NO_AUDIO, Pcm

Event = Mapping[str, Any]

_SILENT_NS = 200_000_000
"""Between two packets nothing is queued; an agent that was not heard for so long is silent."""


@dataclass(slots=True)
class Utterance:
    """Something the server took for one utterance of the user.

    `text` is None until (and unless) the server says what it heard. Times are monotonic nanoseconds.
    """

    item_id: str
    committed_ns: int
    known_ns: int | None = None
    text: str | None = None
    error: str | None = None


@dataclass(slots=True)
class Reply:
    """One answer of the agent.

    `done_ns` is None while it is being made; `cut_ms` is what was heard of it when it was cut, else None.
    """

    response_id: str
    created_ns: int
    item_id: str = ""
    text: str = ""
    status: str = "in_progress"
    done_ns: int | None = None
    cut_ms: int | None = None
    n_dropped_samples: int = 0


@dataclass(slots=True)
class Measured:
    """The server's own ledger of a turn (`voicestack.turn.measured`), and when it came."""

    arrived_ns: int
    ledger: Event


@dataclass(slots=True)
class Conversation:
    """Everything that happened on a call so far.

    Args:
        speaker: Plays the agent's audio.
        on_line: Is told each finished line of the dialogue: who ("user" or "agent") and the words.
        server_plays: Audio comes beside the events, paced by the server, which falls silent by itself and
            knows what was heard.
    """

    speaker: Speaker
    on_line: Callable[[str, str], None] = lambda _who, _text: None
    server_plays: bool = False
    agent_playing: bool = False
    _item_id: str = ""
    _silent_ns: int = 0
    configured: bool = False
    user_speaking: bool = False
    utterances: list[Utterance] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)
    errors: list[Event] = field(default_factory=list)

    def receive(self, event: Event, at_ns: int) -> list[dict[str, Any]]:
        """Take one server event; returns the client events that it calls for."""
        match event.get("type"):
            case "input_audio_buffer.speech_started":
                self.user_speaking = True
                return self._hush(at_ns)
            case "input_audio_buffer.speech_stopped":
                self.user_speaking = False
            case "input_audio_buffer.committed":
                self.user_speaking = False
                self.utterances.append(Utterance(str(event.get("item_id", "")), at_ns))
            case "conversation.item.input_audio_transcription.completed":
                self._words(event, at_ns, text=str(event.get("transcript", "")).strip())
            case "conversation.item.input_audio_transcription.failed":
                error = str((event.get("error") or {}).get("message", "failed"))
                self._words(event, at_ns, error=error)
            case "session.updated":
                self.configured = True
            case "voicestack.turn.measured":
                self.measured.append(Measured(at_ns, event))
            case "error":
                self.errors.append(event.get("error") or {})
            case _:
                self._answer(event, at_ns)
        return []

    def _answer(self, event: Event, at_ns: int) -> None:
        match event.get("type"):
            case "response.created":
                self.replies.append(Reply(_id_of(event.get("response")), at_ns))
            case "response.output_item.added":
                if (reply := self._reply(event)) is not None:
                    reply.item_id = self._item_id = _id_of(event.get("item"))
                    self.speaker.claim(reply.item_id, self._silent_ns)
            case "response.output_audio.delta":
                self._play(event, at_ns)
            case "response.output_audio_transcript.delta" | "response.output_text.delta":
                if (reply := self._reply(event)) is not None:
                    reply.text += str(event.get("delta", ""))
            case "response.done":
                self._done(event.get("response") or {}, at_ns)
            case "output_audio_buffer.started":
                self.agent_playing = True
            case "output_audio_buffer.stopped":
                self._over(at_ns)
            case "output_audio_buffer.cleared":
                self._over(at_ns)
                if (reply := self._reply(event)) is not None:
                    reply.cut_ms = self.speaker.played_ms(reply.item_id, at_ns)

    def is_settled(self, at_ns: int) -> bool:
        """Whether the agent has answered everything it heard, and has been heard to the end."""
        if self.user_speaking or not self.replies or self.agent_playing:
            return False
        if not self.speaker.is_silent(at_ns - (_SILENT_NS if self.server_plays else 0)):
            return False
        last = self.replies[-1]
        answered = not self.utterances or last.created_ns >= self.utterances[-1].committed_ns
        return answered and last.done_ns is not None

    def item_playing(self) -> str:
        """The item to which audio that comes beside the events belongs; empty while that is not known yet."""
        return self._item_id

    def _over(self, at_ns: int) -> None:
        """The server has played an answer; what comes now belongs to the next one, whose name comes later."""
        self.agent_playing, self._item_id, self._silent_ns = False, "", at_ns

    def _reply(self, event: Event) -> Reply | None:
        wanted = event.get("response_id")
        return next((reply for reply in reversed(self.replies) if reply.response_id == wanted), None)

    def _play(self, event: Event, at_ns: int) -> None:
        reply = self._reply(event)
        if reply is not None and reply.cut_ms is None:
            self.speaker.push(str(event.get("item_id", "")), decode_audio(event.get("delta")), at_ns)

    def _hush(self, at_ns: int) -> list[dict[str, Any]]:
        """The user speaks: fall silent, and tell the server how much of the answer was heard."""
        if not self.replies or self.server_plays:
            return []
        reply = self.replies[-1]
        if reply.cut_ms is not None or (reply.done_ns is not None and self.speaker.is_silent(at_ns)):
            return []
        reply.n_dropped_samples = self.speaker.flush(at_ns)
        reply.cut_ms = self.speaker.played_ms(reply.item_id, at_ns)
        if not reply.item_id or not reply.cut_ms:
            return []
        return [
            {
                "type": "conversation.item.truncate",
                "item_id": reply.item_id,
                "content_index": 0,
                "audio_end_ms": reply.cut_ms,
            }
        ]

    def _words(self, event: Event, at_ns: int, *, text: str | None = None, error: str | None = None) -> None:
        for utterance in self.utterances:
            if utterance.item_id == event.get("item_id"):
                utterance.known_ns, utterance.text, utterance.error = at_ns, text, error
        if text:
            self.on_line("user", text)

    def _done(self, response: Event, at_ns: int) -> None:
        reply = self._reply({"response_id": response.get("id")})
        if reply is None:
            return
        reply.done_ns, reply.status = at_ns, str(response.get("status", ""))
        if reply.text.strip():
            self.on_line("agent", reply.text.strip() + (" ..." if reply.status == "cancelled" else ""))


def _id_of(thing: object) -> str:
    return str(thing.get("id", "")) if isinstance(thing, Mapping) else ""


def decode_audio(delta: object) -> Pcm:
    """Base64 of 16-bit samples; what cannot be decoded is silence of length 0."""
    if not isinstance(delta, str):
        return NO_AUDIO
    try:
        data = base64.b64decode(delta, validate=True)
    except binascii.Error:
        return NO_AUDIO
    return np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2").astype(np.int16)
