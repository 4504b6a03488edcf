"""A config that asks for texts: what they are made of, what reads them, what cannot be."""

import dataclasses
import json
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from mmjax import factory
from mmjax.data.datasets.written_numbers import written_numbers
from mmjax.data.sources.arrays import Arrays
from mmjax.errors import UserError
from mmjax.factory.make_tasks import check_outputs, with_targets
from mmjax.factory.splits import Made, handling
from mmjax.tasks.task import inputs_of
from tests.factory.test_factory import ROOT, module_of


def tiny():
    """The recipe's, with an encoder that gives a token for each step."""
    config = factory.checked(module_of(ROOT / "configs" / "speech.py").get_config("tiny"))
    config.encoders.ink = ConfigDict({"kind": "series", "name": "recurrent", "bidirectional": True})
    return config


def model_of(config):
    return factory.model(config, classes=5, vocabulary_size=9)


def encoded(config, path, splits):
    """The transcripts of each split with their masks, and the alphabet."""
    made, questions = with_targets(config, path, splits)
    found = {split: arrays.targets["text"] for split, arrays in made.items()}
    return made, found, tuple(questions.vocabularies["characters"])


def splits_of(texts, length=20):
    """Splits of series of `length` steps with these texts."""
    rows = len(texts)
    arrays = Arrays(
        name="own/train",
        values={"ink": np.zeros((rows, length, 8), np.float32)},
        masks={"ink": np.ones((rows, length), bool)},
        texts={"text": texts},
        targets={},
        slice_ids=np.zeros(rows, np.int32),
        slices=("all",),
    )
    return {"train": arrays, "test": arrays}


def test_texts_become_indices_of_characters_of_all_splits(tmp_path):
    splits = splits_of(["one", "", "two"]) | {"test": splits_of(["six", "no", "o"])["test"]}
    made, found, alphabet = encoded(tiny(), tmp_path, splits)
    assert alphabet == ("", *sorted(set("onetwosix")))
    assert json.loads((tmp_path / "labels.json").read_text()) == list(alphabet)
    for name, texts in (("train", ["one", "", "two"]), ("test", ["six", "no", "o"])):
        ids, mask = found[name].values, found[name].mask
        assert ["".join(alphabet[i] for i in row) for row in ids] == texts
        np.testing.assert_array_equal(mask, ids > 0)
        assert not made[name].texts
        assert ids.shape == (3, 3)


def test_shared_captions_are_shared_transcripts(tmp_path):
    split = splits_of(["one", "two"])["train"]
    split = dataclasses.replace(
        split, texts={"text": ["both"]}, index={"text": np.array([0, 0])}, ids={}
    )
    made, _, _ = encoded(tiny(), tmp_path, {"train": split})
    examples = handling(made["train"]).examples(
        tiny(), made["train"], tiny().modalities, Made({}, {}, {}), True
    )
    batch = examples.batch([examples.eval_row(0), examples.eval_row(1), examples.eval_row(2)])
    assert batch["targets/text_mask"].sum(axis=1).tolist() == [4, 4, 0]
    assert "text" not in batch
    assert not batch["targets/text"][2].any()


def test_a_restart_has_the_same_alphabet_and_says_when_the_data_changed(tmp_path):
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    (tmp_path / "labels.json").write_text(json.dumps(["", "z", "e", "n", "o"]))
    _, found, alphabet = encoded(tiny(), tmp_path, splits_of(["one"]))
    assert alphabet == ("", "z", "e", "n", "o")
    assert found["train"].values.tolist() == [[4, 3, 2]]
    with pytest.raises(UserError, match="labels.json lacks 'tw': the data changed; train anew"):
        encoded(tiny(), tmp_path, splits_of(["two"]))


def test_which_text_is_written_must_be_said_and_be_no_input(tmp_path):
    config = tiny()
    config.target = "caption"
    with pytest.raises(UserError, match=r"config.target \(written_numbers\): unknown"):
        encoded(config, tmp_path, written_numbers(train=1, validation=1, test=1))
    config.target = "text"
    config.modalities = ("ink", "text")
    with pytest.raises(UserError, match="'text' is one of config.modalities: it would be read off"):
        encoded(config, tmp_path, splits_of(["one"]))
    controlled = factory.DATASETS["controlled"](train=8, validation=8, test=8)
    config = tiny()
    config.target = ""
    with pytest.raises(UserError, match="controlled/train has no target that is a text; it has l"):
        encoded(config, tmp_path, controlled)


