"""Image encoders and their layers against torchvision, timm, transformers and torch.nn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.backbones.vision.resnet import DEPTHS
from mmjax.encoders.image.mobilenet import STAGES, MobileNetV2
from mmjax.encoders.image.resnet import ResNet
from mmjax.nn.layers.batch_norm import BatchNorm

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

CLASSES = 7
MASK = np.array([True, True, False, True])
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def images(side):
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, (4, side, side, 3), np.uint8))


def pixels(side):
    """The real rows as PyTorch takes them, float64."""
    normal = (np.asarray(images(side))[MASK] / 255 - MEAN) / STD
    return torch.tensor(normal.transpose(0, 3, 1, 2), requires_grad=True)


def randomise(module):
    """Norms and their running statistics, far from their initial values."""
    torch.manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
            torch.nn.init.normal_(norm.bias, 0, 0.2)
            torch.nn.init.normal_(norm.running_mean, 0, 0.2)
            torch.nn.init.uniform_(norm.running_var, 0.5, 1.5)
    return module.double()


def array(tensor):
    """Kernels [out in ...] become [... in out]."""
    value = np.asarray(tensor.detach(), np.float32)
    return np.moveaxis(value, (1, 0), (-2, -1)) if value.ndim > 1 else value


def resnet_names(depth):
    """Our modules and torchvision's: pairs of a convolution and a norm."""
    block, repeats = DEPTHS[depth]
    names = {"stem": ("conv1", "bn1")}
    for stage, count in enumerate(repeats):
        for layer in range(count):
            ours, theirs = f"stage_{stage}_block_{layer}", f"layer{stage + 1}.{layer}"
            for i in range(len(block)):
                names[f"{ours}/conv_{i}"] = (f"{theirs}.conv{i + 1}", f"{theirs}.bn{i + 1}")
            names[f"{ours}/shortcut"] = (f"{theirs}.downsample.0", f"{theirs}.downsample.1")
    return {f"trunk/{ours}": theirs for ours, theirs in names.items()}


def mobilenet_names(stages):
    names = {"stem": ("features.0.0", "features.0.1")}
    number = 1
    for stage, (expansion, _, count, _) in enumerate(stages):
        for layer in range(count):
            ours, theirs = f"stage_{stage}_block_{layer}", f"features.{number}.conv"
            parts = ["expand"] * (expansion != 1) + ["depthwise"]
            for i, part in enumerate(parts):
                names[f"{ours}/{part}"] = (f"{theirs}.{i}.0", f"{theirs}.{i}.1")
            last = len(parts)
            names[f"{ours}/project"] = (f"{theirs}.{last}", f"{theirs}.{last + 1}")
            number += 1
    return names | {"last": (f"features.{number}.0", f"features.{number}.1")}


def converted(shapes, names, head, state):
    """Variables of the given shapes from `state`, PyTorch's tensors by name."""
    parts = {"kernel": "weight", "scale": "weight", "bias": "bias"}
    parts |= {"mean": "running_mean", "var": "running_var"}

    def take(path, shape):
        *module, last = [key.key for key in path[1:]]
        if module == ["projection"]:
            name = head
        else:
            *owner, kind = module
            name = names["/".join(owner)][("conv", "norm").index(kind)]
        return array(state[f"{name}.{parts[last]}"]).reshape(shape.shape)

    return jax.tree_util.tree_map_with_path(take, shapes)


SHORT = ((1, 16, 1, 1), (6, 24, 2, 2), (3, 32, 1, 2))
NETWORKS = {
    "resnet18": (ResNet(CLASSES, 18, output="mean"), resnet_names(18), "fc"),
    "resnet34": (ResNet(CLASSES, 34, output="mean"), resnet_names(34), "fc"),
    "resnet50": (ResNet(CLASSES, 50, output="mean"), resnet_names(50), "fc"),
    "mobilenet_v2": (
        MobileNetV2(CLASSES, output="mean"),
        mobilenet_names(STAGES),
        "classifier.1",
    ),
    "mobilenet_v2 short": (
        MobileNetV2(CLASSES, SHORT, output="mean"),
        mobilenet_names(SHORT),
        "classifier.1",
    ),
}


