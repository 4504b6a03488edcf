import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from mmjax.errors import UserError
from mmjax.tasks.task import inputs_of
from mmjax.train import sharding
from mmjax.train.evaluate import evaluate
from mmjax.train.step import eval_step
from tests.train.toy import CLASSES, TASKS, Toy, make_batch

SLICES = ("even", "odd")


def put(batch):
    return jax.tree.map(jnp.array, batch)


def run(toy, batches):
    step = functools.partial(eval_step, model=toy.model, tasks=TASKS, slices=SLICES)
    return evaluate(
        jax.jit(step),
        toy.state.eval_variables,
        batches,
        put,
        split="validation",
        tasks=TASKS,
        slices=SLICES,
        tuned={},
    )


@pytest.mark.parametrize("sizes", [[21], [8, 8, 5], [8, 8, 4, 1], [1] * 21])
def test_ragged_batches_give_what_scikit_learn_gives_on_the_full_arrays(sizes):
    toy, full = Toy(), make_batch(rows=21)
    width, batches, start = max(sizes), [], 0
    for size in sizes:
        part = {k: v[start : start + size] for k, v in full.items()}
        padded = {
            k: np.concatenate([v, np.ones((width - size, *v.shape[1:]), v.dtype)])
            for k, v in part.items()
        }
        padded["_mask"] = np.arange(width) < size
        batches.append(padded)
        start += size
    got = run(toy, batches)
    logits = toy.model.apply({"params": toy.state.params}, inputs_of(TASKS, put(full)))["label"]
    probabilities, predicted = np.asarray(jax.nn.softmax(logits), np.float64), logits.argmax(-1)
    probabilities /= probabilities.sum(-1, keepdims=True)
    np.testing.assert_array_equal(got.rows["label"]["batch/targets/label"], full["targets/label"])
    np.testing.assert_array_equal(got.rows["label"]["prediction/label"], predicted)
    np.testing.assert_array_equal(got.rows["label"]["batch/slice"], full["slice"])
    for name, kept in (
        ("", slice(None)),
        ("/even", full["slice"] == 0),
        ("/odd", full["slice"] == 1),
    ):
        labels = full["targets/label"][kept]
        accuracy = accuracy_score(labels, np.asarray(predicted)[kept])
        assert got.metrics[f"accuracy{name}"] == accuracy
        loss = log_loss(labels, probabilities[kept], labels=range(CLASSES))
        np.testing.assert_allclose(got.metrics[f"cross_entropy{name}"], loss, rtol=1e-6)
        assert got.counts[f"accuracy{name}"] == len(labels)
        areas = [roc_auc_score(labels == c, probabilities[kept][:, c]) for c in set(labels)]
        np.testing.assert_allclose(got.metrics[f"roc_auc{name}"], np.mean(areas), rtol=1e-6)
        assert got.counts[f"roc_auc{name}"] == len(labels)


def test_eight_devices_give_the_metrics_of_one():
    toy, batch = Toy(), make_batch(rows=16, real=13)
    one = run(toy, [batch])
    mesh = sharding.make_mesh(data=8, fsdp=1, tensor=1, rows=(16,))
    variables = jax.device_put(
        toy.state.eval_variables, sharding.state_sharding(toy.state.eval_variables, mesh)
    )
    step = functools.partial(eval_step, model=toy.model, tasks=TASKS, slices=SLICES)
    eight = evaluate(
        jax.jit(step, out_shardings=sharding.replicated(mesh)),
        variables,
        [batch],
        functools.partial(sharding.put_batch, mesh=mesh),
        split="validation",
        tasks=TASKS,
        slices=SLICES,
        tuned={},
    )
    assert eight.metrics == pytest.approx(one.metrics, rel=1e-6)
    assert eight.counts == one.counts
    assert {"roc_auc", "roc_auc/even", "accuracy/odd"} <= one.metrics.keys()


def test_a_group_without_examples_is_left_out():
    batch = make_batch()
    batch["slice"] = np.zeros(8, np.int32)
    assert "accuracy/odd" not in run(Toy(), [batch]).metrics


@pytest.mark.parametrize("batches", [[], [make_batch(real=0)]])
def test_an_empty_split_is_an_error(batches):
    with pytest.raises(UserError, match="validation split holds no example"):
        run(Toy(), batches)
