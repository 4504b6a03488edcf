"""ResNet and MobileNetV2 against torchvision, timm and transformers: all maps, and back."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax import interop
from mmjax.factory.checkpoints.pretrained import encoder, pretrained
from mmjax.interop.weights.checkpoint import open_checkpoint
from mmjax.nn.layers.batch_norm import STATISTICS
from tests.parity.interop import published

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")
timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")
load_file = pytest.importorskip("safetensors.torch").load_file

BASIC, BOTTLENECK = torchvision.models.resnet.BasicBlock, torchvision.models.resnet.Bottleneck
COUNTS, STRIDES = (1, 2, 3, 4, 3, 3, 1), (1, 2, 2, 2, 1, 2, 1)


def pictures(*sides, rows=2, seed=0):
    return torch.tensor(np.random.default_rng(seed).normal(size=(rows, 3, *sides))).float()


def maps(theirs, x):
    """The map before the first stage and after each, by the modules of torchvision and timm."""
    parts = dict(theirs.named_children())
    if "features" in parts:  # a stage of torchvision's MobileNetV2 is several modules
        ends = [sum(COUNTS[:n]) for n in range(len(COUNTS) + 1)]
        modules = list(parts["features"])
        stages = [modules[:1]]
        stages += [modules[1 + a : 1 + b] for a, b in itertools.pairwise(ends)]
        stages.append(modules[-1:])
    elif "conv_stem" in parts:
        stages = [[theirs.conv_stem, theirs.bn1], *([s] for s in theirs.blocks)]
        stages.append([theirs.conv_head, theirs.bn2])
    else:
        stem = [theirs.conv1, theirs.bn1, torch.nn.ReLU(), theirs.maxpool]
        stages = [stem, *([parts[f"layer{n}"]] for n in range(1, 5))]
    found = []
    for stage in stages:
        for module in stage:
            x = module(x)
        found.append(x)
    return found


def outputs(theirs, x):
    """What ours are to be."""
    with torch.no_grad():
        found = maps(theirs.eval(), x)
        tokens = tuple(m.flatten(2).transpose(1, 2) for m in found)
        expected = {
            "logits": theirs(x),
            "last_hidden_state": tokens[-1],
            "pooler_output": found[-1].mean((2, 3)),
            "hidden_states": tokens,
        }
    return published.as_numpy(expected)


def compare(theirs, x, folder):
    """Saved, loaded, compared, and given back strictly."""
    published.randomise(torch, theirs)
    expected = outputs(theirs, x)
    torch.save(theirs.state_dict(), folder / "theirs.pth")
    model = interop.load(folder / "theirs.pth")
    assert not model.report.unexpected
    published.assert_close(model(pixel_values=x.numpy(), **published.HIDDEN), expected)
    again = load_file(interop.save(model, folder / "ours"))
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.zero_()
    theirs.load_state_dict(again, strict=True)
    published.assert_close(outputs(theirs, x), expected, 1e-6)
    return model


@st.composite
def resnets(draw):
    """Any numbers of blocks; bottlenecks of any width."""
    block = draw(st.sampled_from([BASIC, BOTTLENECK]))
    counts = draw(st.lists(st.integers(1, 2), min_size=4, max_size=4))
    width = draw(st.sampled_from([16, 64, 100])) if block is BOTTLENECK else 64
    return torchvision.models.ResNet(block, counts, num_classes=5, width_per_group=width)


@st.composite
def mobilenets(draw):
    """Any widths and expansions."""
    setting = [
        [1 if not n else draw(st.integers(1, 6)), draw(st.integers(3, 24)), count, stride]
        for n, (count, stride) in enumerate(zip(COUNTS, STRIDES, strict=True))
    ]
    return torchvision.models.MobileNetV2(
        num_classes=5,
        width_mult=draw(st.sampled_from([0.5, 1.0, 1.3])),
        inverted_residual_setting=setting,
        round_nearest=draw(st.sampled_from([1, 4])),
    )


sides = st.tuples(st.integers(1, 70), st.integers(1, 70))


@published.DRAWN
@given(theirs=resnets(), sides=sides)
def test_resnets_of_any_shape_equal_torchvision_and_return(theirs, sides, tmp_path_factory):
    compare(theirs, pictures(*sides), tmp_path_factory.mktemp("resnet"))


@published.DRAWN
@given(theirs=mobilenets(), sides=sides)
def test_mobilenets_of_any_width_equal_torchvision_and_return(theirs, sides, tmp_path_factory):
    compare(theirs, pictures(*sides), tmp_path_factory.mktemp("mobilenet"))


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2"])
def test_published_shapes_equal_torchvision(name, tmp_path):
    compare(getattr(torchvision.models, name)(), pictures(45, 64, rows=1), tmp_path)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_035"])
def test_timm_has_the_same_networks(name, tmp_path):
    model = compare(timm.create_model(name, num_classes=5), pictures(40, 33, rows=1), tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"architecture": name}))
    assert interop.load(tmp_path / "theirs.pth").module == model.module


@pytest.mark.parametrize("name", ["ResNetModel", "ResNetForImageClassification"])
@published.DRAWN
@given(data=st.data())
def test_resnets_equal_transformers_and_return(name, data, tmp_path_factory):
    draw = data.draw
    count = draw(st.integers(1, 4))
    config = transformers.ResNetConfig(
        embedding_size=draw(st.integers(3, 12)),
        hidden_sizes=draw(st.lists(st.integers(4, 20), min_size=count, max_size=count)),
        depths=draw(st.lists(st.integers(1, 3), min_size=count, max_size=count)),
        layer_type=draw(st.sampled_from(["basic", "bottleneck"])),
        downsample_in_first_stage=draw(st.booleans()),
        num_channels=draw(st.integers(1, 4)),
        num_labels=5,
    )
    x = pictures(*draw(sides)).repeat(1, 2, 1, 1)[:, : config.num_channels]
    theirs = published.randomise(torch, getattr(transformers, name)(config))
    folder = tmp_path_factory.mktemp("resnet")
    theirs.save_pretrained(folder / "theirs")
    model = interop.load(folder / "theirs")
    assert not model.report.unexpected

    def run(theirs):
        with torch.no_grad():
            return published.as_numpy(theirs.eval()(x, **published.HIDDEN))

    expected = run(theirs)
    published.assert_close(model(pixel_values=x.numpy(), **published.HIDDEN), expected)
    interop.save(model, folder / "ours")
    again, notes = type(theirs).from_pretrained(folder / "ours", output_loading_info=True)
    assert not notes["missing_keys"], notes
    assert not notes["unexpected_keys"]
    published.assert_close(run(again), expected, 1e-6)


def small():
    return published.randomise(torch, torchvision.models.ResNet(BASIC, [1, 1, 1, 1], num_classes=5))


@pytest.mark.parametrize("kind", ["wrapped", "headless"])
def test_what_training_programs_write(kind, tmp_path):
    """Nested in a dictionary, behind DataParallel; or without the classifier."""
    theirs, x = small(), pictures(40, 40)
    expected = outputs(theirs, x)
    state = theirs.state_dict()
    if kind == "wrapped":
        state = {"epoch": 3, "state_dict": {f"module.{name}": v for name, v in state.items()}}
    else:
        state = {name: v for name, v in state.items() if not name.startswith("fc.")}
        del expected["logits"]
    torch.save(state, tmp_path / "it.pth")
    model = interop.load(tmp_path / "it.pth")
    published.assert_close(model(pixel_values=x.numpy(), **published.HIDDEN), expected)
    assert ("logits" in model(pixel_values=x.numpy())) == (kind == "wrapped")


def encoder_of(theirs, folder, **options):
    """A recipe's encoder, and its variables."""
    torch.save(theirs.state_dict(), folder / "it.pth")
    checkpoint = open_checkpoint(folder / "it.pth")
    spec = pretrained(str(folder / "it.pth"), **options)
    found = encoder(checkpoint, spec, "image", "image", width=512, dtype=jnp.float32)
    model = interop.load(folder / "it.pth")
    return found, {kind: {"backbone": tree["backbone"]} for kind, tree in model.variables.items()}


