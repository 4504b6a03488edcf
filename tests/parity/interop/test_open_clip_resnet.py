"""The ResNet backbones of open_clip's CLIP and of OpenAI's files against open_clip, and back."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax import interop
from mmjax.backbones.vision import modified_resnet
from mmjax.errors import UserError
from mmjax.factory.checkpoints.pretrained import encoder, pretrained
from mmjax.interop.weights.checkpoint import open_checkpoint
from mmjax.interop.weights.variables import read_variables
from mmjax.nn.layers.batch_norm import STATISTICS
from tests.parity.interop import published
from tests.parity.interop.open_clip_models import (
    build,
    built,
    check,
    check_openai,
    inputs_of,
    open_clip,
    torch,
    write,
)

TEXT = {"width": 64, "heads": 1, "layers": 1, "context_length": 5, "vocab_size": 20}
VISION = {"layers": [1, 2, 1, 1], "width": 6, "head_width": 64, "image_size": 64}
CONFIG = {"embed_dim": 7, "quick_gelu": True, "vision_cfg": VISION, "text_cfg": TEXT}


@st.composite
def configs(draw):
    """What open_clip_config.json holds as model_cfg; a width may be odd."""
    width = draw(st.integers(2, 9))
    vision = {
        "layers": draw(st.permutations([1, 1, 1, 2])),
        "width": width,
        "head_width": draw(st.sampled_from([8, 16, 32])),
        "image_size": draw(st.sampled_from([32, 64, 90, 96])),
        "patch_size": None,
    }
    return CONFIG | {
        "embed_dim": draw(st.integers(3, 9)),
        "quick_gelu": draw(st.booleans()),
        "vision_cfg": vision,
    }


@settings(published.DRAWN, max_examples=3)
@given(config=configs(), custom=st.booleans())
def test_a_resnet_of_any_shape_equals_open_clip_and_returns(config, custom, tmp_path_factory):
    check(config, tmp_path_factory.mktemp("resnet"), custom=custom)


def last_map(theirs, image):
    """[B D h w], which the pool gets."""
    with torch.no_grad():
        found = theirs.visual.forward_intermediates(image, intermediates_only=True)
    return found["image_intermediates"][-1]


def features(theirs, image):
    """Of the image backbone: the cells of the last map, and what its pool gives."""
    with torch.no_grad():
        last = last_map(theirs, image)
        pooled = theirs.visual.attnpool(last)
    found = {"last_hidden_state": last.flatten(2).transpose(1, 2), "pooler_output": pooled}
    return published.as_numpy(found)


def interpolated(theirs, cells):
    """Changes the positions of the pool to those of a map of other sides."""
    pool = theirs.visual.attnpool
    table = pool.positional_embedding.detach()
    side = round((len(table) - 1) ** 0.5)
    grid = table[1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(grid, cells, mode="bicubic", antialias=True)
    table = torch.cat([table[:1], grid[0].flatten(1).T])
    pool.positional_embedding = torch.nn.Parameter(table)


@pytest.mark.parametrize("sides", [(70, 130), (31, 31)])
def test_pictures_of_another_size_interpolate_the_positions(sides, tmp_path):
    """As for a ViT of open_clip; open_clip itself does not take such pictures here."""
    config = CONFIG | {"vision_cfg": VISION | {"image_size": 96}}
    theirs = build(config)
    with torch.no_grad():
        theirs.visual.attnpool.positional_embedding *= 20  # so that the pool tells places apart
    write(tmp_path, config, theirs.state_dict())
    image = torch.tensor(np.random.default_rng(0).normal(size=(2, 3, *sides))).float()
    interpolated(theirs, last_map(theirs, image).shape[2:])
    found = interop.load(tmp_path)(image=image.numpy())["vision_model_output"]
    published.assert_close(found, features(theirs, image))


def test_gradients_of_the_image_backbone_equal_torchs(tmp_path):
    """In evaluation, with respect to everything that trains."""
    theirs, image = build(CONFIG), inputs_of(CONFIG)["image"]
    weight = np.random.default_rng(1).normal(size=(2, CONFIG["embed_dim"])).astype("f")
    (theirs.visual(image) * torch.tensor(weight)).sum().backward()
    write(tmp_path, CONFIG, theirs.state_dict())
    model, pictures = interop.load(tmp_path), jnp.asarray(image.numpy())

    def loss(params):
        found = model.module.apply({**model.variables, "params": params}, pictures)
        return jnp.sum(found["vision_model_output"]["pooler_output"] * weight)

    found = jax.jit(jax.grad(loss))(model.params)
    found = interop.weights_of(model, {**model.variables, "params": found})
    expected = {f"visual.{n}": x.grad.numpy() for n, x in theirs.visual.named_parameters()}
    assert len(expected) == 3 * 3 + 5 * 9 + 4 * 3 + 9
    for name, x in expected.items():
        published.assert_close(found[name], x, 1e-4, name)
        assert np.abs(x).max() > 0 or name.endswith("k_proj.bias"), name


def test_a_file_of_openai_needs_no_config(tmp_path):
    check_openai(CONFIG, tmp_path)


PIXELS = {"preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}


def encoder_of(folder, **options):
    """A recipe's encoder of pictures, and its variables."""
    path = str(folder / "open_clip_model.safetensors")
    checkpoint = open_checkpoint(path)
    spec = pretrained(path, **options)
    sizes = {"sequence": 32 * VISION["width"], "pooled": CONFIG["embed_dim"]}
    width = sizes[options.get("output", "sequence")]
    found = encoder(checkpoint, spec, "image", "image", width=width, dtype=jnp.float32)
    architecture = interop.load(path).architecture
    variables, _ = read_variables(checkpoint, architecture, architecture.parts["image"].path)
    return found, {kind: {"backbone": tree} for kind, tree in variables.items()}


