"""Learning-rate schedules and optimizers, from optax."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mmjax.train.partition import Params, matching, names_of, path_name


def decay_mask(params: Params) -> Params:
    """True where weight decay applies: all but biases, norm scales and other vectors."""

    def decays(path, leaf):
        return leaf.ndim > 1 and path_name(path).split("/")[-1] not in ("bias", "scale")

    return jax.tree_util.tree_map_with_path(decays, params)


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


class FreezeUntilState(NamedTuple):
    """How many updates there were."""

    count: jax.Array


def freeze_until(first: Params) -> optax.GradientTransformation:
    """Zeroes each gradient up to the update with which its parameter starts to train."""

    def update(grads, state, params=None):
        del params
        held = jax.tree.map(
            lambda f, g: jnp.where(state.count < f, 0, g) if f and jax.tree.leaves(g) else g,
            first,
            grads,
        )
        return held, FreezeUntilState(state.count + 1)

    return optax.GradientTransformation(
        lambda _: FreezeUntilState(jnp.zeros((), jnp.int32)), update
    )


class StartAtState(NamedTuple):
    """How many updates there were, and the delayed optimizer's own state."""

    count: jax.Array
    inner: Any


def start_at(inner: optax.GradientTransformation, first: int) -> optax.GradientTransformation:
    """`inner` from the update number `first` on: before, updates are zero and its state rests."""
    if not first:
        return inner

    def init(params):
        return StartAtState(jnp.zeros((), jnp.int32), inner.init(params))

    def update(grads, state, params=None):
        begun = state.count >= first
        updates, after = inner.update(grads, state.inner, params)
        updates = jax.tree.map(lambda u: jnp.where(begun, u, 0), updates)
        after = jax.tree.map(lambda n, o: jnp.where(begun, n, o), after, state.inner)
        return updates, StartAtState(state.count + 1, after)

    return optax.GradientTransformation(init, update)


def layer_wise(
    make: Callable[[optax.Schedule], optax.GradientTransformation],
    schedule: optax.Schedule,
    factors: Params,
    first: Params,
) -> optax.GradientTransformation:
    """An optimizer for each pace that parameters have; each parameter has state in one of them.

    What starts late starts fresh: moments and their bias correction at zero, the learning rate
    where the schedule then is.

    Args:
        make: schedule -> optimizer.
        schedule: of the learning rate.
        factors, first: of each parameter, its factor of the learning rate and its first update
            (see `partition.layer_factors` and `partition.first_updates`).
    """

    def optimizer(factor: float, begin: int) -> optax.GradientTransformation:
        # An optimizer counts its own updates, so it must be told what the schedule has seen.
        return start_at(make(lambda count: factor * schedule(count + begin)), begin)

    pairs = zip(jax.tree.leaves(factors), jax.tree.leaves(first), strict=True)
    optimizers = {f"{f:.6g}_from_{b}": optimizer(f, b) for f, b in set(pairs)}
    labels = jax.tree.map(lambda f, b: f"{f:.6g}_from_{b}", factors, first)
    # As a function of what it is given: a frozen parameter is not there.
    by_path = dict(zip(names_of(labels), jax.tree.leaves(labels), strict=True))

    def label(params: Params) -> Params:
        return jax.tree_util.tree_map_with_path(lambda path, _: by_path[path_name(path)], params)

    return optax.partition(optimizers, label)


def make_optimizer(
    base: optax.GradientTransformation,
    *,
    params: Params,
    clip_norm: float = 0.0,
    accumulate: int = 1,
    freeze: Sequence[str] = (),
    trains: Params | None = None,
    first: Params | None = None,
) -> optax.GradientTransformation:
    """Wraps an optimizer with clipping, gradient accumulation and freezing.

    Args:
        base: the optimizer proper.
        params: the parameters, or their shapes; only their paths are used.
        clip_norm: the largest global norm of a gradient, of what then trains; 0 does not clip.
        accumulate: batches for one update; the mean of their gradients is used.
        freeze: regular expressions; parameters whose path matches keep their value, and have
            no optimizer state.
        trains: which parameters train, if the others are to be frozen too.
        first: the first update of each parameter, if some start late.
    """
    chain = [] if first is None else [freeze_until(first)]
    chain += [optax.clip_by_global_norm(clip_norm)] if clip_norm else []
    optimizer = optax.chain(*chain, base)
    if accumulate > 1:
        steps = optax.MultiSteps(optimizer, accumulate)
        optimizer = optax.GradientTransformation(steps.init, steps.update)
    if freeze or trains is not None:
        frozen = matching(params, freeze, "config.optimizer.freeze")
        free = jax.tree.map(lambda f: not f, frozen) if trains is None else trains
        labels = jax.tree.map(lambda f, t: "free" if t and not f else "frozen", frozen, free)
        optimizer = optax.partition({"free": optimizer, "frozen": optax.set_to_zero()}, labels)
    return optimizer
