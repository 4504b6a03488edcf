"""What a config names reaches a loss: arrays by name, masks, right answers, mixed examples."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.losses.alignment.contrastive import info_nce
from mmjax.losses.targets.classification import cross_entropy
from mmjax.tasks.keyed import KeyedFunction, id_name, named

PAIR = {"a": "embedding/image", "b": "embedding/text"}


def unit(rows, seed):
    x = np.random.default_rng(seed).normal(size=(rows, 4)).astype(np.float32)
    return jnp.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


def values(rows=6, **batch):
    outputs = {
        "embedding/image": unit(rows, 0),
        "embedding/text": unit(rows, 1),
        "embedding/text_mask": jnp.arange(rows) != 1,
        "label": unit(rows, 2),
        "temperature": jnp.float32(0.5),
    }
    truth = {"targets/label": jnp.arange(rows) % 4, "_mask": jnp.arange(rows) < rows - 1}
    return named(outputs, truth | batch, {"label": jnp.zeros(rows, int)})


def test_outputs_batch_and_predictions_have_names_of_their_own():
    found = values()
    assert found["label"].shape == (6, 4)
    assert found["batch/targets/label"].tolist() == [0, 1, 2, 3, 0, 1]
    assert found["prediction/label"].tolist() == [0] * 6


def test_a_row_counts_where_all_that_is_read_is_there():
    found = values()
    rows = KeyedFunction(info_nce, PAIR | {"temperature": "temperature"}, "here")(found)
    expected = [True, False, True, True, True, False]
    assert rows.mask.tolist() == expected
    a, b = found["embedding/image"], found["embedding/text"]
    loss = info_nce(a, b, temperature=0.5, mask=jnp.array(expected))
    np.testing.assert_array_equal(rows.value, loss)
    reads = {"logits": "label", "labels": "batch/targets/label"}
    assert KeyedFunction(cross_entropy, reads, "here")(found).mask.tolist() == [True] * 5 + [False]


def test_rows_of_equal_content_are_right_for_each_other():
    ids = {"image_id": jnp.array([1, 1, 2, 3, 4, 5]), "text_id": jnp.array([1, 2, 3, 3, 4, 5])}
    found = values(**ids)
    same = np.eye(6, dtype=bool)
    same[0, 1] = same[1, 0] = same[2, 3] = same[3, 2] = True
    rows = KeyedFunction(info_nce, PAIR, "here")(found)
    a, b = found["embedding/image"], found["embedding/text"]
    expected = info_nce(a, b, mask=rows.mask, positives=jnp.array(same))
    np.testing.assert_array_equal(rows.value, expected)
    assert not np.allclose(rows.value, KeyedFunction(info_nce, PAIR, "here")(values()).value)


def test_only_embeddings_of_modalities_have_ids():
    names = ("embedding/image", "encoder/a", "label", "batch/text", "prediction/text")
    assert [id_name(n) for n in names] == ["batch/image_id", "batch/a_id", "", "", ""]


def test_the_truth_is_mixed_as_the_examples_were():
    share = jnp.array([0.5, 0.7, 1.0, 0.9, 1.0, 1.0])
    mixed = {"mixup/permutation": jnp.array([2, 0, 1, 3, 5, 4]), "mixup/lambda": share}
    found = values() | mixed
    got = KeyedFunction(
        cross_entropy, {"logits": "label", "labels": "batch/targets/label"}, "here"
    )(found)
    own = cross_entropy(found["label"], found["batch/targets/label"])
    other = cross_entropy(found["label"], found["batch/targets/label"][mixed["mixup/permutation"]])
    np.testing.assert_allclose(got.value, share * own + (1 - share) * other, rtol=1e-6)
    rows = KeyedFunction(info_nce, PAIR, "here")
    np.testing.assert_array_equal(rows(found).value, rows(values()).value)  # reads no truth


def test_a_name_that_nothing_has_is_one_line():
    bound = KeyedFunction(info_nce, PAIR | {"b": "embedding/txt"}, "config.losses.info_nce")
    words = "config.losses.info_nce: nothing is called 'embedding/txt'; did you mean 'embedding/tex"
    with pytest.raises(UserError, match=words):
        bound(values())


def test_a_metric_of_the_whole_set_gets_the_rows_that_count_with_their_ids():
    seen = {}

    def metric(a, b, *, a_id=None, b_id=None, names=("a", "b")):
        seen.update(a=a, b=b, a_id=a_id, b_id=b_id)
        return {"first": 1, f"second/{names[0]}": 2.0}

    rows = jax.tree.map(np.asarray, values(image_id=jnp.arange(6)))
    function = functools.partial(metric, names=("image", "text"))
    got = KeyedFunction(function, PAIR, "here", part_name="{part}/pair").on_host("m", rows)
    assert got == {"first/pair": 1.0, "second/image/pair": 2.0}
    np.testing.assert_array_equal(seen["a"], rows["embedding/image"][[0, 2, 3, 4]])
    assert seen["a_id"].tolist() == [0, 2, 3, 4]
    assert seen["b_id"] is None
    single = KeyedFunction(lambda a: len(a), {"a": "embedding/image"}, "here")
    assert single.on_host("count", rows) == {"count": 5.0}
    nothing = rows | {"batch/_mask": np.zeros(6, bool)}
    assert single.on_host("count", nothing) == {}


def test_what_was_tuned_is_given_whole():
    rows = jax.tree.map(np.asarray, values()) | {"tuned/thresholds": np.array([0.1, 0.9])}
    reads = {"labels": "batch/targets/label", "thresholds": "tuned/thresholds"}
    bound = KeyedFunction(lambda labels, thresholds: labels.sum() + thresholds[1], reads, "here")
    assert bound.on_host("m", rows) == {"m": pytest.approx(6.9)}
