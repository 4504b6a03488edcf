"""The head of every published model that classifies."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.options import activation, choose
from mmjax.nn.layers.pooling import masked_mean

# From tokens [B N D] and which are real [B N]: what is classified, [B D] or [B N D].
READS: Mapping[str, Callable[[Array, Array], Array]] = {
    "first": lambda x, _: x[:, 0],
    "mean": masked_mean,
    "tokens": lambda x, _: x,
}
POOLED = "pooled"


class Classifier(nn.Module):
    """The outputs of a backbone, and float32 logits: [B C], or [B N C] where it reads each token.

    What it reads passes a norm and a hidden layer, if there are any, and then the last layer;
    parameters "backbone" (the backbone), "weights", "norm", "hidden", "classifier".

    Attributes:
        backbone: gives "pooler_output" [B D] or [B D 1 1], or "last_hidden_state" [B N D].
        classes: C.
        dtype: type of the computation.
        reads: "pooled" (the pooled vector) or a name in READS, of the tokens.
        lead: tokens before those that it reads, such as a class token before patches.
        token_mask: (backbone, its inputs by name, N) -> which tokens are real [B N], or None if all
            are. None: all are.
        weighted: whether the tokens are a mean of all hidden states, weighed by a learned softmax.
        epsilon: of the norm. None: there is none.
        width: of the hidden layer. None: there is none.
        activation: after it, a name in `mmjax.nn.layers.options.ACTIVATIONS`.
        spans: whether the two logits of each token are start_logits and end_logits [B N], that an
            answer begins and ends there, in place of logits.
    """

    backbone: nn.Module
    classes: int
    dtype: Any = jnp.float32
    reads: str = POOLED
    lead: int = 0
    token_mask: Callable[[nn.Module, Mapping[str, Any], int], Array | None] | None = None
    weighted: bool = False
    epsilon: float | None = None
    width: int | None = None
    activation: str = "identity"
    spans: bool = False

    @nn.compact
    def __call__(
        self, *args: Any, output_hidden_states: bool = False, **inputs: Any
    ) -> dict[str, Any]:
        """Takes what the backbone takes."""
        wanted = output_hidden_states or self.weighted
        outputs = dict(self.backbone(*args, output_hidden_states=wanted, **inputs))
        if self.reads == POOLED:
            x = outputs["pooler_output"].reshape(len(outputs["pooler_output"]), -1)
        else:
            x = self._read(outputs, inputs)
        if not output_hidden_states:
            outputs.pop("hidden_states", None)
        if self.epsilon is not None:
            x = LayerNorm(self.epsilon, name="norm")(x)
        if self.width is not None:
            x = Dense(self.width, dtype=self.dtype, name="hidden")(x)
            x = activation(self.activation)(x)
        logits = Dense(self.classes, dtype=self.dtype, name="classifier")(x).astype(jnp.float32)
        if self.spans:
            return {"start_logits": logits[..., 0], "end_logits": logits[..., 1], **outputs}
        return {"logits": logits, **outputs}

    def _read(self, outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> Array:
        x = outputs["last_hidden_state"]
        if self.weighted:
            states = outputs["hidden_states"]
            weights = self.param("weights", nn.initializers.ones, (len(states),), jnp.float32)
            shares = jax.nn.softmax(weights).astype(x.dtype)
            x = jnp.einsum("n,nbld->bld", shares, jnp.stack(states))
        x, mask = x[:, self.lead :], None
        if self.token_mask is not None:
            mask = self.token_mask(self.backbone, inputs, x.shape[1])
        mask = jnp.ones(x.shape[:2], bool) if mask is None else mask
        return choose(READS, self.reads, "reads")(x, mask)


class ImageModel(nn.Module):
    """image [B H W 3] -> the outputs of a backbone, pre_logits [B D], and with a last layer logits
    [B C], as big_vision names them.

    Attributes:
        backbone: the backbone, which takes [B 3 H W] and gives "pooler_output".
        projection: the last layer, [B D] -> [B C]. None: there is none.
    """

    backbone: nn.Module
    projection: nn.Module | None = None

    def __call__(
        self, image: Array, *, output_hidden_states: bool = False, deterministic: bool = True
    ) -> dict[str, Any]:
        """The images have the range that the model was trained on, for most of them -1 to 1."""
        flags = {"output_hidden_states": output_hidden_states, "deterministic": deterministic}
        outputs = self.backbone(jnp.moveaxis(image, 3, 1), **flags)
        outputs["pre_logits"] = x = outputs["pooler_output"]
        if self.projection is not None:
            outputs["logits"] = self.projection(x).astype(jnp.float32)
        return outputs