RAW = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
IMAGE = (torch.tensor(RAW).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25  # as PIXELS says
REAL = jnp.array([True, False, True])


@pytest.mark.parametrize("output", ["sequence", "pooled"])
def test_in_a_recipe_it_takes_raw_pictures(output, tmp_path):
    theirs = build(CONFIG)
    write(tmp_path, CONFIG, theirs.state_dict(), PIXELS)
    module, variables = encoder_of(tmp_path, output=output)
    found = jax.jit(module.apply)(variables, jnp.asarray(RAW), REAL)
    name = {"sequence": "last_hidden_state", "pooled": "pooler_output"}[output]
    wanted = features(theirs, IMAGE)[name].reshape(3, -1, found.x.shape[2])
    published.assert_close(found.x[jnp.array([0, 2])], wanted[[0, 2]])
    assert not found.x[1].any()
    np.testing.assert_array_equal(found.mask.all(1), REAL)


def test_missing_pictures_do_not_enter_the_running_statistics(tmp_path):
    """A step of training, against open_clip's on the pictures that are there."""
    theirs = build(CONFIG)
    write(tmp_path, CONFIG, theirs.state_dict(), PIXELS)
    module, variables = encoder_of(tmp_path)
    theirs.train().visual(IMAGE[[0, 2]])
    step = jax.jit(functools.partial(module.apply, deterministic=False, mutable=[STATISTICS]))
    _, after = step(variables, jnp.asarray(RAW), REAL)
    folder = tmp_path / "after"
    write(folder, CONFIG, theirs.state_dict(), PIXELS)
    expected = encoder_of(folder)[1][STATISTICS]
    assert len(jax.tree.leaves(expected)) == 2 * (3 + 5 * 3 + 4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        after[STATISTICS],
        expected,
    )


@pytest.mark.parametrize("name", ["RN101", "RN50x4"])
def test_the_published_sizes_are_open_clips(name):
    theirs, architecture = built(open_clip.get_model_config(name))
    assert architecture.parts["image"].module.heads == theirs.visual.attnpool.num_heads


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": [1, 2, 1]}, "layers=[1, 2, 1]"),
        ({"layers": [1, 2, 1, 0]}, "layers=[1, 2, 1, 0]"),
        ({"head_width": 38}, "does not split into 5 heads"),
        ({"image_size": 31}, "no cell"),
        ({"image_size": 96}, "attnpool.positional_embedding"),
        ({"width": 8}, "visual.conv1.weight"),
        ({"layers": [1, 2, 1, 2]}, "visual.layer4.1.conv1.weight"),
    ],
)
def test_what_a_resnet_cannot_be_is_refused_in_one_line(changes, message, tmp_path):
    changed = CONFIG | {"vision_cfg": VISION | changes}
    write(tmp_path, changed, build(CONFIG).state_dict())
    with pytest.raises(UserError) as caught:
        interop.load(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pictures_without_a_cell_and_tables_that_are_no_square_are_refused(tmp_path):
    theirs = build(CONFIG)
    write(tmp_path, CONFIG, theirs.state_dict())
    with pytest.raises(UserError, match="30x64 is smaller than 31x31"):
        interop.load(tmp_path)(image=np.zeros((1, 3, 30, 64), "f"))
    (tmp_path / "alone").mkdir()
    state = theirs.state_dict()
    state["visual.attnpool.positional_embedding"] = torch.zeros(7, 192)
    torch.save(state, tmp_path / "alone" / "model.bin")
    (tmp_path / "alone" / "open_clip_config.json").write_text('{"quick_gelu": true}')
    with pytest.raises(UserError, match="has 6 cells, which is no square"):
        interop.load(tmp_path / "alone")


def test_average_pooling_drops_what_is_left():
    x = np.random.default_rng(0).normal(size=(2, 7, 4, 3)).astype("f")
    expected = torch.nn.functional.avg_pool2d(torch.tensor(x).permute(0, 3, 1, 2), 3)
    found = modified_resnet.average_pool(jnp.asarray(x), 3)
    np.testing.assert_allclose(np.moveaxis(found, 3, 1), expected.numpy(), atol=1e-6)
