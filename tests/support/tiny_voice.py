"""A Piper voice of a few kilobytes: every phoneme is a tone of known length, so that all can be checked.

A real ONNX graph with Piper's inputs and outputs: `input`, `input_lengths`, `scales` and, with several
speakers, `sid`; `output` and, inside as in Piper's own voices, the lengths (`w_ceil`) as the result of the
only Ceil node.
A sentence begins and ends with silence, as Piper's do.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

HOP_SAMPLES = 256
RATE_HZ = 22_050
LEAD_HOPS = 12
"""Silence that the beginning of a sentence stands for: 139 ms."""
TAIL_HOPS = 20
PHONEME_HOPS = 8
"""A phoneme at length scale 1: 93 ms."""
SPACE_HOPS, PAUSE_HOPS, MARK_HOPS = 4, 10, 0
AMPLITUDE = 0.1

_SILENT = {"_": 0, "^": LEAD_HOPS, "$": TAIL_HOPS, " ": SPACE_HOPS} | dict.fromkeys(",;:.!?", PAUSE_HOPS)
_MARKS = "ˈˌ'\"#()-"


def hops_of(phoneme: str) -> int:
    """How long the voice makes a phoneme, at length scale 1."""
    return _SILENT.get(phoneme, MARK_HOPS if phoneme in _MARKS else PHONEME_HOPS)


def make_voice(
    folder: Path,
    name: str = "en_US-tiny-low",
    *,
    espeak: str = "en-us",
    n_speakers: int = 1,
    rate_hz: int = RATE_HZ,
    tells_lengths: bool = True,
    amplitude: float = AMPLITUDE,
) -> Path:
    """Write the voice's two files. Speaker n speaks n fifths higher.

    Args:
        folder: Where.
        name: Of the files.
        espeak: Whose phonemes.
        n_speakers: More than one adds the input `sid` and names "one", "two" ...
        rate_hz: Rate of its sound.
        tells_lengths: Have a Ceil node.
        amplitude: Of the tones.
    """
    path = folder / f"{name}.onnx"
    network = _network(n_speakers, rate_hz, amplitude, tells_lengths=tells_lengths)
    path.write_bytes(network.SerializeToString())
    names = ["one", "two", "three", "four"][:n_speakers]
    about = {
        "audio": {"sample_rate": rate_hz, "quality": "low"},
        "espeak": {"voice": espeak},
        "language": {"code": name.partition("-")[0]},
        "inference": {"noise_scale": 0.667, "length_scale": 1.0, "noise_w": 0.8},
        "phoneme_type": "espeak",
        "phoneme_id_map": DEFAULT_PHONEME_ID_MAP,
        "num_symbols": 256,
        "num_speakers": n_speakers,
        "speaker_id_map": dict(zip(names, range(n_speakers), strict=True)) if n_speakers > 1 else {},
        "hop_length": HOP_SAMPLES,
    }
    Path(f"{path}.json").write_text(json.dumps(about))
    return path


def _network(n_speakers: int, rate_hz: int, amplitude: float, *, tells_lengths: bool) -> onnx.ModelProto:
    hops, steps, loud = _tables(rate_hz, amplitude)
    constants = {
        "hops": hops,
        "steps": steps,
        "loud": loud,
        "one": np.array([1], np.int64),
        "zero": np.array(0, np.int64),
        "one_scalar": np.array(1, np.int64),
        "hop": np.array(HOP_SAMPLES, np.int64),
        "axis0": np.array([0], np.int64),
        "axis1": np.array([1], np.int64),
        "flat": np.array([-1], np.int64),
        "out_shape": np.array([1, 1, -1], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Reshape", ["input", "flat"], ["ids"]),
        node("Gather", ["scales", "one"], ["length_scale"]),
        node("Gather", ["hops", "ids"], ["lengths"]),
        node("Mul", ["lengths", "length_scale"], ["w"]),
        node("Ceil" if tells_lengths else "Round", ["w"], ["w_ceil"]),
        node("Cast", ["w_ceil"], ["n_hops"], to=TensorProto.INT64),
        node("CumSum", ["n_hops", "zero"], ["ends"]),
        node("ReduceSum", ["n_hops"], ["n_all"], keepdims=0),
        # for every hop: how many phonemes have ended before it
        node("Range", ["zero", "n_all", "one_scalar"], ["all_hops"]),
        node("Unsqueeze", ["all_hops", "axis1"], ["hop_column"]),
        node("Unsqueeze", ["ends", "axis0"], ["end_row"]),
        node("LessOrEqual", ["end_row", "hop_column"], ["ended"]),
        node("Cast", ["ended"], ["ended_n"], to=TensorProto.INT64),
        node("ReduceSum", ["ended_n", "axis1"], ["place"], keepdims=0),
        node("Gather", ["ids", "place"], ["hop_ids"]),
        # for every sample: its hop's tone
        node("Mul", ["n_all", "hop"], ["n_samples"]),
        node("Range", ["zero", "n_samples", "one_scalar"], ["samples"]),
        node("Div", ["samples", "hop"], ["sample_hops"]),
        node("Gather", ["hop_ids", "sample_hops"], ["sample_ids"]),
        node("Gather", ["steps", "sample_ids"], ["step"]),
        node("Gather", ["loud", "sample_ids"], ["volume"]),
        node("Cast", ["samples"], ["t"], to=TensorProto.FLOAT),
        node("Mul", ["t", "step"], ["plain_phase"]),
    ]
    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, ["batch", "phonemes"]),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, ["batch"]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
    ]
    if n_speakers > 1:
        constants["fifth"] = np.array(1.5, np.float32)
        inputs.append(helper.make_tensor_value_info("sid", TensorProto.INT64, ["batch"]))
        nodes += [
            node("Cast", ["sid"], ["speaker"], to=TensorProto.FLOAT),
            node("Pow", ["fifth", "speaker"], ["higher"]),
            node("Mul", ["plain_phase", "higher"], ["phase"]),
        ]
    else:
        nodes.append(node("Identity", ["plain_phase"], ["phase"]))
    nodes += [
        node("Sin", ["phase"], ["wave"]),
        node("Mul", ["wave", "volume"], ["sound"]),
        node("Reshape", ["sound", "out_shape"], ["output"]),
    ]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, "samples"])]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def _tables(rate_hz: int, amplitude: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By phoneme id: hops, radians per sample, amplitude."""
    hops = np.zeros(256, np.float32)
    steps, loud = np.zeros(256, np.float32), np.zeros(256, np.float32)
    for phoneme, (number,) in DEFAULT_PHONEME_ID_MAP.items():
        hops[number] = hops_of(phoneme)
        if phoneme not in _SILENT:
            tone_hz = 200 + 12 * number
            steps[number] = 2 * np.pi * tone_hz / rate_hz
            loud[number] = amplitude
    return hops, steps, loud