@pytest.mark.parametrize("output", ["sequence", "pooled"])
def test_in_a_recipe_it_takes_raw_pictures(output, tmp_path):
    """Normalised by ImageNet's mean and deviation, as no file says otherwise."""
    theirs = small()
    module, variables = encoder_of(theirs, tmp_path, output=output)
    raw = np.random.default_rng(0).integers(0, 256, (3, 40, 52, 3), np.uint8)
    preset = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    x = preset(torch.tensor(raw).permute(0, 3, 1, 2) / 255)
    expected = outputs(theirs, x)
    found = module.apply(variables, jnp.asarray(raw), jnp.array([True, False, True]))
    name = {"sequence": "last_hidden_state", "pooled": "pooler_output"}[output]
    wanted = expected[name].reshape(3, -1, 512)
    published.assert_close(found.x[jnp.array([0, 2])], wanted[[0, 2]])
    assert not found.x[1].any()
    np.testing.assert_array_equal(found.mask.all(1), [True, False, True])


def test_missing_pictures_do_not_enter_the_running_statistics(tmp_path):
    """A step of training, against torchvision's on the pictures that are there."""
    theirs = small()
    module, variables = encoder_of(theirs, tmp_path)
    raw = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    preset = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    theirs.train()(preset(torch.tensor(raw[[0, 2]]).permute(0, 3, 1, 2) / 255))
    _, after = module.apply(
        variables,
        jnp.asarray(raw),
        jnp.array([True, False, True]),
        deterministic=False,
        mutable=[STATISTICS],
    )
    torch.save(theirs.state_dict(), tmp_path / "after.pth")
    expected = interop.load(tmp_path / "after.pth").variables[STATISTICS]["backbone"]
    near = jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        after[STATISTICS]["backbone"],
        expected,
    )
    assert len(jax.tree.leaves(near, is_leaf=lambda x: x is None)) == 2 * 12
