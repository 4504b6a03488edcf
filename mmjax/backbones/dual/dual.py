"""Two towers, one space: CLIP, SigLIP, CLAP."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.nn.layers.dense import Dense


def unit(x: Float[Array, "B E"]) -> Float[Array, "B E"]:
    """x / |x|."""
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


class DualTower(nn.Module):
    """Embeddings of pictures and of texts, and how well each fits each.

    Attributes:
        vision, text: the towers; each gives "pooler_output".
        projection: E, the width of the bias-free projections of both (CLIP). None: the pooled
            vectors are the embeddings (SigLIP).
        bias: whether a learned bias is added to the logits (SigLIP).
        scalars: the shape of the scale and of the bias: () or (1,).
        dtype: type of the computation.
    """

    vision: nn.Module
    text: nn.Module
    projection: int | None = None
    bias: bool = False
    scalars: tuple[int, ...] = ()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        input_ids: Array | None = None,
        pixel_values: Array | None = None,
        attention_mask: Array | None = None,
        position_ids: Array | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """The outputs of what is given: of pictures, of texts, or of both and their logits."""
        flags = {"output_hidden_states": output_hidden_states, "deterministic": deterministic}
        outputs: dict[str, Any] = {}
        if pixel_values is not None:
            found = self.vision(pixel_values, **flags)
            outputs |= self._project("image", "vision", "visual_projection", found)
        if input_ids is not None:
            found = self.text(input_ids, attention_mask, position_ids=position_ids, **flags)
            outputs |= self._project("text", "text", "text_projection", found)
        scale = self._scalar("logit_scale", math.log(1 / 0.07))
        bias = self._scalar("logit_bias", -10.0) if self.bias else 0
        if pixel_values is not None and input_ids is not None:
            cosines = outputs["text_embeds"] @ outputs["image_embeds"].T
            outputs["logits_per_text"] = cosines * jnp.exp(scale) + bias
            outputs["logits_per_image"] = outputs["logits_per_text"].T
        return outputs

    def _scalar(self, name: str, value: float) -> Array:
        return self.param(name, nn.initializers.constant(value), self.scalars, jnp.float32)

    def _project(self, kind: str, tower: str, name: str, found: dict[str, Any]) -> dict[str, Any]:
        """The embeddings of length one, and the tower's outputs with the projected vectors."""
        x = found["pooler_output"]
        if self.projection is not None:
            x = Dense(self.projection, use_bias=False, dtype=self.dtype, name=name)(x)
        return {
            f"{kind}_embeds": unit(x.astype(jnp.float32)),
            f"{tower}_model_output": {**found, "pooler_output": x},
        }


class ProjectedTower(nn.Module):
    """One tower and its projection.

    Attributes:
        tower: gives "pooler_output".
        projection: E.
        embeds: the name of the embeddings, which have any length here.
        dtype: type of the computation.
    """

    tower: nn.Module
    projection: int
    embeds: str
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, *args: Any, **inputs: Any) -> dict[str, Any]:
        """The outputs of the tower, and NAME_embeds [B E]."""
        outputs = dict(self.tower(*args, **inputs))
        project = Dense(self.projection, use_bias=False, dtype=self.dtype, name="projection")
        return {self.embeds: project(outputs["pooler_output"]), **outputs}
