"""ViViT and VideoMAE against transformers, 3-D convolutions against torch: distances <= 1e-4."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.encoders.video.cnn3d import ConvolutionBlock3d
from mmjax.encoders.video.frames import normalise
from mmjax.encoders.video.video_mae import VideoMae
from mmjax.encoders.video.vivit import Vivit
from tests.parity.torch_weights import dense, norm

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ROWS, FRAMES, SIDE, WIDTH = 2, 6, 24, 24
TINY = {
    "image_size": SIDE,
    "num_frames": FRAMES,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 60,
    "layer_norm_eps": 1e-6,
}


def clips():
    shape = (ROWS, FRAMES, SIDE, SIDE, 3)
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8))


def pixels_first(clips):
    """What transformers reads: normalised, [R T 3 H W]."""
    pixels = np.asarray(normalise(clips, jnp.float32))
    return torch.from_numpy(np.moveaxis(pixels, -1, 2).copy())


def randomise(model):
    """Every parameter drawn at random, biases included; the scales of norms around one."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = name.endswith("weight") and parameter.ndim == 1
            parameter.normal_(float(scale), 0.2)
    return model.eval()


def numpy_state(model):
    return {name: value.detach().numpy() for name, value in model.state_dict().items()}


def tubelet_kernel(state, name):
    """Conv3d weight [D 3 t p p] -> dense kernel [t p p 3, D]."""
    kernel = np.moveaxis(state[f"{name}.weight"], (0, 1), (-1, -2))
    return {"kernel": kernel.reshape(-1, kernel.shape[-1]), "bias": state[f"{name}.bias"]}


def fused(kernels, biases):
    return {"kernel": np.concatenate([k.T for k in kernels], 1), "bias": np.concatenate(biases)}


def vivit_block(state, layer):
    attention = f"layers.{layer}.attention"
    qkv = [f"{attention}.{part}_proj" for part in "qkv"]
    return {
        "attention_norm": norm(state, f"layers.{layer}.layernorm_before"),
        "attention": {
            "qkv": fused([state[f"{n}.weight"] for n in qkv], [state[f"{n}.bias"] for n in qkv]),
            "out": dense(state, f"{attention}.o_proj"),
        },
        "mlp_norm": norm(state, f"layers.{layer}.layernorm_after"),
        "mlp_in": dense(state, f"layers.{layer}.mlp.fc1"),
        "mlp_out": dense(state, f"layers.{layer}.mlp.fc2"),
    }


def vivit_params(state, grid):
    positions = state["embeddings.position_embeddings"][0]
    transformer = {f"block_{layer}": vivit_block(state, layer) for layer in range(2)}
    return {
        "tubelets": {"projection": tubelet_kernel(state, "embeddings.patch_embeddings.projection")},
        "positions": {"embedding": positions[1:].reshape(*grid, WIDTH)},
        "stack": {
            "class_token": state["embeddings.cls_token"][0] + positions[0],
            "transformer": {**transformer, "norm": norm(state, "layernorm")},
        },
    }


def video_mae_block(state, layer):
    attention = f"encoder.layer.{layer}.attention.attention"
    names = ("query", "key", "value")
    query, value = (state[f"{attention}.{name}.bias"] for name in ("query", "value"))
    return {
        "attention_norm": norm(state, f"encoder.layer.{layer}.layernorm_before"),
        "attention": {
            "qkv": fused(
                [state[f"{attention}.{name}.weight"] for name in names],
                [query, np.zeros_like(query), value],
            ),
            "out": dense(state, f"encoder.layer.{layer}.attention.output.dense"),
        },
        "mlp_norm": norm(state, f"encoder.layer.{layer}.layernorm_after"),
        "mlp_in": dense(state, f"encoder.layer.{layer}.intermediate.dense"),
        "mlp_out": dense(state, f"encoder.layer.{layer}.output.dense"),
    }


def video_mae_params(state, closing):
    return {
        "tubelets": {"projection": tubelet_kernel(state, "embeddings.patch_embeddings.projection")},
        "norm": closing,
        **{f"block_{layer}": video_mae_block(state, layer) for layer in range(2)},
    }


@functools.cache
def vivit_pair():
    config = transformers.VivitConfig(**TINY, tubelet_size=(2, 8, 8))
    reference = randomise(transformers.VivitModel(config, add_pooling_layer=False))
    encoder = Vivit(WIDTH, layers=2, heads=3, mlp_ratio=2.5)
    return reference, encoder, {"params": vivit_params(numpy_state(reference), (3, 3, 3))}


def test_vivit_equals_transformers():
    reference, encoder, variables = vivit_pair()
    with torch.no_grad():
        expected = reference(pixels_first(clips())).last_hidden_state.numpy()
    tokens = jax.jit(encoder.apply)(variables, clips())
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(tokens.x, expected, atol=1e-4)


def test_vivit_with_masked_frames_equals_transformers_with_masked_tubelets():
    """The second clip has four real frames: two of its three times."""
    reference, encoder, variables = vivit_pair()
    mask = np.ones((ROWS, FRAMES), bool)
    mask[1, 4:] = False
    real = np.ones((ROWS, 1 + 27), np.int64)
    real[1, 1 + 18 :] = 0
    with torch.no_grad():
        out = reference(pixels_first(clips()), attention_mask=torch.from_numpy(real))
    tokens = jax.jit(encoder.apply)(variables, clips(), jnp.asarray(mask))
    np.testing.assert_array_equal(tokens.mask, real.astype(bool))
    expected = out.last_hidden_state.numpy() * real[..., None]
    np.testing.assert_allclose(tokens.x, expected, atol=1e-4)