def test_transcripts_that_no_token_sequence_can_hold_are_reported(caplog, tmp_path):
    config = tiny()
    config.data.shapes.ink = (6, 8)
    model, example = model_of(config), factory.example_inputs(config)

    shapes = jax.eval_shape(lambda: model.init_with_output(jax.random.PRNGKey(0), example)[0])

    def check(texts):
        _, questions = with_targets(config, tmp_path, {"train": splits_of(texts, 6)["train"]})
        check_outputs(config, shapes, questions)

    check(["sixsix"] * 3)
    with caplog.at_level(logging.WARNING):
        check(["six"] * 199 + ["seven s"])
    assert "train: 1 of 200 transcripts take more tokens than the 6 of the model" in caplog.text
    with pytest.raises(UserError, match=r"2 of 3 .* \(the longest takes 8\): choose an encoder"):
        check(["three x", "seven six"[:8], "a"])


def test_the_loss_and_the_metrics_read_what_the_task_writes():
    config = tiny()
    config.metrics = ("word_error_rate", "character_error_rate", "bleu", "cider")
    model, example = model_of(config), factory.example_inputs(config)
    task = factory.tasks(config, vocabularies={"characters": ["", "a", "b", "c", " "]})[
        "characters"
    ]
    batch = {
        "ink": np.zeros((2, 60, 8), np.float32),
        "ink_mask": np.ones((2, 60), bool),
        "targets/text": np.array([[1, 2], [3, 0]], np.int32),
        "targets/text_mask": np.array([[True, True], [True, False]]),
        "slice": np.zeros(2, np.int32),
        "_mask": np.ones(2, bool),
    }
    batch = jax.tree.map(jnp.asarray, batch)
    outputs = model.apply(model.init(jax.random.PRNGKey(0), example), inputs_of({"": task}, batch))
    assert float(task.losses(outputs, batch)["ctc"].value.min()) > 0
    rows = jax.device_get(task.keep(outputs, batch))
    rows["prediction/written"] = np.array([[1, 2, 0], [1, 0, 0]])
    found = task.dataset_metrics(rows)
    assert found["word_error_rate"] == 0.5
    assert found["character_error_rate"] == pytest.approx(1 / 3)
    assert found.keys() == {"word_error_rate", "character_error_rate", "bleu", "cider"}


def test_what_does_not_write_has_no_error_rates():
    config = factory.checked(module_of(ROOT / "configs" / "fusion.py").get_config("tiny"))
    config.metrics = ("word_error_rate",)
    with pytest.raises(UserError, match="word_error_rate.* needs references: give the name of"):
        factory.tasks(config)


@pytest.mark.parametrize(
    ("fusion", "words"),
    [
        ({}, r"modalities=\('ink', 'hint'\): set config.fusion to 'cross_attention' with query="),
        ({"name": "concat"}, "config.fusion='concat' keeps no sequence to write from: use"),
        ({"name": "film"}, "'film' with target=NAME"),
    ],
)
def test_several_modalities_need_a_fusion_that_keeps_a_sequence(fusion, words):
    config = tiny()
    config.modalities = ("ink", "hint")
    config.data.shapes.hint = (4,)
    config.encoders.hint = ConfigDict({"kind": "vector", "name": "mlp"})
    with config.unlocked():
        config.fusion = ConfigDict(fusion)
    with pytest.raises(UserError, match=words):
        model_of(config)
    with config.unlocked():
        config.fusion = ConfigDict({"name": "film", "target": "ink"})
    outputs, _ = model_of(config).init_with_output(
        jax.random.PRNGKey(0), factory.example_inputs(config)
    )
    assert outputs["characters"].shape == (1, 60, 5)
    config.head = ConfigDict({"hiden": 3})
    with pytest.raises(UserError, match=r"config.head \(characters\): unknown 'hiden'"):
        model_of(config)
