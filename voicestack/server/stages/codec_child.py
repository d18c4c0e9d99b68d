"""A filter between sound files and raw samples, run as a program: what the child process of `codec` does.

`codec_child.py decode` reads a sound file from stdin, which must be seekable, and writes 16 kHz s16le mono.
`codec_child.py encode FORMAT` reads 24 kHz s16le mono and writes a file of that format as it goes.

A process of its own, because files come from strangers and the decoders of FFmpeg are large: whatever
happens here ends one request. It runs at low priority with little memory, opens files of known containers
only (none that name other files), and imports nothing of voicestack, so that it starts fast.
"""

import contextlib
import os
import resource
import sys
from typing import Any, BinaryIO

import av

EAR_RATE_HZ, SPEECH_RATE_HZ = 16_000, 24_000
MEMORY_BYTES = 2 << 30
"""Of address space; FFmpeg's libraries alone map a quarter of it."""
CPU_LIMIT_S = 600
NICE = 10
NOT_AUDIO = 3
"""Exit status: the file is not what this can read."""

CONTAINERS = "aac,aiff,amr,au,caf,flac,matroska,webm,mov,mp4,m4a,mp3,ogg,w64,wav"
"""No playlists and no `concat`: they would open other files and addresses."""

_ENCODERS: dict[str, tuple[str, str, dict[str, str]]] = {
    "mp3": ("mp3", "libmp3lame", {"write_xing": "0", "id3v2_version": "0"}),
    "opus": ("ogg", "libopus", {"page_duration": "20000"}),
    "aac": ("adts", "aac", {}),
    "flac": ("flac", "flac", {}),
}
"""Container, codec and the container's options. The options are for streaming: no index to go back to, and
an Ogg page for every 20 ms."""
_BIT_RATES = {"mp3": 64_000, "opus": 32_000, "aac": 64_000}
"""Transparent for 24 kHz mono speech."""


class Pipe:
    """stdout, without the look of a file in which one could go back."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: bytes) -> int:
        """Write all of it."""
        left = memoryview(data)
        while left:
            left = left[os.write(self._fd, left) :]
        return len(data)


def decode(source: BinaryIO, out: Pipe) -> int:
    """Write the first audio stream of the file. Returns the exit status."""
    try:
        with av.open(source, "r", options={"format_whitelist": CONTAINERS}) as container:
            if not container.streams.audio:
                return NOT_AUDIO
            resampler = av.AudioResampler("s16", "mono", EAR_RATE_HZ)
            for packet in container.demux(container.streams.audio[0]):
                with contextlib.suppress(av.error.InvalidDataError):  # a damaged packet is a gap, not the end
                    for frame in packet.decode():
                        _write_all(resampler.resample(frame), out)
            _write_all(resampler.resample(None), out)
    except (av.error.FFmpegError, ValueError, MemoryError):
        return NOT_AUDIO
    return 0


def encode(kind: str, source_fd: int, out: Pipe) -> int:
    """Write what comes as a file of that format. Returns the exit status."""
    container_name, codec, options = _ENCODERS[kind]
    options = {"flush_packets": "1", **options}
    sink: Any = out  # anything with `write` will do
    with av.open(sink, "w", format=container_name, options=options) as container:
        stream: Any = container.add_stream(codec, rate=SPEECH_RATE_HZ, layout="mono")
        if kind in _BIT_RATES:
            stream.bit_rate = _BIT_RATES[kind]
        n_done, rest = 0, b""
        while data := os.read(source_fd, 1 << 16):
            data = rest + data
            rest = data[len(data) - len(data) % 2 :]
            n_samples = len(data) // 2
            if n_samples == 0:
                continue
            frame = av.AudioFrame("s16", "mono", n_samples)
            frame.sample_rate, frame.pts = SPEECH_RATE_HZ, n_done
            frame.planes[0].update(data[: n_samples * 2].ljust(frame.planes[0].buffer_size, b"\0"))
            n_done += n_samples
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return 0


def _write_all(frames: list[Any], out: Pipe) -> None:
    for frame in frames:
        out.write(bytes(frame.planes[0])[: frame.samples * 2])


def main(arguments: list[str]) -> int:
    """Do what the arguments say. Returns the exit status."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S))
    os.nice(NICE)
    av.logging.set_level(None)
    out = Pipe(sys.stdout.fileno())
    try:
        if arguments[:1] == ["decode"]:
            return decode(sys.stdin.buffer, out)
        return encode(arguments[1], sys.stdin.fileno(), out)
    except BrokenPipeError:  # the request was abandoned
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
