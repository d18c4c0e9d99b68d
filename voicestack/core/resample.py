"""What would this sound be at another rate? A streaming resampler that holds back at most 2 ms.

Linear-phase windowed-sinc interpolation in polyphase form. A block of output samples is one matrix product of
the input around it, with matrices made once per pair of rates.
"""

from functools import lru_cache
from math import gcd

import numpy as np
from numpy.typing import NDArray

from voicestack.core.audio import NO_AUDIO, Pcm

MAX_DELAY_S = 0.002
"""Group delay at most. The filter is as long as that allows: 4 ms."""

STOPBAND_DB = 64.0
"""Design attenuation from the lower of the two Nyquist frequencies on; at least 60 dB is reached."""

_BLOCK_S = 0.001
"""Output computed by one matrix. Longer blocks multiply by more zeros, shorter ones read more overlap: 24 to
16 kHz takes 15 us a frame with this, 28 us with 4 ms."""

_COEFFICIENT_UNIT = 2.0**-30
"""Coefficients are whole multiples of it. Products with 16-bit samples are then exact in a float64, and so
are their sums (46 bits of 53), in whatever order BLAS adds them: the output does not depend on how the input
was cut."""

_LOWEST, _HIGHEST = np.float64(-32768), np.float64(32767)

_Floats = NDArray[np.float64]


