"""What does a model look like that is as large as a real one and knows nothing?

Latency does not depend on what the weights say, so a `config.json` and a tokenizer are enough: vLLM fills the
rest with random numbers (`--load-format dummy`). The dimensions are those of the public models named beside
them.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voicestack.cli.bench_gpu_tokenizer import CHAT_TEMPLATE, END, START, write_tokenizer
from voicestack.core.errors import ConfigError

CONTEXT_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Shape:
    """The dimensions of a Llama-like transformer.

    Attributes:
        like: The public model that has them.
        draft: The shape of the small model that drafts for it.
        head_vocabulary: Tokens that its EAGLE-3 head can propose; 0 where there is no such head.
    """

    like: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    inner: int
    vocabulary: int
    tied: bool
    draft: str
    head_vocabulary: int = 0

    @property
    def kv_bytes_per_token(self) -> int:
        """Of keys and values in 16 bits."""
        return 2 * 2 * self.layers * self.kv_heads * (self.hidden // self.heads)

    @property
    def n_parameters(self) -> int:
        """Weights, norms left out."""
        kv = self.hidden // self.heads * self.kv_heads
        layer = 2 * self.hidden * (self.hidden + kv) + 3 * self.hidden * self.inner
        return self.layers * layer + self.vocabulary * self.hidden * (1 if self.tied else 2)


SHAPES = {
    "8b": Shape(
        "Llama-3.1-8B", 4096, 32, 32, 8, 14_336, 128_256, tied=False, draft="0.6b", head_vocabulary=32_000
    ),
    # As wide and deep as Qwen3-0.6B, with the vocabulary of what it drafts for.
    "0.6b": Shape("Qwen3-0.6B", 1024, 28, 16, 8, 3072, 128_256, tied=True, draft="tiny"),
    "135m": Shape("SmolLM2-135M", 576, 30, 9, 3, 1536, 49_152, tied=True, draft="tiny", head_vocabulary=8192),
    "tiny": Shape("nothing", 192, 4, 3, 3, 512, 8192, tied=True, draft="tiny", head_vocabulary=1024),
}
"""Dimensions from the `config.json` of each model."""


def config_of(shape: Shape) -> dict[str, Any]:
    """The `config.json` of a model of that shape."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.hidden // shape.heads,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": CONTEXT_TOKENS,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500_000.0,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": shape.tied,
        "bos_token_id": START,
        "eos_token_id": END,
        "torch_dtype": "bfloat16",
        "dtype": "bfloat16",
    }


def head_config_of(shape: Shape) -> dict[str, Any]:
    """The `config.json` of an EAGLE-3 head: one layer that reads the hidden states of the large model.

    Raises:
        ConfigError: the shape has none.
    """
    if not shape.head_vocabulary:
        raise ConfigError(f"the shape of {shape.like} has no EAGLE-3 head")
    return config_of(shape) | {
        "architectures": ["LlamaForCausalLMEagle3"],
        "num_hidden_layers": 1,
        "draft_vocab_size": shape.head_vocabulary,
        "tie_word_embeddings": False,
    }


def draft_config_of(shape: Shape) -> dict[str, Any]:
    """The `config.json` of the small model that drafts: vLLM wants the same vocabulary."""
    return config_of(SHAPES[shape.draft]) | {"vocab_size": shape.vocabulary}


def context_tokens_of(folder: Path) -> int:
    """The longest context of a model on disk, CONTEXT_TOKENS at most.

    Raises:
        ConfigError: there is no model.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as bad:
        raise ConfigError(f"{folder / 'config.json'}: no model as vLLM loads it ({bad})") from bad
    return min(CONTEXT_TOKENS, int(config.get("max_position_embeddings", CONTEXT_TOKENS)))


@dataclass(frozen=True, slots=True)
class Folders:
    """Models on disk that vLLM can load without weights."""

    target: Path
    draft: Path
    head: Path | None


def write_folders(root: Path, shape: Shape) -> Folders:
    """Write the folders of a shape, of its draft model and of its EAGLE-3 head.

    Raises:
        OSError: they cannot be written.
    """
    folders = Folders(root / "target", root / "draft", root / "eagle3" if shape.head_vocabulary else None)
    write_model(folders.target, config_of(shape))
    write_model(folders.draft, draft_config_of(shape))
    if folders.head is not None:
        write_model(folders.head, head_config_of(shape))
    return folders


def write_model(folder: Path, config: dict[str, Any]) -> None:
    """A `config.json` and a tokenizer with the vocabulary that it names."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": END, "bos_token_id": START}))
    write_tokenizer(folder, config["vocab_size"])
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
