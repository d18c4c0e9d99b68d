"""What is the peer told of one reply, from `response.created` to `response.done`?"""

from dataclasses import dataclass, field
from typing import Any, Literal

from voicestack.core.history import ItemStatus
from voicestack.core.ids import ItemId
from voicestack.core.notes import (
    CallEnded,
    CallStarted,
    CallWritten,
    MessageStarted,
    ReplyEnded,
    ReplyStarted,
    Usage,
)
from voicestack.core.settings import Modality, ReplyOptions
from voicestack.core.standing import Standing
from voicestack.realtime.checks import JsonObject
from voicestack.realtime.codes import brief_error_fields
from voicestack.realtime.mcp_outputs import ServedOutput
from voicestack.realtime.outputs import CallOutput, MessageOutput, Output
from voicestack.realtime.session_object import SessionObject
from voicestack.realtime.writer import Writer

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
    session: SessionObject, wish: Wish, modality: Modality, conversation_id: str | None
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

    def __init__(
        self, writer: Writer, response_id: str, started: ReplyStarted, configuration: JsonObject
    ) -> None:
        self.id = response_id
        self.aside = started.aside
        self._writer = writer
        self._modality = started.modality
        self._configuration = configuration
        self._message: MessageOutput | None = None
        self._calls: dict[ItemId, CallOutput | ServedOutput] = {}
        self._outputs: list[Output] = []

    @property
    def is_silent(self) -> bool:
        """Whether it has put out nothing yet."""
        return not self._outputs

    def open(self) -> list[bytes]:
        """The frame that announces the reply."""
        return [self._writer.event("response.created", response=self._object("in_progress", []))]

    def begin_message(self, started: MessageStarted) -> list[bytes]:
        """The frames that announce what it says, the first time."""
        if self._message is not None:
            return []
        self._message = MessageOutput(
            self._writer, self.id, len(self._outputs), started, self._modality, aside=self.aside
        )
        self._outputs.append(self._message)
        return self._message.open()

    def say(self, data: bytes, text: str) -> list[bytes]:
        """The frames for a piece of it. `data` is audio as on the wire, unused in a written reply."""
        return self._message.say(data, text) if self._message else []

    def call(self, note: CallStarted | CallWritten | CallEnded) -> list[bytes]:
        """The frames for what happens to one of its calls."""
        match note:
            case CallStarted(item=item) if item.id not in self._calls:
                output = self._new_call(note)
                self._outputs.append(output)
                self._calls[item.id] = output
                return output.open()
            case CallWritten(item_id=item_id, arguments=arguments) if item_id in self._calls:
                return self._calls[item_id].write(arguments)
            case CallEnded(item=item) if item.id in self._calls:
                return self._calls[item.id].close(item.status)
            case _:
                return []

    def _new_call(self, started: CallStarted) -> CallOutput | ServedOutput:
        index = len(self._outputs)
        if started.item.remote is not None:
            return ServedOutput(self._writer, self.id, index, started)
        return CallOutput(self._writer, self.id, index, started, aside=self.aside)

    def served(self) -> list[ServedOutput]:
        """Its calls that this side makes. They may outlive it."""
        return [call for call in self._calls.values() if isinstance(call, ServedOutput)]

    def close(self, ended: ReplyEnded) -> list[bytes]:
        """The frames that end the reply, whatever ended it."""
        status: ItemStatus = "completed" if ended.status == "completed" else "incomplete"
        frames = self._message.close(status) if self._message else []
        frames += [frame for call in self._calls.values() for frame in call.close("incomplete")]
        frames += [frame for call in self.served() for frame in call.leave()]
        output = [one.item for one in self._outputs]
        return [
            *frames,
            self._writer.event("response.done", response=self._object(ended.status, output, ended)),
            self._writer.event("rate_limits.updated", rate_limits=[_limit(one) for one in ended.standings]),
        ]

    def _object(self, status: str, output: list[JsonObject], ended: ReplyEnded | None = None) -> JsonObject:
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": status_details(ended) if ended else None,
            "output": output,
            **self._configuration,
            "usage": usage_object(ended.usage) if ended else None,
        }


def _limit(standing: Standing) -> JsonObject:
    return {
        "name": standing.name,
        "limit": standing.limit,
        "remaining": standing.remaining,
        "reset_seconds": standing.reset_s,
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
