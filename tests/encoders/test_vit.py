"""The vision transformer: positions, learned tokens, sizes, what comes out, the user's mistakes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.encoders.image.pixels import normalise
from mmjax.encoders.image.vit import SIZES, Vit
from mmjax.errors import UserError
from mmjax.nn.layers.embedding import fold_patches
from mmjax.nn.layers.rotary import grid_angles
from mmjax.nn.layers.transformer import Transformer
from tests.encoders.spec import images, recomputed_blocks, shapes_of


@pytest.mark.parametrize("positions", ["learned", "none", "rotary", "sincos"])
def test_takes_images_of_another_size(positions):
    encoder = Vit(16, positions=positions)
    _, variables = shapes_of(encoder)
    assert ("positions" in variables["params"]) == (positions == "learned")
    tokens = jax.eval_shape(encoder.apply, variables, images(32))
    assert tokens.x.shape == (2, 16, 16)


def run_vit(variables=None, value=None, **options):
    encoder = Vit(16, layers=1, **options)
    value = images() if value is None else value
    if variables is None:
        variables = jax.jit(encoder.init)(jax.random.key(0), value)
    return jax.jit(encoder.apply)(variables, value).x, variables


@pytest.mark.parametrize("positions", ["rotary", "sincos"])
def test_with_fixed_positions_sees_what_moved(positions):
    """Without positions the patches are a set; with them it matters where they are."""
    value = images(32, rows=1)
    swapped = value.at[:, :8].set(value[:, 8:16]).at[:, 8:16].set(value[:, :8])
    out, variables = run_vit(value=value, positions=positions)
    moved = run_vit(variables, swapped, positions=positions)[0]
    order = jnp.array([*range(4, 8), *range(4), *range(8, 16)])
    assert np.abs(moved[:, order] - out).max() > 1e-3
    plain, same = (run_vit(variables, v, positions="none")[0] for v in (value, swapped))
    np.testing.assert_allclose(same[:, order], plain, atol=1e-5)


def test_rotary_adds_nothing_and_turns_by_grid_angles():
    encoder = Vit(16, layers=1, positions="rotary", class_token=True, output="all")
    variables = jax.jit(encoder.init)(jax.random.key(0), images(16))
    params = variables["params"]
    patches = fold_patches(normalise(images(16), jnp.float32), 8).reshape(2, 4, -1)
    projection = params["patches"]["projection"]
    patches = patches @ projection["kernel"] + projection["bias"]
    first = jnp.broadcast_to(params["class_token"], (2, 1, 16))
    angles = jnp.concatenate([jnp.zeros((1, 2)), grid_angles(2, 2, 4)])
    expected = Transformer(1, 4).apply(
        {"params": params["transformer"]}, jnp.concatenate([first, patches], 1), angles=angles
    )
    np.testing.assert_allclose(encoder.apply(variables, images(16)).x, expected, atol=1e-5)


def test_outputs_are_parts_of_all_tokens():
    options = {"class_token": True, "registers": 2}
    everything, variables = run_vit(output="all", **options)
    assert everything.shape == (2, 1 + 4, 16)
    np.testing.assert_allclose(
        run_vit(variables, output="class", **options)[0], everything[:, :1], atol=1e-6
    )
    np.testing.assert_allclose(
        run_vit(variables, output="grid", **options)[0], everything[:, 1:], atol=1e-6
    )
    grid, variables = run_vit()
    np.testing.assert_array_equal(run_vit(variables, output="all")[0], grid)


def test_reads_its_registers():
    out, variables = run_vit(registers=2)
    params = variables["params"]
    other = {"params": params | {"registers": params["registers"][:, ::-1] * 50}}
    assert np.abs(run_vit(other, registers=2)[0] - out).max() > 1e-3


def test_remat_recomputes_the_same():
    out, variables = run_vit()
    np.testing.assert_allclose(run_vit(variables, remat=True)[0], out, atol=1e-6)
    for remat, count in ((False, 0), (True, 1)):
        encoder = Vit(16, layers=1, remat=remat)
        assert recomputed_blocks(encoder.apply, variables, images()) == count


@pytest.mark.parametrize(
    ("size", "patch_size", "side", "count"),
    [
        # timm: vit_{tiny,small,base,large}_patch16_224 and vit_huge_patch14_224 without their head.
        ("Ti", 16, 224, 5_524_416),
        ("S", 16, 224, 21_665_664),
        ("B", 16, 224, 85_798_656),
        ("L", 16, 224, 303_301_632),
        ("H", 14, 224, 630_764_800),
    ],
)
def test_sizes_have_the_parameters_of_the_papers(size, patch_size, side, count):
    width = SIZES[size][0]
    tokens, variables = shapes_of(
        Vit(width, patch_size, size=size, class_token=True, output="class"), side
    )
    # The published class token has a position besides.
    assert sum(p.size for p in jax.tree.leaves(variables)) == count - width
    assert tokens.x.shape == (2, 1, width)


def test_size_is_projected_to_another_width_and_may_be_shorter():
    tokens, variables = shapes_of(Vit(16, size="Ti", layers=2))
    assert tokens.x.shape == (2, 64, 16)
    assert variables["params"]["projection"]["kernel"].shape == (192, 16)
    assert set(variables["params"]["transformer"]) == {"block_0", "block_1", "norm"}


def test_b16_costs_what_is_published():
    """17.6 billion multiply-adds at 224x224 (timm), of which each is two operations."""
    encoder = Vit(768, 16, size="B", class_token=True, output="class")
    value = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.uint8)
    variables = jax.eval_shape(encoder.init, jax.random.key(0), value)
    flops = jax.jit(encoder.apply).lower(variables, value).cost_analysis()["flops"]
    np.testing.assert_allclose(flops / 2, 17.58e9, rtol=0.02)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (Vit(16, size="M"), "unknown size 'M': choose one of B, H, L, S, Ti"),
        (Vit(16, positions="fixed"), "unknown positions 'fixed': choose one of learned, none"),
        (Vit(8, positions="rotary"), "heads of a width divisible by 4, not 2"),
        (Vit(18, heads=3, positions="sincos"), "width 18 is not divisible by 4"),
        (Vit(16, output="class"), "needs class_token=True and pool=1"),
        (Vit(16, output="class", class_token=True, pool=2), "needs class_token=True and pool=1"),
    ],
)
def test_mistakes_are_told_in_one_line(encoder, message):
    with pytest.raises(UserError, match=message) as error:
        shapes_of(encoder)
    assert "\n" not in str(error.value)
