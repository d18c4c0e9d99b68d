"""Which faults are there to be borne? The matrix of the fault bench: each stage, each way to fail."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from voicestack.cli.fault_proxy import Fault

STAGES = ("asr", "llm", "tts")

HEAD = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nConnection: close\r\n\r\n"
PAGE = b"<!DOCTYPE html><html><body><h1>It works!</h1></body></html>"
"""What a web server says that was put where the stage's server was."""


def says(body: bytes, kind: bytes = b"application/json", status: bytes = b"200 OK") -> bytes:
    """An HTTP answer that ends with its connection."""
    return HEAD % (status, kind) + body


def promises(body: bytes, n_bytes: int, kind: bytes) -> bytes:
    """An answer that is shorter than it says."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (kind, n_bytes, body)


_SSE = b"text/event-stream"
GARBAGE: Mapping[str, Sequence[bytes]] = {
    "asr": (
        says(PAGE, b"text/html"),
        says(b'{"text": "what is the ca'),
        says(b'{"result": ["what", "is"]}'),
        says(b'{"error": {"message": "boom"}}', status=b"500 Internal Server Error"),
        promises(b'{"text": "wh', 4_000, b"application/json"),
        b"\x16\x03\x01 this is not HTTP at all\r\n\r\n",
    ),
    "llm": (
        says(b'data: {"choices": [{"delta": {"content": "The ca\n\n', _SSE),
        says(b'data: {"choices": [null]}\n\ndata: {"choices": "none"}\n\n', _SSE),
        says(PAGE, b"text/html"),
        says(b'data: {"choices": [{"delta": {"content": {"text": 7}}}]}\n\ndata: [DONE]\n\n', _SSE),
        says(b"data: [DONE]\n\n", _SSE),
        says(PAGE, b"text/html", b"502 Bad Gateway"),
        b"\x16\x03\x01 this is not HTTP at all\r\n\r\n",
    ),
    "tts": (
        says(PAGE, b"text/html"),
        says(b"", b"audio/pcm"),
        says(PAGE, b"audio/pcm"),
        promises(bytes(960), 960_000, b"audio/pcm"),
        says(bytes(4_801), b"audio/pcm"),
        says(b'{"error": "boom"}', status=b"500 Internal Server Error"),
        b"\x16\x03\x01 this is not HTTP at all\r\n\r\n",
    ),
}
"""In turn, one per turn."""
BYTES_PER_S: Mapping[str, int] = {"asr": 12_000, "llm": 1_000, "tts": 16_000}
"""A question of a second is 32 kB; a token of llama-server's is about 300 bytes, and it writes 30 to 60 a
second; a second of speech is 48 kB. So each is three times as slow as speech, or worse."""
CUT_AFTER_BYTES: Mapping[str, int] = {"asr": 20, "llm": 900, "tts": 24_000}
"""In the middle of an answer: of the head, of the third token or so, of half a second of speech."""

_FAULTS: Mapping[str, Callable[[str, int], Fault]] = {
    "none": lambda _stage, _n: Fault(),
    "slow2": lambda _stage, _n: Fault(slow_ratio=2.0),
    "slow5": lambda _stage, _n: Fault(slow_ratio=5.0),
    "stuck": lambda _stage, _n: Fault(is_stuck=True),
    "killed": lambda _stage, _n: Fault(is_dead=True),
    "cut": lambda stage, _n: Fault(cut_after_bytes=CUT_AFTER_BYTES[stage]),
    "throttled": lambda stage, _n: Fault(bytes_per_s=BYTES_PER_S[stage]),
    "garbage": lambda stage, n: Fault(answer=GARBAGE[stage][n % len(GARBAGE[stage])]),
}
FAULTS = tuple(_FAULTS)


@dataclass(frozen=True, slots=True)
class Cell:
    """One stage that fails in one way.

    Attributes:
        stage: One of STAGES.
        kind: One of FAULTS. `none` does nothing, to compare with.
    """

    stage: str
    kind: str

    @property
    def name(self) -> str:
        """As on the command line."""
        return f"{self.stage}.{self.kind}"

    def fault(self, n: int) -> Fault:
        """What happens in the n-th turn, from 0."""
        return _FAULTS[self.kind](self.stage, n)


def all_cells() -> list[Cell]:
    """The matrix, after one cell in which nothing fails."""
    kinds = [kind for kind in FAULTS if kind != "none"]
    return [Cell("llm", "none"), *(Cell(stage, kind) for stage in STAGES for kind in kinds)]


def cell_of(name: str) -> Cell:
    """A cell by its name. Raises ValueError: there is none."""
    stage, _, kind = name.partition(".")
    if stage not in STAGES or kind not in FAULTS:
        raise ValueError(f"{name} is none of {', '.join(STAGES)}, a dot, and {', '.join(FAULTS)}")
    return Cell(stage, kind)
