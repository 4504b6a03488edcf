"""The model of tasks that answer about everything an example has: encoders -> fusion -> heads."""

import dataclasses
from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Int, Shaped

from mmjax.errors import UserError
from mmjax.fusion.pooling.pooled import pool_tokens
from mmjax.nn.layers.ids import check_ids
from mmjax.nn.layers.mixup import mixup
from mmjax.nn.layers.modality_dropout import kept_modalities
from mmjax.types import Fused, Input, Tokens

Names = tuple[str, ...]


def share_rows(tokens: Tokens, index: Int[Array, " B"] | None) -> Tokens:
    """Tokens of R rows -> tokens of B examples; example i takes row index[i]. None: row i."""
    if index is None:
        return tokens
    rows = tokens.x.shape[0]
    check_ids("index", index, rows, "it says which row each example uses")
    index = jnp.where(index < 0, rows, index)  # which gives NaN, not a row from the end
    return Tokens(jnp.take(tokens.x, index, axis=0), jnp.take(tokens.mask, index, axis=0))


def encode(
    encoders: Mapping[str, nn.Module], inputs: Mapping[str, Input], *, deterministic: bool
) -> dict[str, Tokens]:
    """The tokens of each input by sorted name, one row for each example.

    An encoder runs once for each row of its input, however many examples share the row.

    Raises:
        UserError: an input that no encoder takes, or none at all.
    """
    unknown = sorted(set(inputs) - set(encoders))
    if unknown or not inputs:
        raise UserError(
            f"model inputs: {f'no encoder for {unknown}' if unknown else 'none given'}:"
            f" give one or more of {sorted(encoders)}"
        )
    tokens = {}
    for name in sorted(inputs):
        given = inputs[name]
        encoded = encoders[name](given.value, given.mask, deterministic=deterministic)
        tokens[name] = share_rows(encoded, given.index)
    return tokens


def encoder_outputs(tokens: Mapping[str, Tokens], whose: str = "encoder") -> dict[str, Array]:
    """What losses between encoders read: "encoder/NAME" [B D] and "encoder/NAME_mask" [B].

    The mean of the real tokens (zeros if there is none), and whether there is one.

    Args:
        tokens: by modality.
        whose: what names begin with.
    """
    outputs = {}
    for name in tokens:
        mean, outputs[f"{whose}/{name}_mask"] = pool_tokens(tokens[name])
        outputs[f"{whose}/{name}"] = mean.astype(jnp.float32)
    return outputs


def trunk_name(modalities: Names) -> str:
    """What the fusion of some of the modalities is called in `FusedModel.trunks`."""
    return "_".join(sorted(modalities))


def read_by(tokens: Mapping[str, Tokens], names: Names) -> dict[str, Tokens]:
    """The tokens of some modalities; of none that are there a masked one in each row."""
    there = {name: tokens[name] for name in names if name in tokens}
    if there:
        return there
    other = next(iter(tokens.values()))
    return {names[0]: Tokens(jnp.zeros_like(other.x[:, :1]), jnp.zeros_like(other.mask[:, :1]))}


