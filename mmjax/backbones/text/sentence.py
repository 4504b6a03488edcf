"""One vector for a sentence, as sentence-transformers computes it (Reimers and Gurevych 2019,
https://arxiv.org/abs/1908.10084): pooled tokens, dense layers, length one."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from mmjax.backbones.stack import as_mask
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.options import activation, choose

NEG_INF = -1e9  # what a token that is not real is for a maximum
NORM_EPSILON = 1e-5  # of PyTorch's layer norm
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


# From tokens [B L D] and which are real [B L]: one vector [B D]. If several are switched on, they
# come side by side in this order, which is that of sentence-transformers.
POOLINGS: Mapping[str, Callable[[Array, Array], Array]] = {
    "cls": lambda x, _: x[:, 0],
    "max": lambda x, mask: jnp.max(jnp.where(mask[..., None], x, NEG_INF), axis=1),
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
    activation: a name in `mmjax.nn.layers.options.ACTIVATIONS`.
    residual: "" for none; "same": what comes in is added to what comes out; "projected": through a
        layer without bias and activation, whose parameters are called NAME_residual.
    """

    name: str
    width: int
    bias: bool
    activation: str
    residual: str = ""


class Norm(NamedTuple):
    """A layer norm after the pooling; `name`: of its parameters."""

    name: str


def without_prompt(mask: Bool[Array, "B L"], length: Int[Array, " B"]) -> Bool[Array, "B L"]:
    """The real tokens but for the first `length` of each text."""
    return mask & (jnp.cumsum(mask, axis=1) > length[:, None])


def pooled(
    x: Float[Array, "B L D"], mask: Bool[Array, "B L"], names: tuple[str, ...]
) -> Float[Array, "B E"]:
    """The poolings called `names`, side by side; masked tokens count for none but "cls".

    A text without a real token gives zeros, and the lowest number for "max".
    """
    return jnp.concatenate([choose(POOLINGS, name, "pooling")(x, mask) for name in names], axis=1)


class SentenceBackbone(nn.Module):
    """The outputs of a text backbone, and sentence_embedding [B E].

    Attributes:
        backbone: gives "last_hidden_state" [B L D].
        poolings: names in POOLINGS.
        steps: what follows them: dense layers, norms, and None for a vector made of length one.
        dtype: type of the computation; poolings, norms and lengths are in float32.
        excluded: whether the poolings leave out the tokens of a prompt.
    """

    backbone: nn.Module
    poolings: tuple[str, ...]
    steps: tuple[Projection | Norm | None, ...] = ()
    dtype: Any = jnp.float32
    excluded: bool = False

    @nn.compact
    def __call__(
        self,
        input_ids: Int[Array, "B L"],
        attention_mask: Shaped[Array, "B L"] | None = None,
        prompt_length: Int[Array, " B"] | None = None,
        **inputs: Any,
    ) -> dict[str, Any]:
        """Takes what the backbone takes, and how many tokens of each text are those of a prompt."""
        outputs = self.backbone(input_ids, attention_mask, **inputs)
        mask = as_mask(attention_mask)
        mask = jnp.ones(input_ids.shape, bool) if mask is None else mask
        x = outputs["last_hidden_state"].astype(jnp.float32)
        if self.excluded and prompt_length is not None:
            mask = without_prompt(mask, prompt_length)
            # "cls" is then the first token behind the prompt, whose own tokens no pooling reads.
            first = jnp.argmax(mask, axis=1)[:, None, None]
            x = x.at[:, 0].set(jnp.take_along_axis(x, first, axis=1)[:, 0])
        x = pooled(x, mask, self.poolings)
        for step in self.steps:
            if step is None:
                squares = jnp.sum(x * x, axis=1, keepdims=True)
                x = x / jnp.sqrt(jnp.maximum(squares, SHORTEST**2))  # no NaN in the gradient at 0
            elif isinstance(step, Norm):
                x = LayerNorm(NORM_EPSILON, name=step.name)(x)
            else:
                x = self._dense(step, x)
        return {**outputs, "sentence_embedding": x}

    def _dense(self, step: Projection, x: Float[Array, "B D"]) -> Float[Array, "B E"]:
        y = Dense(step.width, step.bias, dtype=self.dtype, name=step.name)(x)
        y = activation(step.activation)(y.astype(jnp.float32))
        if step.residual == "projected":
            x = Dense(step.width, False, dtype=self.dtype, name=f"{step.name}_residual")(x)
        return y + x.astype(jnp.float32) if step.residual else y
