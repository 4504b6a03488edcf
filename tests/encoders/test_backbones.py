"""Encoders are their backbones: the same parameters at the same paths, and the same tokens."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.backbones.vision import mobilenet, resnet, video_mae, vivit
from mmjax.backbones.vision.vit import VisionTransformer
from mmjax.encoders.image.mobilenet import MobileNetV2
from mmjax.encoders.image.resnet import ResNet
from mmjax.encoders.image.vit import Vit
from mmjax.encoders.video.video_mae import VideoMae
from mmjax.encoders.video.vivit import Vivit

TUBELET, STAGES = (2, 8, 8), ((1, 16, 1, 1), (2, 16, 2, 2))
# The encoder, its backbone, where that is in its parameters, and what it adds.
PAIRS = {
    "mobilenet": (
        MobileNetV2(8, stages=STAGES, norm="none"),
        mobilenet.MobileNet(((1, 1, 1, 1, 16), (2, 2, 2, 2, 16)), norm="none"),
        None,
        {"projection"},
    ),
    "resnet": (
        ResNet(8, depth=10, channels=4, norm="none"),
        resnet.ResNet(resnet.stages_of(10, 4), 4, norm="none"),
        "trunk",
        {"projection"},
    ),
    "video_mae": (
        VideoMae(8, layers=2, heads=2),
        video_mae.VideoMae(8, tubelet=TUBELET, layers=2, heads=2),
        None,
        set(),
    ),
    "vit": (
        Vit(8, layers=2, heads=2, class_token=True, registers=2, size="Ti"),
        VisionTransformer(192, patch_size=8, layers=2, heads=2, registers=2),
        None,
        {"projection"},
    ),
    "vivit": (
        Vivit(8, layers=2, heads=2, model="factorised", temporal_layers=1),
        vivit.Vivit(8, tubelet=TUBELET, layers=2, heads=2, model="factorised", temporal_layers=1),
        None,
        set(),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_an_encoder_is_its_backbone_and_a_projection(name):
    encoder, backbone, path, adds = PAIRS[name]
    shape = (2, 4, 16, 16, 3) if name.startswith("vi") and name != "vit" else (2, 32, 32, 3)
    pixels = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    init = functools.partial(encoder.init, method="from_pixels")
    params = jax.jit(init)(jax.random.key(0), pixels)["params"]
    own = params if path is None else params[path]
    own = {name: value for name, value in own.items() if name not in adds}
    shapes = jax.eval_shape(
        functools.partial(backbone.init, method="encode"), jax.random.key(0), pixels
    )
    assert jax.tree.map(jnp.shape, own) == jax.tree.map(jnp.shape, shapes["params"])
    found = jax.jit(functools.partial(backbone.apply, method="encode"))({"params": own}, pixels)
    x = found[-1].reshape(2, -1, found[-1].shape[-1]) if isinstance(found, list) else found.tokens
    x = x[:, getattr(backbone, "lead", 0) :] if name == "vit" else x
    if adds:
        x = x @ params["projection"]["kernel"] + params["projection"]["bias"]
    tokens = jax.jit(functools.partial(encoder.apply, method="from_pixels"))(
        {"params": params}, pixels
    )
    np.testing.assert_allclose(tokens.x, x, atol=1e-5 * np.abs(x).max())


def test_published_inputs_are_cut_to_whole_patches_and_have_channels_first():
    backbone = VisionTransformer(
        8, patch_size=(4, 8), layers=1, heads=2, grid=(2, 3), pooling="class"
    )
    image = jnp.asarray(np.random.default_rng(0).normal(size=(2, 11, 25, 3)), jnp.float32)
    given = jnp.moveaxis(image, 3, 1)
    variables = jax.jit(backbone.init)(jax.random.key(0), given)
    found = backbone.apply(variables, given, output_hidden_states=True)
    tokens, pooled, states, _ = backbone.apply(variables, image[:, :8, :24], method="encode")
    np.testing.assert_array_equal(found["last_hidden_state"], tokens)
    np.testing.assert_array_equal(found["pooler_output"], pooled)
    assert len(found["hidden_states"]) == len(states) == 2
    assert tokens.shape == (2, 1 + 2 * 3, 8)
