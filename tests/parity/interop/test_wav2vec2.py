"""wav2vec 2.0 against transformers: drawn shapes, both kinds of norms, masks, old names, back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax import interop
from mmjax.errors import UserError
from mmjax.interop.encoding.encoder import PretrainedEncoder, part_of, preparation
from mmjax.interop.formats import safetensors
from mmjax.interop.formats.open_weights import open_weights
from tests.parity.interop import published

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@st.composite
def sizes(draw):
    """Two or three convolutions, and any number of heads of any width."""
    heads, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    count = draw(st.integers(2, 3))

    def some(low, high):
        return draw(st.lists(st.integers(low, high), min_size=count, max_size=count))

    return {
        "vocab_size": draw(st.integers(2, 9)),
        "hidden_size": heads * groups * draw(st.sampled_from([3, 5, 8])),
        "num_attention_heads": heads,
        "num_hidden_layers": draw(st.integers(1, 3)),
        "intermediate_size": draw(st.integers(5, 40)),
        "hidden_act": draw(st.sampled_from(["gelu", "relu", "gelu_new"])),
        "feat_extract_activation": draw(st.sampled_from(["gelu", "relu"])),
        "layer_norm_eps": draw(st.sampled_from([1e-5, 1e-3])),
        "conv_dim": some(6, 12),
        "conv_kernel": some(2, 5),
        "conv_stride": some(1, 3),
        "conv_bias": draw(st.booleans()),
        "num_conv_pos_embeddings": draw(st.integers(1, 6)),
        "num_conv_pos_embedding_groups": groups,
        "mask_time_prob": draw(st.sampled_from([0.0, 0.05])),
    }


CONFIG = published.SIZES | {
    "vocab_size": 7,
    "conv_dim": [6, 8],
    "conv_kernel": [5, 3],
    "conv_stride": [3, 2],
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}


def drawn(name, config):
    """A model of transformers."""
    theirs = getattr(transformers, name)
    return published.randomise(torch, theirs(transformers.Wav2Vec2Config(**config)))


def sounds(samples=90, masked=True):
    """Three, the second of a part of the samples, the third of few."""
    generator = np.random.default_rng(0)
    values = torch.tensor(generator.normal(size=(3, samples))).float()
    if not masked:
        return {"input_values": values}
    mask = np.arange(samples) < np.array([samples, 2 * samples // 3, samples // 2])[:, None]
    return {"input_values": values, "attention_mask": torch.tensor(mask.astype(int))}


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("stable", [False, True])
@published.DRAWN
@given(config=sizes(), masked=st.booleans(), head=st.booleans())
def test_of_any_shape_equals_transformers_and_returns(
    norm, stable, config, masked, head, tmp_path_factory
):
    config |= {"feat_extract_norm": norm, "do_stable_layer_norm": stable}
    theirs = drawn("Wav2Vec2ForCTC" if head else "Wav2Vec2Model", config)
    folder = tmp_path_factory.mktemp("wav2vec2")
    model = published.check(torch, theirs, sounds(masked=masked), folder)
    if head:  # transformers gives these only without the head
        inputs = sounds(masked=masked)
        with torch.no_grad():
            expected = published.as_numpy(theirs.wav2vec2(**inputs, **published.HIDDEN))
        found = model(**published.as_arrays(inputs), **published.HIDDEN)
        published.assert_close(found, expected)


def test_the_shortest_sound_of_one_frame(tmp_path):
    theirs = drawn("Wav2Vec2Model", CONFIG | {"feat_extract_norm": "layer"})
    model = published.check(torch, theirs, sounds(11, masked=False), tmp_path)
    with pytest.raises(UserError, match="10 samples are too few"):
        model(input_values=np.zeros((1, 10)))


def test_frames_are_replaced_where_told(tmp_path):
    inputs = sounds()
    frames = torch.tensor(np.random.default_rng(0).random((3, 14)) < 0.5)
    theirs = drawn("Wav2Vec2Model", CONFIG)
    published.check(torch, theirs, inputs | {"mask_time_indices": frames}, tmp_path / "it")
    bare = drawn("Wav2Vec2Model", CONFIG | {"mask_time_prob": 0.0})
    model = published.check(torch, bare, inputs, tmp_path / "bare")
    with pytest.raises(UserError, match="no vector"):
        model(**published.as_arrays(inputs), mask_time_indices=frames.numpy())


def test_masked_samples_change_nothing_if_norms_are_of_frames(tmp_path):
    drawn("Wav2Vec2Model", CONFIG | {"feat_extract_norm": "layer"}).save_pretrained(tmp_path)
    model, inputs = interop.load(tmp_path), published.as_arrays(sounds())
    other = np.where(inputs["attention_mask"], inputs["input_values"], 5.0)
    frames = [14, 9, 7]
    one, two = model(**inputs), model(**(inputs | {"input_values": other}))
    for row, count in enumerate(frames):
        pair = (found.last_hidden_state[row, :count] for found in (one, two))
        assert np.array_equal(*pair)
    assert not np.array_equal(one.extract_features, two.extract_features)


OLD = {
    "parametrizations.weight.original0": "weight_g",
    "parametrizations.weight.original1": "weight_v",
}


def test_names_of_either_age_are_given_back(tmp_path):
    theirs = drawn("Wav2Vec2ForCTC", CONFIG)
    theirs.save_pretrained(tmp_path / "one")
    file = open_weights(tmp_path / "one")
    ages = [{name: tensor.read() for name, tensor in file.items()}]
    other = dict(OLD) if any(key in name for key in OLD for name in file) else {}
    other = other or {old: new for new, old in OLD.items()}
    for before, after in other.items():
        file = {name.replace(before, after): tensor for name, tensor in file.items()}
    ages.append({name: tensor.read() for name, tensor in file.items()})
    assert len(set(ages[0]) - set(ages[1])) == 2
    outputs = []
    for age, tensors in enumerate(ages):
        folder = tmp_path / f"age_{age}"
        folder.mkdir()
        (folder / "config.json").write_bytes((tmp_path / "one/config.json").read_bytes())
        safetensors.write(folder / "model.safetensors", tensors)
        model = interop.load(folder)
        outputs.append(model(**published.as_arrays(sounds())))
        given = interop.weights_of(model)
        assert set(given) == set(tensors)
        assert all(np.array_equal(given[name], tensors[name]) for name in given)
    assert np.array_equal(outputs[0].logits, outputs[1].logits)


def test_other_heads_are_left_over_and_given_back(tmp_path):
    theirs = drawn("Wav2Vec2ForAudioFrameClassification", CONFIG)
    left = ("classifier.bias", "classifier.weight")
    theirs.save_pretrained(tmp_path / "theirs")
    model = interop.load(tmp_path / "theirs")
    assert tuple(model.report.unexpected) == left
    inputs = sounds()
    with torch.no_grad():
        expected = published.as_numpy(theirs.wav2vec2(**inputs))
    published.assert_close(model(**published.as_arrays(inputs)), expected)
    published.check_return(torch, theirs, model, inputs, tmp_path / "ours")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"add_adapter": True}, "add_adapter"),
        ({"adapter_attn_dim": 16}, "adapter_attn_dim"),
        ({"feat_extract_norm": "batch"}, "feat_extract_norm"),
        ({"feat_extract_norm": "layer"}, "missing"),
        ({"conv_stride": [3]}, "conv_stride"),
        ({"conv_kernel": [5, 0]}, "conv_kernel"),
        ({"conv_bias": True}, "missing"),
        ({"num_conv_pos_embedding_groups": 5}, "num_conv_pos_embedding_groups"),
        ({"num_conv_pos_embeddings": 6}, "does not fit"),
        ({"num_attention_heads": 5}, "5 heads"),
        ({"hidden_act": "mish"}, "mish"),
    ],
)
def test_a_config_that_cannot_be_run_is_refused(change, said, tmp_path):
    drawn("Wav2Vec2Model", CONFIG).save_pretrained(tmp_path)
    assert said in published.refused(tmp_path, change)


REAL = CONFIG | {  # frames of 25 ms every 20 ms, as of the published models
    "conv_dim": [8] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
}
RATE = 16_000


@pytest.mark.parametrize(
    ("norm", "masked", "head"), [("layer", True, True), ("group", False, False)]
)
def test_raw_waveforms_in_a_recipe_equal_the_extractor_and_the_model(norm, masked, head, tmp_path):
    """Sounds of a second, 0.7 s, the shortest of one frame, and one that is missing."""
    theirs = drawn(
        "Wav2Vec2ForCTC" if head else "Wav2Vec2Model", REAL | {"feat_extract_norm": norm}
    )
    theirs.save_pretrained(tmp_path)
    extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=masked)
    extractor.save_pretrained(tmp_path)
    generator = np.random.default_rng(0)
    lengths = (RATE, 11_234, 400)
    waves = [generator.normal(0.1, 0.2, n).astype(np.float32) for n in lengths]
    if masked:
        inputs = extractor(waves, sampling_rate=RATE, padding=True, return_tensors="pt")
    else:  # as it was trained: normalised by itself, and then padded
        alone = [extractor(x, sampling_rate=RATE).input_values[0] for x in waves]
        alone = [np.pad(x, (0, RATE - len(x))) for x in alone]
        inputs = {"input_values": torch.tensor(np.stack(alone))}
    with torch.no_grad():
        expected = (theirs.wav2vec2 if head else theirs)(**inputs).last_hidden_state.numpy()

    model = interop.load(tmp_path)
    part = part_of(model.architecture, "audio", "here")
    prepare = preparation(part, "audio", model.checkpoint, {})
    encoder = PretrainedEncoder(part.module, prepare, REAL["hidden_size"])
    params = model.params[part.path] if part.path else model.params
    value = np.full((4, RATE), 0.5, np.float32)
    mask = np.arange(RATE) < np.array([*lengths, 0])[:, None]
    value[mask] = np.concatenate(waves)
    variables, real = {"params": {"backbone": params}}, jnp.asarray(mask)
    encode = jax.jit(lambda value: encoder.apply(variables, value, real))
    found = encode(jnp.asarray(value))
    prepared = prepare(jnp.asarray(value), real)[0]
    for name, x in inputs.items():
        np.testing.assert_allclose(prepared[name][:3], x.numpy(), atol=1e-5)
    assert found.mask.sum(1).tolist() == [49, 34, 1, 0]
    assert not found.x[3].any()
    for row in range(3):
        heard = np.asarray(found.mask[row])
        published.assert_close(found.x[row][heard], expected[row][heard])

    other = encode(jnp.where(mask, value, -7.0))
    np.testing.assert_array_equal(found.x, other.x)
