"""Is the network in numpy the one in the ONNX file?"""

import importlib.util
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pytest

from tests.support.speech import hiss, silence, utterances
from voicestack.core.audio import Pcm
from voicestack.core.errors import ConfigError
from voicestack.engines.silero_net import (
    ROW_SAMPLES,
    STATE_SIZE,
    TILE,
    Floats,
    SileroNet,
    find_weights,
    read_floats,
)

NET = SileroNet(find_weights())


def windows_of(pcm: Pcm) -> Floats:
    """Rows of 64 samples of context and 512 new ones, shape (n_windows, 576)."""
    audio = np.concatenate([np.zeros(64), pcm.astype(np.float32) / 32768]).astype(np.float32)
    return np.stack([audio[at : at + 576] for at in range(0, len(audio) - 575, 512)])


def ours(rows: Floats) -> Floats:
    """p_speech of each window of one stream, at a place in the tile that is not the first."""
    h = c = np.zeros((TILE, STATE_SIZE), np.float32)
    out = []
    for row in rows:
        audio = np.zeros((TILE, ROW_SAMPLES), np.float32)
        audio[2, :576] = row
        p_speech, h, c = NET(audio, h, c)
        out.append(p_speech[2])
    return np.array(out)


def test_it_agrees_with_onnx_runtime_on_speech_and_silence() -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    reference = onnxruntime.InferenceSession(str(find_weights()), options, providers=["CPUExecutionProvider"])
    questions = [u.pcm for u in utterances()[:6]]
    call = np.concatenate([silence(500), *questions, hiss(1000, -40), silence(1000), hiss(300, 0)])
    rows = windows_of(call)
    start = np.zeros((1, 1, STATE_SIZE), np.float32)
    expected = reference.run(None, {"input": rows, "h": start, "c": start})[0]  # N windows of one stream
    assert len(expected) > 300
    assert expected.min() < 0.05
    assert expected.max() > 0.95
    np.testing.assert_allclose(ours(rows), expected.reshape(-1), atol=1e-4)


def test_a_stream_gets_the_same_figures_whatever_else_is_in_the_batch() -> None:
    rng = np.random.default_rng(5)
    audio = rng.normal(0, 0.1, (32, ROW_SAMPLES)).astype(np.float32)
    h, c = rng.normal(size=(2, 32, STATE_SIZE)).astype(np.float32)
    whole = NET(audio.copy(), h, c)
    for _ in range(30):
        some = rng.permutation(32)[: TILE * int(rng.integers(1, 8))]
        part = NET(audio[some], h[some], c[some])
        for mine, others in zip(part, whole, strict=True):
            np.testing.assert_array_equal(mine, others[some])


def test_its_inputs_are_left_alone_but_for_the_working_space() -> None:
    audio = np.random.default_rng(0).normal(size=(TILE, ROW_SAMPLES)).astype(np.float32)
    h = np.ones((TILE, STATE_SIZE), np.float32)
    before = audio.copy()
    NET(audio, h, h)
    np.testing.assert_array_equal(audio[:, :576], before[:, :576])
    assert (h == 1).all()


def test_the_reader_finds_the_shapes_in_the_file() -> None:
    weights = read_floats(find_weights().read_bytes())
    assert weights["encoder.feature_extractor.forward_basis_buffer"].shape == (258, 1, 256)
    assert weights["onnx::LSTM_209"].shape == (1, 512, 128)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 20, b"\x3a\x05\x2a\x03\x0a\x01\x05", b"\x0b"])
def test_another_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"other\.onnx is not Silero VAD v6"):
        SileroNet(path)


@pytest.mark.parametrize("n_bytes", [100, 100_000, 700_000])
def test_a_torn_file_is_refused(tmp_path: Path, n_bytes: int) -> None:
    path = tmp_path / "torn.onnx"
    path.write_bytes(find_weights().read_bytes()[:n_bytes])
    with pytest.raises(ConfigError, match=r"torn\.onnx"):
        SileroNet(path)


def test_missing_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match="faster-whisper"):
        find_weights()
