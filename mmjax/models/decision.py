"""Decision-level fusion: each modality decides alone, and a rule combines the decisions."""

from collections.abc import Callable, Mapping, Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.errors import UserError
from mmjax.fusion.pooling.pooled import check_modalities, pool_tokens
from mmjax.models import combine
from mmjax.models.fused import encode, encoder_outputs
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose
from mmjax.types import Fused, Input


class WeightedAverage(nn.Module):
    """`combine.weighted` by a learned score for each modality, `score_NAME`; all start equal."""

    @nn.compact
    def __call__(
        self, names: Sequence[str], logits: Float[Array, "B M C"], present: Bool[Array, "B M"]
    ) -> Float[Array, "B C"]:
        """Logits [B M C] in the order of the names, and which are present -> logits [B C]."""
        zeros = nn.initializers.zeros
        scores = [self.param(f"score_{name}", zeros, (), jnp.float32) for name in names]
        return combine.weighted(logits, present, jnp.stack(scores))


class Stacking(nn.Module):
    """sum over the present modalities of log p_m @ kernel_m + bias_m.

    Stacked generalisation (Wolpert 1992, https://doi.org/10.1016/S0893-6080(05)80023-1): a linear
    layer over the log probabilities of all modalities, zeros for absent ones, and indicators of
    presence, whose rows of the kernel are the biases. It starts as the product rule.
    """

    @nn.compact
    def __call__(
        self, names: Sequence[str], logits: Float[Array, "B M C"], present: Bool[Array, "B M"]
    ) -> Float[Array, "B C"]:
        """Logits [B M C] in the order of the names, and which are present -> logits [B C]."""
        log_p = combine.log_probabilities(logits, present)
        parts = [
            Dense(logits.shape[-1], kernel_init=identity, name=name)(log_p[:, place])
            for place, name in enumerate(names)
        ]
        return jnp.sum(zero_masked(jnp.stack(parts, axis=1), present), axis=1)


def identity(_key: Array, shape: tuple[int, int], dtype: type) -> Float[Array, "C C"]:
    """An initialiser: the identity matrix."""
    return jnp.eye(*shape, dtype=dtype)


# (names, logits [B M C], present [B M], deterministic) -> logits [B C]
COMBINATIONS: Mapping[str, Callable[..., Array]] = {
    "average": lambda _, logits, present, __: combine.average(logits, present),
    "product": lambda _, logits, present, __: combine.product(logits, present),
    "stack": lambda names, logits, present, _: Stacking(name="stack")(names, logits, present),
    # Votes have no gradient, so training is on the average.
    "vote": lambda _, logits, present, deterministic: (
        combine.vote if deterministic else combine.average
    )(logits, present),
    "weighted": lambda names, logits, present, _: WeightedAverage(name="weighted")(
        names, logits, present
    ),
}


def _plain(rule: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    return lambda _, logits, present, __: rule(logits, present)


class DecisionModel(nn.Module):
    """Encoders and a head for each modality, and a rule that combines what the heads decide.

    A modality that a whole batch lacks may be left out of the inputs or be masked in every row;
    initialise with all of them. Absent modalities take no part in the combination.

    Attributes:
        encoders: by modality: (value, mask, *, deterministic) -> Tokens.
        heads: by the same modalities: (fused, *, deterministic) -> logits [B C], the same classes
            for all. A head sees one modality: its tokens, and their mean as the pooled vector.
        combine: "average" (mean probability), "weighted" (mean with learned weights that sum to
            one over the present modalities), "product" (sum of log probabilities), "vote"
            (majority; ties by mean probability; "average" when not deterministic, for votes have
            no gradient) or "stack" (a learned linear layer over log probabilities); or a function:
            (logits [B M C], which modalities are present [B M]) -> logits [B C].
        name_of: what the combined logits are called.
    """

    encoders: Mapping[str, nn.Module]
    heads: Mapping[str, nn.Module]
    combine: str | Callable[[Array, Array], Array] = "average"
    name_of: str = "label"

    @nn.compact
    def __call__(
        self, inputs: Mapping[str, Input], *, deterministic: bool = True
    ) -> dict[str, Shaped[Array, "B ..."]]:
        """The combined logits as "label" (see name_of), each modality's own as "label/NAME";
        float32.

        "label/NAME_mask" [B] says where it has any, and "encoder/NAME" is as in FusedModel.

        A modality's own logits are zeros where it is absent, and so uniform; the combined ones are
        uniform where all are. An encoder runs once for each row of its input, however many
        examples share the row.

        Raises:
            UserError: an input that no encoder takes, none at all, heads that are not those of the
                encoders or differ in classes, an unknown combination, or what the parts raise.
        """
        rule = self.combine
        rule = choose(COMBINATIONS, rule, "combine") if isinstance(rule, str) else _plain(rule)
        if set(self.encoders) != set(self.heads):
            raise UserError(
                f"decision model: encoders of {sorted(self.encoders)} but heads of"
                f" {sorted(self.heads)}: give one head for each encoder"
            )
        tokens = encode(self.encoders, inputs, deterministic=deterministic)
        logits, presence = {}, []
        for name in check_modalities(tokens, "decision"):
            mean, present = pool_tokens(tokens[name])
            decided = self.heads[name](Fused(tokens[name], mean), deterministic=deterministic)
            logits[name] = zero_masked(decided.astype(jnp.float32), present)
            presence.append(present)
        classes = {name: x.shape[-1] for name, x in logits.items()}
        if len(set(classes.values())) > 1:
            raise UserError(
                f"decision model: heads of different numbers of classes {classes}: make them equal"
            )
        stacked = jnp.stack(list(logits.values()), axis=1)
        combined = rule(tuple(logits), stacked, jnp.stack(presence, axis=1), deterministic)
        first = self.name_of
        own = {f"{first}/{name}": x for name, x in logits.items()}
        there = {f"{first}/{name}_mask": x for name, x in zip(logits, presence, strict=True)}
        return {first: combined} | own | there | encoder_outputs(tokens)
