"""Backbones of several kinds of input and one space: CLIP (Radford et al. 2021,
https://arxiv.org/abs/2103.00020), SigLIP (Zhai et al. 2023, https://arxiv.org/abs/2303.15343), CLAP
(Wu et al. 2022, https://arxiv.org/abs/2211.06687) and their like."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.options import activation

# From the parts of a DualEncoder to their kinds of input.
KINDS: Mapping[str, str] = {"vision": "image", "audio": "audio", "text": "text"}


class Given(NamedTuple):
    """An input of a DualEncoder: its name, the part that takes it, and its name there."""

    name: str
    part: str
    taken: str = ""


class MlpProjection(nn.Module):
    """Two dense layers [B D] -> [B E], as of CLAP; parameters "linear1", "linear2".

    Attributes:
        width: E.
        activation: between them.
        dtype: type of the computation.
    """

    width: int
    activation: str
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B D"]) -> Float[Array, "B E"]:
        x = Dense(self.width, dtype=self.dtype, name="linear1")(x)
        x = activation(self.activation)(x)
        return Dense(self.width, dtype=self.dtype, name="linear2")(x)


class Projected(nn.Module):
    """A backbone and what projects its pooled vector; parameters "backbone" and "projection".

    Attributes:
        backbone: the backbone; gives "pooler_output" [B D].
        projection: [B D] -> [B E]. None: the pooled vector is the embedding.
        embeds: the name of the embeddings in the outputs.
    """

    backbone: nn.Module
    projection: nn.Module | None = None
    embeds: str = "embeds"

    def __call__(self, *args: Any, **inputs: Any) -> dict[str, Any]:
        """The outputs of the backbone, and the embeddings [B E], float32, of any length."""
        outputs = self.backbone(*args, **inputs)
        x = outputs["pooler_output"]
        x = x if self.projection is None else self.projection(x)
        return {**outputs, self.embeds: x.astype(jnp.float32)}


class DualEncoder(nn.Module):
    """Embeddings of two kinds of input, and how well each fits each.

    Attributes:
        text, vision, audio: its parts: text and one of the others.
        inputs: all that it takes, by the names of the model's library; the first of a part is its
            raw value, without which the part does not run.
        bias: whether a learned bias is added to the logits (SigLIP).
        text_scale: whether the logits of texts have a learned factor of their own (CLAP).
        scalars: the shape of factor and bias: () or (1,).
        epsilon: added to the length that embeddings are divided by.
        channels_last: whether images are [B H W C]. Else they are [B C H W].
        projected: whether the "pooler_output" of a part's outputs is given as projected.
        aliases: further names of outputs, each with the name it has here. "logit_scale" (the factor
            itself) and "logit_bias" are outputs with an alias only.
    """

    text: Projected
    vision: Projected | None = None
    audio: Projected | None = None
    inputs: tuple[Given, ...] = ()
    bias: bool = False
    text_scale: bool = False
    scalars: tuple[int, ...] = ()
    epsilon: float = 0.0
    channels_last: bool = False
    projected: bool = False
    aliases: tuple[tuple[str, str], ...] = ()

    @nn.compact
    def __call__(
        self,
        *values: Array | None,
        output_hidden_states: bool = False,
        deterministic: bool = True,
        **inputs: Array | None,
    ) -> dict[str, Any]:
        """Takes `inputs` by name, or in their order.

        Returns:
            Of the parts whose input is given, KIND_embeds [B E] of length one and
            PART_model_output. Of two parts logits_per_KIND, too: cosines times the factor plus the
            bias.
        """
        named = zip(self.inputs[: len(values)], values, strict=True)
        inputs |= {given.name: x for given, x in named}
        flags = {"output_hidden_states": output_hidden_states, "deterministic": deterministic}
        outputs: dict[str, Any] = {}
        parts = {name: part for name in KINDS if (part := getattr(self, name)) is not None}
        for name, part in parts.items():
            given = self._given(name, inputs)
            if given:
                found = part(**given, **flags)
                x = found.pop(part.embeds)
                if self.projected:
                    found["pooler_output"] = x
                length = jnp.linalg.norm(x, axis=-1, keepdims=True) + self.epsilon
                outputs |= {f"{KINDS[name]}_embeds": x / length, f"{name}_model_output": found}
        scale = jnp.exp(self._scalar("logit_scale", math.log(1 / 0.07)))
        own = scale
        if self.text_scale:
            own = jnp.exp(self._scalar("logit_scale_text", math.log(1 / 0.07)))
        bias = self._scalar("logit_bias", -10.0) if self.bias else 0
        other = next(KINDS[name] for name in parts if name != "text")
        if f"{other}_embeds" in outputs and "text_embeds" in outputs:
            cosines = outputs[f"{other}_embeds"] @ outputs["text_embeds"].T
            outputs[f"logits_per_{other}"] = cosines * scale + bias
            outputs["logits_per_text"] = cosines.T * own + bias
        known = {**outputs, "logit_scale": scale, "logit_bias": bias}
        return outputs | {new: known[old] for new, old in self.aliases if old in known}

    def _given(self, part: str, inputs: Mapping[str, Array | None]) -> dict[str, Array]:
        """What of the inputs a part takes, by the names there; {} without its raw value."""
        taken = [given for given in self.inputs if given.part == part]
        if inputs.get(taken[0].name) is None:
            return {}
        found = {g.taken or g.name: inputs[g.name] for g in taken if inputs.get(g.name) is not None}
        if part == "vision" and self.channels_last:
            found |= {name: jnp.moveaxis(x, 3, 1) for name, x in found.items()}
        return found

    def _scalar(self, name: str, value: float) -> Array:
        return self.param(name, nn.initializers.constant(value), self.scalars, jnp.float32)
