"""config.losses and config.metrics: what they may say, and what becomes of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from mmjax import factory
from mmjax.errors import UserError
from mmjax.factory.bind import bind, weights
from mmjax.factory.tables.losses import CLASS_WEIGHTS, LOSSES
from mmjax.factory.tables.metrics import DATASET_METRICS, METRICS, ROW_METRICS
from mmjax.losses.alignment import contrastive
from mmjax.tasks import alignment
from mmjax.tasks.classification import CLASSIFICATION
from mmjax.tasks.keyed import named
from mmjax.tasks.multilabel import MULTILABEL as SEVERAL

COUNTS = factory.Counts(np.array([90, 10, 0]), 100)
PAIRS = ("audio", "image", "text")
# Of a task whose target is a class, and of one with several.
READS = SEVERAL.given("label", "label") | CLASSIFICATION.given("label", "label")


def bound(part, table=LOSSES, modalities=("image", "text"), space="encoder/", counts=COUNTS):
    part = ConfigDict(part) if isinstance(part, dict) else part
    where = "config.losses" if table is LOSSES else "config.metrics"
    return bind(
        table,
        part,
        where,
        modalities=modalities,
        space=space,
        counts=counts,
        reads_of_task=(READS, ()),
    )


def values(rows=4):
    rng = np.random.default_rng(0)
    outputs = {f"encoder/{m}": jnp.asarray(rng.normal(size=(rows, 5)), jnp.float32) for m in PAIRS}
    outputs["label"] = jnp.asarray(rng.normal(size=(rows, 3)), jnp.float32)
    batch = {"targets/label": jnp.array([0, 1, 0, 1]), "_mask": jnp.ones(rows, bool)}
    return named(outputs, batch, {})


def test_a_loss_reads_what_its_parameters_are_called():
    made = bound({"cross_entropy": {"weight": 2.0, "label_smoothing": 0.1}})["cross_entropy"]
    assert made.reads == {"logits": "label", "labels": "batch/targets/label"}
    expected = LOSSES["cross_entropy"](
        values()["label"], values()["batch/targets/label"], label_smoothing=0.1
    )
    np.testing.assert_array_equal(made(values()).value, expected)


def test_a_penalty_between_encoders_stands_beside_a_classification_loss():
    part = {"cross_entropy": {}, "pull": {"name": "info_nce", "temperature": 0.5, "weight": 0.1}}
    losses = bound(part)
    assert list(losses) == ["cross_entropy", "pull"]
    assert losses["pull"].reads == {"a": "encoder/image", "b": "encoder/text"}
    a, b = values()["encoder/image"], values()["encoder/text"]
    expected = contrastive.info_nce(a, b, temperature=0.5, mask=jnp.ones(4, bool))
    np.testing.assert_allclose(losses["pull"](values()).value, expected, rtol=1e-6)


def test_what_compares_two_is_applied_to_every_pair_and_what_judges_one_to_each():
    losses = bound({"coral": {}}, modalities=PAIRS)
    assert list(losses) == ["coral/audio-image", "coral/audio-text", "coral/image-text"]
    assert losses["coral/audio-text"].reads == {"a": "encoder/audio", "b": "encoder/text"}
    metrics = bound(("uniformity", "retrieval"), DATASET_METRICS, PAIRS, "embedding/")
    assert [name for name in metrics if name.startswith("u")] == [
        "uniformity/audio",
        "uniformity/image",
        "uniformity/text",
    ]
    retrieval = metrics["retrieval/image-text"]
    assert retrieval.function.keywords["names"] == ("image", "text")
    assert retrieval.part_name.format(part="recall_at_1") == "recall_at_1/image-text"


def test_the_pairs_of_a_matching_head_are_read_and_those_that_are_not_there_are_not_counted():
    part = ConfigDict({"image_text_matching": {}})
    made = bind(
        LOSSES,
        part,
        "config.losses",
        modalities=("image", "text"),
        space="embedding/",
        counts=COUNTS,
        reads_of_task=(alignment.READS, alignment.READS),
    )
    scores = jnp.array([[2.0, -1.0], [3.0, 5.0], [7.0, 7.0], [1.0, 1.0]])
    outputs = {
        "matching/scores": scores,
        "matching/targets": jnp.array([[True, False]] * 4),
        "matching/pairs": jnp.array([[True, True], [True, False], [False, False], [True, True]]),
        "matching/scores_mask": jnp.array([True, True, False, True]),
    }
    rows = made["image_text_matching"](named(outputs, {"_mask": jnp.ones(4, bool)}, {}))
    np.testing.assert_array_equal(rows.mask, outputs["matching/scores_mask"])
    yes, no = jax.nn.softplus(-scores[:, 0]), jax.nn.softplus(scores[:, 1])
    expected = [(yes[0] + no[0]) / 2, yes[1], 0, (yes[3] + no[3]) / 2]
    np.testing.assert_allclose(rows.value, expected, rtol=1e-6)


def test_named_arrays_are_read_and_strings_that_are_options_are_not():
    given = {"a": "label/image", "b": "label", "temperature": "temperature"}
    assert bound({"info_nce": given})["info_nce"].reads == given
    made = bound({"triplet": {"mining": "hard"}})["triplet"]
    assert made.function.keywords == {"mining": "hard"}


def test_class_weights_and_priors_come_from_the_counts():
    made = bound({"cross_entropy": {"class_weights": "balanced"}})["cross_entropy"]
    np.testing.assert_allclose(made.function.keywords["class_weights"], [5 / 9, 5, 0], rtol=1e-6)
    made = bound({"logit_adjusted": {}})["logit_adjusted"]
    np.testing.assert_allclose(made.function.keywords["prior"], [0.9, 0.1, 0], rtol=1e-6)
    assert np.isfinite(made(values()).value).all()
    positives = CLASS_WEIGHTS["positives"](COUNTS.classes, COUNTS.examples)
    np.testing.assert_allclose(positives, [1 / 9, 9, 100])
    for rule in CLASS_WEIGHTS.values():
        assert np.isfinite(rule(COUNTS.classes, COUNTS.examples)).all()
    # Predictions need no losses, and so no counts.
    assert bound({"focal": {"class_weights": "balanced"}}, counts=None)["focal"].reads


def test_weights_are_numbers_or_schedules():
    losses = {"l1": {"weight": 2}, "l2": {}, "cosine": {"weight": {"name": "linear", "steps": 10}}}
    found = weights(ConfigDict(losses), "config.losses")
    assert (found["l1"], found["l2"]) == (2.0, 1.0)
    assert float(found["cosine"](jnp.int32(5))) == 0.5


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ({"infonce": {}}, "config.losses: unknown 'infonce'; did you mean 'info_nce'"),
        ({"x": {"name": "corall"}}, "config.losses.x.name: unknown 'corall'; did you mean 'coral'"),
        ({"info_nce": {"temprature": 1.0}}, "config.losses.info_nce: unknown 'temprature'; did"),
        ({"distillation": {}}, "distillation.* needs teacher: give the name of an output"),
        ({"focal": {"class_weights": "even"}}, "focal.class_weights: unknown 'even'"),
        ({"info_nce": {"a": 3}}, "config.losses.info_nce.a=3: give the name of an output"),
        ({"info_nce": {"mask": "x"}}, "unknown 'mask'"),
        ({"sinkhorn": {"iterations": 0}}, "iterations: 0 is too small"),
        (3, "config.losses=3: give a tuple of names"),
    ],
)
def test_what_cannot_be_is_one_line(losses, words):
    with pytest.raises(UserError, match=words) as error:
        bound(losses)
    assert "\n" not in str(error.value)


def test_one_modality_has_no_pair_and_metrics_have_no_weight():
    with pytest.raises(UserError, match="config.modalities has only one"):
        bound({"info_nce": {}}, modalities=("image",))
    with pytest.raises(UserError, match="unknown 'weight'"):
        bound({"accuracy": {"weight": 1.0}}, ROW_METRICS)


@pytest.mark.parametrize("weight", ["much", float("nan"), True, {"name": "linar"}, {"steps": 3}])
def test_a_weight_that_is_none_is_one_line(weight):
    with pytest.raises(UserError, match="config.losses.l1.weight"):
        weights(ConfigDict({"l1": {"weight": weight}}), "config.losses")


def test_an_exponential_to_zero_says_where():
    weight = {"name": "exponential", "end": 0.0}
    with pytest.raises(UserError, match="config.losses.l1.weight: start=1.0 and end=0.0"):
        weights(ConfigDict({"l1": {"weight": weight}}), "config.losses")


def test_what_a_loss_refuses_names_the_config_key():
    made = bound({"triplet": {"mining": "soft"}})["triplet"]
    with pytest.raises(UserError, match="config.losses.triplet: mining is 'soft'; there is: all"):
        made(values())


NEEDED = {  # what a config must say for losses that read no usual output
    "club": {"mean": "encoder/image", "log_variance": "encoder/text", "b": "encoder/audio"},
    "consistency_kl": {"logits_a": "label", "logits_b": "label"},
    "distillation": {"teacher": "label"},
}


@pytest.mark.parametrize("name", [*LOSSES, *METRICS])
def test_every_entry_of_the_tables_can_be_named(name):
    """It binds to the usual names, or says which array it lacks; those given are taken."""
    table = LOSSES if name in LOSSES else METRICS
    known = factory.options_of(table[name])
    try:
        made = bound({name: NEEDED.get(name, {})}, table)
    except UserError as error:
        missing = str(error).partition(" needs ")[2].partition(":")[0].split(" and ")
        assert set(missing) <= known.keys()
        made = bound({name: dict.fromkeys(missing, "label")}, table)
    assert {key.partition("/")[0] for key in made} == {name}


def test_losses_of_a_pair_run_by_their_names_alone():
    """On a model's outputs, compiled, with a gradient for both encoders."""
    pairs = [n for n, f in LOSSES.items() if list(factory.options_of(f))[:2] == ["a", "b"]]
    assert len(pairs) > 15
    images, texts = values()["encoder/image"], values()["encoder/text"]
    for name in pairs:
        made = bound({name: {}})[name]

        def loss(image, text, made=made):
            return made(values() | {"encoder/image": image, "encoder/text": text}).value.mean()

        value, gradients = jax.jit(jax.value_and_grad(loss, (0, 1)))(images, texts)
        assert np.isfinite(value), name
        assert all(np.isfinite(g).all() and (g != 0).any() for g in gradients), name
