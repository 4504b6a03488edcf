"""Inputs with absent modalities and what numpy oracles of fusions have in common."""

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.types import Tokens
from tests import drawn

MASKS = {
    "text": np.array([[1, 1, 0], [0, 0, 0], [1, 0, 1], [0, 0, 0]], bool),
    "image": np.array([[1, 1], [0, 1], [0, 0], [0, 0]], bool),
}


def tokens(width=6, text_width=None):
    random = np.random.default_rng(0)
    widths = {"text": text_width or width, "image": width}
    return {
        name: Tokens(
            jnp.asarray(random.normal(size=(*mask.shape, widths[name])), jnp.float32),
            jnp.asarray(mask),
        )
        for name, mask in MASKS.items()
    }


def means(inputs, row):
    """The mean of the real tokens of each present modality of one example, sorted by name."""
    return {
        name: np.asarray(inputs[name].x)[row][MASKS[name][row]].mean(0)
        for name in sorted(inputs)
        if MASKS[name][row].any()
    }


def run(module, inputs):
    """Output and parameters, none of which is zero."""
    params = drawn.variables(module, inputs, mean=0.1, deviation=0.3).get("params", {})
    return jax.jit(module.apply)({"params": params}, inputs), params


def layer_norm(x, params):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-6) * params["scale"] + params["bias"]
