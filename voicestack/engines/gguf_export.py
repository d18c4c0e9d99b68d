"""How does a GGUF file become a folder that vLLM loads: `config.json`, tokenizer, weights in bfloat16?

For models of the Llama architecture with a byte-level vocabulary, as the packaged SmolLM2-135M-Instruct.
Needs neither torch nor transformers: all three formats are JSON and raw numbers.

Formats: GGUF as in `gguf`; safetensors is a length, a JSON table and the tensors
(https://github.com/huggingface/safetensors#format); tokenizer.json is what the `tokenizers` library writes.
"""

import json
import shutil
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicestack.engines.gguf import Bytes, Gguf, NotGguf, open_gguf, weights_of

ARCHITECTURE = "llama"
CONTROL = 3
"""Of `enum llama_token_type`: a token that is no text."""
PRE_TOKENIZERS: dict[str, list[dict[str, Any]]] = {
    "smollm": [{"type": "Digits", "individual_digits": True}],
    "gpt-2": [],
    "default": [],
}
"""What happens before the split into words, by `tokenizer.ggml.pre` (llama.cpp's llama-vocab.cpp)."""
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}


def exported(source: Path, cache: Path) -> Path:
    """The folder made from a GGUF file, in `cache`; made once (2-4 s for 135M weights).

    Raises:
        NotGguf: `source` is not a GGUF file, or of another architecture.
        OSError: a file cannot be read or written.
    """
    target = cache / f"{source.stem}-{source.stat().st_size}-bf16"
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="new-", dir=cache))
    try:
        _write(open_gguf(source), work)
        work.rename(target)
    except FileExistsError:
        pass  # somebody else was faster
    except OSError:
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _write(model: Gguf, folder: Path) -> None:
    fields = model.fields
    if fields.get("general.architecture") != ARCHITECTURE or fields.get("tokenizer.ggml.model") != "gpt2":
        raise NotGguf("only Llama models with a byte-level vocabulary can be written as a folder")
    for name, content in (
        ("config.json", config_of(fields, has_head="output.weight" in model.names)),
        ("generation_config.json", {"eos_token_id": fields["tokenizer.ggml.eos_token_id"]}),
        ("tokenizer.json", tokenizer_of(fields)),
        ("tokenizer_config.json", _tokenizer_config(fields)),
    ):
        (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    _write_weights(model, folder / "model.safetensors")


def config_of(fields: dict[str, Any], *, has_head: bool) -> dict[str, Any]:
    """`config.json` of the Llama architecture, from a file's metadata."""
    n_heads = fields["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": n_heads,
        "num_key_value_heads": fields.get("llama.attention.head_count_kv", n_heads),
        "max_position_embeddings": fields["llama.context_length"],
        "rms_norm_eps": fields["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": fields.get("llama.rope.freq_base", 10_000.0),
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "tie_word_embeddings": not has_head,
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "torch_dtype": "bfloat16",
    }


def tokenizer_of(fields: dict[str, Any]) -> dict[str, Any]:
    """`tokenizer.json` of a byte-level vocabulary.

    Raises:
        NotGguf: its way of splitting texts is not known here.
    """
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    pre = fields.get("tokenizer.ggml.pre", "default")
    if pre not in PRE_TOKENIZERS:
        raise NotGguf(f"the tokenizer '{pre}' is not known")
    added = [
        {
            "id": n,
            "content": tokens[n],
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for n, kind in enumerate(kinds)
        if kind == CONTROL
    ]
    return {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*PRE_TOKENIZERS[pre], BYTE_LEVEL]},
        "decoder": BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "vocab": {token: n for n, token in enumerate(tokens)},
            "merges": fields["tokenizer.ggml.merges"],
        },
    }


def _tokenizer_config(fields: dict[str, Any]) -> dict[str, Any]:
    tokens = fields["tokenizer.ggml.tokens"]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": fields["llama.context_length"],
        "clean_up_tokenization_spaces": False,
        "eos_token": tokens[fields["tokenizer.ggml.eos_token_id"]],
        "pad_token": tokens[fields.get("tokenizer.ggml.padding_token_id", 0)],
        "chat_template": fields.get("tokenizer.chat_template", ""),
    }


def _write_weights(model: Gguf, path: Path) -> None:
    """One safetensors file, tensor by tensor: the whole model is never in memory at once."""
    table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in model.names.items():
        size = 2 * int(np.prod(shape))
        table[_their_name(name)] = {
            "dtype": "BF16",
            "shape": [*reversed(shape)],
            "data_offsets": [at, at + size],
        }
        at += size
    head = json.dumps(table).encode()
    head += b" " * (-len(head) % 8)
    n_heads = model.fields["llama.attention.head_count"]
    turns = {
        "attn_q": n_heads,
        "attn_k": model.fields.get("llama.attention.head_count_kv", n_heads),
    }
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for name in model.names:
            weights = weights_of(model, name)
            if parts := turns.get(name.split(".")[-2]):
                weights = _as_halves(weights, parts)
            file.write(to_bfloat16(weights).tobytes())


def _their_name(name: str) -> str:
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`."""
    *block, kind, what = name.split(".")
    try:
        return f"model.layers.{block[1]}.{LAYER_NAMES[kind]}.{what}" if block else f"{NAMES[kind]}.{what}"
    except KeyError:
        raise NotGguf(f"a tensor {name} is not known of Llama models") from None


def _as_halves(weights: NDArray[np.float32], n_heads: int) -> NDArray[np.float32]:
    """Rows of rotary pairs as two halves of each head, which is how transformers has them.

    The inverse of `permute` in llama.cpp's convert_hf_to_gguf.py.
    """
    rows, columns = weights.shape
    pairs = weights.reshape(n_heads, rows // n_heads // 2, 2, columns)
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows, columns))


def to_bfloat16(weights: NDArray[np.float32]) -> Bytes:
    """The upper halves of the numbers, rounded to the nearest, ties to even."""
    bits = np.ascontiguousarray(weights, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return rounded.astype("<u2").reshape(-1).view(np.uint8)
