"""Is a GGUF file's model, written as a folder, the same model?"""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voicestack.engines.gguf import NotGguf, open_gguf, weights_of
from voicestack.engines.gguf_export import exported, to_bfloat16
from voicestack.engines.llama_server import packaged_model

ALIGNMENT = 32
N_HEADS, N_KV, WIDTH, INNER = 2, 1, 8, 12
HEAD = WIDTH // N_HEADS
TOKENS = ["<|end|>", "a", "b", "ab", "Ġ"]
F32, F16 = 0, 1


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def field(key: str, value: Any) -> bytes:
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    if isinstance(value, float):
        return text(key) + struct.pack("<If", 6, value)
    if isinstance(value, int):
        return text(key) + struct.pack("<II", 4, value)
    kind = 8 if isinstance(value[0], str) else 5
    items = b"".join(text(v) if kind == 8 else struct.pack("<i", v) for v in value)
    return text(key) + struct.pack("<IIQ", 9, kind, len(value)) + items


FIELDS: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.block_count": 1,
    "llama.context_length": 64,
    "llama.embedding_length": WIDTH,
    "llama.feed_forward_length": INNER,
    "llama.attention.head_count": N_HEADS,
    "llama.attention.head_count_kv": N_KV,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.freq_base": 100_000.0,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.token_type": [3, 1, 1, 1, 1],
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.bos_token_id": 0,
    "tokenizer.ggml.eos_token_id": 0,
    "tokenizer.chat_template": "{{ messages }}",
}
SHAPES = {
    "token_embd.weight": (WIDTH, len(TOKENS)),
    "blk.0.attn_norm.weight": (WIDTH,),
    "blk.0.attn_q.weight": (WIDTH, WIDTH),
    "blk.0.attn_k.weight": (WIDTH, HEAD * N_KV),
    "blk.0.ffn_down.weight": (INNER, WIDTH),
    "output_norm.weight": (WIDTH,),
}


def written(path: Path, **changes: Any) -> dict[str, "np.ndarray[Any, np.dtype[np.float32]]"]:
    """A tiny model, with weights that bfloat16 holds exactly."""
    fields = FIELDS | changes
    random = np.random.default_rng(1)
    weights = {
        name: random.integers(-128, 128, shape[::-1]).astype(np.float32) for name, shape in SHAPES.items()
    }
    head = b"GGUF" + struct.pack("<IQQ", 3, len(SHAPES), len(fields))
    head += b"".join(field(key, value) for key, value in fields.items())
    body = b""
    for name, shape in SHAPES.items():
        body += bytes(-len(body) % ALIGNMENT)
        kind = F16 if name.startswith("token") else F32
        head += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", kind, len(body))
        body += weights[name].astype("<f2" if kind == F16 else "<f4").tobytes()
    path.write_bytes(head + bytes(-len(head) % ALIGNMENT) + body)
    return weights


def tensors(folder: Path) -> dict[str, "np.ndarray[Any, np.dtype[np.float32]]"]:
    data = (folder / "model.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    table = json.loads(data[8 : 8 + length])
    assert table.pop("__metadata__") == {"format": "pt"}
    out = {}
    for name, entry in table.items():
        assert entry["dtype"] == "BF16"
        start, end = (8 + length + at for at in entry["data_offsets"])
        halves = np.frombuffer(data[start:end], "<u2").astype(np.uint32) << 16
        out[name] = halves.view(np.float32).reshape(entry["shape"])
    return out


def test_every_tensor_has_its_name_and_its_weights(tmp_path: Path) -> None:
    source = tmp_path / "tiny.gguf"
    weights = written(source)
    got = tensors(exported(source, tmp_path / "cache"))
    plain = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.layers.0.input_layernorm.weight": "blk.0.attn_norm.weight",
        "model.layers.0.mlp.down_proj.weight": "blk.0.ffn_down.weight",
        "model.norm.weight": "output_norm.weight",
    }
    for theirs, ours in plain.items():
        assert np.array_equal(got[theirs], weights[ours])
    rotary = {"model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight"}
    assert set(got) == set(plain) | rotary


def test_rotary_pairs_become_halves_of_each_head(tmp_path: Path) -> None:
    """GGUF has the rows of a head as 0 2 1 3 of transformers' (convert_hf_to_gguf.py, `permute`)."""
    source = tmp_path / "tiny.gguf"
    weights = written(source)
    got = tensors(exported(source, tmp_path / "cache"))["model.layers.0.self_attn.q_proj.weight"]
    for head in range(N_HEADS):
        rows = weights["blk.0.attn_q.weight"][head * HEAD : (head + 1) * HEAD]
        assert np.array_equal(got[head * HEAD : (head + 1) * HEAD], rows[[0, 2, 1, 3]])


def test_what_describes_the_model(tmp_path: Path) -> None:
    source = tmp_path / "tiny.gguf"
    written(source)
    folder = exported(source, tmp_path / "cache")
    config = json.loads((folder / "config.json").read_text())
    assert (config["num_attention_heads"], config["num_key_value_heads"]) == (N_HEADS, N_KV)
    assert config["vocab_size"] == len(TOKENS)
    assert config["rope_theta"] == 100_000.0
    assert config["tie_word_embeddings"]
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    assert tokenizer["model"]["vocab"] == {token: n for n, token in enumerate(TOKENS)}
    assert [token["content"] for token in tokenizer["added_tokens"]] == ["<|end|>"]
    assert [one["type"] for one in tokenizer["pre_tokenizer"]["pretokenizers"]] == ["Digits", "ByteLevel"]
    assert json.loads((folder / "tokenizer_config.json").read_text())["eos_token"] == "<|end|>"


def test_it_is_written_once_and_whole(tmp_path: Path) -> None:
    source, cache = tmp_path / "tiny.gguf", tmp_path / "cache"
    written(source)
    folder = exported(source, cache)
    (folder / "config.json").write_text("kept")
    assert exported(source, cache) == folder
    assert (folder / "config.json").read_text() == "kept"
    assert [path.name for path in cache.iterdir()] == [folder.name]


@pytest.mark.parametrize(
    "changes",
    [
        {"general.architecture": "bert"},
        {"tokenizer.ggml.model": "llama"},
        {"tokenizer.ggml.pre": "nobody-knows"},
    ],
)
def test_another_model_is_refused_and_leaves_nothing(tmp_path: Path, changes: dict[str, str]) -> None:
    source, cache = tmp_path / "tiny.gguf", tmp_path / "cache"
    written(source, **changes)
    with pytest.raises(NotGguf):
        exported(source, cache)
    assert list(cache.iterdir()) == []


def test_numbers_are_rounded_to_the_nearest_even() -> None:
    one = np.float32(1.0)
    step = np.float32(2**-7)
    exact = np.array([one, one + step / 2, one + step * 3 / 2, one + step * 0.51, -2.5, 0], np.float32)
    halves = to_bfloat16(exact).view("<u2").astype(np.uint32) << 16
    expected = [1, 1, 1 + 2 * step, 1 + step, -2.5, 0]
    assert np.array_equal(halves.view(np.float32), np.array(expected, np.float32))


def test_the_packaged_model_can_be_read() -> None:
    model = open_gguf(Path(packaged_model()))
    assert model.fields["llama.block_count"] == 30
    weights = weights_of(model, "blk.0.ffn_up.weight")
    assert weights.shape == (1536, 576)
    assert 0.01 < float(np.abs(weights).mean()) < 1.0
