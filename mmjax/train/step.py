"""The training step and the evaluation step: pure functions; jit and sharding are the caller's."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu import metrics as clu_metrics
from jaxtyping import Array, Bool, Float, Int

from mmjax.tasks.task import Task, inputs_of, prefix
from mmjax.train.partition import Params, map_selected
from mmjax.train.state import TrainState
from mmjax.train.weighting import FeatureLoss, LossWeighting, Weight, shared, weight_at
from mmjax.types import MASK, SLICE, Batch

Tasks = Mapping[str, Task]
RANDOM = ("dropout", "sample")  # the random streams that a model may draw from
Augment = Callable[[jax.Array, Batch], Batch]
Gather = Callable[[Params], Params]


def as_it_is(x: Any) -> Any:
    """What a model reads, and losses, where one device or program has all of it."""
    return x


class Exchange(NamedTuple):
    """What devices tell each other that each take the step with rows of their own (see parallel).

    By default nothing: one program sees all rows, however many devices compute it.

    key: the random key of the step -> that of this device, whose rows draw other numbers.
    batch: the own rows of a batch -> those of all devices, in order.
    rows: outputs of the model with a leading axis of own rows -> of all; scalars are of all.
    mean: gradients and the like -> the mean of those of all devices.
    """

    key: Callable[[jax.Array], jax.Array] = as_it_is
    batch: Callable[[Batch], Batch] = as_it_is
    rows: Callable[[Any], Any] = as_it_is
    mean: Callable[[Any], Any] = as_it_is


NOTHING = Exchange()


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
    tasks: Tasks,
    weights: Mapping[str, Mapping[str, Weight]],
    weighting: LossWeighting,
    optimizer: optax.GradientTransformation,
    augment: Augment,
    ema_decay: float,
    gather: Gather = as_it_is,
    exchange: Exchange = NOTHING,
    per_task_gradients: bool = False,
    one_by_one: bool = False,
    alone: Sequence[str] = (),
    learn_alone: bool = True,
    feature_loss: FeatureLoss | None = None,
) -> tuple[TrainState, dict[str, clu_metrics.Metric]]:
    """One update. If the loss or a gradient is not finite, the update is not applied but counted.

    Args:
        state: the state before; `state.step` determines every random number drawn.
        batch: arrays by key (see types); rows where `_mask` is False weigh nothing.
        tasks: what is asked of the model, by name.
        weights: of each task, the weight of each of its losses, a number or a function of the step.
            That of NAME is also that of NAME/FIRST-SECOND, for any two modalities.
        weighting: of the tasks among each other.
        augment: (key, batch) -> batch, on the device.
        ema_decay: used if the state has a moving average.
        gather: parameters -> what the model reads of them (see sharding.gather_fsdp).
        exchange: between devices that each have rows of their own. Losses, metrics and weights are
            of the rows of all: each device computes them again, and all come to the same state.
        per_task_gradients: whether the optimizer begins with a gradient aggregator; it is then
            given gradients [tasks ...], each of a weighted loss of a task; by keyword `losses`,
            these losses [tasks], and `shared` (see weighting.shared).
        one_by_one: whether gradients of tasks are computed one after the other, which takes longer
            and the memory of one.
        alone: modalities of which each is also given to the model by itself. The sum of the
            losses of all tasks is then one more loss for each of them, behind those of the tasks,
            which weighting and optimizer see as they do these.
        learn_alone: whether it is; else no gradient is taken of it, and the optimizer is given
            these losses [M] as `alone`, by keyword.
        feature_loss: one more loss, with one backward pass for all and weights that have no state:
            `state.weighting` is its own.

    Returns:
        The state after, and metrics as clu metrics, ready to be merged over steps. Where there are
        several tasks, names begin with "TASK/".
    """
    augment_key, model_key = jax.random.split(jax.random.fold_in(state.key, state.step))
    model_key = exchange.key(model_key)
    rngs = {name: jax.random.fold_in(model_key, i) for i, name in enumerate(RANDOM)}
    own = augment(exchange.key(augment_key), batch)
    batch = exchange.batch(own)
    weight = {
        name: {label: weight_at(w, state.step) for label, w in weights[name].items()}
        for name in tasks
    }

    def losses_of(params, inputs):
        outputs, model_state = model.apply(
            {"params": gather(params), **state.model_state},
            inputs,
            deterministic=False,
            rngs=rngs,
            mutable=list(state.model_state),
        )
        outputs = exchange.rows(outputs)
        rows = {name: task.losses(outputs, batch) for name, task in tasks.items()}
        losses = [
            sum(weight[name][label.partition("/")[0]] * masked_mean(*r) for label, r in of.items())
            for name, of in rows.items()
        ]
        return losses, (outputs, rows, model_state)

    def losses_fn(params):
        inputs = inputs_of(tasks, own)
        losses, found = losses_of(params, inputs)
        losses += [sum(losses_of(params, {name: inputs[name]})[0]) for name in alone]
        learned = losses if learn_alone else losses[: len(tasks)]
        weighed, weighting_state = weigh(weighting, learned, state.weighting)
        if feature_loss is not None:
            outputs, *_ = found
            added, weighting_state = feature_loss.value(outputs, batch, state.step, weighting_state)
            weighed = [*weighed, added]
        return weighed, (losses, *found, weighting_state, weighed[-1])

    def loss_fn(params):
        weighed, aux = losses_fn(params)
        return sum(weighed), aux

    given: dict[str, Any] = {}
    losses_seen = len(tasks) + learn_alone * len(alone)
    if per_task_gradients:
        weighed, pull_back, aux = jax.vjp(losses_fn, state.params, has_aux=True)
        each = list(jnp.eye(losses_seen))
        (grads,) = jax.lax.map(pull_back, each) if one_by_one else jax.vmap(pull_back)(each)
        loss = sum(weighed)
        (met,) = shared.shared(pull_back, losses_seen)
        given = {"losses": jnp.stack(weighed), "shared": met}
    else:
        (loss, aux), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    # Each device's gradient is as many times its rows' share in that of all: see `parallel`.
    grads = exchange.mean(grads)
    all_losses, outputs, rows, model_state, weighting_state, last_loss = aux
    model_state = exchange.mean(model_state)
    task_losses, of_alone = all_losses[: len(tasks)], all_losses[len(tasks) :]
    if alone and not learn_alone:
        given["alone"] = jnp.stack(of_alone)
    if given:
        optimizer = optax.with_extra_args_support(optimizer)
    grad_norm = optax.tree.norm(grads)
    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)

    updates, opt_state = optimizer.update(grads, state.opt_state, state.params, **given)
    if given:  # which may make of finite gradients what is not
        finite &= jnp.isfinite(optax.tree.norm(updates))
    params = optax.apply_updates(state.params, updates)
    if weighting.observe is not None and losses_seen > 1:
        _, (after, *_) = losses_fn(params)
        both = (jnp.stack(x[:losses_seen]) for x in (all_losses, after))
        weighting_state = weighting.observe(*both, weighting_state)
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
        weighting=keep_if_finite(weighting_state, state.weighting),
        skipped=state.skipped + ~finite,
        skipped_in_a_row=jnp.where(finite, 0, state.skipped_in_a_row + 1),
    )
    average = clu_metrics.Average.from_model_output
    metrics = {}
    for (name, task), task_loss in zip(tasks.items(), task_losses, strict=True):
        first = prefix(tasks, name)
        metrics |= {
            first + label: average(r.value, r.mask & finite)
            for label, r in {**rows[name], **task.metrics(outputs, batch)}.items()
        }
        metrics |= {
            f"weight/{first}{label}": clu_metrics.LastValue(value)
            for label, value in weight[name].items()
            if callable(weights[name][label])
        }
        if first:
            metrics[f"{first}loss"] = average(task_loss[None], finite[None])
    one = finite[None]
    for name, value in zip(alone, of_alone, strict=True):
        metrics[f"alone/{name}"] = average(value[None], one)
    if feature_loss is not None:
        metrics["feature_loss"] = average(last_loss[None], one)
    metrics["loss"] = average(loss[None], one)
    metrics["grad_norm"] = average(grad_norm[None], one)
    metrics["examples"] = clu_metrics.LastValue(batch[MASK].sum().astype(jnp.float32))
    metrics["skipped_in_a_row"] = clu_metrics.LastValue(
        new_state.skipped_in_a_row.astype(jnp.float32)
    )
    return new_state, metrics


def weigh(
    weighting: LossWeighting, losses: Sequence[Float[Array, ""]], state: Any
) -> tuple[list[Float[Array, ""]], Any]:
    """The weighted loss of each task, and the next state of the weighting; one has no weight."""
    if len(losses) == 1:
        return list(losses), state
    found = jax.lax.stop_gradient(jnp.stack(losses))
    weights, state = weighting.update(found, state)
    return [w * x for w, x in zip(weights, losses, strict=True)], state


def eval_step(
    variables: Mapping,
    batch: Batch,
    *,
    model: nn.Module,
    tasks: Tasks,
    slices: tuple[str, ...],
    gather: Gather = as_it_is,
) -> tuple[dict[str, clu_metrics.Average], dict[str, dict[str, jax.Array]]]:
    """Sums and counts of every loss and metric under `_mask`, in all and for each slice.

    Args:
        variables: the model's parameters and other collections.
        slices: names of the slices, numbered as in the batch's `slice`.
        gather: as of `train_step`.

    Returns:
        Averages by NAME and NAME/SLICE, with "TASK/" in front where there are several tasks; and
        what each task keeps of each row for whatever needs the whole set.
    """
    variables = {**variables, "params": gather(variables.get("params", {}))}
    outputs = model.apply(variables, inputs_of(tasks, batch))
    values = {
        prefix(tasks, name) + label: rows
        for name, task in tasks.items()
        for label, rows in {**task.losses(outputs, batch), **task.metrics(outputs, batch)}.items()
    }
    averages = {
        name + suffix: clu_metrics.Average.from_model_output(rows.value, rows.mask & kept)
        for name, rows in values.items()
        for suffix, kept in slice_masks(batch[SLICE], slices).items()
    }
    return averages, {name: task.keep(outputs, batch) for name, task in tasks.items()}


def slice_masks(
    slice_ids: Int[Array | np.ndarray, " B"], slices: tuple[str, ...]
) -> dict[str, Bool[Array | np.ndarray, " B"]]:
    """Which rows are of each slice, by "/SLICE"; all of them by ""."""
    return {"": slice_ids == slice_ids} | {
        f"/{name}": slice_ids == i for i, name in enumerate(slices)
    }
