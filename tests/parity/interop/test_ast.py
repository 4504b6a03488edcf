"""AST against transformers: drawn shapes, all outputs, the names of both versions, and back."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax import interop
from mmjax.errors import UserError
from tests.parity.interop import published

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")


@st.composite
def configs(draw):
    """Patches that overlap, touch, or leave gaps, of any number of bins and frames."""
    side = draw(st.integers(1, 4))
    return draw(published.sizes("gelu", "gelu_new", "relu", "silu")) | {
        "layer_norm_eps": draw(st.sampled_from([1e-12, 1e-3])),
        "qkv_bias": draw(st.booleans()),
        "patch_size": side,
        "frequency_stride": draw(st.integers(1, 5)),
        "time_stride": draw(st.integers(1, 5)),
        "num_mel_bins": side + draw(st.integers(0, 7)),
        "max_length": side + draw(st.integers(0, 11)),
    }


SMALL = published.SIZES | {
    "patch_size": 3,
    "frequency_stride": 2,
    "time_stride": 2,
    "num_mel_bins": 7,
    "max_length": 9,
}


def spectrograms(config, seed=0):
    size = (2, config["max_length"], config["num_mel_bins"])
    return torch.tensor(np.random.default_rng(seed).normal(size=size)).float()


def drawn_model(config, name="ASTModel", **extra):
    theirs = getattr(transformers, name)(transformers.ASTConfig(**config, **extra))
    return published.randomise(torch, theirs)


@published.DRAWN
@given(config=configs())
def test_ast_of_any_shape_equals_transformers_and_returns(config, tmp_path_factory):
    inputs = {"input_values": spectrograms(config)}
    published.check(torch, drawn_model(config), inputs, tmp_path_factory.mktemp("ast"))


@published.DRAWN
@given(config=configs(), labels=st.integers(1, 5))
def test_ast_with_a_classifier(config, labels, tmp_path_factory):
    theirs = drawn_model(config, "ASTForAudioClassification", num_labels=labels)
    inputs = {"input_values": spectrograms(config)}
    published.check(torch, theirs, inputs, tmp_path_factory.mktemp("ast"))


@pytest.mark.parametrize("name", ["ASTModel", "ASTForAudioClassification"])
def test_the_names_that_version_5_has_in_memory(name, tmp_path):
    theirs = drawn_model(SMALL, name)
    theirs.save_pretrained(tmp_path / "disk")
    weights = {key: x.contiguous() for key, x in theirs.state_dict().items()}
    assert any("layers.0.attention.q_proj" in key for key in weights)
    (tmp_path / "memory").mkdir()
    safetensors.save_file(weights, tmp_path / "memory/model.safetensors")
    config = (tmp_path / "disk/config.json").read_text()
    (tmp_path / "memory/config.json").write_text(config)
    model = interop.load(tmp_path / "memory")
    with torch.no_grad():
        expected = published.as_numpy(theirs(spectrograms(SMALL), **published.HIDDEN))
    found = model(input_values=spectrograms(SMALL).numpy(), **published.HIDDEN)
    published.assert_close(found, expected)
    assert set(interop.weights_of(model)) == set(weights)


def test_masked_tokens_are_read_by_none(tmp_path):
    mask = torch.ones(2, 14, dtype=torch.long)
    mask[0, 9:], mask[1, 1] = 0, 0
    inputs = {"input_values": spectrograms(SMALL), "attention_mask": mask}
    published.check(torch, drawn_model(SMALL), inputs, tmp_path)


def test_the_part_that_encodes_audio_is_the_model_without_its_classifier(tmp_path):
    drawn_model(SMALL, "ASTForAudioClassification").save_pretrained(tmp_path)
    model = interop.load(tmp_path)
    x = spectrograms(SMALL).numpy()
    part = model.architecture.parts["audio"]
    found = part.module.apply({"params": model.params[part.path]}, jnp.asarray(x))
    np.testing.assert_allclose(
        found["pooler_output"], model(input_values=x).pooler_output, rtol=0, atol=1e-6
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_attention_heads": 5},
        {"hidden_act": "mish"},
        {"patch_size": [3, 2]},
        {"patch_size": 8},
        {"time_stride": 0},
        {"head_dim": 5},
        {"qkv_bias": "yes"},
        {"num_mel_bins": 19},
        {"num_hidden_layers": 3},
        {"intermediate_size": 21},
    ],
)
def test_a_config_that_is_not_of_the_file_is_refused_in_one_line(wrong, tmp_path):
    drawn_model(SMALL).save_pretrained(tmp_path)
    assert str(tmp_path) in published.refused(tmp_path, wrong)


def test_spectrograms_of_another_size_are_refused(tmp_path):
    drawn_model(SMALL).save_pretrained(tmp_path)
    model = interop.load(tmp_path)
    with pytest.raises(UserError, match="8 frames of 7 bins, but the model takes 9 of 7"):
        model(input_values=np.zeros((1, 8, 7), np.float32))
