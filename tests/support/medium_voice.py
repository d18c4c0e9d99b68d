"""A Piper voice of the size "medium" with random weights: it says nothing, and costs what a real one costs.

The network has the layers of Piper's medium VITS voices (16 million parameters): a text encoder of 6 layers
of 192 channels, 4 residual coupling layers of 4 dilated convolutions, and a HiFi-GAN of 256 channels that is
upsampled by 8, 8 and 4. Only the lengths come from a table: 3 hops for a phoneme and 2 for the padding behind
it, 58 ms together, as fast as people speak.

`python -m tests.support.medium_voice FOLDER` writes it, for `voicestack bench tts`.
"""

# ruff: noqa: RUF001 (phonemes are the subject)

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

NAME = "en_US-random-medium"
HIDDEN, FILTER, HEADS = 192, 768, 2
HOP_SAMPLES, RATE_HZ = 256, 22_050
UPSAMPLING = ((8, 16), (8, 16), (4, 8))
RESBLOCKS = ((3, (1, 2)), (5, (2, 6)), (7, (3, 12)))


class Net:
    """A graph that grows from its input to its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(1)

    def constant(self, value: ArrayLike) -> str:
        """A tensor by value."""
        name = f"c{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def apply(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node; returns its output."""
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def weights(self, *shape: int) -> str:
        """Random ones that keep the size of what goes through them."""
        scale = 1 / np.sqrt(np.prod(shape[1:]))
        return self.constant((scale * self._rng.standard_normal(shape)).astype(np.float32))

    def conv(self, x: str, n_in: int, n_out: int, width: int = 1, dilation: int = 1) -> str:
        """A convolution that keeps the length."""
        pad = dilation * (width - 1) // 2
        return self.apply("Conv", x, self.weights(n_out, n_in, width), dilations=[dilation], pads=[pad, pad])

    def add(self, x: str, y: str) -> str:
        """A residual, halved in power."""
        half = self.constant(np.float32(np.sqrt(0.5)))
        return self.apply("Mul", self.apply("Add", x, y), half)


