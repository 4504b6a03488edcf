"""ResNet and MobileNetV2: sizes, options, running statistics, gradients at the pixels, mistakes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.backbones.vision import resnet
from mmjax.encoders.image.mobilenet import MobileNetV2, scaled
from mmjax.encoders.image.pixels import normalise
from mmjax.encoders.image.resnet import ResNet
from mmjax.errors import UserError

SMALL = ResNet(16, depth=10, channels=16, stem="small")
MOBILE = MobileNetV2(16, stages=((1, 16, 1, 1), (2, 16, 2, 2)))
MASK = jnp.array([True, False, True])


def images(rows=3, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (rows, 16, 16, 3), np.uint8)
    return jnp.asarray(values)


def shapes(encoder, side=64):
    value = jax.ShapeDtypeStruct((1, side, side, 3), jnp.uint8)
    return jax.eval_shape(encoder.init_with_output, jax.random.key(0), value)


@pytest.mark.parametrize(
    ("encoder", "count"),
    [
        (ResNet(16), 4),
        (ResNet(16, depth=50, stem="small"), 64),
        (ResNet(16, output="mean"), 1),
        (ResNet(16, depth=34, norm="group", output="max"), 1),
        (ResNet(16, output="flatten"), 1),
        (MobileNetV2(16), 4),
        (MobileNetV2(16, output="mean"), 1),
        (MOBILE, 256),
    ],
)
def test_number_of_tokens(encoder, count):
    tokens, _ = shapes(encoder)
    assert tokens.x.shape == (1, count, 16)


@pytest.mark.parametrize(
    ("depth", "count"),
    [
        # torchvision's without the classifier.
        (18, 11_176_512),
        (34, 21_284_672),
        (50, 23_508_032),
        (101, 42_500_160),
        (152, 58_143_808),
    ],
)
def test_resnets_have_their_parameters(depth, count):
    _, variables = shapes(ResNet(16, depth))
    assert sum(p.size for p in jax.tree.leaves(variables["params"]["trunk"])) == count


@pytest.mark.parametrize(
    ("multiplier", "count"),
    # torchvision's mobilenet_v2(width_mult=...).features.
    [(1.0, 2_223_872), (0.5, 687_680), (1.4, 4_315_776), (0.35, 396_128)],
)
def test_mobilenets_have_their_parameters(multiplier, count):
    _, variables = shapes(MobileNetV2(16, width_multiplier=multiplier))
    params = variables["params"]
    assert (
        sum(p.size for n in params if n != "projection" for p in jax.tree.leaves(params[n]))
        == count
    )


def multiply_adds(jaxpr):
    """Of the convolutions and matrix products, those with zeros around a picture included."""
    total = 0
    for step in jaxpr.eqns:
        inner = [p for p in step.params.values() if hasattr(p, "jaxpr")]
        total += sum(multiply_adds(p.jaxpr) for p in inner)
        # What one kind of processor computes costs as much as what the others do.
        branches = {multiply_adds(branch.jaxpr) for branch in step.params.get("branches", ())}
        assert len(branches) <= 1
        total += sum(branches)
        if step.primitive.name in ("conv_general_dilated", "dot_general"):
            kernel, out = step.invars[1].aval, step.outvars[0].aval
            total += out.size * kernel.size // kernel.shape[-1]
    return total


@pytest.mark.parametrize(("depth", "billions"), [(18, 1.814), (34, 3.664), (50, 4.089)])
def test_resnets_cost_what_is_published(depth, billions):
    """At 224x224 with 1000 classes, as torchvision states it."""
    encoder = ResNet(1000, depth, output="mean")
    value = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.uint8)
    variables = jax.eval_shape(encoder.init, jax.random.key(0), value)
    jaxpr = jax.make_jaxpr(encoder.apply)(variables, value)
    np.testing.assert_allclose(multiply_adds(jaxpr.jaxpr) / 1e9, billions, atol=6e-4)


@pytest.mark.parametrize(
    ("encoder", "billions"), [(ResNet(1000, 50), 4.089), (MobileNetV2(1000), 0.301)]
)
def test_compiled_cost_is_near_what_is_published(encoder, billions):
    """XLA leaves out products with the zeros around a picture and counts norms besides."""
    encoder = encoder.clone(output="mean")
    value = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.uint8)
    variables = jax.eval_shape(encoder.init, jax.random.key(0), value)
    flops = jax.jit(encoder.apply).lower(variables, value).cost_analysis()["flops"]
    np.testing.assert_allclose(flops / 2e9, billions, rtol=0.08)


def test_channels_are_rounded_to_multiples_of_eight():
    assert [scaled(32, m) for m in (1.0, 0.1, 0.35, 1.4)] == [32, 8, 16, 48]
    assert scaled(24, 0.75) == 24  # 18 rounds to 16, which is more than 10 % less


@pytest.mark.parametrize("encoder", [SMALL, MOBILE], ids=["resnet", "mobilenet"])
def test_training_sees_the_real_rows_only(encoder):
    """Output, running statistics and all gradients, with an absent row and without it."""
    variables = jax.jit(encoder.init)(jax.random.key(0), images())

    @jax.jit
    def train(pixels, mask):
        def loss(pixels, params):
            out, state = encoder.apply(
                variables | {"params": params},
                pixels,
                mask,
                deterministic=False,
                mutable=["batch_stats"],
                method="from_pixels",
            )
            return (out.x**2).sum(), (out.x, state)

        return jax.grad(loss, (0, 1), has_aux=True)(pixels, variables["params"])

    pixels = normalise(images(), jnp.float32)
    dirty = pixels.at[1].set(jnp.nan)
    (gradient, weights), (out, state) = train(dirty, MASK)
    np.testing.assert_array_equal(gradient[1], 0)
    clean = train(pixels, MASK)
    jax.tree.map(np.testing.assert_array_equal, clean, ((gradient, weights), (out, state)))
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(clean))
    (alone, _), (expected, stats) = train(pixels[MASK], jnp.ones(2, bool))
    np.testing.assert_allclose(out[MASK], expected, atol=1e-4)
    np.testing.assert_allclose(gradient[MASK], alone, atol=1e-3 * np.abs(alone).max())
    near = np.testing.assert_allclose
    jax.tree.map(lambda a, b: near(a, b, rtol=1e-4, atol=1e-4), state, stats)
    _, (out, state) = train(dirty, jnp.zeros(3, bool))
    np.testing.assert_array_equal(out, 0)
    before = {"batch_stats": variables["batch_stats"]}
    jax.tree.map(np.testing.assert_array_equal, state, before)


@pytest.mark.parametrize("encoder", [SMALL, MOBILE], ids=["resnet", "mobilenet"])
def test_grid_and_mean_agree_through_the_linear_projection(encoder):
    variables = jax.jit(encoder.init)(jax.random.key(0), images())
    tokens = jax.jit(encoder.apply)(variables, images()).x
    pooled = jax.jit(encoder.clone(output="mean").apply)(variables, images()).x
    np.testing.assert_allclose(pooled[:, 0], tokens.mean(1), atol=1e-5)


def test_group_norm_keeps_no_running_statistics():
    _, variables = shapes(SMALL.clone(norm="group"))
    assert set(variables) == {"params"}


def test_trunk_takes_any_number_of_channels():
    spectrogram = jax.ShapeDtypeStruct((2, 100, 80, 1), jnp.float32)
    trunk = resnet.ResNet(resnet.stages_of(50, 16), 16)
    init = functools.partial(trunk.init_with_output, method="encode")
    maps, _ = jax.eval_shape(init, jax.random.key(0), spectrogram)
    assert maps[-1].shape == (2, 4, 3, 16 * 8 * 4)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (ResNet(16, depth=20), "unknown depth 20: choose one of 10, 18, 34, 50, 101, 152"),
        (ResNet(16, stem="big"), "unknown stem 'big': choose one of small, standard"),
        (ResNet(16, norm="bacth"), "unknown norm 'bacth': choose one of batch, group, layer, none"),
        (ResNet(16, output="all"), "unknown output 'all': choose one of flatten, grid, max, mean"),
        (MobileNetV2(16, norm="group"), "24 channels do not split into groups of 16"),
    ],
)
def test_mistakes_are_told_in_one_line(encoder, message):
    with pytest.raises(UserError, match=message) as error:
        shapes(encoder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("encoder", [SMALL, MOBILE], ids=["resnet", "mobilenet"])
def test_float_images_are_refused(encoder):
    with pytest.raises(UserError, match="expected uint8 with values 0 to 255, got float32"):
        encoder.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
