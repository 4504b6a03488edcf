"""Audio encoders: patches, padding, SpecAugment in training, reconstruction, mistakes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from mmjax.backbones.audio.ast import overlapping_patches
from mmjax.backbones.vision.resnet import ResNet, stages_of
from mmjax.encoders.audio.ast import SpectrogramTransformer
from mmjax.encoders.audio.autoencoder import AudioAutoencoder
from mmjax.encoders.audio.recurrent import AudioRecurrent
from mmjax.encoders.audio.resnet import SpectrogramResNet
from mmjax.encoders.audio.whisper import WhisperEncoder
from mmjax.errors import UserError

SMALL = {
    "ast": functools.partial(SpectrogramTransformer, layers=1, heads=2, patch_size=4, stride=3),
    "autoencoder": functools.partial(AudioAutoencoder, channels=(8, 12)),
    "recurrent": AudioRecurrent,
    "resnet": functools.partial(SpectrogramResNet, depth=10, channels=4, norm="none"),
    "whisper": functools.partial(WhisperEncoder, layers=1, heads=2),
}
every_encoder = pytest.mark.parametrize("name", SMALL)


def waves(rows=2, samples=1920):
    random = np.random.default_rng(0)
    return jnp.asarray(random.normal(0, 0.1, (rows, samples)), jnp.float32)


def spectrogram(length, bins=10):
    """One with the first frames of every longer one."""
    random = np.random.default_rng(0)
    return jnp.asarray(random.normal(size=(length, 2, bins)), jnp.float32).swapaxes(0, 1)


def drawn(module, *args, **options):
    """Random parameters, without compiling an initialisation."""
    random = np.random.default_rng(9)
    init = functools.partial(module.init, **options)
    shapes = jax.eval_shape(init, jax.random.key(0), *args)
    return jax.tree.map(lambda p: jnp.asarray(random.normal(0.02, 0.3, p.shape), p.dtype), shapes)


def from_log_mel(encoder):
    return jax.jit(functools.partial(encoder.apply, method="from_log_mel"))


def test_patches_overlap_as_a_loop_says():
    x = np.asarray(spectrogram(11))
    patches = np.asarray(overlapping_patches(jnp.asarray(x), 4, (3, 3)))
    assert patches.shape == (2, 3, 3, 16)  # the last frame and no bin are left over
    for t in range(3):
        for f in range(3):
            square = x[:, 3 * t : 3 * t + 4, 3 * f : 3 * f + 4]
            np.testing.assert_array_equal(patches[:, t, f], square.reshape(2, 16))


@pytest.mark.parametrize("name", ["ast", "autoencoder", "recurrent", "whisper"])
def test_padding_does_not_matter(name):
    """Of patches that overlap, some reach into the padding, so here they do not overlap."""
    options = {"patch_size": 3} if name == "ast" else {}
    encoder = SMALL[name](8, mel_bins=10, **options)
    short, long = spectrogram(9), spectrogram(19)
    mask = jnp.broadcast_to(jnp.arange(19) < 9, (2, 19))
    variables = drawn(encoder, long, mask, method="from_log_mel")
    run = from_log_mel(encoder)
    expected = run(variables, short, jnp.ones((2, 9), bool))
    actual = run(variables, long, mask)
    count = expected.x.shape[1]
    np.testing.assert_array_equal(actual.mask.sum(1), count)
    np.testing.assert_allclose(actual.x[:, :count], expected.x, atol=1e-5)
    np.testing.assert_array_equal(actual.x[:, count:], 0)
    dirty = run(variables, jnp.where(mask[..., None], long, jnp.nan), mask)
    jax.tree.map(np.testing.assert_array_equal, dirty, actual)


@pytest.mark.parametrize(
    ("name", "place", "expected"),
    [
        ("ast", 19, 15),  # 3 bins of patches every 3 frames: time 5 of 0..5
        ("ast", 8, 6),
        ("autoencoder", 19, 4),
        ("autoencoder", 11, 2),
        ("recurrent", 7, 7),
        ("resnet", 19, 0),
        ("whisper", 19, 9),
        ("whisper", 5, 2),
    ],
)
def test_a_frame_has_one_place_among_the_tokens(name, place, expected):
    encoder = SMALL[name](8, mel_bins=10)
    x = spectrogram(20)
    mask = jnp.broadcast_to(jnp.arange(20) == place, (2, 20))
    variables = drawn(encoder, x, mask, method="from_log_mel")
    tokens = from_log_mel(encoder)(variables, x, mask)
    count = 3 if name == "ast" else 1
    np.testing.assert_array_equal(np.flatnonzero(tokens.mask[0]), expected + np.arange(count))
    assert np.abs(tokens.x[0, expected]).max() > 0


@pytest.mark.parametrize(("name", "seconds"), [("whisper", 0.02), ("autoencoder", 0.04)])
def test_tokens_a_second(name, seconds):
    encoder = SMALL[name](8)
    x = jax.ShapeDtypeStruct((1, 32_000), jnp.float32)
    tokens, _ = jax.eval_shape(encoder.init_with_output, jax.random.key(0), x)
    assert tokens.x.shape[1] == pytest.approx(2 / seconds)


def test_class_tokens_are_real_where_a_patch_is():
    encoder = SMALL["ast"](8, class_tokens=2, mel_bins=10)
    x = spectrogram(10)
    mask = jnp.asarray([[False] * 9 + [True], [False] * 10])
    variables = drawn(encoder, x, mask, method="from_log_mel")
    tokens = from_log_mel(encoder)(variables, x, mask)
    np.testing.assert_array_equal(tokens.mask[0], [True] * 2 + [False] * 6 + [True] * 3)
    assert not tokens.mask[1].any()


@pytest.mark.parametrize(
    ("stem", "frames", "steps", "real"), [("standard", 40, 2, 32), ("small", 20, 3, 8)]
)
def test_resnet_is_the_mean_over_frequency_of_a_trunk(stem, frames, steps, real):
    encoder = SMALL["resnet"](8, mel_bins=33, stem=stem)
    x = spectrogram(frames, 33)
    mask = jnp.arange(frames)[None] < jnp.array([[frames], [real]])
    variables = drawn(encoder, x, mask, method="from_log_mel")
    tokens = from_log_mel(encoder)(variables, x, mask)
    np.testing.assert_array_equal(tokens.mask.sum(1), [steps, 1])
    trunk = ResNet(stages_of(10, 4), 4, stem, norm="none")
    params = variables["params"]
    picture = jnp.where(mask[..., None], x, 0)[..., None]
    maps = jax.jit(functools.partial(trunk.apply, method="encode"))
    grid = np.asarray(maps({"params": params["trunk"]}, picture)[-1])
    assert grid.shape[1] == steps
    dense = params["projection"]
    expected = grid.mean(2) @ dense["kernel"] + dense["bias"]
    expected = np.where(tokens.mask[..., None], expected, 0)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(tokens.x, expected, atol=1e-5 * scale)


def plain_conv(x, layer, stride):
    """Three frames to one, zeros around, one place at a time."""
    x = np.pad(np.asarray(x), ((1, 1), (0, 0)))
    kernel, bias = np.asarray(layer["kernel"]), np.asarray(layer["bias"])
    places = range(0, len(x) - 2, stride)
    return np.stack([np.einsum("kf,kfd->d", x[i : i + 3], kernel) + bias for i in places])


def test_autoencoder_equals_plain_numpy():
    encoder = AudioAutoencoder(3, channels=(4, 5), mel_bins=6, activation="relu")
    value = waves(2, 1120)
    mask = jnp.arange(1120)[None] < jnp.array([[1120], [480]])
    variables = drawn(encoder, value, mask, method="reconstruct")
    out = jax.jit(functools.partial(encoder.apply, method="reconstruct"))(variables, value, mask)
    tokens = jax.jit(encoder.apply)(variables, value, mask)
    jax.tree.map(np.testing.assert_array_equal, tokens, out.tokens)
    p = variables["params"]
    for row, frames in enumerate((7, 3)):  # 160 samples a frame
        x = np.asarray(out.target)[row, :frames]
        lengths = [frames]
        for layer in ("conv_0", "conv_1"):
            x = np.maximum(plain_conv(x, p["halving"][layer], 2), 0)
            lengths.append(len(x))
        x = x @ p["bottleneck"]["kernel"] + p["bottleneck"]["bias"]
        np.testing.assert_array_equal(out.tokens.mask[row].sum(), lengths[2])
        np.testing.assert_allclose(out.tokens.x[row, : lengths[2]], x, rtol=1e-4, atol=1e-4)
        x = plain_conv(x, p["doubling"]["conv_0"], 1).reshape(-1, 4)[: lengths[1]]
        x = plain_conv(np.maximum(x, 0), p["doubling"]["conv_1"], 1).reshape(-1, 6)[:frames]
        np.testing.assert_array_equal(out.mask[row], np.arange(7) < frames)
        np.testing.assert_allclose(out.reconstruction[row, :frames], x, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(out.reconstruction[row, frames:], 0)
        np.testing.assert_array_equal(out.target[row, frames:], 0)


def test_autoencoder_learns_to_reconstruct():
    """Tones of random pitch that fade: the error falls to a third of that of a constant."""
    random = np.random.default_rng(0)
    time = np.arange(4800) / 16_000
    pitch, fade = random.uniform(200, 3000, (8, 1)), random.uniform(0, 20, (8, 1))
    value = jnp.asarray(0.3 * np.sin(2 * np.pi * pitch * time) * np.exp(-fade * time), jnp.float32)
    mask = jnp.arange(4800)[None] < jnp.full((8, 1), 4800).at[0].set(2400)
    encoder = AudioAutoencoder(8, channels=(16, 16), mel_bins=20)
    optimizer = optax.adam(1e-2)

    def error(variables, value):
        out = encoder.apply(variables, value, mask, method="reconstruct")
        squares = jnp.sum((out.reconstruction - out.target) ** 2, axis=2)
        return jnp.sum(squares) / jnp.sum(out.mask), out

    @jax.jit
    def step(variables, state, value):
        (loss, out), gradient = jax.value_and_grad(error, has_aux=True)(variables, value)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(variables, updates), state, loss, out

    variables = drawn(encoder, value, method="reconstruct")
    state, losses = optimizer.init(variables), []
    # A loop, since a convolution inside of a scan is slow on CPU.
    for _ in range(300):
        variables, state, loss, out = step(variables, state, value)
        losses.append(float(loss))
    real = np.asarray(out.target)[np.asarray(out.mask)]
    constant = ((real - real.mean(0)) ** 2).sum(1).mean()
    assert losses[-1] < constant / 3
    assert losses[0] > 2 * losses[-1]


@every_encoder
def test_spec_augment_is_for_training_only_and_follows_its_key(name):
    options = ConfigDict({"time_masks": 1, "time_width": 6, "frequency_width": 3})
    plain, augmented = SMALL[name](8), SMALL[name](8, spec_augment=options)
    value = waves(2, 4000)
    mask = jnp.arange(4000)[None] < jnp.array([[4000], [2800]])
    variables = drawn(plain, value)
    expected = jax.jit(plain.apply)(variables, value, mask)
    actual = jax.jit(augmented.apply)(variables, value, mask)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)

    @jax.jit
    def train(seed, value):
        rngs = {"dropout": jax.random.key(seed)}
        return augmented.apply(variables, value, mask, deterministic=False, rngs=rngs)

    once, again, other = train(1, value), train(1, value), train(2, value)
    np.testing.assert_array_equal(once.x, again.x)
    assert np.abs(once.x - expected.x).max() > 1e-4
    assert np.abs(once.x - other.x).max() > 1e-4
    np.testing.assert_array_equal(once.mask, expected.mask)
    dirty = train(1, jnp.where(mask, value, jnp.nan))
    np.testing.assert_array_equal(dirty.x, once.x)


@every_encoder
def test_mistakes_are_named(name):
    def init(value, **options):
        jax.eval_shape(SMALL[name](8, **options).init, jax.random.key(0), value)

    with pytest.raises(UserError, match=r"expected a float32 waveform .* got int16 .*by 32768"):
        init(jnp.zeros((1, 1920), jnp.int16))
    with pytest.raises(UserError, match="160 samples are shorter than one window of 400"):
        init(jnp.zeros((1, 160)))
    with pytest.raises(UserError, match="unknown convention 'cd'"):
        init(waves(), convention="cd")
    with pytest.raises(
        UserError, match="unknown option of spec_augment 'f_masks': choose one of f"
    ):
        init(waves(), spec_augment={"f_masks": 1})


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (SpectrogramTransformer(8), "patch_size: a spectrogram of 10 frames and 128 mel bins"),
        (WhisperEncoder(8, size="huge"), "unknown size 'huge': choose one of base, large, medium"),
        (WhisperEncoder(9), "whisper: sinusoidal positions need an even width from 4, got 9"),
        (AudioRecurrent(8, output="first"), "unknown output 'first': choose one of last, sequence"),
        (AudioRecurrent(8, cell="rnn"), "unknown cell 'rnn'"),
        (SpectrogramResNet(8, stem="big"), "unknown stem 'big'"),
        (AudioAutoencoder(8, activation="swish"), "unknown activation 'swish'"),
    ],
)
def test_unknown_options_list_the_known(encoder, message):
    with pytest.raises(UserError, match=message):
        jax.eval_shape(encoder.init, jax.random.key(0), waves())
