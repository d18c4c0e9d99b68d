"""A LoRA adapter for SmolLM2-135M that nobody has trained: it changes what the model says, into nonsense."""

import json
import struct
from pathlib import Path

import numpy as np

N_LAYERS, RANK = 30, 8
SHAPES = {"q_proj": (576, 576), "v_proj": (192, 576)}
"""What the attention of SmolLM2-135M takes and gives."""
SCALE = 0.05


def write_adapter(folder: Path) -> None:
    """As the `peft` package writes one: a configuration and two matrices for each layer's projections."""
    random = np.random.default_rng(7)
    tensors = {}
    for layer in range(N_LAYERS):
        for name, (n_out, n_in) in SHAPES.items():
            place = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            for part, shape in (("lora_A", (RANK, n_in)), ("lora_B", (n_out, RANK))):
                weights = random.standard_normal(shape).astype(np.float32) * np.float32(SCALE)
                tensors[f"{place}.{part}.weight"] = weights
    table, at = {}, 0
    for name, weights in tensors.items():
        end = at + weights.nbytes
        table[name] = {"dtype": "F32", "shape": [*weights.shape], "data_offsets": [at, end]}
        at = end
    head = json.dumps(table).encode()
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(
        struct.pack("<Q", len(head)) + head + b"".join(weights.tobytes() for weights in tensors.values())
    )
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "SmolLM2-135M-Instruct",
        "target_modules": [*SHAPES],
        "r": RANK,
        "lora_alpha": 2 * RANK,
        "lora_dropout": 0.0,
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
