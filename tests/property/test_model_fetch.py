"""However a source breaks off, begins again, or was left off before: is what arrives what was meant?"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from voicestack.cli.models_fetch import Fetcher
from voicestack.cli.models_sources import Body, Interrupted
from voicestack.core.catalogue import Model, ModelFile, Pin
from voicestack.engines.model_store import ModelStore


@dataclass
class Moody:
    """A source that gives a file in fits and starts, each a number of bytes; then it is well again.

    Attributes:
        content: Of the only file.
        fits: How many bytes come before the connection breaks.
        repeats: How many bytes earlier than asked for it begins, in turn.
        sent_bytes: How many it has sent.
    """

    content: bytes
    fits: list[int]
    repeats: list[int]
    name: str = "moody"
    sent_bytes: int = field(default=0)

    def offer(self, model: Model, wanted: Pin) -> Pin:
        raise AssertionError("it is pinned")

    @contextmanager
    def read(self, model: Model, pin: Pin, file: ModelFile, start_byte: int) -> Iterator[Body]:
        start_byte = max(0, start_byte - (self.repeats.pop() if self.repeats else 0))
        yield Body(start_byte, self._pieces(start_byte))

    def _pieces(self, at: int) -> Iterator[bytes]:
        limit = self.fits.pop() if self.fits else len(self.content)
        for start in range(at, min(at + limit, len(self.content)), 7):
            piece = self.content[start : min(start + 7, at + limit)]
            self.sent_bytes += len(piece)
            yield piece
        if limit < len(self.content) - at:
            raise Interrupted("it broke off")

    def close(self) -> None:
        pass


class Quiet:
    """Is told, and says nothing."""

    def say(self, text: str) -> None:
        pass

    def begin(self, title: str, size_bytes: int | None, done_bytes: int) -> None:
        self.at = done_bytes

    def advance(self, n_bytes: int) -> None:
        self.at += n_bytes

    def end(self) -> None:
        pass


@settings(deadline=None)
@given(
    content=st.binary(max_size=200),
    fits=st.lists(st.integers(0, 60), max_size=5),
    repeats=st.lists(st.integers(0, 30), max_size=5),
    left=st.one_of(st.integers(0, 250), st.binary(max_size=250)),
)
def test_what_arrives_is_what_was_meant(
    content: bytes, fits: list[int], repeats: list[int], left: int | bytes
) -> None:
    """`left` is what an earlier pull left off: a beginning of the file, or anything else."""
    file = ModelFile("model.bin", len(content), sha256(content).hexdigest())
    model = Model("m", "asr", Pin("o/m", "a" * 40, (file,)))
    with tempfile.TemporaryDirectory() as folder:
        store = ModelStore(Path(folder))
        begun = left if isinstance(left, bytes) else content[:left]
        store.part("m", file).write_bytes(begun)
        source, reports, waits = Moody(content, list(fits), list(repeats)), Quiet(), list[float]()
        pulled = Fetcher(store, source, reports, waits.append).pull(model, model.pin, is_settled=True)
        assert (store.where("m") / "model.bin").read_bytes() == content
        assert pulled.pin == model.pin == store.pins()["m"]
        assert pulled.fetched_bytes == source.sent_bytes
        assert reports.at == len(content)
        if content.startswith(begun):  # nothing that was there is fetched again, but what is sent twice
            assert source.sent_bytes <= len(content) - len(begun) + sum(repeats)