def both(name, side):
    """Our encoder, its variables, torchvision's network, and how to convert its tensors."""
    encoder, names, head = NETWORKS[name]
    name, *short = name.split()
    options = {"inverted_residual_setting": SHORT} if short else {}
    network = randomise(getattr(torchvision.models, name)(num_classes=CLASSES, **options))
    shapes = jax.eval_shape(encoder.init, jax.random.key(0), images(side))
    count = sum(p.size for p in jax.tree.leaves(shapes["params"]))
    assert count == sum(p.numel() for p in network.parameters())

    def convert(state, shapes=shapes):
        return converted(shapes, names, head, state)

    return encoder, convert(network.state_dict()), network, convert


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "mobilenet_v2"])
def test_evaluation_equals_torchvision(name):
    """Class scores from bytes, with random running statistics, an odd size and an absent image."""
    encoder, variables, network, _ = both(name, 45)
    expected = network.eval()(pixels(45)).detach().numpy()
    out = jax.jit(encoder.apply)(variables, images(45), jnp.asarray(MASK)).x
    scale = max(np.abs(expected).max(), 1.0)
    np.testing.assert_allclose(out[MASK, 0] / scale, expected / scale, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2 short"])
def test_a_training_step_equals_torchvision(name):
    """Output, running statistics and gradients; the absent image is not in PyTorch's batch."""
    encoder, variables, network, convert = both(name, 96)
    for part in network.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    expected = network.train()(pixels(96))
    (expected**2).sum().backward()

    @jax.jit
    def train(params):
        def loss(params):
            tokens, state = encoder.apply(
                variables | {"params": params},
                images(96),
                jnp.asarray(MASK),
                deterministic=False,
                mutable=["batch_stats"],
            )
            return (tokens.x**2).sum(), (tokens.x, state)

        return jax.grad(loss, has_aux=True)(params)

    gradient, (out, state) = train(variables["params"])
    near = np.testing.assert_allclose
    near(out[MASK, 0], expected.detach(), atol=1e-4)
    shapes = jax.eval_shape(lambda: variables)
    after = convert(network.state_dict())["batch_stats"]
    jax.tree.map(lambda a, b: near(a, b, rtol=1e-4, atol=1e-4), state["batch_stats"], after)
    grads = {n: p.grad for n, p in network.named_parameters()}
    theirs = convert(grads, {"params": shapes["params"]})["params"]
    # A ReLU at zero up to rounding passes a gradient or does not: PyTorch's own float32 gradients
    # are up to 0.022 (resnet50, Euclidean norm) from its float64 ones.
    total = np.sqrt(sum((g**2).sum() for g in jax.tree.leaves(theirs)))

    def close(a, b):
        assert np.linalg.norm(a - b) <= 0.03 * np.linalg.norm(b) + 1e-4 * total

    jax.tree.map(close, gradient, theirs)


@pytest.mark.parametrize("momentum", [0.1, 0.01])
def test_batch_norm_equals_torch(momentum):
    x = np.random.default_rng(0).normal(2, 3, (4, 3, 5, 6)).astype(np.float32)
    theirs = randomise(torch.nn.Sequential(torch.nn.BatchNorm2d(6, momentum=momentum)))[0].float()
    names = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}

    def ours(*parts):
        return {p: jnp.array(getattr(theirs, names[p]).detach().numpy()) for p in parts}

    variables = {"params": ours("scale", "bias"), "batch_stats": ours("mean", "var")}
    real = torch.tensor(x[MASK].transpose(0, 3, 1, 2), requires_grad=True)
    norm, expected = BatchNorm(momentum), theirs(real)
    (expected**3).sum().backward()

    def loss(x):
        y, state = norm.apply(
            variables, x, jnp.asarray(MASK), deterministic=False, mutable=["batch_stats"]
        )
        return (y**3).sum(), (y, state)

    gradient, (y, state) = jax.jit(jax.grad(loss, has_aux=True))(x)
    channels_last = [t.detach().numpy().transpose(0, 2, 3, 1) for t in (expected, real.grad)]
    np.testing.assert_allclose(y[MASK], channels_last[0], atol=1e-5)
    np.testing.assert_allclose(gradient[MASK], channels_last[1], atol=1e-4)
    after = {"batch_stats": ours("mean", "var")}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), state, after)
    evaluated = theirs.eval()(real).detach().numpy().transpose(0, 2, 3, 1)
    y = norm.apply(variables | after, jnp.asarray(x), jnp.asarray(MASK))
    np.testing.assert_allclose(y[MASK], evaluated, atol=1e-5)
