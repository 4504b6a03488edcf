"""The models of big_vision: their inputs and outputs."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from mmjax.backbones.dual.open_clip import FeatureTower


class ImageModel(nn.Module):
    """image [B H W 3] -> pre_logits [B D], logits [B C] where there is a head, and the tokens.

    Attributes:
        tower: gives "features", which are the logits.
    """

    tower: FeatureTower

    @nn.compact
    def __call__(
        self, image: Array, *, output_hidden_states: bool = False, deterministic: bool = True
    ) -> dict[str, Any]:
        """The pictures have the range that the model was trained on, for most of them -1 to 1."""
        flags = {"output_hidden_states": output_hidden_states, "deterministic": deterministic}
        outputs = self.tower(jnp.moveaxis(image, 3, 1), **flags)
        logits, pooled = outputs.pop("features"), outputs["pooler_output"]
        heads = {"logits": logits} if self.tower.width else {}
        return {**heads, "pre_logits": pooled, **outputs}


class TwoTowers(nn.Module):
    """Embeddings of pictures and of texts, and how well each fits each.

    The names are big_vision's: zimg and ztxt (of length one), t (the factor itself) and b; the
    others are those of transformers' SigLIP.

    Attributes:
        vision, text: the towers; each gives "features".
        bias: whether a learned bias is added to the logits.
    """

    vision: FeatureTower
    text: FeatureTower
    bias: bool = True

    @nn.compact
    def __call__(
        self,
        image: Array | None = None,
        text: Array | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """Pictures [I H W 3], texts [T L] or both: their outputs; of both, logits [I T], too."""
        flags = {"output_hidden_states": output_hidden_states, "deterministic": deterministic}
        outputs: dict[str, Any] = {}
        if image is not None:
            found = self.vision(jnp.moveaxis(image, 3, 1), **flags)
            outputs["zimg"] = outputs["image_embeds"] = nearly_unit(found.pop("features"))
            outputs["vision_model_output"] = found
        if text is not None:
            found = self.text(text, **flags)
            outputs["ztxt"] = outputs["text_embeds"] = nearly_unit(found.pop("features"))
            outputs["text_model_output"] = found
        outputs["t"] = jnp.exp(self.param("t", nn.initializers.zeros, (1,), jnp.float32))
        if self.bias:
            outputs["b"] = self.param("b", nn.initializers.zeros, (1,), jnp.float32)
        if image is not None and text is not None:
            logits = outputs["zimg"] @ outputs["ztxt"].T * outputs["t"] + outputs.get("b", 0)
            outputs |= {"logits_per_image": logits, "logits_per_text": logits.T}
        return outputs


def nearly_unit(x: Array) -> Array:
    """x / (|x| + 1e-8), as big_vision has it."""
    return x / (jnp.linalg.norm(x, axis=-1, keepdims=True) + 1e-8)
