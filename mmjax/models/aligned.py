"""The model of tasks that compare modalities: encoders -> one space."""

import math
from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mmjax.fusion.pooling.pooled import pool_tokens
from mmjax.models.critic import discriminate
from mmjax.models.fused import encode
from mmjax.models.matching import match_pairs
from mmjax.nn.layers.unit_length import unit_length
from mmjax.types import Input

MIN_TEMPERATURE = 0.01  # CLIP's: logits are scaled by at most 100


class AlignedModel(nn.Module):
    """Encoders, and a projection of each modality into one space.

    As in CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020), the temperature of a
    contrastive loss is learned here, and as in SigLIP (Zhai et al. 2023,
    https://arxiv.org/abs/2303.15343) its bias; a loss reads them if the config says so.

    Attributes:
        encoders: by modality: (value, mask, *, deterministic) -> Tokens.
        projections: by the same modalities: the mean of the tokens [B D] -> [B E].
        temperature: the first value of the learned temperature.
        bias: the first value of the learned bias; None: there is none.
        lowest: what the temperature stays above.
        asking: modalities that have a temperature of their own where they ask, as CLAP's texts.
        matcher: tokens of two modalities -> the logit that they match (see models.matching).
        critic: embeddings [B E] -> scores [B], high for those of one modality (see models.critic).
    """

    encoders: Mapping[str, nn.Module]
    projections: Mapping[str, nn.Module]
    temperature: float = 0.07
    bias: float | None = -10.0
    lowest: float = MIN_TEMPERATURE
    asking: tuple[str, ...] = ()
    matcher: nn.Module | None = None
    critic: nn.Module | None = None

    @nn.compact
    def __call__(
        self, inputs: Mapping[str, Input], *, deterministic: bool = True
    ) -> dict[str, Float[Array, "..."] | Bool[Array, " B"]]:
        """Embeddings of the modalities that are given, by name.

            projection/NAME: [B E], 0 where the modality is absent
            embedding/NAME: [B E], the same of length one
            projection/NAME_mask, embedding/NAME_mask: [B], whether it is there
            temperature, bias: scalars
            temperature/NAME: a scalar, of what NAME asks, where some have one of their own
            match/A-B, matching/...: with a matcher, the scores of pairs (see match_pairs); in
                training negatives are drawn (random stream "sample")
            critic/NAME: [B], with a critic, its score for a loss of the critic, and its _mask
            generator_score/NAME: [B], the same score for a loss of the encoders, and its _mask

        Raises:
            UserError: an input that no encoder takes, none at all, or what the parts raise.
        """

        def constant(name: str, value: float) -> Float[Array, ""]:
            return self.param(name, nn.initializers.constant(value), (), jnp.float32)

        def learned(name: str) -> Float[Array, ""]:
            scale = constant(name, -math.log(self.temperature))
            return jnp.maximum(jnp.exp(-scale), self.lowest)

        outputs = {"temperature": learned("logit_scale")}
        if self.bias is not None:
            outputs["bias"] = constant("logit_bias", self.bias)
        for name in self.encoders if self.asking else ():
            own = name in self.asking
            x = learned(f"logit_scale_{name}") if own else outputs["temperature"]
            outputs[f"temperature/{name}"] = x
        tokens = encode(self.encoders, inputs, deterministic=deterministic)
        for name in tokens:
            mean, present = pool_tokens(tokens[name])
            projected = self.projections[name](mean).astype(jnp.float32)
            x = jnp.where(present[:, None], projected, 0)
            made = {"projection": x, "embedding": unit_length(x)}
            if self.critic is not None:
                made["critic"], made["generator_score"] = discriminate(
                    self.critic, made["embedding"]
                )
            outputs |= {f"{kind}/{name}": value for kind, value in made.items()}
            outputs |= {f"{kind}/{name}_mask": present for kind in made}
        if self.matcher is not None:
            outputs |= match_pairs(
                self.matcher,
                tokens,
                {name: outputs[f"embedding/{name}"] for name in tokens},
                {name: contents(inputs[name]) for name in tokens},
                temperature=outputs["temperature"],
                key=None if deterministic else self.make_rng("sample"),
                deterministic=deterministic,
            )
        return outputs


def contents(given: Input) -> Int[Array, " B"] | None:
    """Numbers of the contents of examples, as far as they are known to be shared."""
    return given.index if given.id is None else given.id
