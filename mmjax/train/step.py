"""The training step and the evaluation step: pure functions; jit and sharding are the caller's."""

from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu import metrics as clu_metrics
from jaxtyping import Array, Bool, Float, Int

from mmjax.tasks.task import Task
from mmjax.train.partition import Params, map_selected
from mmjax.train.state import TrainState
from mmjax.train.weighting import Weight, weight_at
from mmjax.types import GROUP, MASK, Batch

RANDOM = ("dropout", "sample")  # the random streams that a model may draw from
Augment = Callable[[jax.Array, Batch], Batch]
Gather = Callable[[Params], Params]


def as_they_are(params: Params) -> Params:
    """What a model reads where no parameter is divided."""
    return params


def masked_mean(values: Float[Array, " B"], mask: Bool[Array, " B"]) -> Float[Array, ""]:
    """The mean of the values under the mask; 0 if it is empty, whatever the masked values are."""
    total = jnp.where(mask, values, 0.0).sum()
    return total / jnp.maximum(mask.sum(), 1)


def moving_average(average, params, step: jax.Array, decay: float):
    """decay * average + (1 - decay) * params; early on the decay is (1 + step) / (10 + step)."""
    decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return map_selected(lambda a, p: decay * a + (1.0 - decay) * p, average, params)


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    model: nn.Module,
    task: Task,
    weights: Mapping[str, Weight],
    optimizer: optax.GradientTransformation,
    augment: Augment,
    ema_decay: float,
    gather: Gather = as_they_are,
) -> tuple[TrainState, dict[str, clu_metrics.Metric]]:
    """One update. If the loss or a gradient is not finite, the update is not applied but counted.

    Args:
        state: the state before; `state.step` determines every random number drawn.
        batch: arrays by key (see types); rows where `_mask` is False weigh nothing.
        weights: the weight of each of the task's losses, a number or a function of the step.
            That of NAME is also that of NAME/FIRST-SECOND, for any two modalities.
        augment: (key, batch) -> batch, on the device.
        ema_decay: used if the state has a moving average.
        gather: parameters -> what the model reads of them (see sharding.gather_fsdp).

    Returns:
        The state after, and metrics as clu metrics, ready to be merged over steps.
    """
    augment_key, model_key = jax.random.split(jax.random.fold_in(state.key, state.step))
    rngs = {name: jax.random.fold_in(model_key, i) for i, name in enumerate(RANDOM)}
    batch = augment(augment_key, batch)
    weight = {name: weight_at(weights[name], state.step) for name in weights}

    def loss_fn(params):
        outputs, model_state = model.apply(
            {"params": gather(params), **state.model_state},
            task.inputs(batch),
            deterministic=False,
            rngs=rngs,
            mutable=list(state.model_state),
        )
        losses = task.losses(outputs, batch)
        loss = sum(
            weight[name.partition("/")[0]] * masked_mean(*rows) for name, rows in losses.items()
        )
        return loss, (outputs, losses, model_state)

    (loss, (outputs, losses, model_state)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
        state.params
    )
    grad_norm = optax.tree.norm(grads)
    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)

    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema_params = state.ema_params
    if ema_params is not None:
        ema_params = moving_average(ema_params, params, state.step, ema_decay)

    def keep_if_finite(new, old):
        return jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, old)

    new_state = state.replace(
        step=state.step + 1,
        params=keep_if_finite(params, state.params),
        ema_params=keep_if_finite(ema_params, state.ema_params),
        model_state=keep_if_finite(model_state, state.model_state),
        opt_state=keep_if_finite(opt_state, state.opt_state),
        skipped=state.skipped + ~finite,
        skipped_in_a_row=jnp.where(finite, 0, state.skipped_in_a_row + 1),
    )
    average = clu_metrics.Average.from_model_output
    metrics = {
        name: average(rows.value, rows.mask & finite)
        for name, rows in {**losses, **task.metrics(outputs, batch)}.items()
    }
    metrics |= {
        f"weight/{name}": clu_metrics.LastValue(value)
        for name, value in weight.items()
        if callable(weights[name])
    }
    one = finite[None]
    metrics["loss"] = average(loss[None], one)
    metrics["grad_norm"] = average(grad_norm[None], one)
    metrics["examples"] = clu_metrics.LastValue(batch[MASK].sum().astype(jnp.float32))
    metrics["skipped_in_a_row"] = clu_metrics.LastValue(
        new_state.skipped_in_a_row.astype(jnp.float32)
    )
    return new_state, metrics


def eval_step(
    variables: Mapping,
    batch: Batch,
    *,
    model: nn.Module,
    task: Task,
    groups: tuple[str, ...],
    gather: Gather = as_they_are,
) -> tuple[dict[str, clu_metrics.Average], dict[str, jax.Array]]:
    """Sums and counts of every loss and metric under `_mask`, in all and for each group.

    Args:
        variables: the model's parameters and other collections.
        groups: names of the groups, numbered as in the batch's `group`.
        gather: as of `train_step`.

    Returns:
        Averages by NAME and NAME/GROUP; and what the task keeps of each row for whatever needs the
        whole set.
    """
    variables = {**variables, "params": gather(variables.get("params", {}))}
    outputs = model.apply(variables, task.inputs(batch))
    values = {**task.losses(outputs, batch), **task.metrics(outputs, batch)}
    averages = {
        name + suffix: clu_metrics.Average.from_model_output(rows.value, rows.mask & kept)
        for name, rows in values.items()
        for suffix, kept in group_masks(batch[GROUP], groups).items()
    }
    return averages, task.keep(outputs, batch)


def group_masks(
    group: Int[Array | np.ndarray, " B"], groups: tuple[str, ...]
) -> dict[str, Bool[Array | np.ndarray, " B"]]:
    """Which rows are of each group, by "/GROUP"; all of them by ""."""
    return {"": group == group} | {f"/{name}": group == i for i, name in enumerate(groups)}
