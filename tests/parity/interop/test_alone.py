"""What a published model makes of a picture or a clip is the same alone and in any list."""

import json

import numpy as np
import PIL.Image
import pytest

import mmjax
from mmjax import interop
from mmjax.errors import UserError
from mmjax.inference.published import summary
from tests.parity.interop import published
from tests.parity.interop.test_heads import DUAL, NAFLEX, PICTURE, SIZES

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ONE = {"num_hidden_layers": 1}
CLIP = PICTURE | ONE | {"num_frames": 2, "tubelet_size": 1}
STAGES = {"embedding_size": 6, "hidden_sizes": [6, 8], "depths": [1, 1], "layer_type": "basic"}
# Each a class, its config, and its preprocessor file; pictures keep their shape where nothing is
# cut, so that those of a list come out in several.
UNCUT = {"size": {"shortest_edge": 8}, "do_center_crop": False}
IMAGE_POOLING = {
    "ViTForImageClassification": (PICTURE | ONE, {"size": 8}),
    "ViTModel": (PICTURE | ONE, UNCUT),
    "Dinov2Model": (PICTURE | ONE, {"size": {"shortest_edge": 8}, "crop_size": 8}),
    "Dinov2ForImageClassification": (PICTURE | ONE, UNCUT),
    "ResNetForImageClassification": (STAGES, {"size": 32, "crop_pct": 0.9}),
    "ResNetModel": (STAGES, {"do_resize": False}),
    "CLIPVisionModelWithProjection": (PICTURE | ONE, {"size": 9, "crop_size": 8}),
    "SiglipForImageClassification": (DUAL, {"size": {"height": 8, "width": 8}}),
    "Siglip2VisionModel": (
        NAFLEX["vision_config"] | {"vision_use_head": False},
        {"patch_size": 4, "max_num_patches": 9},
    ),
    "Siglip2ForImageClassification": (NAFLEX, {"patch_size": 4, "max_num_patches": 9}),
}
CLIPS = {
    "VideoMAEForVideoClassification": (CLIP, {"size": 8, "crop_size": 8}),
    "VideoMAEModel": (CLIP, {"size": 9, "crop_size": 8}),
    "VivitModel": (CLIP | {"tubelet_size": [1, 4, 4]}, {"size": 8, "crop_size": 8}),
}
SHAPES = ((9, 30), (16, 16), (40, 11), (8, 8), (30, 9))


def loaded(name, config, preprocessing, folder):
    theirs = getattr(transformers, name)
    theirs = theirs(theirs.config_class(**config))
    published.randomise(torch, theirs).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    return mmjax.load(folder, batch_size=4)


def frames(shape, count=None, seed=0):
    size = shape if count is None else (count, *shape)
    return np.random.default_rng((seed, *size)).integers(0, 256, (*size, 3), np.uint8)


def assert_alone(model, kind, values):
    """Embeddings and probabilities: alone, in the list, at other places."""
    whole = model.embed(**{kind: values})[kind]
    assert np.linalg.norm(whole[0] - whole[1]) > 1e-3
    alone = [model.embed(**{kind: [value]})[kind][0] for value in values]
    np.testing.assert_allclose(alone, whole, atol=1e-5)
    turned = model.embed(**{kind: values[::-1]})[kind]
    np.testing.assert_allclose(turned[::-1], whole, atol=1e-5)
    if model.model.config["architectures"][0].endswith("Classification"):
        answers = [model(**{kind: [value]})[0] for value in values]
        for one, other in zip(model(**{kind: values}), answers, strict=True):
            found, expected = ({a["answer"]: a["probability"] for a in row} for row in (one, other))
            assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", sorted(IMAGE_POOLING))
def test_a_picture_is_what_it_is_alone(name, tmp_path):
    model = loaded(name, *IMAGE_POOLING[name], tmp_path)
    assert_alone(model, "image", [frames(shape) for shape in SHAPES])


@pytest.mark.parametrize("name", sorted(CLIPS))
def test_a_clip_is_what_it_is_alone(name, tmp_path):
    model = loaded(name, *CLIPS[name], tmp_path)
    assert_alone(model, "video", [frames(shape, count=2) for shape in SHAPES[:3]])


def test_patches_that_are_none_are_no_part_of_a_picture(tmp_path):
    """NaFlex: the mean of a model without a head is of the picture's own patches."""
    name = "Siglip2VisionModel"
    model = loaded(name, *IMAGE_POOLING[name], tmp_path)
    picture = frames((4, 8))
    found = model.embed(image=[picture])["image"][0]
    inputs = mmjax.inference.published.reader(model.model, "image")([picture])
    real = inputs["pixel_attention_mask"].sum()
    assert 1 < real < 9
    x = np.asarray(model.model(**inputs).last_hidden_state)[0, :real].mean(axis=0)
    np.testing.assert_allclose(found, x / np.linalg.norm(x), atol=1e-5)


def test_a_mask_of_something_else_is_not_dropped():
    outputs = {"last_hidden_state": np.ones((2, 4, 3))}
    with pytest.raises(UserError, match="mask"):
        summary("image", outputs, np.ones((2, 5), bool))


def test_the_folder_of_a_clip_of_sentence_transformers(tmp_path):
    """0_CLIPModel holds what transformers would have in the folder itself."""
    config = transformers.CLIPConfig(
        vision_config=PICTURE, text_config=SIZES | {"vocab_size": 40}, projection_dim=6
    )
    inner = tmp_path / "0_CLIPModel"
    published.randomise(torch, transformers.CLIPModel(config)).save_pretrained(inner)
    kind = {"image_processor_type": "CLIPImageProcessor", "size": 8, "crop_size": 8}
    (inner / "preprocessor_config.json").write_text(json.dumps(kind))
    entry = {"idx": 0, "name": "0", "path": inner.name}
    modules = [entry | {"type": "sentence_transformers.models.CLIPModel"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    pictures = [PIL.Image.fromarray(frames(shape)) for shape in SHAPES[:2]]
    found, expected = (mmjax.load(path).embed(image=pictures) for path in (tmp_path, inner))
    np.testing.assert_array_equal(found["image"], expected["image"])
    assert interop.load(tmp_path).report.unexpected == []
    modules.append(entry | {"path": "1_Dense", "type": "sentence_transformers.models.Dense"})
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UserError, match="lists Dense after CLIPModel"):
        mmjax.load(tmp_path)
