"""DINOv2, with registers and without, against transformers, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.parity.interop import published

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

MODELS = [
    "Dinov2Model",
    "Dinov2ForImageClassification",
    "Dinov2WithRegistersModel",
    "Dinov2WithRegistersForImageClassification",
]
SIZES = {
    "hidden_size": 12,
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "image_size": 12,
    "patch_size": 4,
}


@st.composite
def configs(draw):
    """Any number of heads of any width; a square of patches, whatever the picture's shape."""
    heads, patch = draw(st.integers(1, 4)), draw(st.integers(2, 4))
    sides = draw(st.sampled_from([[1, 1], [2, 2], [3, 3], [1, 4], [4, 1]]))
    return {
        "hidden_size": heads * draw(st.sampled_from([3, 5, 8, 11])),
        "num_attention_heads": heads,
        "num_hidden_layers": draw(st.integers(1, 3)),
        "mlp_ratio": draw(st.integers(1, 4)),
        "hidden_act": draw(st.sampled_from(["gelu", "gelu_new", "relu"])),
        "use_swiglu_ffn": draw(st.booleans()),
        "layerscale_value": 0.1,
        "patch_size": patch,
        "image_size": [patch * count for count in sides],
        "num_channels": draw(st.integers(1, 3)),
        "qkv_bias": draw(st.booleans()),
    }


def pictures(*shape, seed=0):
    return torch.tensor(np.random.default_rng(seed).normal(size=(2, *shape))).float()


def build(name, **config):
    theirs = getattr(transformers, name)
    return published.randomise(torch, theirs(theirs.config_class(**config)))


@pytest.mark.parametrize("name", MODELS)
@published.DRAWN
@given(drawn=configs(), registers=st.integers(1, 3))
def test_dinov2_of_any_shape_equals_transformers_and_returns(
    name, drawn, registers, tmp_path_factory
):
    if "Registers" in name:
        drawn["num_register_tokens"] = registers
    inputs = {"pixel_values": pictures(drawn["num_channels"], *drawn["image_size"])}
    theirs = build(name, **drawn, num_labels=5)
    published.check(torch, theirs, inputs, tmp_path_factory.mktemp("dinov2"))


@pytest.mark.parametrize("sides", [(20, 20), (8, 32), (4, 4), (13, 9), (4, 36)])
@pytest.mark.parametrize("name", ["Dinov2Model", "Dinov2WithRegistersModel"])
def test_pictures_of_another_size_interpolate_the_positions(name, sides, tmp_path):
    """Without antialiasing, and with it in the model with registers."""
    inputs = {"pixel_values": pictures(3, *sides)}
    published.check(torch, build(name, **SIZES), inputs, tmp_path)


@pytest.mark.parametrize("name", ["Dinov2Model", "Dinov2WithRegistersModel"])
def test_hidden_patches_become_the_mask_token(name, tmp_path):
    hidden = torch.tensor(np.random.default_rng(0).random((2, 9)) < 0.5)
    inputs = {"pixel_values": pictures(3, 12, 12), "bool_masked_pos": hidden}
    published.check(torch, build(name, **SIZES), inputs, tmp_path)


def test_a_model_made_without_a_mask_token(tmp_path):
    inputs = {"pixel_values": pictures(3, 12, 12)}
    published.check(torch, build("Dinov2Model", **SIZES, use_mask_token=False), inputs, tmp_path)


def test_the_names_that_transformers_5_has_in_memory_are_read_and_given_back(tmp_path):
    theirs = build("Dinov2Model", **SIZES, use_swiglu_ffn=True)
    inputs = {"pixel_values": pictures(3, 12, 12).numpy()}
    names = published.check_names_in_memory(theirs, inputs, tmp_path, "last_hidden_state")
    assert "encoder.layer.0.mlp.gate_proj.weight" in names


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": [8, 12]}, "no square of square patches"),
        ({"patch_size": [2, 8]}, "no square of square patches"),
        ({"num_attention_heads": 5}, "does not split into 5 heads"),
        ({"hidden_act": "gelu_10"}, "activation 'gelu_10'"),
        ({"use_swiglu_ffn": True}, "mlp.weights_in"),
        ({"mlp_ratio": 3}, "mlp.fc1"),
    ],
)
def test_configs_that_do_not_fit_are_refused_in_one_line(changes, message, tmp_path):
    build("Dinov2Model", **SIZES).save_pretrained(tmp_path)
    assert message in published.refused(tmp_path, changes)
