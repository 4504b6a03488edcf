"""One vector for a sentence, as sentence-transformers computes it (Reimers and Gurevych 2019,
https://arxiv.org/abs/1908.10084): pooled tokens, dense layers, length one."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from mmjax.interop.towers.stack import as_mask
from mmjax.nn.dense import Dense
from mmjax.nn.options import activation, choose

LOWEST = -1e9  # what a token that is not real is for a maximum
SHORTEST = 1e-12  # what a vector is divided by if it is shorter


def _sum(x: Array, weights: Array) -> Array:
    return jnp.sum(x * weights[..., None], axis=1)


def _count(weights: Array) -> Array:
    return jnp.maximum(jnp.sum(weights, axis=1, keepdims=True), 1e-9)


def _by_place(x: Array, mask: Array) -> Array:
    weights = mask * jnp.arange(1.0, x.shape[1] + 1)
    return _sum(x, weights) / _count(weights)


def _last(x: Array, mask: Array) -> Array:
    last = x.shape[1] - 1 - jnp.argmax(mask[:, ::-1], axis=1)
    return _sum(x, mask * (jnp.arange(x.shape[1]) == last[:, None]))


# From tokens [B L D] and which are real [B L]: one vector [B D]. If several are wanted, they come
# side by side in this order, which is that of sentence-transformers.
POOLINGS: Mapping[str, Callable[[Array, Array], Array]] = {
    "cls": lambda x, _: x[:, 0],
    "max": lambda x, mask: jnp.max(jnp.where(mask[..., None], x, LOWEST), axis=1),
    "mean": lambda x, mask: _sum(x, mask) / _count(mask),
    "mean_sqrt_len_tokens": lambda x, mask: _sum(x, mask) / jnp.sqrt(_count(mask)),
    "weightedmean": _by_place,
    "lasttoken": _last,
}


class Projection(NamedTuple):
    """A dense layer after the pooling.

    name: of its parameters.
    width: of its output.
    bias: whether it has one.
    activation: a name in `mmjax.nn.options.ACTIVATIONS`.
    """

    name: str
    width: int
    bias: bool
    activation: str


def pooled(
    x: Float[Array, "B L D"], mask: Bool[Array, "B L"], names: tuple[str, ...]
) -> Float[Array, "B E"]:
    """The poolings called `names`, side by side; masked tokens count for none but "cls".

    A text without a real token gives zeros, and the lowest number for "max".
    """
    return jnp.concatenate([choose(POOLINGS, name, "pooling")(x, mask) for name in names], axis=1)


class SentenceTower(nn.Module):
    """The outputs of a text tower, and sentence_embedding [B E].

    Attributes:
        tower: gives "last_hidden_state" [B L D].
        poolings: names in POOLINGS.
        steps: what follows them: dense layers, and None for a vector made of length one.
        dtype: type of the computation; poolings and lengths are in float32.
    """

    tower: nn.Module
    poolings: tuple[str, ...]
    steps: tuple[Projection | None, ...] = ()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        input_ids: Int[Array, "B L"],
        attention_mask: Shaped[Array, "B L"] | None = None,
        **inputs: Any,
    ) -> dict[str, Any]:
        """Takes what the tower takes."""
        outputs = self.tower(input_ids, attention_mask, **inputs)
        mask = as_mask(attention_mask)
        mask = jnp.ones(input_ids.shape, bool) if mask is None else mask
        x = pooled(outputs["last_hidden_state"].astype(jnp.float32), mask, self.poolings)
        for step in self.steps:
            if step is None:
                squares = jnp.sum(x * x, axis=1, keepdims=True)
                x = x / jnp.sqrt(jnp.maximum(squares, SHORTEST**2))  # no NaN in the gradient at 0
            else:
                x = Dense(step.width, step.bias, dtype=self.dtype, name=step.name)(x)
                x = activation(step.activation)(x.astype(jnp.float32))
        return {**outputs, "sentence_embedding": x}