def _encode(net: Net, ids: str) -> str:
    """Ids to (1, HIDDEN, n)."""
    rows = net.apply("Gather", net.weights(256, HIDDEN), ids)
    x = net.apply("Transpose", rows, perm=[0, 2, 1])
    heads = net.constant(np.array([1, HEADS, HIDDEN // HEADS, -1], np.int64))
    whole = net.constant(np.array([1, HIDDEN, -1], np.int64))
    for _ in range(6):
        q, k, v = (net.apply("Reshape", net.conv(x, HIDDEN, HIDDEN), heads) for _ in range(3))
        scores = net.apply("MatMul", net.apply("Transpose", q, perm=[0, 1, 3, 2]), k)
        scaled = net.apply("Mul", scores, net.constant(np.float32(1 / np.sqrt(HIDDEN / HEADS))))
        shares = net.apply("Transpose", net.apply("Softmax", scaled, axis=-1), perm=[0, 1, 3, 2])
        heard = net.apply("Reshape", net.apply("MatMul", v, shares), whole)
        x = net.add(x, net.conv(heard, HIDDEN, HIDDEN))
        inner = net.apply("Relu", net.conv(x, HIDDEN, FILTER, 3))
        x = net.add(x, net.conv(inner, FILTER, HIDDEN, 3))
    return x


def _flow(net: Net, x: str) -> str:
    """The coupling layers; here they all see all channels, which costs as much."""
    for _ in range(4):
        h = x
        for _ in range(4):
            both = net.conv(h, HIDDEN, 2 * HIDDEN, 5)
            first, second = f"{both}a", f"{both}b"
            net.nodes.append(helper.make_node("Split", [both], [first, second], axis=1, num_outputs=2))
            gated = net.apply("Mul", net.apply("Tanh", first), net.apply("Sigmoid", second))
            h = net.add(h, net.conv(gated, HIDDEN, HIDDEN))
        x = net.add(x, h)
    return x


def _decode(net: Net, x: str) -> str:
    """(1, HIDDEN, n) to (1, 1, n * HOP_SAMPLES)."""
    channels = 256
    x = net.conv(x, HIDDEN, channels, 7)
    for rate, width in UPSAMPLING:
        pad = (width - rate) // 2
        x = net.apply("LeakyRelu", x, alpha=0.1)
        up = net.weights(channels, channels // 2, width)
        x = net.apply("ConvTranspose", x, up, strides=[rate], pads=[pad, pad])
        channels //= 2
        sums = []
        for kernel, dilations in RESBLOCKS:
            y = x
            for dilation in dilations:
                inner = net.apply("LeakyRelu", y, alpha=0.1)
                y = net.apply("Add", y, net.conv(inner, channels, channels, kernel, dilation))
            sums.append(y)
        third = net.constant(np.float32(1 / len(sums)))
        x = net.apply("Mul", net.apply("Sum", *sums), third)
    x = net.apply("LeakyRelu", x, alpha=0.1)
    return net.apply("Tanh", net.conv(x, channels, 1, 7))


def make_medium_voice(folder: Path) -> Path:
    """Write the voice's two files, 60 MB."""
    net = Net()
    hops = np.full(256, 3, np.float32)
    for phoneme, n in {"_": 2, "^": 10, "$": 10, "ˈ": 0, "ˌ": 0}.items():
        hops[DEFAULT_PHONEME_ID_MAP[phoneme][0]] = n
    zero, one = net.constant(np.int64(0)), net.constant(np.int64(1))
    first_axis, last_axis = net.constant(np.array([0])), net.constant(np.array([1]))
    encoded = _encode(net, "input")
    ids = net.apply("Reshape", "input", net.constant(np.array([-1])))
    scale = net.apply("Gather", "scales", last_axis)
    scaled = net.apply("Mul", net.apply("Gather", net.constant(hops), ids), scale)
    net.nodes.append(helper.make_node("Ceil", [scaled], ["w_ceil"]))
    lengths = net.apply("Cast", "w_ceil", to=TensorProto.INT64)
    ends = net.apply("Unsqueeze", net.apply("CumSum", lengths, zero), first_axis)
    steps = net.apply("Range", zero, net.apply("ReduceSum", lengths, keepdims=0), one)
    ended = net.apply("LessOrEqual", ends, net.apply("Unsqueeze", steps, last_axis))
    place = net.apply("ReduceSum", net.apply("Cast", ended, to=TensorProto.INT64), last_axis, keepdims=0)
    sound = _decode(net, _flow(net, net.apply("Gather", encoded, place, axis=2)))
    net.nodes.append(helper.make_node("Identity", [sound], ["output"]))
    info = helper.make_tensor_value_info
    inputs = [
        info("input", TensorProto.INT64, ["batch", "phonemes"]),
        info("input_lengths", TensorProto.INT64, ["batch"]),
        info("scales", TensorProto.FLOAT, [3]),
    ]
    outputs = [info("output", TensorProto.FLOAT, [1, 1, "samples"])]
    graph = helper.make_graph(net.nodes, "medium", inputs, outputs, net.tensors)
    path = folder / f"{NAME}.onnx"
    opset = [helper.make_opsetid("", 18)]
    path.write_bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())
    about = {
        "audio": {"sample_rate": RATE_HZ},
        "espeak": {"voice": "en-us"},
        "language": {"code": "en_US"},
        "inference": {"noise_scale": 0.667, "length_scale": 1.0, "noise_w": 0.8},
        "phoneme_type": "espeak",
        "phoneme_id_map": DEFAULT_PHONEME_ID_MAP,
        "num_symbols": 256,
        "num_speakers": 1,
    }
    Path(f"{path}.json").write_text(json.dumps(about))
    return path


if __name__ == "__main__":
    sys.stdout.write(f"{make_medium_voice(Path(sys.argv[1]))}\n")
