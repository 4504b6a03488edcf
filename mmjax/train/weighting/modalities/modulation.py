"""Slower encoders for modalities that are ahead: OGM-GE and AGM.

The update takes `alone` [M] by keyword: for each modality the loss of the model when only that one
is there, a mean of -log p. The parameters of a modality are those below encoders_NAME.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, UInt32

from mmjax.train.partition import path_name

PerModality = Float[Array, " M"]


def modality_of(path: Any, modalities: Sequence[str]) -> int | None:
    """The number of the modality whose encoder a parameter belongs to; None: of none."""
    parts = path_name(path).split("/")
    return next((i for i, name in enumerate(modalities) if f"encoders_{name}" in parts), None)


def others(values: PerModality) -> PerModality:
    """For each modality the mean of the other ones; of a single one its own value."""
    count = len(values)
    return values if count == 1 else (values.sum() - values) / (count - 1)


class OgmState(NamedTuple):
    """The random key of the noise."""

    key: UInt32[Array, "2"]


def ogm_ge(
    *, modalities: tuple[str, ...], alpha: float = 0.5, noise: bool = True, seed: int = 0
) -> optax.GradientTransformationExtraArgs:
    """OGM-GE: the gradients of encoders that are ahead are made smaller, and noise is added.

    With scores s_m = exp(-loss of m alone) and ratios r_m = s_m / the mean of the others, those
    with r_m > 1 get the factor 1 - tanh(alpha r_m). The noise has the deviation of each gradient
    array before. Peng et al. 2022 (https://arxiv.org/abs/2203.15332), there for two modalities.

    Args:
        modalities: names of all encoders.
        alpha: 0 leaves gradients as they are.
        noise: whether noise is added ("generalisation enhancement").
        seed: of the noise; the key is in the state.
    """

    def update(updates, state, params=None, *, alone=None, **_):
        del params
        scores = jnp.exp(-_given(alone, modalities, "ogm_ge"))
        ratios = scores / jnp.maximum(others(scores), 1e-12)
        factors = jnp.where(ratios > 1, 1 - jnp.tanh(alpha * ratios), 1.0)
        # A comparison with nan is False: what is not finite must not look like being behind.
        factors = jnp.where(jnp.isnan(ratios), jnp.nan, factors)
        key, drawn = jax.random.split(state.key)

        def scaled(path, number: int, x: jax.Array) -> jax.Array:
            found = modality_of(path, modalities)
            if found is None:
                return x
            added = jnp.zeros_like(x)
            if noise:
                one = jax.random.normal(jax.random.fold_in(drawn, number), x.shape, x.dtype)
                added = jnp.std(x) * one
            return (factors[found] * x + added).astype(x.dtype)

        return _numbered(scaled, updates), OgmState(key)

    return optax.GradientTransformationExtraArgs(
        lambda _: OgmState(jax.random.PRNGKey(seed)), update
    )


class AgmState(NamedTuple):
    """The mean scores so far, and of how many steps they are."""

    means: Float[Array, " M"]
    count: Int[Array, ""]


def agm(
    *, modalities: tuple[str, ...], alpha: float = 1.0
) -> optax.GradientTransformationExtraArgs:
    """AGM: encoders whose lead is larger than it was on average get smaller gradients.

    With scores s_m = -loss of m alone, leads r_m = exp(s_m - mean of the others) and t_m the same
    of the scores' means over all steps, the factors are exp(-alpha (r_m - t_m)). Li et al. 2023
    (https://arxiv.org/abs/2308.07686), where what a modality says alone is a Shapley value; here
    the others are left out.

    Args:
        modalities: names of all encoders.
        alpha: 0 leaves gradients as they are.
    """

    def update(updates, state, params=None, *, alone=None, **_):
        del params
        scores = -_given(alone, modalities, "agm")
        count = state.count + 1
        means = state.means + (scores - state.means) / count
        # exp of at most 20: a modality that knows nothing must not make the others stop for good.
        lead, usual = (jnp.exp(jnp.clip(x - others(x), -20, 20)) for x in (scores, means))
        factors = jnp.clip(jnp.exp(-alpha * (lead - usual)), 0.0, 10.0)

        def scaled(path, _: int, x: jax.Array) -> jax.Array:
            found = modality_of(path, modalities)
            return x if found is None else (factors[found] * x).astype(x.dtype)

        finite = jnp.isfinite(scores).all()
        kept = AgmState(
            jnp.where(finite, means, state.means), jnp.where(finite, count, state.count)
        )
        return _numbered(scaled, updates), kept

    def init(params) -> AgmState:
        del params
        return AgmState(jnp.zeros(len(modalities)), jnp.zeros((), jnp.int32))

    return optax.GradientTransformationExtraArgs(init, update)


def _given(alone: PerModality | None, modalities: Sequence[str], name: str) -> PerModality:
    if alone is None or len(alone) != len(modalities):
        raise ValueError(
            f"{name} needs alone, a loss of each of {', '.join(modalities)}:"
            " optimizer.update(..., alone=alone)"
        )
    return alone


def _numbered(function: Callable[[Any, int, jax.Array], jax.Array], tree: Any) -> Any:
    """function(path, number, array) of each array of a tree."""
    leaves, form = jax.tree_util.tree_flatten_with_path(tree)
    return jax.tree.unflatten(form, [function(p, i, x) for i, (p, x) in enumerate(leaves)])
