"""How likely is speech in these windows of sound? The Silero VAD v6 network, in numpy.

The weights are read from the ONNX file that faster-whisper carries; neither the `onnx` package nor ONNX
Runtime is needed. The network, for one window of 32 ms at 16 kHz:

    64 samples of context + 512 new ones, the last 64 mirrored behind them
    short-time Fourier transform: 4 frames of 256 samples, every 128; magnitudes      (4, 129)
    convolution of width 3, ReLU                                                       (4, 128)
    convolution of width 3, every other one, ReLU                                      (2, 64)
    convolution of width 3, every other one, ReLU                                      (1, 64)
    convolution of width 3 over a single step: its middle tap, ReLU                    (1, 128)
    LSTM cell, ReLU, one weighted sum, sigmoid                                         p_speech

All windows of a batch belong to different streams. Every matrix product is made for a few windows at a time,
for two reasons: OpenBLAS has faster kernels for small products, and a stream's figures are then the same to
the bit whatever else is in the batch and wherever in it the stream is.
"""

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voicestack.core.errors import ConfigError
from voicestack.engines.protobuf import fields, messages

Floats = NDArray[np.float32]

CONTEXT_SAMPLES = 64
WINDOW_SAMPLES = 512
ROW_SAMPLES = CONTEXT_SAMPLES + WINDOW_SAMPLES + 64
"""Samples per window in a batch; the last 64 are the net's own working space."""

STATE_SIZE = 128
TILE = 4
"""Windows in one matrix product. 4 was measured: 1 and 2 read the weights too often, and from 8 on OpenBLAS
leaves its small-matrix kernels (products of at most 100**3 multiplications)."""

_FRAME_ROWS = 8
"""Frames in one matrix product: those of two windows. With 16, OpenBLAS's kernels for AVX2 add up the last 4
in another order than the first 12."""

_F32 = np.float32


def find_weights() -> Path:
    """Where the ONNX file is, without importing the package that carries it.

    Raises:
        ConfigError: it is not installed.
    """
    spec = importlib.util.find_spec("faster_whisper")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    path = Path(folders[0], "assets", "silero_vad_v6.onnx") if folders else None
    if path is None or not path.is_file():
        raise ConfigError(
            "the Silero VAD weights come with faster-whisper 1.2.1 or newer; install voicestack[embedded]"
        )
    return path


