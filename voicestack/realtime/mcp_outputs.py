"""What is the client told of a call that this side makes?"""

from dataclasses import replace

from voicestack.core.history import CallItem, ItemStatus
from voicestack.core.ids import ItemId
from voicestack.core.notes import CallStarted
from voicestack.realtime.items import wire_call
from voicestack.realtime.outputs import Output
from voicestack.realtime.writer import Writer


class ServedOutput(Output):
    """A call of a served tool.

    It may outlive its response, which then ends with the call as it is. Only a call that has come to
    something is ever `conversation.item.done`: clients ask for the next response when they see that.

    Attributes:
        is_written: Whether the arguments are complete.
    """

    def __init__(self, writer: Writer, response_id: str, index: int, started: CallStarted) -> None:
        super().__init__(writer, response_id, index, started.previous_item_id, aside=False)
        self._item = started.item
        self._index = {"output_index": index, "item_id": started.item.id}
        self.is_written = False
        self._is_listed = True  # as an output of its response that is still to end

    @property
    def id(self) -> ItemId:
        """The call's entry."""
        return self._item.id

    def open(self) -> list[bytes]:
        """The frames that announce it."""
        return self._added(wire_call(self._item))

    def write(self, arguments: str) -> list[bytes]:
        """The frame for more of the arguments; none once they are complete."""
        if self.is_written:
            return []
        call = self._item.call
        self._item = replace(self._item, call=replace(call, arguments=call.arguments + arguments))
        fields = {**self._response, "item_id": self.id, "delta": arguments, "obfuscation": ""}
        return [self._writer.event("response.mcp_call_arguments.delta", **fields)]

    def close(self, status: ItemStatus) -> list[bytes]:
        """The frame for complete arguments, the first time; none for a call that was broken off."""
        if self.is_written or status != "completed":
            return []
        self.is_written = True
        self._item = replace(self._item, status=status)
        fields = {**self._response, "item_id": self.id, "arguments": self._item.call.arguments}
        return [self._writer.event("response.mcp_call_arguments.done", **fields)]

    def begin(self) -> list[bytes]:
        """The frame that says that the server is being called."""
        return [self._writer.event("response.mcp_call.in_progress", **self._index)]

    def answer(self, item: CallItem) -> list[bytes]:
        """The frames for what the call came to."""
        self._item = item
        outcome = item.remote.outcome if item.remote is not None else None
        if outcome is None:
            return [self._writer.event("response.mcp_call.failed", **self._index)]
        result = "completed" if outcome.failure is None else "failed"
        frames = [self._writer.event(f"response.mcp_call.{result}", **self._index), *self.leave()]
        self.item = wire_call(item)
        return frames + self._in_conversation("done")

    def leave(self) -> list[bytes]:
        """The frame that ends it as an output of its response, the first time."""
        if not self._is_listed:
            return []
        self._is_listed = False
        self.item = wire_call(self._item)
        return [self._writer.event("response.output_item.done", **self._response, item=self.item)]
