"""VideoMAE and ViViT against transformers: drawn shapes, all outputs, old names, and back."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax import interop
from mmjax.errors import UserError
from mmjax.interop.encoding.encoder import PretrainedEncoder, part_of, preparation
from tests.parity.interop import published

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = published.SIZES | {"image_size": 8, "num_frames": 4}
MAE = SIZES | {"patch_size": 4}
VIVIT = SIZES | {"tubelet_size": [2, 4, 4]}


@st.composite
def configs(draw, *, mae):
    """Clips of any size, with something left after the last tubelet; tubelets of any size."""
    sides = draw(st.lists(st.integers(1, 4), min_size=3, max_size=3))
    cells = draw(st.lists(st.integers(1, 3), min_size=3, max_size=3))
    clip = [side * count for side, count in zip(sides, cells, strict=True)]
    activations = ["gelu", "gelu_new", "relu", "silu"] + ([] if mae else ["gelu_fast"])
    drawn = draw(published.sizes(*activations)) | {
        "layer_norm_eps": draw(st.sampled_from([1e-12, 1e-3])),
        "num_frames": clip[0] + draw(st.integers(0, sides[0] - 1)),
        "image_size": [clip[1] + draw(st.integers(0, sides[1] - 1)), clip[2]],
        "num_channels": draw(st.integers(1, 4)),
    }
    if mae:
        return drawn | {
            "tubelet_size": sides[0],
            "patch_size": sides[1:],
            "qv_bias": draw(st.booleans()),
            "use_mean_pooling": draw(st.booleans()),
        }
    return drawn | {
        "tubelet_size": sides,
        "qkv_bias": draw(st.booleans()),
        "pooler_act": draw(st.sampled_from(["tanh", "relu"])),
        "pooler_output_size": draw(st.sampled_from([None, 7])),
    }


def clips(config, seed=0):
    size = config["image_size"]
    rows, columns = (size, size) if isinstance(size, int) else size
    shape = (2, config["num_frames"], config.get("num_channels", 3), rows, columns)
    return torch.tensor(np.random.default_rng(seed).normal(size=shape)).float()


def drawn_model(name, config):
    theirs = getattr(transformers, name)
    return published.randomise(torch, theirs(theirs.config_class(**config, num_labels=5)))


NAMES = [
    "VideoMAEModel",
    "VideoMAEForVideoClassification",
    "VivitModel",
    "VivitForVideoClassification",
]


@pytest.mark.parametrize("name", NAMES)
@published.DRAWN
@given(data=st.data())
def test_a_model_of_any_shape_equals_transformers_and_returns(name, data, tmp_path_factory):
    config = data.draw(configs(mae="MAE" in name))
    inputs = {"pixel_values": clips(config)}
    published.check(torch, drawn_model(name, config), inputs, tmp_path_factory.mktemp("video"))


def test_masked_tokens_of_vivit_are_read_by_none(tmp_path):
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[0, 5:], mask[1, 1] = 0, 0
    inputs = {"pixel_values": clips(VIVIT), "attention_mask": mask}
    published.check(torch, drawn_model("VivitModel", VIVIT), inputs, tmp_path)


def test_the_decoder_of_pixels_is_left_over_and_given_back(tmp_path):
    extra = {"decoder_hidden_size": 8, "decoder_num_attention_heads": 2}
    extra |= {"decoder_num_hidden_layers": 1, "decoder_intermediate_size": 8}
    theirs = drawn_model("VideoMAEForPreTraining", MAE | extra)
    theirs.save_pretrained(tmp_path / "theirs")
    model = interop.load(tmp_path / "theirs")
    assert any(name.startswith("decoder.") for name in model.report.unexpected)
    x = clips(MAE)
    with torch.no_grad():
        expected = published.as_numpy(theirs.videomae(x, **published.HIDDEN))
    published.assert_close(model(pixel_values=x.numpy(), **published.HIDDEN), expected)
    tokens = theirs.videomae.embeddings.num_patches
    inputs = {"pixel_values": x, "bool_masked_pos": torch.arange(tokens).expand(len(x), -1) < 3}
    published.check_return(torch, theirs, model, inputs, tmp_path / "ours")


@pytest.mark.parametrize(
    ("name", "config", "sign"),
    [
        ("VideoMAEForVideoClassification", MAE, "attention.query.bias"),
        ("VivitForVideoClassification", VIVIT, "layers.0.attention.q_proj"),
    ],
)
def test_both_versions_of_names_are_read_and_given_back(name, config, sign, tmp_path):
    inputs = {"pixel_values": clips(config).numpy()}
    theirs = drawn_model(name, config)
    names = published.check_names_in_memory(theirs, inputs, tmp_path, "logits")
    assert any(sign in key for key in names)


def test_the_part_that_encodes_video_takes_raw_clips(tmp_path):
    """Bytes are normalised as preprocessor_config.json says; a missing clip gives zeros."""
    drawn_model("VivitForVideoClassification", VIVIT).save_pretrained(tmp_path)
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
    told = {"image_processor_type": "VideoMAEImageProcessor", "image_mean": mean, "image_std": std}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(told))
    model = interop.load(tmp_path)
    part = part_of(model.architecture, "video", "here")
    prepare = preparation(part, "video", model.checkpoint, {})
    module = PretrainedEncoder(part.module, prepare, 12)
    raw = np.random.default_rng(0).integers(0, 256, (3, 4, 8, 8, 3), np.uint8)
    mask = np.ones((3, 4), bool)
    mask[1], mask[2, 2:] = False, False
    variables = {"params": {"backbone": model.params["backbone"]}}
    found = module.apply(variables, jnp.asarray(raw), jnp.asarray(mask))
    x = (raw / 255 - np.array(mean)) / np.array(std) * mask[..., None, None, None]
    expected = model(pixel_values=np.moveaxis(x, 4, 2))["last_hidden_state"]
    published.assert_close(found.x[jnp.array([0, 2])], expected[jnp.array([0, 2])])
    assert not found.x[1].any()


WRONG = [
    ("VideoMAEModel", {"num_attention_heads": 5}, "5 heads"),
    ("VideoMAEModel", {"hidden_act": "mish"}, "activation 'mish'"),
    ("VideoMAEModel", {"use_mean_pooling": False}, "use_mean_pooling=False"),
    ("VideoMAEModel", {"qv_bias": 1}, "qv_bias=1"),
    ("VideoMAEModel", {"patch_size": 16}, "do not fit into clips"),
    ("VideoMAEModel", {"patch_size": 2}, "patch_embeddings.projection"),
    ("VideoMAEModel", {"num_hidden_layers": 3}, "encoder.layer.2"),
    ("VivitModel", {"head_dim": 5}, "head_dim=5"),
    ("VivitModel", {"tubelet_size": 2}, "tubelets of 2 do not fit"),
    ("VivitModel", {"tubelet_size": [0, 4, 4]}, "do not fit into clips"),
    ("VivitModel", {"num_frames": 6}, "position_embeddings"),
    ("VivitModel", {"pooler_act": "mish"}, "activation 'mish'"),
]


@pytest.mark.parametrize(("name", "wrong", "message"), WRONG)
def test_configs_that_do_not_fit_are_refused_in_one_line(name, wrong, message, tmp_path):
    drawn_model(name, MAE if "MAE" in name else VIVIT).save_pretrained(tmp_path)
    said = published.refused(tmp_path, wrong)
    assert message in said
    assert str(tmp_path) in said


def test_clips_of_another_size_are_refused(tmp_path):
    drawn_model("VivitModel", VIVIT).save_pretrained(tmp_path)
    model = interop.load(tmp_path)
    with pytest.raises(UserError, match="3 frames of 8x8 and 3 channels, but the model takes 4 fr"):
        model(pixel_values=np.zeros((1, 3, 3, 8, 8), np.float32))
