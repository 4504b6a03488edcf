"""Whole models of one space in a run: at its start they are the original library's, and when they
have moved they go back there, alone and all of a piece."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

import mmjax
from mmjax import factory, interop
from mmjax.errors import UserError
from mmjax.factory.checkpoints import joint, pretrained
from mmjax.factory.checkpoints.export import export
from mmjax.interop.preprocess.images.processor import image_processor
from mmjax.interop.preprocess.processors import of_images, of_sounds
from mmjax.interop.preprocess.sounds.processor import sound_processor
from mmjax.interop.preprocess.texts.processor import text_processor
from mmjax.interop.weights.recognition import architecture_name
from mmjax.types import Input
from tests.parity.interop import published

models = pytest.importorskip("tests.parity.interop.joint_models")

TEXTS = ["a red circle", "what shape is ?", "blue"]


def config_of(case, side):
    return ConfigDict(
        {
            "task": "alignment",
            "modalities": ("heard" if case.kind == "audio" else "image", "text"),
            "dtype": "float32",
            "data": {
                "image_size": side,
                "text_length": models.LENGTH,
                "shapes": {"heard": (models.RATE // 4,)},
            },
            "encoders": {},
            "model": mmjax.pretrained(
                case.path,
                **(
                    {"kinds": {"heard": "audio"}, "sample_rate": models.RATE}
                    if case.kind == "audio"
                    else {}
                ),
            ),
            "losses": {},
            "tuning": {"name": "full"},
            "optimizer": {"freeze": ()},
        }
    )


def raw(kind, side):
    generator = np.random.default_rng(0)
    if kind == "audio":
        sounds = generator.normal(0, 0.1, (2, models.RATE // 4)).astype(np.float32)
        return sounds, np.ones(sounds.shape, bool)
    return generator.integers(0, 256, (2, side, side, 3), np.uint8), np.ones(2, bool)


def inputs_of(case, kept, kind, value):
    """As the original library has them, by our processors on the host."""
    folder = case.path if case.path.is_dir() else case.path.parent
    words = text_processor(folder, kept.config)
    found = words(TEXTS, padding="max_length", max_length=models.LENGTH)
    if kind == "audio":
        prepared = sound_processor(of_sounds(kept))(list(value), sampling_rate=models.RATE)
    else:
        prepared = image_processor(of_images(kept, architecture_name(kept)))(list(value))
    prepared.pop("is_longer", None)
    return {
        k: x.astype(np.int64) if x.dtype == np.int32 else x for k, x in (found | prepared).items()
    }


def outputs_of(model, variables, inputs, kind):
    out = jax.jit(model.apply)(variables, inputs)
    name = next(n for n in inputs if n != "text")
    rows, texts = out[f"embedding/{name}"], out["embedding/text"]
    cosines, bias = rows @ texts.T, out.get("bias", 0)
    asked = out.get(f"temperature/{name}", out["temperature"])
    read = out.get("temperature/text", out["temperature"])
    return {
        f"{kind}_embeds": rows,
        "text_embeds": texts,
        f"logits_per_{kind}": cosines / asked + bias,
        "logits_per_text": cosines.T / read + bias,
    }


def assert_equal(found, expected, tolerance):
    common = {name: expected[name] for name in found if name in expected}
    assert len(common) >= 3
    published.assert_close(found, common, tolerance)


@pytest.mark.parametrize("name", models.CASES)
def test_a_run_starts_as_the_original_and_gives_back_what_it_became(name, tmp_path):
    case = models.CASES[name](tmp_path / "published" / "original")
    kept = pretrained.open_checkpoint(case.path)
    side = {"open_clip resnet": 32, "open_clip siglip": 12}.get(name, models.SIDE)
    config, workdir = config_of(case, side), tmp_path / "run"
    held = pretrained.checkpoints(config, workdir)
    model = factory.model(config, classes=0, vocabulary_size=0, checkpoints=held)
    variables, _ = joint.first_variables(config)
    value, there = raw(case.kind, side)
    first = config.modalities[0]
    ids, mask = joint.encode_texts(config, held, "text", config.data.text_length)(TEXTS)
    inputs = {
        first: Input(jnp.asarray(value), jnp.asarray(there)),
        "text": Input(jnp.asarray(ids), jnp.asarray(mask)),
    }
    shapes = jax.eval_shape(model.init, jax.random.key(0), inputs)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)

    tolerance = 2e-3 if case.kind == "audio" else 1e-4  # of decibels
    theirs = inputs_of(case, kept, case.kind, value)
    assert_equal(outputs_of(model, variables, inputs, case.kind), case.run(theirs), tolerance)

    generator = np.random.default_rng(1)

    def move(x):
        # In half precision, which OpenAI's files are opened in.
        return jnp.asarray(x * (1 + 0.1 * generator.random(x.shape))).astype("float16").astype("f")

    moved = jax.tree.map(move, variables)
    kind = "npz" if name == "big_vision" else "safetensors"
    with models.away(tmp_path / "published" / "original"):
        notes = export(config, workdir, moved, None, kind, tmp_path / "back")
        expected = outputs_of(model, moved, inputs, case.kind)
        found = case.again(tmp_path / "back")(theirs)
        assert_equal(expected, found, tolerance)
        assert all("position_ids" in n or "relative_position" in n or "mask" in n for n in notes)
    before = case.run(theirs)
    assert (
        max(np.abs(found[n] - before[n]).max() for n in found if n in before and "logits" in n)
        > 0.01
    )


BUFFERS = ("_ids", "_index", "num_batches_tracked")  # of the class, whatever was trained


@pytest.mark.parametrize("name", ["clip", "siglip", "siglip2", "clap", "openai"])
def test_one_backbone_that_trained_apart_goes_back_alone(name, tmp_path):
    """Without projections and a partner that did not train with it; or not at all."""
    case = models.CASES[name](tmp_path / "original")
    config = config_of(case, models.SIDE)
    del config.model
    first, kinds = config.modalities[0], {config.modalities[0]: case.kind, "text": "text"}
    config.encoders = {m: mmjax.pretrained(str(case.path), kind=k) for m, k in kinds.items()}
    pretrained.checkpoints(config, tmp_path / "run")
    variables, _ = pretrained.first_variables(config, factory.kind_of)
    variables["params"] = jax.tree.map(lambda x: 1.1 * x, variables["params"])
    for modality in (first, "text"):
        back = tmp_path / modality
        given = (config, tmp_path / "run", variables, modality, "safetensors", back)
        if name == "openai":
            with pytest.raises(UserError, match="open_clip cannot be given back alone"):
                export(*given)
            continue
        assert "backbone alone" in export(*given)[0]
        prefix = {"clip": "CLIP", "siglip": "Siglip", "siglip2": "Siglip2", "clap": "Clap"}[name]
        half = {"image": "Vision", "audio": "Audio", "text": "Text"}[kinds[modality]]
        theirs = getattr(models.transformers, f"{prefix}{half}Model")
        _, notes = theirs.from_pretrained(back, output_loading_info=True)
        missing = [k for k in notes["missing_keys"] if not k.endswith(BUFFERS)]
        assert not missing
        assert not notes["unexpected_keys"]
        own = {
            c: tree[f"encoders_{modality}"]["backbone"]
            for c, tree in variables.items()
            if f"encoders_{modality}" in tree
        }
        model = interop.load(back)
        jax.tree.map(np.testing.assert_array_equal, model.params, own["params"])
        assert not model.report.unexpected
