"""Speech to Opus packets and back, by libopus: decoding never fails, and what is lost can be made up.

libopus resamples inside the codec, so packets become samples at EAR_RATE_HZ, and samples at PLAY_RATE_HZ
packets, without a resampler of ours. It is called through ctypes, 20 to 120 us for 20 ms, on the event loop's
thread. A packet may come from anybody, so there is nothing in one that raises.
"""

import ctypes
import sys
import weakref
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from voicestack.core.audio import NO_AUDIO, Pcm
from voicestack.core.errors import ConfigError
from voicestack.transports.opus_packet import packet_ticks

PACKET_MS = 20
"""What browsers send and expect (RFC 7587, section 4.2)."""

BITRATE_BPS = 40_000
"""Speech up to 12 kHz, and FEC. RFC 6716, section 2.1.1 recommends 28-40 kbit/s for full band without FEC."""
P_EXPECTED_LOSS = 0.12
"""Loss for which the encoder makes provision: it decides how much FEC a packet gets."""
COMPLEXITY = 1
"""0 .. 10, cheap to good. At 40 kbit/s and 1 the upper bands come out nearer to the original than at
32 kbit/s and 5 (5.5 and 4.8 dB of log spectral distance for 6.7 and 5.8; below 4 kHz 7.4 for 6.4), in 110 us
instead of 290 per packet: FEC doubles the search that the higher complexities make."""

_MAX_PACKET_BYTES = 1276
"""The longest single frame and its first byte (RFC 6716, section 3.4, [R2])."""
_MAX_PACKET_MS = 120
_STEP_MS = 2.5
"""libopus makes up losses in multiples of this."""

# opus_defines.h
_APPLICATION_VOIP = 2048
_SET_BITRATE, _SET_COMPLEXITY = 4002, 4010
_SET_INBAND_FEC, _SET_PACKET_LOSS_PERC = 4012, 4014
_SET_SIGNAL, _SIGNAL_VOICE = 4024, 3001
_RESET_STATE = 4028


def library_version() -> str:
    """What libopus calls itself, for example "libopus 1.6.1".

    Raises:
        ConfigError: there is none.
    """
    version: bytes = _library().opus_get_version_string()
    return version.decode()


