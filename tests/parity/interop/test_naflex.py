"""SigLIP 2 NaFlex against transformers: pictures of any shape, all outputs, and back."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax import interop
from mmjax.backbones.vision.naflex import resized
from mmjax.errors import UserError
from mmjax.interop.encoding.encoder import PretrainedEncoder, part_of, preparation
from mmjax.interop.preprocess.images.processor import image_processor
from tests.parity.interop import published

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VISION = published.SIZES | {"patch_size": 2, "num_patches": 16}
TEXT = {
    "hidden_size": 12,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "intermediate_size": 17,
    "vocab_size": 30,
    "max_position_embeddings": 6,
}


def halves():
    vision = st.fixed_dictionaries(
        {
            "num_hidden_layers": st.integers(1, 3),
            "intermediate_size": st.integers(5, 50),
            "patch_size": st.integers(1, 3),
            "num_channels": st.integers(1, 4),
            "num_patches": st.sampled_from([1, 4, 9, 36]),
            "hidden_act": st.sampled_from(["gelu_pytorch_tanh", "gelu", "relu"]),
            "layer_norm_eps": st.sampled_from([1e-6, 1e-3]),
        }
    )
    return st.tuples(vision, st.integers(1, 4), st.sampled_from([3, 5, 8, 11]))


# One column is left out: there PyTorch's antialiased interpolation on CPU does not interpolate the
# rows (2.15: of arange(12) as 4x3 to 3x1 it makes three times the same).
shapes = st.lists(st.tuples(st.integers(1, 9), st.integers(2, 9)), min_size=1, max_size=3)


def pictures(config, grids, more=0, seed=0):
    """Patches of pictures of these grids, padded to the longest and `more`."""
    count = max(rows * columns for rows, columns in grids) + more
    width = config.get("num_channels", 3) * config["patch_size"] ** 2
    noise = np.random.default_rng(seed).normal(size=(len(grids), count, width))
    mask = np.arange(count) < np.prod(grids, axis=1)[:, None]
    return {
        "pixel_values": torch.tensor(noise).float(),
        "pixel_attention_mask": torch.tensor(mask).int(),
        "spatial_shapes": torch.tensor(grids),
    }


def texts(config, rows):
    ids = np.random.default_rng(0).integers(0, config["vocab_size"], (rows, 5))
    return {"input_ids": torch.tensor(ids)}


def model_of(name, vision, text=None):
    if name == "Siglip2Model":
        config = transformers.Siglip2Config(vision_config=vision, text_config=text)
    else:
        config = getattr(transformers, name).config_class(**(vision or text))
    return published.randomise(torch, getattr(transformers, name)(config))


@published.DRAWN
@given(half=halves(), grids=shapes, more=st.integers(0, 3), head=st.booleans())
def test_pictures_of_any_shape_equal_transformers(half, grids, more, head, tmp_path_factory):
    drawn, heads, size = half
    config = drawn | {"num_attention_heads": heads, "hidden_size": heads * size}
    theirs = model_of("Siglip2VisionModel", config | {"vision_use_head": head})
    inputs = pictures(config, grids, more)
    published.check(torch, theirs, inputs, tmp_path_factory.mktemp("naflex"))


@published.DRAWN
@given(half=halves(), grids=shapes)
def test_both_halves_equal_transformers(half, grids, tmp_path_factory):
    drawn, heads, size = half
    config = drawn | {"num_attention_heads": heads, "hidden_size": heads * size}
    text = TEXT | {"hidden_size": 2 * heads * size, "projection_size": heads * size}
    theirs = model_of("Siglip2Model", config, text)
    inputs = pictures(config, grids) | texts(text, 2)
    published.check(torch, theirs, inputs, tmp_path_factory.mktemp("naflex"))


def test_the_text_half_alone(tmp_path):
    theirs = model_of("Siglip2TextModel", None, TEXT)
    published.check(torch, theirs, texts(TEXT, 2), tmp_path)


def test_without_a_mask_all_patches_are_read(tmp_path):
    theirs = model_of("Siglip2Model", VISION, TEXT)
    inputs = pictures(VISION, [(3, 4), (2, 6)]) | texts(TEXT, 2)
    del inputs["pixel_attention_mask"]
    published.check(torch, theirs, inputs, tmp_path)


def test_patches_that_are_not_there_are_read_by_none(tmp_path):
    """Neither by the blocks nor by the head, whatever they hold."""
    theirs = model_of("Siglip2VisionModel", VISION)
    inputs = pictures(VISION, [(3, 4), (1, 2)], more=2)
    model = published.check(torch, theirs, inputs, tmp_path)
    arrays = published.as_arrays(inputs)
    real = arrays["pixel_attention_mask"][..., None] != 0
    other = model(**arrays | {"pixel_values": np.where(real, arrays["pixel_values"], 9.0)})
    found = model(**arrays)
    np.testing.assert_array_equal(found.pooler_output, other.pooler_output)
    np.testing.assert_array_equal(
        found.last_hidden_state[real[..., 0]], other.last_hidden_state[real[..., 0]]
    )


@pytest.mark.parametrize("side", [1, 3, 6])
def test_positions_of_one_column_are_those_of_one_row_turned(side):
    """Of which PyTorch has only the row right."""
    table = torch.tensor(np.random.default_rng(0).normal(size=(side, side, 5))).float()
    for count in range(1, 13):
        expected = torch.nn.functional.interpolate(
            table.permute(2, 0, 1)[None], (1, count), mode="bilinear", antialias=True
        )[0].reshape(5, count)
        turned = jnp.asarray(table.transpose(0, 1).reshape(-1, 5).numpy())
        found = resized(turned, side, jnp.array([[count, 1]]), count)
        np.testing.assert_allclose(found[0], expected.T, atol=1e-5)


def test_raw_pictures_enter_as_by_the_processor(tmp_path):
    """A recipe's encoder: whole patches of bytes, normalised to -1..1; a missing one is zeros."""
    model_of("Siglip2Model", VISION, TEXT).save_pretrained(tmp_path)
    model = interop.load(tmp_path)
    part = part_of(model.architecture, "image", "here")
    raw = np.random.default_rng(0).integers(0, 256, (3, 6, 10, 3), np.uint8)
    module = PretrainedEncoder(part.module, preparation(part, "image", model.checkpoint, {}), 12)
    variables = {"params": {"backbone": model.params["vision"]["backbone"]}}
    found = module.apply(variables, jnp.asarray(raw), jnp.array([True, False, True]))
    told = {"image_processor_type": "Siglip2ImageProcessor", "patch_size": 2}
    inputs = image_processor(told | {"max_num_patches": 15, "do_resize": False})(raw)
    expected = model(**inputs)["vision_model_output"]["last_hidden_state"]
    published.assert_close(found.x[jnp.array([0, 2])], np.asarray(expected)[[0, 2]], 1e-5)
    assert not found.x[1].any()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_attention_heads": 5}, "5 heads"),
        ({"hidden_act": "mish"}, "activation 'mish'"),
        ({"num_patches": 12}, "num_patches=12"),
        ({"patch_size": [2, 3]}, "patch_size"),
        ({"patch_size": 4}, "embeddings.patch_embedding"),
        ({"num_patches": 25}, "embeddings.position_embedding"),
        ({"num_hidden_layers": 3}, "encoder.layers.2"),
        ({"vision_use_head": "no"}, "vision_use_head"),
    ],
)
def test_configs_that_do_not_fit_are_refused_in_one_line(wrong, message, tmp_path):
    model_of("Siglip2VisionModel", VISION).save_pretrained(tmp_path)
    assert message in published.refused(tmp_path, wrong)


def test_inputs_that_do_not_fit_are_refused(tmp_path):
    model_of("Siglip2VisionModel", VISION).save_pretrained(tmp_path)
    model = interop.load(tmp_path)
    x = np.zeros((1, 4, 12), np.float32)
    with pytest.raises(UserError, match="spatial_shapes"):
        model(pixel_values=x)
    with pytest.raises(UserError, match="patches of 11 numbers"):
        model(pixel_values=x[..., :11], spatial_shapes=np.array([[2, 2]]))
