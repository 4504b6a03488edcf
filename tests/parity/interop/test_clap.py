"""CLAP against transformers: drawn shapes of both backbones, all outputs, and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax import interop
from mmjax.backbones.audio.clap_audio import cubic_matrix
from mmjax.errors import UserError
from tests.parity.interop import published

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCABULARY, PADDING, LENGTH = 30, 1, 7
TEXT = published.SIZES | {
    "vocab_size": VOCABULARY,
    "max_position_embeddings": LENGTH + 2,
    "pad_token_id": PADDING,
}
AUDIO = {
    "window_size": 2,
    "num_mel_bins": 16,
    "spec_size": 32,
    "patch_size": 4,
    "patch_stride": [4, 4],
    "depths": [2, 1],
    "num_attention_heads": [1, 2],
    "patch_embeds_hidden_size": 6,
    "hidden_size": 12,
}


@st.composite
def audio_sizes(draw):
    """Of an audio backbone: windows that divide the grid or not, and are as large as it or not."""
    stages = draw(st.integers(1, 3))
    heads = draw(st.lists(st.sampled_from([1, 2]), min_size=stages, max_size=stages))
    side, pieces = draw(st.sampled_from([2, 3, 4])), draw(st.sampled_from([1, 2]))
    grid = 2 ** (stages - 1) * draw(st.sampled_from([4, 6, 8]))
    stride = draw(st.sampled_from([1, 2]))
    width = 2 * draw(st.integers(3, 6))
    return {
        "window_size": side,
        "num_mel_bins": grid * stride // pieces,
        "spec_size": grid * stride,
        "patch_size": stride + draw(st.sampled_from([0, 2])),
        "patch_stride": [stride, stride],
        "depths": draw(st.lists(st.integers(1, 2), min_size=stages, max_size=stages)),
        "num_attention_heads": heads,
        "patch_embeds_hidden_size": width,
        "hidden_size": width * 2 ** (stages - 1),
        "enable_patch_layer_norm": draw(st.booleans()),
        "qkv_bias": draw(st.booleans()),
        "mlp_ratio": draw(st.sampled_from([4.0, 1.5])),
        "layer_norm_eps": draw(st.sampled_from([1e-5, 1e-3])),
        "hidden_act": draw(st.sampled_from(["gelu", "relu"])),
    }


def spectrograms(config, share=1.0, seed=0):
    """Two, of a share of the frames that the model takes."""
    longest = config["spec_size"] ** 2 // config["num_mel_bins"]
    shape = (2, 1, max(2, int(longest * share)), config["num_mel_bins"])
    return torch.tensor(np.random.default_rng(seed).normal(size=shape)).float()


def texts(length=LENGTH, seed=0):
    """Three, the second short."""
    ids = np.random.default_rng(seed).integers(PADDING + 1, VOCABULARY, (3, length))
    mask = np.arange(length) < np.array([length, (length + 1) // 2, length])[:, None]
    ids[~mask] = PADDING
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask.astype(int))}


def clap(audio, text, projection=5, act="relu"):
    config = transformers.ClapConfig(
        audio_config=audio,
        text_config=text,
        projection_dim=projection,
        projection_hidden_act=act,
    )
    return published.randomise(torch, transformers.ClapModel(config))


def check(theirs, inputs, folder):
    """As `published.check`, but transformers makes anew what is no parameter."""
    theirs.save_pretrained(folder / "theirs")
    with torch.no_grad():
        expected = published.as_numpy(theirs(**inputs, **published.HIDDEN))
    model = interop.load(folder / "theirs")
    assert not model.report.unexpected
    published.assert_close(model(**published.as_arrays(inputs), **published.HIDDEN), expected)
    interop.save(model, folder / "ours")
    again, notes = type(theirs).from_pretrained(folder / "ours", output_loading_info=True)
    assert not notes["missing_keys"], notes
    assert not notes["unexpected_keys"]
    with torch.no_grad():
        returned = published.as_numpy(again.eval()(**inputs, **published.HIDDEN))
    published.assert_close(returned, expected, 1e-6)
    return model


@published.DRAWN
@given(
    audio=audio_sizes(),
    share=st.sampled_from([1.0, 0.9, 0.3]),
    projection=st.integers(2, 9),
    act=st.sampled_from(["relu", "gelu"]),
)
def test_of_any_shape_equals_transformers_and_returns(
    audio, share, projection, act, tmp_path_factory
):
    theirs = clap(audio, TEXT, projection, act)
    inputs = {"input_features": spectrograms(audio, share), **texts()}
    check(theirs, inputs, tmp_path_factory.mktemp("clap"))


@pytest.mark.parametrize("name", ["ClapAudioModel", "ClapAudioModelWithProjection"])
def test_the_audio_half_alone(name, tmp_path):
    theirs = getattr(transformers, name)(transformers.ClapAudioConfig(**AUDIO, projection_dim=5))
    inputs = {"input_features": spectrograms(AUDIO)}
    check(published.randomise(torch, theirs), inputs, tmp_path)


@pytest.mark.parametrize("name", ["ClapTextModel", "ClapTextModelWithProjection"])
def test_the_text_half_alone(name, tmp_path):
    theirs = getattr(transformers, name)(transformers.ClapTextConfig(**TEXT, projection_dim=5))
    check(published.randomise(torch, theirs), texts(), tmp_path)


def test_each_kind_alone_gives_the_embeddings_of_both(tmp_path):
    theirs = clap(AUDIO, TEXT)
    inputs = {"input_features": spectrograms(AUDIO), **texts()}
    model = check(theirs, inputs, tmp_path)
    arrays = published.as_arrays(inputs)
    sounds = arrays.pop("input_features")
    longer = np.array([[True], [False]])  # as the original's preprocessing gives it
    both = model(input_features=sounds, is_longer=longer, **arrays)
    alone = model(input_features=sounds), model(**arrays)
    published.assert_close(alone[0].audio_embeds, np.asarray(both.audio_embeds), 1e-6)
    published.assert_close(alone[1].text_embeds, np.asarray(both.text_embeds), 1e-6)
    with torch.no_grad():
        expected = theirs.get_audio_features(inputs["input_features"]).pooler_output
    published.assert_close(alone[0].audio_embeds, expected.numpy())


def test_the_part_for_recipes_gives_the_map_as_tokens(tmp_path):
    clap(AUDIO, TEXT).save_pretrained(tmp_path)
    model = interop.load(tmp_path)
    part = model.architecture.parts["audio"]
    variables = {name: tree["audio"]["backbone"] for name, tree in model.variables.items()}
    sounds = jnp.asarray(spectrograms(AUDIO).numpy())
    found = part.module.apply(variables, input_features=sounds)
    whole = model(input_features=sounds).audio_model_output.last_hidden_state
    assert found["last_hidden_state"].shape == (2, 16, 12)
    published.assert_close(
        found["last_hidden_state"], np.asarray(whole).reshape(2, 12, 16).swapaxes(1, 2), 1e-6
    )


def test_gradients_equal_those_of_torch(tmp_path):
    theirs = clap(AUDIO | {"window_size": 3, "depths": [2, 2]}, TEXT)
    inputs = {"input_features": spectrograms(AUDIO, 0.9), **texts()}
    model = check(theirs, inputs, tmp_path)
    (theirs(**inputs).logits_per_audio ** 2).sum().backward()

    def loss(params):
        arrays = {key: jnp.asarray(x.numpy()) for key, x in inputs.items()}
        found = model.module.apply({**model.variables, "params": params}, **arrays)
        return jnp.sum(found["logits_per_audio"] ** 2)

    found = jax.jit(jax.grad(loss))(model.params)
    found = interop.weights_of(model, {**model.variables, "params": found})
    expected = {key: p.grad.numpy() for key, p in theirs.named_parameters() if p.grad is not None}
    assert len(expected) > 60
    published.assert_close(found, expected)


@pytest.mark.parametrize(("given", "wanted"), [(2, 3), (5, 17), (40, 41), (1001, 1024)])
def test_cubic_resampling_equals_torch(given, wanted):
    x = torch.tensor(np.random.default_rng(0).normal(size=(1, 1, given, 3))).float()
    expected = torch.nn.functional.interpolate(x, (wanted, 3), mode="bicubic", align_corners=True)
    found = cubic_matrix(given, wanted) @ x[0, 0].numpy()
    np.testing.assert_allclose(found, expected[0, 0].numpy(), atol=2e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"enable_fusion": True}, "missing"),
        ({"enable_fusion": True, "fusion_type": "channel_map"}, "channel_map"),
        ({"enable_fusion": True, "aff_block_r": 7}, "aff_block_r"),
        ({"enable_fusion": True, "patch_size": 20}, "fusion needs"),
        ({"enable_fusion": 1}, "enable_fusion"),
        ({"patch_embed_input_channels": 3}, "patch_embed_input_channels"),
        ({"flatten_patch_embeds": False}, "flatten_patch_embeds"),
        ({"depths": [2, 1, 1]}, "not as many"),
        ({"num_attention_heads": [1, 5]}, "5 heads"),
        ({"num_mel_bins": 12}, "does not split"),
        ({"window_size": 5}, "does not split"),
        ({"patch_stride": [3, 3]}, "does not split"),
        ({"hidden_act": "mish"}, "mish"),
        ({"qkv_bias": "yes"}, "qkv_bias"),
        ({"mlp_ratio": 3.0}, "does not fit"),
    ],
)
def test_a_config_that_cannot_be_run_is_refused(change, said, tmp_path):
    theirs = transformers.ClapAudioModel(transformers.ClapAudioConfig(**AUDIO))
    theirs.save_pretrained(tmp_path)
    assert said in published.refused(tmp_path, change)


def test_a_spectrogram_of_the_wrong_size_is_refused(tmp_path):
    transformers.ClapAudioModel(transformers.ClapAudioConfig(**AUDIO)).save_pretrained(tmp_path)
    model = interop.load(tmp_path)
    for shape in ((1, 1, 65, 16), (1, 1, 64, 15), (1, 4, 64, 16)):
        with pytest.raises(UserError, match="1 of up to 64 frames of 16 bins"):
            model(input_features=np.zeros(shape))
