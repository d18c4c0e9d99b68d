"""What is the peer told of one reply, from `response.created` to `response.done`?"""

from dataclasses import dataclass, field
from typing import Any, Literal

from voicestack.core.history import ItemStatus
from voicestack.core.ids import ItemId
from voicestack.core.notes import ReplyEnded, ReplyStarted, Usage
from voicestack.core.settings import Modality, ReplyOptions
from voicestack.realtime.checks import JsonObject
from voicestack.realtime.codes import brief_error_fields
from voicestack.realtime.items import wire_message
from voicestack.realtime.session_object import SessionObject
from voicestack.realtime.writer import Writer, audio_head

AUDIO_TOKEN_MS = 50
"""Agent audio per token, as the API bills it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a `response.create` asked for its one reply.

    `max_output_tokens` is as the client wrote it, None when it did not; `metadata` goes back to it unchanged.
    """

    options: ReplyOptions = field(default_factory=ReplyOptions)
    max_output_tokens: int | Literal["inf"] | None = None
    metadata: dict[str, str] | None = None


def reply_configuration(
    session: SessionObject, wish: Wish, modality: Modality, conversation_id: str
) -> JsonObject:
    """The part of a response object that is known before the reply begins."""
    output = session.fields["audio"]["output"]
    return {
        "conversation_id": conversation_id,
        "output_modalities": [modality],
        "max_output_tokens": wish.max_output_tokens or session.fields["max_output_tokens"],
        "audio": {"output": {"format": output["format"], "voice": wish.options.voice or session.voice_name}},
        "metadata": wish.metadata,
    }


class Response:
    """One reply on the wire.

    Args:
        writer: Encodes the frames.
        response_id: Its name.
        started: The session's note.
        configuration: From `reply_configuration`.
    """

    def __init__(self, writer: Writer, response_id: str, started: ReplyStarted, configuration: JsonObject):
        self.id = response_id
        self._writer = writer
        self._started = started
        self._configuration = configuration
        self._spoken = started.modality == "audio"
        self._texts: list[str] = []
        self._part_place = {**self._item_place, "content_index": 0}
        self._audio_head = audio_head("response.output_audio.delta", **self._part_place)
        self._delta_kind = "response.output_audio_transcript" if self._spoken else "response.output_text"

    @property
    def _item_place(self) -> JsonObject:
        return {"response_id": self.id, "item_id": self._started.item_id, "output_index": 0}

    def open(self) -> list[bytes]:
        """The frames that announce the reply and its item."""
        event, item = self._writer.event, self._item("in_progress", [])
        return [
            event("response.created", response=self._object("in_progress")),
            event("response.output_item.added", response_id=self.id, output_index=0, item=item),
            event("conversation.item.added", previous_item_id=self._started.previous_item_id, item=item),
            event("response.content_part.added", **self._part_place, part=self._part("")),
        ]

    def say(self, data: bytes, text: str) -> list[bytes]:
        """The frames for a piece of the reply. `data` is audio as on the wire, unused in a text reply."""
        frames = []
        if data and self._spoken:
            frames.append(self._writer.audio_event(self._audio_head, data))
        if text:
            self._texts.append(text)
            frames.append(self._writer.event(f"{self._delta_kind}.delta", **self._part_place, delta=text))
        return frames

    def close(self, ended: ReplyEnded) -> list[bytes]:
        """The frames that end the reply, whatever ended it.

        All of them say what was sent in deltas and nothing else, also where the session has cut the item to
        what was heard.
        """
        event, said = self._writer.event, "".join(self._texts)
        status: ItemStatus = "completed" if ended.status == "completed" else "incomplete"
        words = "transcript" if self._spoken else "text"
        item = self._item(status, [{"type": f"output_{self._started.modality}", words: said}])
        previous = self._started.previous_item_id
        frames = [event("response.output_audio.done", **self._part_place)] if self._spoken else []
        return [
            *frames,
            event(f"{self._delta_kind}.done", **self._part_place, **{words: said}),
            event("response.content_part.done", **self._part_place, part=self._part(said)),
            event("conversation.item.done", previous_item_id=previous, item=item),
            event("response.output_item.done", response_id=self.id, output_index=0, item=item),
            event("response.done", response=self._object(ended.status, [item], ended)),
            event("rate_limits.updated", rate_limits=[]),  # there are none
        ]

    def _part(self, said: str) -> JsonObject:
        kind = self._started.modality  # without "output_" here: the API says it both ways
        return {"type": kind, "transcript" if self._spoken else "text": said}

    def _item(self, status: ItemStatus, content: list[JsonObject]) -> JsonObject:
        return wire_message(ItemId(self._started.item_id), "agent", status, content)

    def _object(
        self, status: str, output: list[JsonObject] | None = None, ended: ReplyEnded | None = None
    ) -> JsonObject:
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": status_details(ended) if ended else None,
            "output": output or [],
            **self._configuration,
            "usage": usage_object(ended.usage) if ended else None,
        }


def status_details(ended: ReplyEnded) -> JsonObject | None:
    """Why the reply did not come to its own end, None when it did."""
    if ended.status == "completed":
        return None
    details: dict[str, Any] = {"type": ended.status}
    if ended.reason is not None:
        details["reason"] = ended.reason
    if ended.error is not None:
        details["error"] = brief_error_fields(ended.error)
    return details


def usage_object(usage: Usage) -> JsonObject:
    """Tokens as the API counts them: the LLM's, all of them text, and one per 50 ms of agent audio."""
    audio_tokens = -(-usage.output_audio_ms // AUDIO_TOKEN_MS)
    output_tokens = usage.output_tokens + audio_tokens
    return {
        "total_tokens": usage.input_tokens + output_tokens,
        "input_tokens": usage.input_tokens,
        "output_tokens": output_tokens,
        "input_token_details": {
            "text_tokens": usage.input_tokens,
            "audio_tokens": 0,
            "image_tokens": 0,
            "cached_tokens": usage.cached_tokens,
            "cached_tokens_details": {
                "text_tokens": usage.cached_tokens,
                "audio_tokens": 0,
                "image_tokens": 0,
            },
        },
        "output_token_details": {"text_tokens": usage.output_tokens, "audio_tokens": audio_tokens},
    }
