"""ViT against transformers: drawn shapes, all outputs, other sizes of pictures, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax import interop
from mmjax.errors import UserError
from mmjax.interop.formats.open_weights import open_weights
from tests.parity.interop import published

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = published.SIZES | {"image_size": 8, "patch_size": 4}


@st.composite
def configs(draw):
    """Pictures of any shape, patches too, any number of heads of any width."""
    patch = draw(st.lists(st.integers(2, 5), min_size=2, max_size=2))
    cells = draw(st.lists(st.integers(1, 3), min_size=2, max_size=2))
    sizes = draw(published.sizes("gelu", "gelu_new", "quick_gelu", "relu", "silu"))
    return sizes | {
        "patch_size": patch,
        "image_size": [side * count for side, count in zip(patch, cells, strict=True)],
        "num_channels": draw(st.integers(1, 4)),
        "qkv_bias": draw(st.booleans()),
        "layer_norm_eps": draw(st.sampled_from([1e-12, 1e-3])),
        "pooler_act": draw(st.sampled_from(["tanh", "relu"])),
        "pooler_output_size": draw(st.sampled_from([None, 7])),
    }


def pictures(*shape, seed=0):
    return torch.tensor(np.random.default_rng(seed).normal(size=(2, *shape))).float()


@pytest.mark.parametrize("name", ["ViTModel", "ViTForImageClassification"])
@published.DRAWN
@given(drawn=configs())
def test_vit_of_any_shape_equals_transformers_and_returns(name, drawn, tmp_path_factory):
    theirs = getattr(transformers, name)(transformers.ViTConfig(**drawn, num_labels=5))
    inputs = {"pixel_values": pictures(drawn["num_channels"], *drawn["image_size"])}
    published.check(
        torch, published.randomise(torch, theirs), inputs, tmp_path_factory.mktemp("vit")
    )


def compared(theirs, inputs, folder):
    """Our model, equal to theirs. transformers reads such a file into a model of another shape."""
    theirs = published.randomise(torch, theirs)
    with torch.no_grad():
        expected = published.as_numpy(theirs(**inputs))
    theirs.save_pretrained(folder)
    model = interop.load(folder)
    published.assert_close(model(**published.as_arrays(inputs)), expected)
    assert set(interop.weights_of(model)) == set(open_weights(folder))
    return model


def test_without_a_pooler(tmp_path):
    theirs = transformers.ViTModel(transformers.ViTConfig(**SIZES), add_pooling_layer=False)
    inputs = {"pixel_values": pictures(3, 8, 8)}
    model = compared(theirs, inputs, tmp_path)
    assert "pooler_output" not in model(**published.as_arrays(inputs))


@pytest.mark.parametrize("sides", [(16, 16), (8, 20), (4, 4), (11, 9)])
def test_pictures_of_another_size_interpolate_the_positions(sides, tmp_path):
    theirs = transformers.ViTModel(transformers.ViTConfig(**SIZES | {"image_size": 12}))
    published.check(
        torch,
        published.randomise(torch, theirs),
        {"pixel_values": pictures(3, *sides)},
        tmp_path,
        extra={"interpolate_pos_encoding": True},
    )


@pytest.mark.parametrize("name", ["ViTModel", "SiglipVisionModel"])
def test_what_is_left_after_the_last_whole_patch_is_not_read(name, tmp_path):
    """As in a convolution: the 384 pixels of SigLIP so400m are 27 patches of 14 and 6 more."""
    theirs = getattr(transformers, name)
    theirs = theirs(theirs.config_class(**SIZES | {"image_size": 10}))
    inputs = {"pixel_values": pictures(3, 10, 10)}
    published.check(torch, published.randomise(torch, theirs), inputs, tmp_path)


def test_hidden_patches_become_the_mask_token(tmp_path):
    theirs = transformers.ViTModel(
        transformers.ViTConfig(**SIZES), add_pooling_layer=False, use_mask_token=True
    )
    hidden = torch.tensor([[True, False, False, True], [False, False, False, False]])
    compared(theirs, {"pixel_values": pictures(3, 8, 8), "bool_masked_pos": hidden}, tmp_path)


def build():
    return published.randomise(torch, transformers.ViTModel(transformers.ViTConfig(**SIZES)))


def test_the_names_that_transformers_5_has_in_memory_are_read_and_given_back(tmp_path):
    inputs = {"pixel_values": pictures(3, 8, 8).numpy()}
    names = published.check_names_in_memory(build(), inputs, tmp_path, "last_hidden_state")
    assert "layers.0.attention.q_proj.weight" in names


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_attention_heads": 5}, "does not split into 5 heads"),
        ({"hidden_act": "gelu_10"}, "activation 'gelu_10'"),
        ({"pooler_act": "softplus"}, "activation 'softplus'"),
        ({"head_dim": 8}, "head_dim=8"),
        ({"qkv_bias": 1}, "qkv_bias=1"),
        ({"num_hidden_layers": 3}, "encoder.layer.2"),
        ({"image_size": 12}, "embeddings.position_embeddings"),
    ],
)
def test_configs_that_do_not_fit_are_refused_in_one_line(changes, message, tmp_path):
    build().save_pretrained(tmp_path)
    assert message in published.refused(tmp_path, changes)


def test_hidden_patches_need_a_mask_token(tmp_path):
    build().save_pretrained(tmp_path)
    model = interop.load(tmp_path)
    with pytest.raises(UserError, match="no input 'bool_masked_pos'"):
        model(pixel_values=np.zeros((1, 3, 8, 8)), bool_masked_pos=np.zeros((1, 4), bool))
    with pytest.raises(UserError, match="smaller than a patch"):
        model(pixel_values=np.zeros((1, 3, 3, 8)))
