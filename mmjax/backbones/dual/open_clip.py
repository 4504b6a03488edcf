"""The two towers of open_clip and of OpenAI's CLIP: their inputs and outputs."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from mmjax.backbones.dual.dual import unit
from mmjax.nn.layers.dense import Dense


class FeatureTower(nn.Module):
    """A tower and what projects its pooled vector.

    Attributes:
        tower: gives "pooler_output"; parameters "tower".
        width: E of the features. None: the pooled vector is the feature.
        bias: whether the projection has one.
        dtype: type of the computation.
    """

    tower: nn.Module
    width: int | None = None
    bias: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, *args: Any, **inputs: Any) -> dict[str, Any]:
        """The outputs of the tower, and "features" [B E] of any length."""
        outputs = self.tower(*args, **inputs)
        features = outputs["pooler_output"]
        if self.width is not None:
            project = Dense(self.width, self.bias, dtype=self.dtype, name="projection")
            features = project(features)
        return {**outputs, "features": features.astype(jnp.float32)}


class OpenClip(nn.Module):
    """Features of pictures and of texts, and how well each fits each.

    The inputs are those of open_clip. So are the outputs image_features and text_features (of
    length one), logit_scale (the factor itself, not its logarithm) and logit_bias; image_embeds,
    text_embeds, logits_per_image and logits_per_text are the names of transformers' CLIP.

    Attributes:
        vision, text: the towers; each gives "features".
        bias: whether a learned bias is added to the logits.
        scalars: the shape of the scale and of the bias: () or (1,).
    """

    vision: FeatureTower
    text: FeatureTower
    bias: bool = False
    scalars: tuple[int, ...] = ()

    @nn.compact
    def __call__(
        self,
        image: Array | None = None,
        text: Array | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """Pictures [I 3 H W], texts [T L] or both: their outputs; of both, logits [I T], too."""
        flags = {"output_hidden_states": output_hidden_states, "deterministic": deterministic}
        outputs: dict[str, Any] = {}
        for kind, name, tower, given in (
            ("image", "vision", self.vision, image),
            ("text", "text", self.text, text),
        ):
            if given is not None:
                found = tower(given, **flags)
                features = unit(found.pop("features"))
                outputs |= {f"{kind}_features": features, f"{kind}_embeds": features}
                outputs[f"{name}_model_output"] = found
        outputs["logit_scale"] = jnp.exp(self._scalar("logit_scale", math.log(1 / 0.07)))
        if self.bias:
            outputs["logit_bias"] = self._scalar("logit_bias", -10.0)
        if image is not None and text is not None:
            cosines = outputs["image_features"] @ outputs["text_features"].T
            logits = cosines * outputs["logit_scale"] + outputs.get("logit_bias", 0)
            outputs |= {"logits_per_image": logits, "logits_per_text": logits.T}
        return outputs

    def _scalar(self, name: str, value: float) -> Array:
        return self.param(name, nn.initializers.constant(value), self.scalars, jnp.float32)