class FusedModel(nn.Module):
    """Encoders, a fusion and heads, each injected: it names no modality and no task.

    A modality that a whole batch lacks may be left out of the inputs or be masked in every row;
    initialise with all of them.

    Attributes:
        encoders: by modality: (value, mask, *, deterministic) -> Tokens.
        fusion: (tokens by modality, *, deterministic) -> Fused.
        heads: by output: (fused, *, deterministic) -> array with a leading axis B.
        mixup: alpha of the mixup of fused vectors in training (see nn.mixup); 0 mixes nothing.
        modality_dropout: the share of modalities that the fusion does not see in training, never
            all of an example (see nn.modality_dropout).
        teachers: other encoders of some of the modalities, for losses to compare with; they run as
            in evaluation, and nothing but these losses reads what they put out.
        reads: by output, the modalities that its head reads, if not all of them.
        trunks: the fusions behind which these heads stand, by `trunk_name` of the modalities: heads
            that read the same share one. What heads that read other modalities share is encoders.
    """

    encoders: Mapping[str, nn.Module]
    fusion: nn.Module
    heads: Mapping[str, nn.Module]
    mixup: float = 0.0
    modality_dropout: float = 0.0
    teachers: Mapping[str, nn.Module] = dataclasses.field(default_factory=dict)
    reads: Mapping[str, Names] = dataclasses.field(default_factory=dict)
    trunks: Mapping[str, nn.Module] = dataclasses.field(default_factory=dict)

    @nn.compact
    def __call__(
        self, inputs: Mapping[str, Input], *, deterministic: bool = True
    ) -> dict[str, Shaped[Array, "B ..."]]:
        """The output of each head, and by the way to it what losses may read; float32.

            encoder/NAME: [B D], the mean of a modality's tokens; encoder/NAME_mask: [B]
            teacher/NAME, teacher/NAME_mask: the same of its teacher, if it has one
            fusion/NAME: the extras of the fusion of all modalities
            mixup/permutation, mixup/lambda: int [B] and [B], where examples were mixed (stream
                "sample"): the head saw lambda * own vector + (1 - lambda) * the other's

        An encoder runs once for each row of its input, however many examples share the row.

        Raises:
            UserError: an input that no encoder takes, none at all, mixup or dropped modalities
                beside trunks, or what the parts raise.
        """
        if self.reads and (self.mixup > 0 or self.modality_dropout > 0):
            raise UserError(
                "config.mixup and config.modality_dropout are of what all tasks read, and some read"
                f" less ({', '.join(self.reads)}): leave them out"
            )
        tokens = encode(self.encoders, inputs, deterministic=deterministic)
        fused: dict[str, Fused] = {}
        for names in self.reads.values():
            place = trunk_name(names)
            if place not in fused:
                seen = read_by(tokens, names)
                fused[place] = self.trunks[place](seen, deterministic=deterministic)
        given = {name: fused[trunk_name(names)] for name, names in self.reads.items()}
        extras, mixed = {}, {}
        if self.heads.keys() - self.reads.keys():
            shared, extras, mixed = self._shared(tokens, deterministic)
            given = dict.fromkeys(self.heads, shared) | given
        outputs = {
            name: head(given[name], deterministic=deterministic)
            for name, head in self.heads.items()
        }
        floats = {name: value.astype(jnp.float32) for name, value in (extras | outputs).items()}
        return floats | encoder_outputs(tokens) | self._taught(inputs) | mixed

    def _shared(
        self, tokens: Mapping[str, Tokens], deterministic: bool
    ) -> tuple[Fused, dict[str, Array], dict[str, Array]]:
        """What the heads of all modalities read, the fusion's extras, and what was mixed."""
        seen = tokens
        if self.modality_dropout > 0 and not deterministic:
            seen = self._dropped(tokens)
        fused = self.fusion(seen, deterministic=deterministic)
        extras = {f"fusion/{name}": value for name, value in fused.extras.items()}
        mixed = {}
        if self.mixup > 0 and not deterministic:
            there = [jnp.any(t.mask, axis=1) for t in tokens.values()]
            pooled, permutation, lam = mixup(
                self.make_rng("sample"),
                fused.pooled,
                mask=jnp.any(jnp.stack(there), axis=0),
                alpha=self.mixup,
            )
            fused = fused._replace(pooled=pooled)
            mixed = {"mixup/permutation": permutation, "mixup/lambda": lam}
        return fused, extras, mixed

    def _taught(self, inputs: Mapping[str, Input]) -> dict[str, Array]:
        """The outputs of the teachers of what is given."""
        given = {name: inputs[name] for name in self.teachers if name in inputs}
        if not given:
            return {}
        return encoder_outputs(encode(self.teachers, given, deterministic=True), "teacher")

    def _dropped(self, tokens: Mapping[str, Tokens]) -> dict[str, Tokens]:
        """The tokens without the modalities that are dropped; losses between encoders see all."""
        there = jnp.stack([jnp.any(t.mask, axis=1) for t in tokens.values()])
        kept = kept_modalities(self.make_rng("sample"), there, rate=self.modality_dropout)
        return {
            name: Tokens(jnp.where(stays[:, None, None], t.x, 0), t.mask & stays[:, None])
            for (name, t), stays in zip(tokens.items(), kept, strict=True)
        }