class _Bank:
    """The matrices for one pair of rates.

    Output `k` is the interpolation of the input at time `k / to_hz - delay`, from inputs up to time
    `k / to_hz`: it is there as soon as that input is.

    Attributes:
        up, down: `to_hz / from_hz` in lowest terms.
        delay_samples: Group delay in output samples.
        period_out, period_in: Samples after which the matrices repeat.
        max_push: Input samples that are interpolated in one go at most.
        buffer_samples: Room for those, what is kept of earlier ones, and the last window's end.
        n_history: Input samples before the first of a period that its outputs depend on.
        matrices: Shape (n_blocks, n_inputs, n_outputs), in order of the blocks in a period.
        starts: Where the input of each block begins, from `n_history` samples before the period.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        common = gcd(from_hz, to_hz)
        self.up, self.down = to_hz // common, from_hz // common
        self.delay_samples = int(MAX_DELAY_S * to_hz)
        self.max_push = from_hz // 10
        n_outputs, n_blocks = _blocks(self.up, int(_BLOCK_S * to_hz))
        self.period_out = n_outputs * n_blocks
        self.period_in = self.period_out * self.down // self.up
        self.n_history = -(-2 * self.delay_samples * self.down // self.up)
        self.starts = np.arange(n_blocks) * n_outputs * self.down // self.up
        n_inputs = self.n_history + n_outputs * self.down // self.up + 2
        outputs = np.arange(self.period_out).reshape(n_blocks, 1, n_outputs)
        inputs = (self.starts - self.n_history)[:, None, None] + np.arange(n_inputs)[None, :, None]
        taps = _kernel(
            (outputs - self.delay_samples) / to_hz - inputs / from_hz,
            cutoff_hz=min(from_hz, to_hz) / 2 - _transition_hz(2 * self.delay_samples / to_hz) / 2,
            half_width_s=self.delay_samples / to_hz,
        )
        taps /= taps.sum(axis=1, keepdims=True)
        self.matrices: _Floats = np.rint(taps / _COEFFICIENT_UNIT) * _COEFFICIENT_UNIT
        self._gathers: dict[int, NDArray[np.intp]] = {}
        self.buffer_samples = n_inputs + self.n_history + self.max_push + 3 * self.period_in

    def interpolate(self, buffer: _Floats, n_periods: int) -> _Floats:
        """All outputs of so many periods. `buffer` begins `n_history` samples before the first of them."""
        n_blocks, n_inputs, _ = self.matrices.shape
        if n_blocks == 1:  # the windows overlap at one distance: no copy is needed to make them
            size = buffer.itemsize
            strides = (self.period_in * size, size)
            windows: _Floats = np.ndarray((n_periods, n_inputs), np.float64, buffer, 0, strides)
            outputs: _Floats = np.dot(windows, self.matrices[0])
        else:
            blocks = np.matmul(buffer[self._gather(n_periods)], self.matrices)
            outputs = blocks.transpose(1, 0, 2)
        return outputs.reshape(-1)

    def _gather(self, n_periods: int) -> NDArray[np.intp]:
        """Which inputs the blocks of `n_periods` need, shape (n_blocks, n_periods, n_inputs)."""
        found = self._gathers.get(n_periods)
        if found is None:
            periods = np.arange(n_periods)[None, :, None] * self.period_in
            found = self.starts[:, None, None] + periods + np.arange(self.matrices.shape[1])
            self._gathers[n_periods] = found
        return found


def _blocks(up: int, n_wanted: int) -> tuple[int, int]:
    """Outputs per block and blocks per period, so that a block has at most about `n_wanted` outputs."""
    if up <= n_wanted:
        return up * (n_wanted // up), 1
    n_outputs = max(n for n in range(1, n_wanted + 1) if up % n == 0)
    return n_outputs, up // n_outputs


def _transition_hz(length_s: float) -> float:
    """Width of the transition band of a Kaiser window design (Kaiser 1974; Oppenheim & Schafer, 7.5.3)."""
    return (STOPBAND_DB - 7.95) / (14.36 * length_s)


def _kernel(t_s: _Floats, *, cutoff_hz: float, half_width_s: float) -> _Floats:
    """The impulse response at `t_s`, zero beyond `half_width_s`."""
    beta = 0.1102 * (STOPBAND_DB - 8.7)
    inside = np.clip(1 - (t_s / half_width_s) ** 2, 0, None)
    window = np.where(np.abs(t_s) <= half_width_s * (1 + 1e-9), np.i0(beta * np.sqrt(inside)), 0.0)
    return np.sinc(2 * cutoff_hz * t_s) * window


_bank = lru_cache(maxsize=32)(_Bank)


class Resampler:
    """One stream of audio on its way from one rate to another.

    After `n` input samples exactly `ceil(n * to_hz / from_hz)` output samples have been given, so 20 ms in
    are 20 ms out. The sound comes `delay_samples` later than it went in. Aliases and images of tones in the
    pass band (up to about 1 kHz below the lower Nyquist frequency) are at least 60 dB down.

    Args:
        from_hz: Rate of what goes in.
        to_hz: Rate of what comes out. Equal rates pass everything on as it is.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._bank = None if from_hz == to_hz else _bank(from_hz, to_hz)
        self._n_in = self._n_out = 0  # since the start of the current period
        if self._bank is not None:
            # What lies behind the filled part is from earlier pushes and multiplied by zeros only.
            self._buffer = np.zeros(self._bank.buffer_samples)
            self._n_kept = self._bank.n_history

    @property
    def delay_samples(self) -> int:
        """How much later, in output samples, the sound comes out; 0 for equal rates."""
        return 0 if self._bank is None else self._bank.delay_samples

    def push(self, pcm: Pcm) -> Pcm:
        """Take more input and return the output that it completes.

        However the input is cut, the output in all is the same to the bit.
        """
        if self._bank is None:
            return pcm
        n_max = self._bank.max_push
        if len(pcm) <= n_max:
            return self._push(self._bank, pcm)
        parts = [pcm[at : at + n_max] for at in range(0, len(pcm), n_max)]
        return np.concatenate([self._push(self._bank, part) for part in parts])

    def flush(self) -> Pcm:
        """The input is over: return the last `delay_samples` of output, and be as new."""
        if self._bank is None:
            return NO_AUDIO
        n_left = self._bank.delay_samples
        n_needed = -(-n_left * self._bank.down // self._bank.up) + 1
        rest = self._push(self._bank, np.zeros(n_needed, np.int16))[:n_left]
        self._n_in = self._n_out = 0
        self._buffer[:] = 0.0
        self._n_kept = self._bank.n_history
        return rest

    def _push(self, bank: _Bank, pcm: Pcm) -> Pcm:
        buffer, n_filled = self._buffer, self._n_kept + len(pcm)
        buffer[self._n_kept : n_filled] = pcm
        self._n_in += len(pcm)
        first, last = self._n_out, -(-self._n_in * bank.up // bank.down)
        samples = bank.interpolate(buffer, -(-last // bank.period_out))[first:last]
        n_done = last // bank.period_out
        self._n_in -= n_done * bank.period_in
        self._n_out = last - n_done * bank.period_out
        self._n_kept = n_filled - n_done * bank.period_in
        buffer[: self._n_kept] = buffer[n_done * bank.period_in : n_filled]
        np.rint(samples, out=samples)
        np.maximum(samples, _LOWEST, out=samples)
        np.minimum(samples, _HIGHEST, out=samples)
        return samples.astype(np.int16)


def resample(pcm: Pcm, from_hz: int, to_hz: int) -> Pcm:
    """A whole recording at another rate, without delay: `ceil(n * to_hz / from_hz)` samples."""
    resampler = Resampler(from_hz, to_hz)
    whole = np.concatenate([resampler.push(pcm), resampler.flush()])
    return whole[resampler.delay_samples :]
