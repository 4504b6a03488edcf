"""Convolutional and frame-wise video encoders against plain loops; what users may do wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import FrozenDict

from mmjax.encoders.image.cnn import Cnn
from mmjax.encoders.video.cnn3d import Cnn3d, convolve_clips
from mmjax.encoders.video.frame_encoder import FRAMES, FrameEncoder
from mmjax.encoders.video.frames import normalise
from mmjax.encoders.video.video_mae import VideoMae
from mmjax.encoders.video.vivit import Vivit
from mmjax.errors import UserError
from mmjax.nn.layers.recurrent import Recurrent
from tests.encoders.video_oracle import HEADS, MASK, WIDTH, check, clips, dense, drawn, run, stack


def loop_convolution(x, kernel, bias, stride, time_stride):
    """3x3x3 with padding 1 over x [T H W channels], place by place."""
    padded = np.pad(x, ((1, 1), (1, 1), (1, 1), (0, 0)))
    size = [-(-n // s) for n, s in zip(x.shape[:3], (time_stride, stride, stride), strict=True)]
    out = np.zeros((*size, kernel.shape[-1]))
    for t, i, j in np.ndindex(*size):
        a, b, c = t * time_stride, i * stride, j * stride
        window = padded[a : a + 3, b : b + 3, c : c + 3]
        out[t, i, j] = np.einsum("tijc,tijco->o", window, kernel) + bias
    return out


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("time_stride", [1, 2])
@pytest.mark.parametrize("channels", [2, 8])
def test_a_convolution_of_clips_equals_the_librarys(channels, time_stride, frames):
    """By its frames, put one behind the other or summed, with gradients."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, frames, 5, 4, channels)))
    kernel = jnp.asarray(rng.normal(size=(3, 3, 3, channels, 9)))

    def library(x, kernel):
        names, strides = ("NTHWC", "THWIO", "NTHWC"), (time_stride, 2, 2)
        around = ((1, 1),) * 3
        return jax.lax.conv_general_dilated(x, kernel, strides, around, dimension_numbers=names)

    def with_gradients(function):
        loss = lambda x, k: (function(x, k) ** 2).sum()  # noqa: E731
        return function(x, kernel), jax.grad(loss, (0, 1))(x, kernel)

    own = jax.jit(with_gradients, static_argnums=0)(
        lambda x, k: convolve_clips(x, k, 2, time_stride)
    )
    other = jax.jit(with_gradients, static_argnums=0)(library)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-2), own, other)


@pytest.mark.parametrize("output", ["frames", "grid", "mean"])
def test_cnn3d_equals_loops(output):
    encoder = Cnn3d(WIDTH, (4, 5), (2, 1), (1, 2), norm="none", output=output)
    p = jax.tree.map(np.asarray, drawn(encoder)["params"])
    x, mask = run(encoder)
    for row in range(4):
        clip, real = np.asarray(clips())[row] / 127.5 - 1, MASK[row]
        for layer, (stride, time_stride) in enumerate([(2, 1), (1, 2)]):
            clip = np.where(real[:, None, None, None], clip, 0)
            kernel, bias = p[f"block_{layer}"]["kernel"], p[f"block_{layer}"]["bias"]
            clip = np.maximum(loop_convolution(clip, kernel, bias, stride, time_stride), 0)
            real = real.reshape(-1, time_stride).any(1)
        if output == "grid":
            expected = dense(clip.reshape(3, 16, 5)[real], p["projection"]).reshape(-1, WIDTH)
            places = np.flatnonzero(np.repeat(real, 16))
        elif output == "frames":
            expected = dense(clip.mean((1, 2))[real], p["projection"])
            places = np.flatnonzero(real)
        else:
            places = np.arange(int(real.any()))
            pooled = [clip[real].mean((0, 1, 2)) for _ in places]
            expected = dense(np.reshape(pooled, (-1, 5)), p["projection"])
        check(x, mask, row, places, expected)


@pytest.mark.parametrize("time_strides", [(1, 1), (2, 2)])
def test_cnn3d_of_a_padded_clip_is_that_of_the_clip(time_strides):
    encoder = Cnn3d(WIDTH, (16, 16), time_strides=time_strides)
    apply = jax.jit(encoder.apply)
    short = apply(drawn(encoder), clips()[:, :5])
    mask = jnp.ones((4, 6), bool).at[:, 5].set(False)
    padded = apply(drawn(encoder), clips(), mask)
    length = short.x.shape[1]
    np.testing.assert_allclose(padded.x[:, :length], short.x, atol=1e-5)
    assert not padded.mask[:, length:].any()


def frames_of(encoder):
    """The vector of each frame by the image encoder alone, [4 6 D]."""
    cnn = Cnn(WIDTH, output="mean", **encoder.frame_options)
    variables = {"params": drawn(encoder)["params"]["frame_encoder"]}
    frames = jax.jit(cnn.apply)(variables, clips().reshape(-1, 8, 8, 3)).x
    return np.asarray(frames).reshape(4, 6, WIDTH)


