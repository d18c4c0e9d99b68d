import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from voicestack.engines.gguf import (
    BLOCK,
    Q4_1,
    Q4_1_BLOCK,
    Q8_0,
    Q8_0_BLOCK,
    NotGguf,
    read_layout,
    requantise,
    to_q8_0,
)

F32 = 0
ALIGNMENT = 64


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def metadata() -> bytes:
    fields = [
        text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama"),
        text(b"general.alignment") + struct.pack("<II", 4, ALIGNMENT),
        text(b"tokens") + struct.pack("<IIQ", 9, 8, 2) + text(b"a") + text(b"bc"),
        text(b"scores") + struct.pack("<IIQ2f", 9, 6, 2, 0.5, 1.5),
        text(b"nested") + struct.pack("<IIQ", 9, 9, 1) + struct.pack("<IQ3B", 0, 3, 1, 2, 3),
        text(b"is_it") + struct.pack("<I?", 7, True),
        text(b"big") + struct.pack("<Iq", 11, -5),
    ]
    return b"GGUF" + struct.pack("<IQQ", 3, 3, len(fields)) + b"".join(fields)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNMENT)


def sample(n_blocks: int = 6) -> tuple[bytes, "np.ndarray[Any, np.dtype[Any]]", bytes]:
    random = np.random.default_rng(1)
    blocks = np.zeros(n_blocks, Q4_1_BLOCK)
    blocks["scale"] = random.uniform(0.001, 0.1, n_blocks)
    blocks["least"] = random.uniform(-1, 0, n_blocks)
    blocks["levels"] = random.integers(0, 256, (n_blocks, BLOCK // 2))
    norm = struct.pack("<5f", 1, 2, 3, 4, 5)
    parts = [
        (b"norm", (5,), F32, norm),
        (b"w", (BLOCK * 3, 2), Q4_1, blocks.tobytes()),
        (b"n2", (5,), F32, norm),
    ]
    table, body = b"", b""
    for name, shape, kind, data in parts:
        body = padded(body)
        table += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, len(body))
        body += data
    return padded(metadata() + table) + body, blocks, norm


def weights_of_q4_1(blocks: "np.ndarray[Any, np.dtype[Any]]") -> "np.ndarray[Any, np.dtype[np.float32]]":
    """By the definition in ggml: the low nibbles are the first half."""
    out = np.zeros((len(blocks), BLOCK), np.float32)
    for i, block in enumerate(blocks):
        for j, byte in enumerate(block["levels"]):
            for at, level in ((j, byte & 15), (j + BLOCK // 2, byte >> 4)):
                out[i, at] = float(block["scale"]) * int(level) + float(block["least"])
    return out


def weights_of_q8_0(blocks: "np.ndarray[Any, np.dtype[Any]]") -> "np.ndarray[Any, np.dtype[np.float32]]":
    return blocks["levels"].astype(np.float32) * blocks["scale"].astype(np.float32)[:, None]


def test_only_the_format_of_the_weights_changes(tmp_path: Path) -> None:
    data, blocks, norm = sample()
    source, target = tmp_path / "a.gguf", tmp_path / "cache" / "b.gguf"
    source.write_bytes(data)
    requantise(source, target)
    new = target.read_bytes()
    layout = read_layout(memoryview(new))
    assert new.startswith(metadata())
    assert layout.alignment_bytes == ALIGNMENT
    assert [(t.name, t.shape, t.kind) for t in layout.tensors] == [
        (b"norm", (5,), F32),
        (b"w", (BLOCK * 3, 2), Q8_0),
        (b"n2", (5,), F32),
    ]
    starts = [layout.data_start + tensor.offset_bytes for tensor in layout.tensors]
    assert all(start % ALIGNMENT == 0 for start in starts)
    assert new[starts[0] :].startswith(norm)
    assert new[starts[2] :] == norm
    got = np.frombuffer(new[starts[1] : starts[1] + len(blocks) * Q8_0_BLOCK.itemsize], Q8_0_BLOCK)
    np.testing.assert_allclose(weights_of_q8_0(got), weights_of_q4_1(blocks), atol=0.006)
    assert [path.name for path in target.parent.iterdir()] == ["b.gguf"]


@settings(max_examples=50)
@given(
    scale=st.floats(0, 8, width=16),
    least=st.floats(-8, 8, width=16),
    levels=npst.arrays(np.uint8, BLOCK // 2),
)
def test_every_weight_stays_within_half_a_step(scale: float, least: float, levels: Any) -> None:
    block = np.zeros(1, Q4_1_BLOCK)
    block["scale"], block["least"], block["levels"] = scale, least, levels
    wanted = weights_of_q4_1(block)
    got = weights_of_q8_0(to_q8_0(block.view(np.uint8)).view(Q8_0_BLOCK))
    step = np.abs(wanted).max() / 127
    # Half a step of rounding, and the scale itself is a half-precision float.
    np.testing.assert_allclose(got, wanted, atol=step * 0.5 + np.abs(wanted).max() * 2**-10 + 1e-4)


@pytest.mark.parametrize("cut", [0, 3, 20, 100, 200, 300])
def test_a_broken_file_is_refused(tmp_path: Path, cut: int) -> None:
    source, target = tmp_path / "a.gguf", tmp_path / "b.gguf"
    source.write_bytes(sample()[0][:cut] or b"\0")
    with pytest.raises(NotGguf):
        requantise(source, target)
    assert not target.exists()


def test_missing_weights_leave_nothing_behind(tmp_path: Path) -> None:
    data, _, _ = sample()
    source, target = tmp_path / "a.gguf", tmp_path / "cache" / "b.gguf"
    source.write_bytes(data[:-120])
    with pytest.raises(NotGguf, match="w is incomplete"):
        requantise(source, target)
    assert not target.parent.exists()


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(NotGguf, match="version 9"):
        read_layout(memoryview(b"GGUF" + struct.pack("<IQQ", 9, 0, 0)))
