import jax.numpy as jnp
import numpy as np

from mmjax.losses.targets.classification import cross_entropy
from mmjax.metrics.classification import accuracy
from mmjax.tasks.classification import classification
from mmjax.tasks.keyed import KeyedFunction
from mmjax.tasks.task import Question, inputs_of

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
