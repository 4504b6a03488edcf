"""Learning-rate schedules and optimizers, from optax."""

import re
from collections.abc import Callable, Sequence

import jax
import optax

from mmjax.types import UserError

Params = dict


def path_name(path) -> str:
    """A parameter's path as a string: 'encoders_image/blocks_0/mlp/kernel'."""
    return "/".join(str(getattr(key, "key", key)) for key in path)


def decay_mask(params: Params) -> Params:
    """True where weight decay applies: all but biases, norm scales and other vectors."""

    def decays(path, leaf):
        return leaf.ndim > 1 and path_name(path).split("/")[-1] not in ("bias", "scale")

    return jax.tree_util.tree_map_with_path(decays, params)


def frozen_mask(params: Params, patterns: Sequence[str]) -> Params:
    """True where a parameter's path matches one of the regular expressions (`re.search`).

    Raises:
        UserError: a pattern is not a regular expression, or matches no parameter.
    """
    names = [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    for pattern in patterns:
        try:
            matched = any(re.search(pattern, name) for name in names)
        except re.error as error:
            raise UserError(
                f"config.optimizer.freeze: {pattern!r} is no regular expression: {error}"
            ) from error
        if not matched:
            raise UserError(
                f"config.optimizer.freeze: {pattern!r} matches no parameter; "
                f"parameters are named like {names[0]!r}"
            )

    def frozen(path, _):
        return any(re.search(pattern, path_name(path)) for pattern in patterns)

    return jax.tree_util.tree_map_with_path(frozen, params)


def warmup_cosine(
    *, learning_rate: float, steps: int, warmup_steps: int, end_factor: float = 0.0
) -> optax.Schedule:
    """Linear from 0 to `learning_rate` over the warm-up, then a half cosine to end_factor of it."""
    return optax.schedules.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=learning_rate,
        warmup_steps=warmup_steps,
        decay_steps=max(steps, warmup_steps + 1),
        end_value=end_factor * learning_rate,
    )


def constant(
    *, learning_rate: float, steps: int, warmup_steps: int, end_factor: float = 1.0
) -> optax.Schedule:
    """`learning_rate` after a linear warm-up from 0; `end_factor` other than 1 is linear decay."""
    ramp = optax.schedules.linear_schedule(0.0, learning_rate, max(warmup_steps, 1))
    rest = optax.schedules.linear_schedule(
        learning_rate, end_factor * learning_rate, max(steps - warmup_steps, 1)
    )
    return optax.schedules.join_schedules([ramp, rest], [warmup_steps])


def adamw(
    schedule: optax.Schedule,
    *,
    weight_decay: float = 0.0,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter, 2019), sparing norms and biases; Adam if weight_decay is 0."""
    return optax.adamw(schedule, b1, b2, eps, weight_decay=weight_decay, mask=decay_mask)


def sgd(
    schedule: optax.Schedule, *, weight_decay: float = 0.0, momentum: float = 0.9
) -> optax.GradientTransformation:
    """SGD with Nesterov momentum; weight decay added to the gradient, sparing norms and biases."""
    return optax.chain(
        optax.add_decayed_weights(weight_decay, decay_mask),
        optax.sgd(schedule, momentum or None, nesterov=momentum > 0),
    )


def make_optimizer(
    base: optax.GradientTransformation,
    *,
    params: Params,
    clip_norm: float = 0.0,
    accumulate: int = 1,
    freeze: Sequence[str] = (),
) -> optax.GradientTransformation:
    """Wraps an optimizer with clipping, gradient accumulation and freezing.

    Args:
        base: the optimizer proper.
        params: the parameters, or their shapes; only their paths are used.
        clip_norm: the largest global norm of a gradient; 0 does not clip.
        accumulate: batches for one update; the mean of their gradients is used.
        freeze: regular expressions; parameters whose path matches keep their value, and have
            no optimizer state.
    """
    chain: list[Callable] = [optax.clip_by_global_norm(clip_norm)] if clip_norm else []
    optimizer = optax.chain(*chain, base)
    if freeze:
        labels = jax.tree.map(lambda f: "frozen" if f else "free", frozen_mask(params, freeze))
        optimizer = optax.partition({"free": optimizer, "frozen": optax.set_to_zero()}, labels)
    if accumulate > 1:
        steps = optax.MultiSteps(optimizer, accumulate)
        optimizer = optax.GradientTransformation(steps.init, steps.update)
    return optimizer
