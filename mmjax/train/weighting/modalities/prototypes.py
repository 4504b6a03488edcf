"""Prototypes of the classes in the features of each modality, and what pulls to them: PMR."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mmjax.errors import UserError
from mmjax.train.weighting.contract import FeatureLoss
from mmjax.types import MASK

Prototypes = Float[Array, "C D"]
PerModality = Float[Array, " M"]
NO_CLASS = -1e30  # the logit of a class without a prototype: finite, so that no gradient is NaN


class PmrState(NamedTuple):
    """By modality the prototype of each class, and which classes have one yet."""

    prototypes: Mapping[str, Prototypes]
    seen: Mapping[str, Bool[Array, " C"]]


def pmr(
    *,
    modalities: tuple[str, ...],
    target: str,
    classes: int,
    alpha: float = 1.0,
    mu: float = 0.01,
    early: int = 500,
    momentum: float = 0.9,
) -> FeatureLoss:
    """PMR: features of a modality that is behind are pulled to the prototypes of their classes.

    By the distances d_c of a row's features to the prototypes of its modality, p = softmax(-d). A
    modality has the score s_m, the mean of p of the true class; with r_m = s_m / the mean of the
    others, its loss -log p of the true class weighs alpha clip(1 / r_m - 1, 0, 1), and up to the
    step `early` the entropy of p weighs -mu clip(r_m - 1, 0, 1), lest what is ahead gets sure too
    soon. Fan et al. 2023 (https://arxiv.org/abs/2211.07089), there for two modalities.

    A prototype is a moving average over steps of the mean features of its class in a batch, as they
    are in training, and a row is compared with those of before its batch; in the paper it is one
    over epochs, of a tenth of the training set in evaluation. Rows whose class has no prototype
    yet, that lack the modality or have no label do not count.

    Args:
        modalities: names of all encoders; the model puts out "encoder/NAME" [B D] of each.
        target: the key of the labels int [B] in a batch.
        classes: C.
        alpha: weight of the pull.
        mu: weight of the entropy.
        early: the step from which the entropy does not count any more.
        momentum: share of a prototype that stays when a batch has rows of its class.
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum={momentum}: give 0 or more, and less than 1")

    def init(outputs: Mapping[str, Any]) -> PmrState:
        missing = [name for name in modalities if f"encoder/{name}" not in outputs]
        if missing:
            raise UserError(f"pmr: this model puts out no encoder/{missing[0]} to have prototypes")
        widths = {name: outputs[f"encoder/{name}"].shape[-1] for name in modalities}
        return PmrState(
            {name: jnp.zeros((classes, width)) for name, width in widths.items()},
            {name: jnp.zeros(classes, bool) for name in widths},
        )

    def value(outputs, batch, step, state: PmrState) -> tuple[Float[Array, ""], PmrState]:
        known = batch[MASK] & batch.get(f"{target}_mask", True)
        labels = jnp.where(known, batch[target], 0)
        scores, counts, pulls, entropies, prototypes, seen = [], [], [], [], {}, {}
        for name in modalities:
            features = outputs[f"encoder/{name}"].astype(jnp.float32)
            there = known & outputs[f"encoder/{name}_mask"]
            old, there_yet = state.prototypes[name], state.seen[name]
            counted = there & there_yet[labels]
            log_p = jax.nn.log_softmax(jnp.where(there_yet, -distances(features, old), NO_CLASS))
            of_true = jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]
            counts.append(jnp.sum(counted))
            scores.append(_mean(jnp.exp(of_true), counted))
            pulls.append(_mean(-of_true, counted))
            entropies.append(_mean(-jnp.sum(jnp.exp(log_p) * log_p, axis=-1), counted))
            prototypes[name], seen[name] = moved(
                old, there_yet, jax.lax.stop_gradient(features), labels, there, momentum
            )
        ratios = ratios_to_others(jax.lax.stop_gradient(jnp.stack(scores)), jnp.stack(counts) > 0)
        behind, ahead = (jnp.clip(x - 1, 0.0, 1.0) for x in (1 / ratios, ratios))
        loss = alpha * behind @ jnp.stack(pulls)
        loss -= mu * (step < early) * ahead @ jnp.stack(entropies)
        return loss, PmrState(prototypes, seen)

    return FeatureLoss(init, value)


def distances(features: Float[Array, "B D"], prototypes: Prototypes) -> Float[Array, "B C"]:
    """Euclidean distances; one of 0 has a gradient of 0."""
    squares = jnp.sum((features[:, None] - prototypes) ** 2, axis=-1)
    apart = squares > 0
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, squares, 1.0)), 0.0)


def moved(
    prototypes: Prototypes,
    seen: Bool[Array, " C"],
    features: Float[Array, "B D"],
    labels: Int[Array, " B"],
    there: Bool[Array, " B"],
    momentum: float,
) -> tuple[Prototypes, Bool[Array, " C"]]:
    """momentum * prototype + (1 - momentum) * mean of the class, and which classes have one now.

    The first mean of a class is its prototype; one without rows that are there stays.
    """
    chosen = jax.nn.one_hot(labels, len(prototypes)) * there[:, None]  # [B C]
    count = jnp.sum(chosen, axis=0)
    features = jnp.where(there[:, None], features, 0.0)
    mean = chosen.T @ features / jnp.maximum(count, 1)[:, None]
    stays = jnp.where(seen, momentum, 0.0)[:, None]
    new = jnp.where(count[:, None] > 0, stays * prototypes + (1 - stays) * mean, prototypes)
    return new, seen | (count > 0)


def ratios_to_others(scores: PerModality, there: Bool[Array, " M"]) -> PerModality:
    """Each score over the mean of the others' among those that are there; 1 where one misses."""
    total, count = jnp.sum(scores, where=there), jnp.sum(there)
    others = (total - scores) / jnp.maximum(count - 1, 1)
    compared = there & (count > 1)
    ratios = jnp.maximum(scores, 1e-12) / jnp.maximum(others, 1e-12)
    return jnp.where(compared, ratios, 1.0)


def _mean(values: Float[Array, " B"], where: Bool[Array, " B"]) -> Float[Array, ""]:
    return jnp.sum(jnp.where(where, values, 0.0)) / jnp.maximum(jnp.sum(where), 1)