class SileroNet:
    """The network. It keeps nothing between calls: a stream's state is the caller's.

    Args:
        path: The ONNX file, `silero_vad_v6.onnx`.

    Raises:
        ConfigError: the file is not that network.
    """

    def __init__(self, path: Path) -> None:
        try:
            weights = read_floats(path.read_bytes())
            basis = weights["encoder.feature_extractor.forward_basis_buffer"].reshape(258, 256)
            # A frame's cosine (sine) waves are even (odd) around sample 128: fold it first, half the work.
            self._cosines = np.ascontiguousarray(basis[:129, 1:129].T)
            self._cosines[127] /= 2  # sample 128 is folded onto itself
            self._sines = np.ascontiguousarray(basis[129:, 1:129].T)
            kernels = [weights[f"encoder.conv_layers.{n}.weight"].transpose(2, 1, 0) for n in range(4)]
            self._biases = [weights[f"encoder.conv_layers.{n}.bias"] for n in range(4)]
            self._conv0 = kernels[0].reshape(3 * 129, 128)
            self._conv1 = kernels[1].reshape(3 * 128, 64)
            self._conv1_edge = self._conv1[128:].copy()  # the step before the first is zero
            self._conv2 = kernels[2][1:].reshape(2 * 64, 64)
            self._conv3 = kernels[3][1].copy()
            lstm = np.concatenate([weights["onnx::LSTM_209"][0], weights["onnx::LSTM_210"][0]], axis=1)
            self._lstm = np.ascontiguousarray(lstm.T)
            self._lstm_bias = weights["onnx::LSTM_211"].reshape(2, 512).sum(axis=0)
            self._last = weights["decoder.conv1d.weight"].reshape(128, 1).copy()
            self._last_bias = weights["decoder.conv1d.bias"].copy()
        except (LookupError, ValueError) as error:
            raise ConfigError(f"{path} is not Silero VAD v6: {error}") from error
        # sigmoid(x) = (1 + tanh(x / 2)) / 2: with the halves in the weights, one tanh does for all gates.
        for weight in (self._lstm[:, :384], self._lstm_bias[:384], self._last, self._last_bias):
            np.divide(weight, 2, out=weight)

    def __call__(self, audio: Floats, h: Floats, c: Floats) -> tuple[Floats, Floats, Floats]:
        """Judge one window of each of n streams; n is a multiple of `TILE`.

        Args:
            audio: Shape (n, ROW_SAMPLES), C-contiguous, full scale +-1: context, new samples, and working
                space that is overwritten.
            h: LSTM output of each stream after its last window, shape (n, STATE_SIZE); zeros at the start.
            c: LSTM cell likewise.

        Returns:
            p_speech, shape (n,), and the new h and c.
        """
        n_tiles = len(audio) // TILE
        features = self._convolve(self._spectrum(audio))
        gates_in = np.empty((n_tiles, TILE, 2 * STATE_SIZE), _F32)
        gates_in[:, :, STATE_SIZE:] = h.reshape(n_tiles, TILE, STATE_SIZE)
        np.maximum(features, 0, out=gates_in[:, :, :STATE_SIZE])
        gates = (gates_in @ self._lstm).reshape(-1, 4 * STATE_SIZE)  # in, out, forget, cell
        gates += self._lstm_bias
        np.tanh(gates, out=gates)
        gates[:, : 3 * STATE_SIZE] += 1
        c = gates[:, 256:384] * c
        c += gates[:, :128] * gates[:, 384:]
        c /= 2
        h = np.tanh(c)
        h *= gates[:, 128:256]
        h /= 2
        p_speech = np.maximum(h, 0).reshape(n_tiles, TILE, STATE_SIZE) @ self._last
        p_speech += self._last_bias
        np.tanh(p_speech, out=p_speech)
        p_speech += 1
        p_speech /= 2
        return p_speech.reshape(-1), h, c

    def _spectrum(self, audio: Floats) -> Floats:
        """Magnitudes with a step of zeros before and after, shape (n, 6, 129)."""
        n = len(audio)
        audio[:, 576:] = audio[:, 574:510:-1]
        row, hop = 4 * ROW_SAMPLES, 4 * 128
        rising = np.ndarray((n, 4, 128), _F32, audio, 4 * 1, (row, hop, 4))  # samples 1 .. 128 of a frame
        falling = np.ndarray((n, 4, 128), _F32, audio, 4 * 255, (row, hop, -4))  # samples 255 .. 128
        real = np.add(rising, falling).reshape(-1, _FRAME_ROWS, 128) @ self._cosines
        imaginary = np.subtract(rising, falling).reshape(-1, _FRAME_ROWS, 128) @ self._sines
        real *= real
        imaginary *= imaginary
        real += imaginary
        magnitudes = np.zeros((n, 6, 129), _F32)
        np.sqrt(real.reshape(n, 4, 129), out=magnitudes[:, 1:5])
        return magnitudes

    def _convolve(self, magnitudes: Floats) -> Floats:
        """The four convolutions, without the last ReLU, shape (n / TILE, TILE, 128)."""
        n = len(magnitudes)
        threes = np.ndarray((n, 4, 3 * 129), _F32, magnitudes, 0, (4 * 6 * 129, 4 * 129, 4))
        x = threes.reshape(-1, _FRAME_ROWS, 3 * 129) @ self._conv0
        x += self._biases[0]
        np.maximum(x, 0, out=x)
        steps = x.reshape(-1, TILE, 4 * 128)
        pairs = np.empty((len(steps), TILE, 2 * 64), _F32)
        np.matmul(steps[:, :, : 2 * 128], self._conv1_edge, out=pairs[:, :, :64])
        np.matmul(steps[:, :, 128:], self._conv1, out=pairs[:, :, 64:])
        halves = pairs.reshape(-1, TILE, 2, 64)
        halves += self._biases[1]
        np.maximum(pairs, 0, out=pairs)
        x = pairs @ self._conv2
        x += self._biases[2]
        np.maximum(x, 0, out=x)
        features: Floats = x @ self._conv3
        features += self._biases[3]
        return features


def read_floats(model: bytes) -> dict[str, Floats]:
    """The float tensors of an ONNX model by name.

    Reads what this takes of the protobuf messages ModelProto (graph = 7), GraphProto (initializer = 5) and
    TensorProto (dims = 1, data_type = 2 where 1 is float, name = 8, raw_data = 9) of onnx.proto.

    Raises:
        ValueError, IndexError: it is not an ONNX model.
    """
    out: dict[str, Floats] = {}
    for graph in messages(memoryview(model), 7):
        for tensor in messages(graph, 5):
            parts = list(fields(tensor))
            found = dict(parts)
            name, raw = found.get(8), found.get(9)
            if found.get(2) == 1 and isinstance(name, memoryview) and isinstance(raw, memoryview):
                dims = [value for field, value in parts if field == 1 and isinstance(value, int)]
                out[bytes(name).decode()] = np.frombuffer(raw, "<f4").reshape(dims)
    return out