CNN = FrozenDict({"channels": (16,)})


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_frame_encoder_pools_the_real_frames(pool):
    encoder = FrameEncoder(WIDTH, frame_options=CNN, temporal=pool)
    x, mask = run(encoder)
    frames = frames_of(encoder)
    for row in range(3):
        expected = getattr(frames[row][MASK[row]], pool)(0)
        check(x, mask, row, [0], expected[None])
    assert not mask[3].any()


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_frame_encoder_reads_the_real_frames_in_order(cell):
    encoder = FrameEncoder(WIDTH, frame_options=CNN, temporal=cell)
    x, mask = run(encoder)
    last, there = run(encoder.clone(output="last"))
    frames = frames_of(encoder)
    network = jax.jit(Recurrent(WIDTH, cell).apply)
    for row in range(3):
        real = jnp.asarray(frames[row][MASK[row]])[None]
        params = {"params": drawn(encoder)["params"][cell]}
        hidden, end = network(params, real, jnp.ones(real.shape[:2], bool))
        check(x, mask, row, np.flatnonzero(MASK[row]), hidden[0])
        check(last, there, row, [0], end)
    assert not there[3].any()


def test_frame_encoder_attends_to_the_real_frames():
    encoder = FrameEncoder(WIDTH, frame_options=CNN, layers=2, heads=HEADS)
    x, mask = run(encoder)
    last, _ = run(encoder.clone(output="last"))
    p = drawn(encoder)["params"]
    frames = frames_of(encoder) + np.asarray(p["positions"]["embedding"])
    for row in range(3):
        places = np.flatnonzero(MASK[row])
        expected = stack(frames[row][places], p, class_token=False)
        check(x, mask, row, places, expected)
        np.testing.assert_allclose(last[row, 0], expected[-1], atol=2e-5)


@pytest.mark.parametrize("frame", FRAMES)
def test_every_image_encoder_serves_for_frames(frame):
    value = jax.ShapeDtypeStruct((2, 3, 64, 64, 3), jnp.uint8)
    encoder = FrameEncoder(16, frame)
    tokens, variables = jax.eval_shape(encoder.init_with_output, jax.random.key(0), value)
    assert tokens.x.shape == (2, 3, 16)
    assert "frame_encoder" in variables["params"]


SMALL = {
    "vivit": Vivit(WIDTH, 4, layers=1),
    "video_mae": VideoMae(WIDTH, 4, layers=1),
    "cnn3d": Cnn3d(WIDTH, (16,)),
    "frames": FrameEncoder(WIDTH, frame_options=CNN, temporal="gru"),
}


@pytest.mark.parametrize("name", SMALL)
def test_absent_pixels_have_exactly_no_gradient(name):
    encoder = SMALL[name]
    mask = jnp.asarray(MASK)
    pixels = normalise(clips(), jnp.float32)
    dirty = jnp.where(mask[:, :, None, None, None], pixels, jnp.nan)

    @jax.jit
    @jax.value_and_grad
    def step(pixels):
        tokens = encoder.apply(drawn(encoder), pixels, mask, method="from_pixels")
        return (tokens.x**2 * jnp.arange(WIDTH)).sum()

    (clean, _), (value, gradient) = step(pixels), step(dirty)
    assert clean == value
    np.testing.assert_array_equal(np.asarray(gradient)[~MASK], 0)
    assert (np.abs(np.asarray(gradient)[MASK]).max((1, 2, 3)) > 0).all()


def shapes(encoder, frames=6, side=8, dtype=jnp.uint8):
    value = jax.ShapeDtypeStruct((2, frames, side, side, 3), dtype)
    return jax.eval_shape(encoder.init_with_output, jax.random.key(0), value)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (Vivit(16, tubelet_frames=4), "6 frames do not split into tubelets of 4"),
        (Vivit(16, patch_size=3), "8x8 does not split into patches of 3x3"),
        (Vivit(16, model="divided"), "unknown model 'divided': choose one of factorised, joint"),
        (Vivit(16, summary="max"), "unknown summary 'max': choose one of class, mean"),
        (Vivit(16, size="XL"), "unknown size 'XL': choose one of B, H, L, S, Ti"),
        (VideoMae(18, heads=4), "width 18 does not split into 4 heads"),
        (VideoMae(16, output="class"), "unknown output 'class': choose one of mean, sequence"),
        (Cnn3d(16, strides=(2,)), "1 strides and 3 time_strides for 3 channels"),
        (Cnn3d(16, time_strides=(1, 3, 1)), "choose 1 or 2 for each"),
        (Cnn3d(16, channels=(8,)), "8 channels do not split into groups of 16"),
        (FrameEncoder(16, "vgg"), "unknown frame 'vgg': choose one of cnn, mobilenet, resnet, vit"),
        (FrameEncoder(16, temporal="rnn"), "unknown temporal 'rnn': choose one of gru, lstm"),
        (FrameEncoder(16, frame_options={"chanels": (3,)}), "cnn has no option 'chanels'"),
    ],
)
def test_mistakes_are_told_in_one_line(encoder, message):
    with pytest.raises(UserError, match=message) as error:
        shapes(encoder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", SMALL)
def test_float_videos_are_refused(name):
    with pytest.raises(UserError, match="video: expected uint8 with values 0 to 255, got float32"):
        shapes(SMALL[name], dtype=jnp.float32)
