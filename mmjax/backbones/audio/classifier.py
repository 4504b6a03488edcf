"""A classifier of whole sounds, on a tower of waveforms."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.backbones.audio.wav2vec2 import frames_of
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.pooling import masked_mean


def learned_mean(
    weights: Float[Array, " layers"], states: Sequence[Float[Array, "B N D"]]
) -> Float[Array, "B N D"]:
    """The mean of the hidden states of all layers, weighed by the softmax of `weights`."""
    shares = jax.nn.softmax(weights).astype(states[0].dtype)
    return jnp.einsum("n,nbld->bld", shares, jnp.stack(states))


class SpeechClassifier(nn.Module):
    """The outputs of a tower, and logits [B C] by two dense layers around the mean of its frames.

    Attributes:
        tower: a `mmjax.backbones.audio.wav2vec2.Wav2Vec2Tower`.
        width: between the two layers.
        classes: C.
        weighted: whether a learned mean of the hidden states is classified, not the last one.
        dtype: type of the computation.
    """

    tower: nn.Module
    width: int
    classes: int
    weighted: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, input_values: Array, *, output_hidden_states: bool = False, **inputs: Any
    ) -> dict[str, Any]:
        """Takes what the tower takes; frames that are not wholly of real samples do not count."""
        wanted = output_hidden_states or self.weighted
        outputs = dict(self.tower(input_values, output_hidden_states=wanted, **inputs))
        x = outputs["last_hidden_state"]
        if self.weighted:
            states = outputs["hidden_states"]
            weights = self.param("weights", nn.initializers.ones, (len(states),), jnp.float32)
            x = learned_mean(weights, states)
        if not output_hidden_states:
            outputs.pop("hidden_states", None)
        x = Dense(self.width, dtype=self.dtype, name="projector")(x)
        x = masked_mean(x, self._frames(x, inputs.get("lengths"), inputs.get("attention_mask")))
        logits = Dense(self.classes, dtype=self.dtype, name="classifier")(x)
        return {"logits": logits.astype(jnp.float32), **outputs}

    def _frames(self, x: Array, lengths: Array | None, mask: Array | None) -> Array:
        if lengths is None and mask is None:
            return jnp.ones(x.shape[:2], bool)
        samples = jnp.sum(mask != 0, axis=1) if lengths is None else lengths
        count = frames_of(samples, self.tower.sizes, self.tower.strides)
        return jnp.arange(x.shape[1]) < count[:, None]
