"""What compare.py measures: two modules of the same sizes, with inputs."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

ROWS = 64  # examples of a batch, but for fusions that only pool

# What the configs of transformers have in common.
SMALL = {
    "hidden_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 768,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


@dataclasses.dataclass(frozen=True)
class Case:
    """Two modules of the same sizes and the same kind of input.

    output: what of our module's result the loss reads.
    torch_call: runs the PyTorch module on its input and gives what its loss reads.
    """

    size: str
    module: Any
    inputs: tuple
    output: Callable
    torch_module: torch.nn.Module
    torch_call: Callable[[torch.nn.Module], torch.Tensor]


def normal(*shape: int) -> np.ndarray:
    """Random numbers, float32."""
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)
