"""CLAP: sounds and texts in one space (Wu et al. 2022, https://arxiv.org/abs/2211.06687)."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.backbones.dual.dual import unit
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.options import activation


class Projection(nn.Module):
    """Two dense layers [B D] -> [B E]; parameters "linear1", "linear2".

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


class ClapTower(nn.Module):
    """Embeddings of sounds and of texts, and how well each fits each.

    Attributes:
        audio, text: the towers; each gives "pooler_output".
        projection: E, the width of the projections of both.
        activation: in them.
        dtype: type of the computation.
    """

    audio: nn.Module
    text: nn.Module
    projection: int
    activation: str = "relu"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        input_ids: Array | None = None,
        input_features: Array | None = None,
        is_longer: Array | None = None,
        attention_mask: Array | None = None,
        position_ids: Array | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """The outputs of what is given: of sounds, of texts, or of both and their logits."""
        flags = {"output_hidden_states": output_hidden_states, "deterministic": deterministic}
        found: dict[str, Any] = {}
        if input_features is not None:
            found["audio"] = self.audio(input_features, is_longer, **flags)
        if input_ids is not None:
            found["text"] = self.text(input_ids, attention_mask, position_ids=position_ids, **flags)
        outputs: dict[str, Any] = {}
        for kind, given in found.items():
            project = Projection(
                self.projection, self.activation, self.dtype, name=f"{kind}_projection"
            )
            embeds = project(given["pooler_output"]).astype(jnp.float32)
            outputs |= {f"{kind}_embeds": unit(embeds), f"{kind}_model_output": given}
        init = nn.initializers.constant(math.log(1 / 0.07))
        scales = {
            kind: jnp.exp(self.param(f"logit_scale_{kind[0]}", init, (), jnp.float32))
            for kind in ("audio", "text")
        }
        if len(found) == 2:
            cosines = outputs["audio_embeds"] @ outputs["text_embeds"].T
            outputs["logits_per_audio"] = cosines * scales["audio"]
            outputs["logits_per_text"] = cosines.T * scales["text"]
        return outputs


class ProjectedHalf(nn.Module):
    """One tower and its projection.

    Attributes:
        tower: gives "pooler_output".
        projection, activation: as of ClapTower.
        embeds: the name of the embeddings, which have any length here.
        dtype: type of the computation.
    """

    tower: nn.Module
    projection: int
    activation: str
    embeds: str
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, *args: Any, **inputs: Any) -> dict[str, Any]:
        """The outputs of the tower, and NAME_embeds [B E]."""
        outputs = self.tower(*args, **inputs)
        project = Projection(self.projection, self.activation, self.dtype, name="projection")
        return {self.embeds: project(outputs["pooler_output"]), **outputs}
