import jax.numpy as jnp
import numpy as np

from mmjax.losses.targets.classification import cross_entropy
from mmjax.metrics.classification import accuracy
from mmjax.tasks.classification import classification
from mmjax.tasks.keyed import KeyedFunction
from mmjax.tasks.task import Question, inputs_of, of_slice

READS = {"logits": "label", "labels": "batch/targets/label"}
TASK = classification(
    Question(
        modalities=("image", "text"),
        losses={"cross_entropy": KeyedFunction(cross_entropy, READS, "config.losses")},
        metrics={"accuracy": KeyedFunction(accuracy, READS, "config.metrics")},
        dataset_metrics={},
        name="label",
        target="label",
    )
)


def test_inputs_carry_mask_and_index_where_the_batch_has_them():
    batch = {
        "image": jnp.zeros((2, 4, 4, 3), jnp.uint8),
        "image_index": jnp.array([0, 0, 1]),
        "text": jnp.ones((3, 5), jnp.int32),
        "text_mask": jnp.ones((3, 5), bool),
        "targets/label": jnp.zeros(3, jnp.int32),
    }
    inputs = inputs_of({"label": TASK}, batch)
    assert set(inputs) == {"image", "text"}
    assert inputs["image"].mask is None
    assert inputs["image"].index is batch["image_index"]
    assert inputs["text"].mask is batch["text_mask"]


def test_one_value_for_each_example():
    outputs = {"label": jnp.array([[2.0, 0.0], [2.0, 0.0]])}
    batch = {"targets/label": jnp.array([0, 1]), "_mask": jnp.array([True, False])}
    losses, metrics = TASK.losses(outputs, batch), TASK.metrics(outputs, batch)
    np.testing.assert_allclose(
        losses["cross_entropy"].value, np.log1p(np.exp([-2.0, 2.0])), rtol=1e-6
    )
    assert metrics["accuracy"].value.tolist() == [1.0, 0.0]
    assert losses["cross_entropy"].mask.tolist() == [True, False]


def test_predictions_are_probabilities_and_the_likeliest_class():
    got = TASK.predict({"label": jnp.array([[0.0, jnp.log(3.0)]], jnp.bfloat16)})
    np.testing.assert_allclose(got["probabilities"], [[0.25, 0.75]], atol=1e-2)
    np.testing.assert_allclose(got["probabilities"].sum(), 1, rtol=1e-6)
    assert got["label"].tolist() == [1]


def test_a_task_of_a_slice_is_one_without_the_other_examples():
    random = np.random.default_rng(0)
    slices, known = np.arange(12) % 3, np.arange(12) < 10
    outputs = {"label": jnp.asarray(random.normal(size=(12, 2)), jnp.float32)}
    batch = {
        "targets/label": jnp.asarray(random.integers(0, 2, 12)),
        "targets/label_mask": jnp.asarray(known),
        "_mask": jnp.ones(12, bool),
        "slice": jnp.asarray(slices),
    }
    only = of_slice(TASK, 1)
    for of in ("losses", "metrics"):
        (whole,), (rows,) = (getattr(t, of)(outputs, batch).values() for t in (TASK, only))
        np.testing.assert_array_equal(rows.value, whole.value)
        np.testing.assert_array_equal(rows.mask, known & (slices == 1))
        np.testing.assert_array_equal(whole.mask, known)
    kept = only.keep(outputs, batch)
    np.testing.assert_array_equal(kept["batch/_mask"], slices == 1)
    np.testing.assert_array_equal(kept["batch/targets/label_mask"], known & (slices == 1))
    mixed = {"mixup/permutation": jnp.arange(12)[::-1], "mixup/lambda": jnp.full(12, 0.5)}
    (rows,) = only.losses(outputs | mixed, batch).values()
    # Its partner, too, must be of the slice: those of the slice 1 are mixed with each other here.
    np.testing.assert_array_equal(rows.mask, (slices == 1) & known & known[::-1])
    mixed["mixup/permutation"] = jnp.roll(jnp.arange(12), 1)
    (rows,) = only.losses(outputs | mixed, batch).values()
    assert not rows.mask.any()
