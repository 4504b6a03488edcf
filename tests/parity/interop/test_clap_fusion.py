"""CLAP with fusion against transformers: drawn shapes, longer and shorter sounds, and back."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmjax import interop
from mmjax.errors import UserError
from tests.parity.interop import published

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tests.parity.interop.test_clap import AUDIO, TEXT, audio_sizes, check, clap, texts  # noqa: E402

FUSED = AUDIO | {"enable_fusion": True, "aff_block_r": 2}
LONGER = (True, False, True)


def sounds(config=FUSED, longer=LONGER, share=1.0):
    """Four spectrograms of each sound, which differ whether it is longer or not."""
    frames = max(2, int(config["spec_size"] ** 2 // config["num_mel_bins"] * share))
    shape = (len(longer), 4, frames, config["num_mel_bins"])
    values = np.random.default_rng(0).normal(size=shape)
    return {
        "input_features": torch.tensor(values).float(),
        "is_longer": torch.tensor(longer)[:, None],
    }


def half(config):
    """A model of transformers."""
    theirs = transformers.ClapAudioModel(transformers.ClapAudioConfig(**config))
    return published.randomise(torch, theirs)


@settings(published.DRAWN, max_examples=3)
@given(
    audio=audio_sizes(),
    ratio=st.integers(1, 6),
    share=st.sampled_from([1.0, 0.9, 0.3]),
    longer=st.lists(st.booleans(), min_size=1, max_size=3),
)
def test_of_any_shape_equals_transformers_and_returns(
    audio, ratio, share, longer, tmp_path_factory
):
    size, stride = audio["patch_size"], audio["patch_stride"][1]
    assume(3 * size <= audio["spec_size"] + (size - stride) // 2 * 2)
    audio |= {"enable_fusion": True, "aff_block_r": ratio, "depths": [1] * len(audio["depths"])}
    check(half(audio), sounds(audio, longer, share), tmp_path_factory.mktemp("clap"))


def test_with_texts(tmp_path):
    config = FUSED | {"depths": [1], "num_attention_heads": [1], "hidden_size": 6}
    check(clap(config, TEXT), {**sounds(config), **texts()}, tmp_path)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Theirs and ours."""
    config = FUSED | {
        "window_size": 3,
        "attention_probs_dropout_prob": 0.0,
        "hidden_dropout_prob": 0.0,
        "drop_path_rate": 0.0,
    }
    theirs = transformers.ClapAudioModel(transformers.ClapAudioConfig(**config))
    return theirs, check(
        published.randomise(torch, theirs), sounds(), tmp_path_factory.mktemp("it")
    )


def test_inputs_that_do_not_fit_are_refused(pair):
    inputs = published.as_arrays(sounds())
    for longer in (None, [[1]]):
        with pytest.raises(UserError, match="is_longer: .* needs \\[3, 1\\]"):
            pair[1](**(inputs | {"is_longer": longer}))
    with pytest.raises(UserError, match="takes 4 of up to 64 frames"):
        pair[1](**(inputs | {"input_features": inputs["input_features"][:, :1]}))


def test_the_parts_of_a_sound_that_is_not_longer_change_nothing(pair):
    model, inputs = pair[1], published.as_arrays(sounds())
    other = inputs["input_features"].copy()
    other[~np.array(LONGER), 1:] += 5.0
    one, two = (
        model(**(inputs | {"input_features": x})) for x in (inputs["input_features"], other)
    )
    np.testing.assert_array_equal(one.last_hidden_state, two.last_hidden_state)
    longer = model(**(inputs | {"is_longer": np.ones((3, 1), bool)})).last_hidden_state
    assert np.array_equal(one.last_hidden_state[0], longer[0])
    assert not np.allclose(one.last_hidden_state[1], longer[1], atol=1e-2)


def test_gradients_equal_those_of_torch(pair):
    theirs, model = pair
    inputs = sounds(share=0.9)
    (theirs(**inputs).pooler_output ** 2).sum().backward()
    arrays = {name: jnp.asarray(x.numpy()) for name, x in inputs.items()}

    def loss(params):
        found = model.module.apply({**model.variables, "params": params}, **arrays)
        return jnp.sum(found["pooler_output"] ** 2)

    found = jax.jit(jax.grad(loss))(model.params)
    found = interop.weights_of(model, {**model.variables, "params": found})
    expected = {key: p.grad.numpy() for key, p in theirs.named_parameters() if p.grad is not None}
    assert sum("fusion_model" in key or "mel_conv2d" in key for key in expected) == 18
    published.assert_close(found, expected)


def test_in_training_the_norms_take_the_statistics_of_longer_sounds(pair):
    theirs, model = pair
    before = {name: x.clone() for name, x in theirs.state_dict().items()}
    arrays = {name: jnp.asarray(x.numpy()) for name, x in sounds().items()}
    train = functools.partial(model.module.apply, deterministic=False, mutable=["batch_stats"])
    found, changed = jax.jit(train)(model.variables, **arrays)
    with torch.no_grad():
        expected = published.as_numpy(theirs.train()(**sounds()))
    published.assert_close(found, expected)
    after = {name: x.clone().numpy() for name, x in theirs.eval().state_dict().items()}
    after = {name: x for name, x in after.items() if "running" in name}
    theirs.load_state_dict(before)
    found = interop.weights_of(model, {**model.variables, **changed})
    assert len(after) == 10
    published.assert_close(found, after)