def test_vivit_has_the_gradient_of_transformers_at_the_pixels():
    reference, encoder, variables = vivit_pair()
    pixels = pixels_first(clips()).requires_grad_()
    (reference(pixels).last_hidden_state ** 2).sum().backward()

    @jax.jit
    @jax.grad
    def gradient(pixels):
        return (encoder.apply(variables, pixels, method="from_pixels").x ** 2).sum()

    expected = np.moveaxis(pixels.grad.numpy(), 2, -1)
    scale = np.abs(expected).max()
    actual = gradient(normalise(clips(), jnp.float32))
    np.testing.assert_allclose(actual / scale, expected / scale, atol=1e-4)


def video_mae_config(**options):
    return transformers.VideoMAEConfig(**TINY, patch_size=8, num_labels=0, **options)


ENCODER = VideoMae(WIDTH, layers=2, heads=3, mlp_ratio=2.5)


def test_video_mae_equals_transformers():
    config = video_mae_config(use_mean_pooling=False)
    reference = randomise(transformers.VideoMAEModel(config))
    state = numpy_state(reference)
    variables = {"params": video_mae_params(state, norm(state, "layernorm"))}
    hidden = np.zeros((ROWS, 3, 9), bool)
    hidden[0, :, [0, 4, 5]] = True
    hidden[1, :, [1, 2, 8]] = True
    hidden = hidden.reshape(ROWS, 27)
    with torch.no_grad():
        every = reference(pixels_first(clips())).last_hidden_state.numpy()
        some = reference(pixels_first(clips()), bool_masked_pos=torch.from_numpy(hidden))
    apply = jax.jit(ENCODER.apply)
    assert np.abs(every).max() > 1
    np.testing.assert_allclose(apply(variables, clips()).x, every, atol=1e-4)
    tokens = apply(variables, clips(), visible=jnp.asarray(~hidden))
    np.testing.assert_array_equal(np.asarray(tokens.x)[hidden], 0)
    visible = np.asarray(tokens.x)[~hidden].reshape(ROWS, 18, WIDTH)
    np.testing.assert_allclose(visible, some.last_hidden_state.numpy(), atol=1e-4)


def test_video_mae_mean_equals_transformers_before_the_classifier():
    reference = randomise(transformers.VideoMAEForVideoClassification(video_mae_config()))
    reference.fc_norm.eps = 1e-6
    state = numpy_state(reference)
    inner = {name.removeprefix("videomae."): value for name, value in state.items()}
    variables = {"params": video_mae_params(inner, norm(state, "fc_norm"))}
    with torch.no_grad():
        expected = reference(pixels_first(clips())).logits.numpy()
    tokens = jax.jit(ENCODER.clone(output="mean").apply)(variables, clips())
    np.testing.assert_allclose(tokens.x[:, 0], expected, atol=1e-4)


@pytest.mark.parametrize(("stride", "time_stride"), [(1, 1), (2, 1), (2, 2)])
def test_convolution_block_equals_torch(stride, time_stride):
    """Conv3d with padding 1, then a group norm of each frame by itself, then ReLU."""
    x = np.random.default_rng(1).normal(size=(2, 5, 7, 6, 3)).astype(np.float32)
    conv = torch.nn.Conv3d(3, 32, 3, (time_stride, stride, stride), padding=1)
    group = randomise(torch.nn.GroupNorm(2, 32, eps=1e-6))
    with torch.no_grad():
        frames = conv(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).transpose(1, 2)
        expected = torch.relu(group(frames.flatten(0, 1))).reshape(frames.shape)
    expected = np.moveaxis(expected.numpy(), 2, -1)
    params = {
        "kernel": np.transpose(conv.weight.detach().numpy(), (2, 3, 4, 1, 0)),
        "bias": conv.bias.detach().numpy(),
        "norm": {"scale": group.weight.detach().numpy(), "bias": group.bias.detach().numpy()},
    }
    block = ConvolutionBlock3d(32, stride, time_stride)
    out, _ = jax.jit(block.apply)({"params": params}, x, jnp.ones((2, 5), bool))
    np.testing.assert_allclose(out, expected, atol=1e-4)


def count(encoder, frames):
    value = jax.ShapeDtypeStruct((1, frames, 224, 224, 3), jnp.uint8)
    variables = jax.eval_shape(encoder.init, jax.random.key(0), value)
    return sum(p.size for p in jax.tree.leaves(variables))


def test_vivit_base_has_the_parameters_of_transformers():
    with torch.device("meta"):
        reference = transformers.VivitModel(transformers.VivitConfig(), add_pooling_layer=False)
    expected = sum(p.numel() for p in reference.parameters())
    # A class token with a position of its own is one vector here.
    assert count(Vivit(768, patch_size=16, size="B"), 32) == expected - 768


def test_video_mae_base_has_the_parameters_of_transformers():
    config = transformers.VideoMAEConfig(use_mean_pooling=False)
    with torch.device("meta"):
        reference = transformers.VideoMAEModel(config)
    expected = sum(p.numel() for p in reference.parameters())
    # The keys of each layer have a bias here, which the softmax cancels.
    assert count(VideoMae(768, patch_size=16, size="B"), 16) == expected + 12 * 768
