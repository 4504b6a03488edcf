"""A published checkpoint as a function of files and sentences, and the command that converts it."""

import json

import jax
import numpy as np
import PIL.Image
import pytest

import mmjax
from mmjax import cli, convert, interop, predict
from mmjax.errors import UserError
from mmjax.inference.published import summary
from mmjax.interop.formats.open_weights import open_weights
from mmjax.interop.preprocess.images.processor import image_processor
from mmjax.interop.weights.checkpoint import read_config_file
from tests.commands import run
from tests.interop import fakes

TEXTS = ["a red circle", "what shape is the red shape ?", "blue"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return fakes.new_clip(tmp_path_factory)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Paths, of any size."""
    generator = np.random.default_rng(0)
    made = []
    for i, size in enumerate([(40, 30), (16, 16), (17, 90)]):
        pixels = generator.integers(0, 256, (*size, 3), np.uint8)
        made.append(tmp_path_factory.mktemp("pictures") / f"{i}.png")
        PIL.Image.fromarray(pixels).save(made[-1])
    return made


def test_embeddings_are_those_of_its_own_inputs(folder, pictures):
    model = mmjax.load(folder, batch_size=2)
    assert model.modalities == ("image", "text")
    found = model.embed(image=pictures, text=TEXTS)
    config = read_config_file(folder / "preprocessor_config.json")
    pixels = image_processor(config)(pictures)["pixel_values"]
    ids = [[0, *(fakes.tokenizer().token_to_id(w) for w in text.split()), 1] for text in TEXTS]
    arrays = interop.load(folder)
    for row, alone in enumerate(ids):
        expected = arrays(input_ids=np.array([alone])).text_embeds[0]
        np.testing.assert_allclose(found["text"][row], expected, atol=1e-5)
    expected = arrays(pixel_values=pixels).image_embeds
    np.testing.assert_allclose(found["image"], expected, atol=1e-5)
    np.testing.assert_allclose(
        model.similarity(image=pictures, text=TEXTS), found["image"] @ found["text"].T, atol=1e-6
    )
    assert model.scale == pytest.approx(float(np.exp(model.params["logit_scale"])))


def test_labels_are_judged_by_their_names(folder, pictures):
    model = mmjax.load(folder)
    answers = model.classify(["circle", "red"], image=str(pictures[0]), templates=["a {}"])
    cosines = model.similarity(image=[pictures[0]], text=["a circle", "a red"])[0]
    weights = np.exp(model.scale * cosines)
    best = int(weights.argmax())
    assert answers[0]["answer"] == ["circle", "red"][best]
    assert answers[0]["probability"] == pytest.approx(weights[best] / weights.sum(), rel=1e-4)


def test_what_it_cannot_do_is_said(folder, pictures, tmp_path):
    model = mmjax.load(folder)
    with pytest.raises(UserError, match=r"does not classify: use embed\(...\) or classify"):
        model(image=pictures[0])
    with pytest.raises(UserError, match="no input 'audio': this model takes image and text"):
        model.embed(audio=[np.zeros(9)])
    with pytest.raises(UserError, match="image: an empty list"):
        model.embed(image=[])
    with pytest.raises(UserError, match="is a published checkpoint and has no steps"):
        mmjax.load(folder, step=3)
    interop.save(interop.load(folder), tmp_path / "bare")
    (tmp_path / "bare" / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match="no preprocessor_config.json"):
        mmjax.load(tmp_path / "bare").embed(image=pictures)


def test_a_mask_of_something_else_than_the_tokens_is_refused():
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    mask = np.array([[1, 1, 0], [1, 0, 0]])
    for name in ("last_hidden_state", "encoder_last_hidden_state"):
        found = summary("audio", {name: x}, mask)
        np.testing.assert_allclose(found, [x[0, :2].mean(0), x[1, 0]], atol=1e-6)
        np.testing.assert_allclose(summary("audio", {name: x}, None), x.mean(1), atol=1e-6)
        for other in (mask[:, :2], np.repeat(mask, 160, axis=1)):
            with pytest.raises(UserError, match=r"the mask has the shape .* tokens .* \[2, 3\]"):
                summary("audio", {name: x}, other)


def convert_here(*arguments):
    convert.main(["convert", *map(str, arguments)])


def test_each_layout_becomes_every_other(folder, tmp_path):
    """Byte by byte the same at the end."""
    source, original = folder, interop.load(folder)
    for kind in ("mmjax", "npz", "safetensors"):
        convert_here(source, tmp_path / kind, f"--to={kind}")
        source = tmp_path / kind
        jax.tree.map(np.testing.assert_array_equal, interop.load(source).params, original.params)
    final = source / "model.safetensors"
    assert final.read_bytes() == (folder / "model.safetensors").read_bytes()
    assert sorted(p.name for p in source.iterdir()) == sorted(p.name for p in folder.iterdir())


def test_inspect_lists_the_tensors(folder):
    out, _ = run("mmjax.convert", folder, "--inspect")
    assert "vision_model.pre_layrnorm.weight" in out
    total = sum(int(np.prod(t.shape)) for t in open_weights(folder).values())
    assert f"{len(open_weights(folder))} tensors, {total:,} parameters, architecture clip" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("SRC",), "give two paths"),
        (("SRC", "DST"), "--to is missing"),
        (("SRC", "DST", "--to=onnx"), "--to: unknown 'onnx'"),
        (("SRC", "SRC", "--to=npz"), "is there already: choose a new directory"),
        (("NONE", "DST", "--to=npz"), "No such file or directory"),
        (("SRC", "DST", "--to=npz", "--encoder=text"), "--encoder is for workdirs"),
        (("SRC", "DST", "--inspect"), "--inspect takes one path"),
    ],
)
def test_mistakes_of_the_command_are_named(folder, tmp_path, arguments, message):
    places = {"SRC": folder, "DST": tmp_path / "new", "NONE": tmp_path / "none"}
    with pytest.raises(UserError, match=message) as caught:
        convert_here(*(places.get(a, a) for a in arguments))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_a_file_of_inputs_is_embedded_line_by_line(folder, pictures, tmp_path, capsys):
    lines = [
        {"id": 1, "text": TEXTS[0]},
        {"image": str(pictures[0]), "text": TEXTS[1]},
        {"image": f"{tmp_path}/gone.png", "text": TEXTS[2]},
        {"image": str(pictures[2]), "text": None},
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, lines)))
    arguments = [f"--workdir={folder}", f"--inputs={tmp_path}/in.jsonl", "--on_error=skip"]
    cli.run(predict.main, ["predict", *arguments])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found[0]["id"] == 1
    assert "line 3: " in found[2].pop("error")
    model = mmjax.load(folder)
    texts, images = model.embed(text=TEXTS[:2])["text"], model.embed(image=pictures)["image"]
    expected = [{"text": texts[0]}, {"text": texts[1], "image": images[0]}, None]
    for row, wanted in zip(found, [*expected, {"image": images[2]}], strict=True):
        assert ("embeddings" in row) == (wanted is not None)
        for name, x in (wanted or {}).items():
            np.testing.assert_allclose(row["embeddings"][name], x, atol=1e-5)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), np.uint8)
    np.testing.assert_array_equal(
        model.embed(image=pixels)["image"], model.embed(image=list(pixels))["image"]
    )
