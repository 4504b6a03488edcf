"""CLAP's raw waveforms in a recipe against its extractor and its model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax import interop
from mmjax.interop.encoding import front_ends_clap
from mmjax.interop.encoding.encoder import PretrainedEncoder, part_of, preparation
from tests.parity.interop import published

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tests.parity.interop.test_clap import AUDIO  # noqa: E402

RATE = 48_000


@pytest.fixture(autouse=True)
def nothing_is_random(monkeypatch):
    """The extractor takes the middle one of the parts of each third, and the beginning."""
    monkeypatch.setattr(np.random, "choice", lambda third: third[len(third) // 2])
    monkeypatch.setattr(np.random, "randint", lambda *ends: ends[0])


def batch(seconds, rest=0.5, tone=0.0):
    """Sounds of drawn samples, over a tone or none, and the batch of them with its mask."""
    generator = np.random.default_rng(0)
    lengths = [round(s * RATE) for s in seconds]
    sounds = [
        (tone * np.sin(np.arange(n) ** 1.3 / 500) + generator.normal(0, 0.05, n)).astype(np.float32)
        for n in lengths
    ]
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    value = np.full(mask.shape, rest, np.float32)
    value[mask] = np.concatenate(sounds)
    return sounds, value, mask


@pytest.mark.parametrize(
    ("truncation", "tone", "tolerance"), [("fusion", 0.0, 1e-4), ("rand_trunc", 0.5, 1e-3)]
)
def test_sounds_of_the_published_lengths_equal_the_extractor(truncation, tone, tolerance):
    """10 s at 48 kHz, in dB: a tone lies 25 dB over the noise, which is as much less exact."""
    extractor = transformers.ClapFeatureExtractor(truncation=truncation, frequency_min=50)
    sounds, value, mask = batch((3.3, 10.004, 13.7), tone=tone)
    expected = extractor(sounds, sampling_rate=RATE, return_tensors="np")
    fused = truncation == "fusion"
    options = front_ends_clap.clap_options(extractor.to_dict(), "here", bins=64, fused=fused)
    found, _ = jax.jit(lambda *x: front_ends_clap.clap(*x, **options))(value, mask)
    np.testing.assert_allclose(
        found["input_features"], expected["input_features"], rtol=0, atol=tolerance
    )
    if fused:
        np.testing.assert_array_equal(found["is_longer"], expected["is_longer"])


@pytest.mark.parametrize("fused", [False, True])
def test_raw_waveforms_in_a_recipe_equal_the_extractor_and_the_model(fused, tmp_path):
    """Sounds shorter, as long and longer than the model hears, and one that is missing."""
    config = AUDIO | {"num_mel_bins": 64, "spec_size": 64, "patch_size": 8, "patch_stride": [8, 8]}
    config |= {"depths": [1], "num_attention_heads": [1], "hidden_size": 6}
    config |= {"enable_fusion": fused, "aff_block_r": 2}
    theirs = transformers.ClapAudioModel(transformers.ClapAudioConfig(**config))
    published.randomise(torch, theirs).save_pretrained(tmp_path)
    extractor = transformers.ClapFeatureExtractor(
        hop_length=1000, max_length_s=1, truncation="fusion" if fused else "rand_trunc"
    )
    extractor.save_pretrained(tmp_path)
    sounds, value, mask = batch((0.3, 1.0, 2.5))
    inputs = extractor(sounds, sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        expected = published.as_numpy(theirs(**inputs))

    model = interop.load(tmp_path)
    part = part_of(model.architecture, "audio", "here")
    prepare = preparation(part, "audio", model.checkpoint, {})
    width = expected["pooler_output"].shape[1]
    value, mask = (np.concatenate([x, x[:1]]) for x in (value, mask))
    mask[3] = False
    variables = {name: {"backbone": tree} for name, tree in model.variables.items()}

    encoder = PretrainedEncoder(part.module, prepare, width)
    encode = jax.jit(lambda value: encoder.apply(variables, value, jnp.asarray(mask)))

    found = encode(value)
    tokens = expected["last_hidden_state"].reshape(3, width, -1).swapaxes(1, 2)
    published.assert_close(found.x[:3], tokens)
    assert found.mask[:3].all()
    assert not found.mask[3].any()
    assert not found.x[3].any()
    other = encode(np.where(mask, value, np.float32(-7.0)))
    np.testing.assert_array_equal(found.x, other.x)
