"""Spectrograms against plain numpy; masked samples, silence; the spans of SpecAugment."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from mmjax.errors import UserError
from mmjax.nn.audio.mel import SCALES, mel_filters
from mmjax.nn.audio.spec_augment import random_spans, spec_augment
from mmjax.nn.audio.spectrogram import CONVENTIONS, frames, log_mel, power_spectrum, strided_mask

SAMPLES = 2500
every_convention = pytest.mark.parametrize("convention", CONVENTIONS)


def sound(seed=0, samples=SAMPLES, rate=16_000):
    """A falling tone with noise 40 dB below it."""
    time = np.arange(samples) / rate
    noise = np.random.default_rng(seed).normal(0, 0.003, samples)
    return (0.3 * np.sin(2 * np.pi * (900 * time - 2000 * time**2)) + noise).astype(np.float32)


def sounds():
    """Four waveforms and which samples are real: all, a prefix, none, all but a gap.

    The end of the first is real, and 100 dB under its start.
    """
    mask = np.ones((4, SAMPLES), bool)
    mask[1, 1000:] = False
    mask[2] = False
    mask[3, 500:1500] = False
    x = np.stack([sound(i) for i in range(4)])
    x[0, 1000:] *= 1e-5
    return jnp.asarray(x), jnp.asarray(mask)


def plain_log_mel(x, count, convention):
    """One waveform at 16 kHz, frame by frame, in float64."""
    kaldi, whisper = convention == "kaldi", convention == "whisper"
    x = np.pad(x.astype(np.float64), 200, mode="reflect") if whisper else x.astype(np.float64)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / (399 if kaldi else 400))
    fft = 400 if whisper else 512
    options = {
        "kaldi": {"lowest": 20.0, "straight_in": "mel"},
        "plain": {},
        "whisper": {"scale": "slaney", "area": True},
    }[convention]
    filters = mel_filters(fft // 2 + 1, 40, 16_000, **options)
    rows = []
    for t in range(count):
        frame = x[160 * t : 160 * t + 400]
        if kaldi:
            frame = frame - frame.mean()
            frame = np.array([frame[n] - 0.97 * frame[max(n - 1, 0)] for n in range(400)])
        rows.append(np.abs(np.fft.rfft(frame * window, fft)) ** 2 @ filters)
    mel = np.array(rows)
    if kaldi:
        return (np.log(np.maximum(mel, 2.0**-23)) + 4.2677393) / (2 * 4.5689974)
    if not whisper:
        return np.log(mel + 1e-6)
    log = np.log10(np.maximum(mel, 1e-10))
    return (np.maximum(log, log.max() - 8) + 4) / 4


@every_convention
def test_equals_plain_numpy_whatever_is_masked(convention):
    x, mask = sounds()
    actual, real = jax.jit(log_mel, static_argnames=("convention", "bins"))(
        x, mask, convention=convention, bins=40
    )
    assert real.shape[1] == (15 if convention == "whisper" else 14)
    for row in range(4):
        samples = np.asarray(x[row]) * np.asarray(mask[row])
        owner = np.minimum(np.arange(SAMPLES) // 160, real.shape[1] - 1)
        own = np.isin(np.arange(real.shape[1]), owner[np.asarray(mask[row])])
        np.testing.assert_array_equal(real[row], own)
        expected = plain_log_mel(samples, real.shape[1], convention)
        np.testing.assert_allclose(actual[row][own], expected[own], atol=1e-4)
        np.testing.assert_array_equal(actual[row][~own], 0)


@every_convention
def test_masked_samples_change_no_bit_and_have_no_gradient(convention):
    x, mask = sounds()

    @jax.jit
    def run(x):
        total = jax.value_and_grad(
            lambda x: (log_mel(x, mask, convention=convention)[0] ** 2).sum()
        )
        return total(x)

    clean, dirty = run(x), run(jnp.where(mask, x, jnp.nan))
    jax.tree.map(np.testing.assert_array_equal, dirty, clean)
    np.testing.assert_array_equal(clean[1][~mask], 0)
    assert np.isfinite(clean[1]).all()
    assert np.abs(clean[1]).max() > 0


@every_convention
def test_silence_is_finite_and_so_is_its_gradient(convention):
    def total(x):
        return log_mel(x, convention=convention)[0].sum()

    value, gradient = jax.jit(jax.value_and_grad(total))(jnp.zeros((2, 1600)))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_what_is_masked_is_not_the_loudest():
    x, _ = sounds()
    loud = x.at[:, 1200:1360].mul(1000.0)
    mask = jnp.ones(x.shape, bool).at[:, 1100:1500].set(False)
    run = jax.jit(log_mel)
    silent = run(jnp.where(mask, x, 0), mask)[0]
    np.testing.assert_array_equal(run(loud, mask)[0], silent)
    # Unmasked, it raises the floor, 80 dB below, over the weakest bins.
    assert np.abs(run(loud)[0][1, 0] - silent[1, 0]).max() > 0.1


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050])
@every_convention
def test_a_tone_is_where_its_frequency_says(convention, rate):
    x = np.sin(2 * np.pi * 1000 * np.arange(rate // 4) / rate).astype(np.float32)
    energy = jax.jit(lambda x: log_mel(x, convention=convention, sample_rate=rate, bins=32)[0])(
        jnp.asarray(x)[None]
    )[0]
    assert energy.shape[0] == pytest.approx(25 if convention == "whisper" else 23, abs=1)
    scale = SCALES["slaney" if convention == "whisper" else "htk"]
    lowest = 20 if convention == "kaldi" else 0
    centres = np.linspace(*scale.mel(np.array([lowest, rate / 2])), 34)[1:-1]
    nearest = np.abs(centres - scale.mel(np.array(1000))).argmin()
    assert set(np.asarray(energy[2:-2]).argmax(1)) == {nearest}


@pytest.mark.parametrize(("size", "fft"), [(6, 6), (7, 8), (400, 400), (400, 512), (551, 552)])
def test_power_spectrum_is_that_of_a_fourier_transform(size, fft):
    x = np.random.default_rng(0).normal(size=(2, 3, size)).astype(np.float32)
    expected = np.abs(np.fft.rfft(x.astype(np.float64), fft)) ** 2
    np.testing.assert_allclose(power_spectrum(jnp.asarray(x), fft), expected, rtol=1e-4, atol=1e-3)


def test_devices_that_share_a_batch_do_not_send_each_other_samples():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    x = jax.ShapeDtypeStruct((8, 1600), jnp.float32, sharding=sharding)
    mask = jax.ShapeDtypeStruct((8, 1600), bool, sharding=sharding)
    program = jax.jit(log_mel).lower(x, mask).compile().as_text()
    assert "f32[1,1600]" in program
    assert not re.search("all-gather|all-to-all|collective-permute|all-reduce", program)


@pytest.mark.parametrize(("size", "hop"), [(4, 4), (5, 2), (3, 4), (7, 3)])
def test_frames_are_every_whole_window(size, hop):
    x = np.arange(2 * 20).reshape(2, 20).astype(np.float32)
    expected = [x[:, i : i + size] for i in range(0, 20 - size + 1, hop)]
    np.testing.assert_array_equal(frames(jnp.asarray(x), size, hop), np.stack(expected, 1))


def test_strided_mask_gives_each_place_one_owner():
    mask = jnp.eye(7, dtype=bool)
    #                                   places    0  1  2  3  4  5  6
    np.testing.assert_array_equal(strided_mask(mask, 2, 3).argmax(1), [0, 0, 1, 1, 2, 2, 2])
    np.testing.assert_array_equal(strided_mask(mask, 2, 4).argmax(1), [0, 0, 1, 1, 2, 2, 3])
    for count in (3, 4):
        np.testing.assert_array_equal(strided_mask(mask, 2, count).sum(1), 1)
    assert not strided_mask(jnp.zeros((1, 7), bool), 2, 3).any()


@pytest.mark.parametrize("scale", SCALES)
def test_filters_are_triangles_that_share_each_frequency(scale):
    mel, hertz = SCALES[scale]
    points = hertz(np.linspace(*mel(np.array([100.0, 8000.0])), 12))
    np.testing.assert_allclose(hertz(mel(points)), points)
    assert mel(np.array(1000.0)) == pytest.approx({"htk": 1000, "slaney": 15}[scale], rel=1e-4)
    spectrum = np.linspace(0, 8000, 4001)
    filters = mel_filters(4001, 10, 16_000, scale=scale, lowest=100.0)
    between = (spectrum >= points[1]) & (spectrum <= points[-2])
    np.testing.assert_allclose(filters[between].sum(1), 1)
    np.testing.assert_allclose(spectrum[filters.argmax(0)], points[1:-1], atol=2)  # their spacing
    equal = mel_filters(4001, 10, 16_000, scale=scale, lowest=100.0, area=True)
    np.testing.assert_allclose(equal.sum(0) * 2, 1, rtol=1e-3)


def test_mistakes_are_named():
    with pytest.raises(UserError, match="unknown convention 'wav2vec': choose one of kaldi, plain"):
        log_mel(jnp.zeros((1, 1600)), convention="wav2vec")
    with pytest.raises(UserError, match="399 samples are shorter than one window of 400"):
        log_mel(jnp.zeros((1, 399)))
    with pytest.raises(UserError, match="unknown scale 'bark'"):
        mel_filters(9, 2, 16_000, scale="bark")


def test_spans_have_every_width_and_stay_inside():
    length = jnp.asarray([20, 9, 4, 1, 0] * 2000)
    widest = jnp.full(length.shape, 6)
    spans = np.asarray(random_spans(jax.random.key(0), 1, widest, length, 25))
    changes = np.abs(np.diff(np.pad(spans, ((0, 0), (1, 1))).astype(int), axis=1)).sum(1)
    assert changes.max() == 2
    for end in (20, 9, 4, 1, 0):
        rows = spans[np.asarray(length) == end]
        assert not rows[:, end:].any()
        share = np.bincount(rows.sum(1), minlength=7) / len(rows)
        expected = np.where(np.arange(7) <= min(6, end), 1 / (1 + min(6, end)), 0)
        np.testing.assert_allclose(share, expected, atol=0.04)
        if end > 1:
            wide = rows[rows.sum(1) == min(6, end) - 1]
            starts = np.bincount(wide.argmax(1)) / len(wide)
            np.testing.assert_allclose(starts, 1 / len(starts), atol=0.06)
            assert len(starts) == end - min(6, end) + 2


def test_spec_augment_replaces_whole_frames_and_bins_by_the_mean():
    random = np.random.default_rng(0)
    mask = np.arange(30)[None] < np.array([[30], [12], [0]])
    x = np.where(mask[..., None], random.normal(size=(3, 30, 16)), 0).astype(np.float32)
    options = {"time_masks": 1, "time_width": 8, "time_share": 0.25, "frequency_masks": 2}
    options["frequency_width"] = 4

    @jax.jit
    def run(x, seed):
        return spec_augment(jax.random.key(seed), x, jnp.asarray(mask), **options)

    counts = []
    for seed in range(40):
        y = np.asarray(run(jnp.asarray(x), seed))
        np.testing.assert_array_equal(y[~mask], 0)
        for row, end in ((0, 30), (1, 12)):
            mean = x[row, :end].mean()
            hidden = y[row, :end] != x[row, :end]
            np.testing.assert_allclose(y[row, :end][hidden], mean, atol=1e-6)
            times, bins = hidden.all(1), hidden.all(0)
            np.testing.assert_array_equal(hidden, times[:, None] | bins[None])
            counts.append((row, times.sum(), bins.sum()))
    widest = {row: np.max([c[1:] for c in counts if c[0] == row], axis=0) for row in (0, 1)}
    assert widest[0][0] == 7  # a quarter of 30 frames
    assert widest[1][0] == 3
    assert all(4 < w[1] <= 8 for w in widest.values())
    np.testing.assert_array_equal(run(jnp.asarray(x), 5), run(jnp.asarray(x), 5))
    assert (np.asarray(run(jnp.asarray(x), 5)) != np.asarray(run(jnp.asarray(x), 6))).any()
    dirty = np.where(mask[..., None], x, np.nan)
    np.testing.assert_array_equal(run(jnp.asarray(dirty), 5), run(jnp.asarray(x), 5))
