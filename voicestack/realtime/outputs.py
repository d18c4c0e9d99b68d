"""What is the peer told of one thing that a reply puts out: a message, or a call?"""

from dataclasses import replace

from voicestack.core.history import ItemStatus
from voicestack.core.ids import ItemId
from voicestack.core.notes import CallStarted, MessageStarted
from voicestack.core.settings import Modality
from voicestack.realtime.checks import JsonObject
from voicestack.realtime.items import wire_call, wire_message
from voicestack.realtime.writer import Writer, audio_head


class Output:
    """One output item of a response.

    Args:
        writer: Encodes the frames.
        response_id: The response.
        index: Its place among the response's outputs.
        previous: What is before it in the conversation.
        aside: It is not in the conversation, so nothing is said of that.
    """

    def __init__(
        self, writer: Writer, response_id: str, index: int, previous: ItemId | None, *, aside: bool
    ) -> None:
        self._writer, self._previous, self._aside = writer, previous, aside
        self._response = {"response_id": response_id, "output_index": index}
        self.item: JsonObject = {}

    def _added(self, item: JsonObject) -> list[bytes]:
        self.item = item
        frames = [self._writer.event("response.output_item.added", **self._response, item=item)]
        return frames + self._in_conversation("added")

    def _done(self, item: JsonObject) -> list[bytes]:
        self.item = item
        frames = self._in_conversation("done")
        return [*frames, self._writer.event("response.output_item.done", **self._response, item=item)]

    def _in_conversation(self, what: str) -> list[bytes]:
        if self._aside:
            return []
        kind = f"conversation.item.{what}"
        return [self._writer.event(kind, previous_item_id=self._previous, item=self.item)]


class MessageOutput(Output):
    """What a reply says, spoken or written.

    Its frames say what was sent in deltas and nothing else, also where the session has cut the item to what
    was heard.
    """

    def __init__(
        self,
        writer: Writer,
        response_id: str,
        index: int,
        started: MessageStarted,
        modality: Modality,
        *,
        aside: bool,
    ) -> None:
        super().__init__(writer, response_id, index, started.previous_item_id, aside=aside)
        self._item_id, self._modality = started.item_id, modality
        self._spoken = modality == "audio"
        self._texts: list[str] = []
        self._place = {**self._response, "item_id": started.item_id, "content_index": 0}
        self._audio_head = audio_head("response.output_audio.delta", **self._place)
        self._delta_kind = "response.output_audio_transcript" if self._spoken else "response.output_text"

    def open(self) -> list[bytes]:
        """The frames that announce it."""
        frames = self._added(wire_message(self._item_id, "agent", "in_progress", []))
        return [
            *frames,
            self._writer.event("response.content_part.added", **self._place, part=self._part("")),
        ]

    def say(self, data: bytes, text: str) -> list[bytes]:
        """The frames for a piece of it. `data` is audio as on the wire, unused in a written message."""
        frames = []
        if data and self._spoken:
            frames.append(self._writer.audio_event(self._audio_head, data))
        if text:
            self._texts.append(text)
            frames.append(self._writer.event(f"{self._delta_kind}.delta", **self._place, delta=text))
        return frames

    def close(self, status: ItemStatus) -> list[bytes]:
        """The frames that end it."""
        event, said = self._writer.event, "".join(self._texts)
        words = "transcript" if self._spoken else "text"
        content = [{"type": f"output_{self._modality}", words: said}]
        frames = [event("response.output_audio.done", **self._place)] if self._spoken else []
        return [
            *frames,
            event(f"{self._delta_kind}.done", **self._place, **{words: said}),
            event("response.content_part.done", **self._place, part=self._part(said)),
            *self._done(wire_message(self._item_id, "agent", status, content)),
        ]

    def _part(self, said: str) -> JsonObject:
        # Without "output_" here: the API says it both ways.
        return {"type": self._modality, "transcript" if self._spoken else "text": said}


class CallOutput(Output):
    """A call of a tool."""

    def __init__(
        self, writer: Writer, response_id: str, index: int, started: CallStarted, *, aside: bool
    ) -> None:
        super().__init__(writer, response_id, index, started.previous_item_id, aside=aside)
        self._item = started.item
        self._place = {**self._response, "item_id": started.item.id, "call_id": started.item.call.call_id}
        self._is_open = False

    def open(self) -> list[bytes]:
        """The frames that announce it."""
        self._is_open = True
        return self._added(wire_call(self._item))

    def write(self, arguments: str) -> list[bytes]:
        """The frame for more of the arguments; none once it has ended."""
        if not self._is_open:
            return []
        call = self._item.call
        self._item = replace(self._item, call=replace(call, arguments=call.arguments + arguments))
        return [self._writer.event("response.function_call_arguments.delta", **self._place, delta=arguments)]

    def close(self, status: ItemStatus) -> list[bytes]:
        """The frames that end it, the first time."""
        if not self._is_open:
            return []
        self._is_open = False
        self._item = replace(self._item, status=status)
        call = {"name": self._item.call.name, "arguments": self._item.call.arguments}
        done = self._writer.event("response.function_call_arguments.done", **self._place, **call)
        return [done, *self._done(wire_call(self._item))]