class OpusDecoder:
    """Packets of one stream to mono samples. Must be asked in the order of the stream.

    Args:
        rate_hz: Of the samples: 8, 12, 16, 24 or 48 kHz.

    Raises:
        ConfigError: there is no libopus.
    """

    def __init__(self, rate_hz: int) -> None:
        self._lib = _library()
        self._rate_hz = rate_hz
        self._max_samples = _MAX_PACKET_MS * rate_hz // 1000
        self._step_samples = int(_STEP_MS * rate_hz / 1000)
        self._pcm = np.zeros(self._max_samples, dtype=np.int16)
        self._pcm_address = self._pcm.ctypes.data
        state = self._lib.opus_decoder_create(rate_hz, 1, None)
        if not state:
            raise ConfigError(f"libopus has no decoder for {rate_hz} Hz")
        self._state = ctypes.c_void_p(state)
        self._freed = weakref.finalize(self, self._lib.opus_decoder_destroy, self._state)

    def decode(self, packet: bytes) -> Pcm:
        """The next packet: int16 mono, 2.5 .. 120 ms. Empty if the packet cannot be used: conceal it then."""
        if not packet_ticks(packet):
            return NO_AUDIO
        return self._run(packet, self._max_samples, use_fec=False)

    def recover(self, next_packet: bytes, n_samples: int) -> Pcm:
        """What was lost just before `next_packet`, from its FEC (see `opus_packet.fec_ticks`).

        Without FEC, or where it does not reach, it is made up. `next_packet` itself must still be decoded.
        """
        n_steps = -(-n_samples // self._step_samples)
        pcm = self._run(next_packet, min(n_steps * self._step_samples, self._max_samples), use_fec=True)
        n_before = n_samples - len(pcm)
        return np.concatenate((self.conceal(n_before), pcm)) if n_before > 0 else pcm[-n_samples:]

    def conceal(self, n_samples: int) -> Pcm:
        """Make up what nobody will send again: int16 mono, shape (n_samples,)."""
        parts = []
        n_left = n_samples
        while n_left > 0:
            n_steps = -(-n_left // self._step_samples)
            pcm = self._run(None, min(n_steps * self._step_samples, self._max_samples), use_fec=False)
            if not len(pcm):
                pcm = np.zeros(n_left, dtype=np.int16)
            parts.append(pcm[:n_left])
            n_left -= len(parts[-1])
        return np.concatenate(parts) if parts else NO_AUDIO

    def close(self) -> None:
        """Free libopus's state. After this everything is silence."""
        self._freed()

    def _run(self, packet: bytes | None, n_samples: int, *, use_fec: bool) -> Pcm:
        if not self._freed.alive:
            return NO_AUDIO
        n_bytes = len(packet) if packet is not None else 0
        n_done: int = self._lib.opus_decode(
            self._state, packet, n_bytes, self._pcm_address, n_samples, int(use_fec)
        )
        return self._pcm[:n_done].copy() if n_done > 0 else NO_AUDIO


class OpusEncoder:
    """Mono samples to packets of PACKET_MS.

    Args:
        rate_hz: Of the samples: 8, 12, 16, 24 or 48 kHz.
        bitrate_bps: On average; packets differ.
        complexity: 0 .. 10, from cheap to good.
        p_expected_loss: Share of packets that may get lost; 0 for no FEC.

    Raises:
        ConfigError: there is no libopus.
    """

    def __init__(
        self,
        rate_hz: int,
        *,
        bitrate_bps: int = BITRATE_BPS,
        complexity: int = COMPLEXITY,
        p_expected_loss: float = P_EXPECTED_LOSS,
    ) -> None:
        self._lib = _library()
        self.packet_samples = PACKET_MS * rate_hz // 1000
        self._packet = ctypes.create_string_buffer(_MAX_PACKET_BYTES)
        state = self._lib.opus_encoder_create(rate_hz, 1, _APPLICATION_VOIP, None)
        if not state:
            raise ConfigError(f"libopus has no encoder for {rate_hz} Hz")
        self._state = ctypes.c_void_p(state)
        self._freed = weakref.finalize(self, self._lib.opus_encoder_destroy, self._state)
        for request, value in (
            (_SET_BITRATE, bitrate_bps),
            (_SET_COMPLEXITY, complexity),
            (_SET_SIGNAL, _SIGNAL_VOICE),
            (_SET_INBAND_FEC, int(p_expected_loss > 0)),
            (_SET_PACKET_LOSS_PERC, round(100 * p_expected_loss)),
        ):
            self._lib.opus_encoder_ctl(self._state, request, ctypes.c_int32(value))

    def encode(self, pcm: Pcm) -> bytes:
        """Encode exactly `packet_samples` int16 samples.

        Raises:
            ValueError: another number of samples, or the encoder is closed.
        """
        if len(pcm) != self.packet_samples or not self._freed.alive:
            raise ValueError(f"{len(pcm)} samples for an encoder of {self.packet_samples}, or a closed one")
        data = pcm.astype(np.int16, copy=False).tobytes()
        n_bytes: int = self._lib.opus_encode(
            self._state, data, self.packet_samples, self._packet, _MAX_PACKET_BYTES
        )
        if n_bytes < 0:
            raise ValueError(f"libopus: {self._lib.opus_strerror(n_bytes).decode()}")
        return ctypes.string_at(self._packet, n_bytes)

    def reset(self) -> None:
        """Forget what went before: after a pause, nothing of it colours the first packet."""
        if self._freed.alive:
            self._lib.opus_encoder_ctl(self._state, _RESET_STATE)

    def close(self) -> None:
        """Free libopus's state."""
        self._freed()


@cache
def _library() -> ctypes.CDLL:
    tried = list(_candidates())
    for name in tried:
        try:
            lib = ctypes.CDLL(name)
            _declare(lib)
        except (OSError, AttributeError):  # not there; there, but not libopus
            continue
        return lib
    raise ConfigError(
        "WebRTC needs libopus, and there is none (tried: "
        + ", ".join(tried)
        + "). Install the package `av` with pip, or libopus with the system's package tool "
        "(Debian: libopus0, Fedora: opus, macOS: opus)."
    )


def _candidates() -> Iterator[str]:
    """Where a libopus may be: first the one in PyAV's wheel, which is newer than most systems'."""
    spec = find_spec("av")
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        for directory in (package.with_name("av.libs"), package / ".dylibs"):
            yield from map(str, sorted(directory.glob("libopus[-.]*")))
    yield "libopus.0.dylib" if sys.platform == "darwin" else "libopus.so.0"


def _declare(lib: ctypes.CDLL) -> None:
    """The signatures of opus.h. Without them ctypes would cut pointers to 32 bits."""
    state, n, data = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    samples = ctypes.c_void_p
    lib.opus_get_version_string.restype = lib.opus_strerror.restype = data
    lib.opus_strerror.argtypes = (n,)
    lib.opus_decoder_create.restype = lib.opus_encoder_create.restype = state
    lib.opus_decoder_create.argtypes = (ctypes.c_int32, n, ctypes.c_void_p)
    lib.opus_encoder_create.argtypes = (ctypes.c_int32, n, n, ctypes.c_void_p)
    for destroy in (lib.opus_decoder_destroy, lib.opus_encoder_destroy):
        destroy.argtypes, destroy.restype = (state,), None
    lib.opus_decode.argtypes = (state, data, ctypes.c_int32, samples, n, n)
    lib.opus_encode.argtypes = (state, data, n, ctypes.c_void_p, ctypes.c_int32)
    lib.opus_encoder_ctl.argtypes = (state, n)  # and one more, by the request
