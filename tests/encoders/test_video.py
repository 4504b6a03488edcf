"""Video transformers against plain numpy over real frames only."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.encoders.video.video_mae import VideoMae
from mmjax.encoders.video.vivit import Vivit
from mmjax.errors import UserError
from mmjax.nn.layers.positions import sinusoids
from tests.encoders.spec import recomputed_blocks
from tests.encoders.video_oracle import (
    HEADS,
    MASK,
    WIDTH,
    block,
    check,
    clips,
    dense,
    drawn,
    gelu_exact,
    norm,
    run,
    stack,
)

VIVIT = Vivit(WIDTH, 4, layers=2, heads=HEADS, temporal_layers=1)
MAE = VideoMae(WIDTH, 4, layers=1, heads=HEADS)


def tubelets(row, p, mask=MASK):
    """The real times of a clip and their tubelets [times cells D], masked frames grey."""
    pixels = np.asarray(clips())[row] / 127.5 - 1
    pixels[~mask[row]] = 0
    times = [t for t in range(3) if mask[row, 2 * t : 2 * t + 2].any()]
    cells = [
        [pixels[2 * t : 2 * t + 2, y : y + 4, x : x + 4].ravel() for y in (0, 4) for x in (0, 4)]
        for t in times
    ]
    cells = np.reshape(cells, (len(times), 4, 96))
    return times, dense(cells, p["tubelets"]["projection"])


@pytest.mark.parametrize("summary", ["class", "mean"])
def test_joint_vivit_equals_numpy(summary):
    encoder = VIVIT.clone(summary=summary)
    p = drawn(encoder)["params"]
    x, mask = run(encoder)
    first = int(summary == "class")
    for row in range(3):
        times, cells = tubelets(row, p)
        places = np.concatenate([np.arange(4 * t, 4 * t + 4) for t in times])
        cells = cells + np.asarray(p["positions"]["embedding"]).reshape(3, 4, -1)[times]
        expected = stack(cells.reshape(-1, WIDTH), p["stack"], first)
        places = np.concatenate([np.zeros(first, int), places + first])
        check(x, mask, row, places, expected)
    assert not mask[3].any()
    one, there = run(encoder.clone(output="summary"))
    np.testing.assert_array_equal(there[:, 0], MASK.any(1))
    mean = x.sum(1) / np.maximum(mask.sum(1), 1)[:, None]
    np.testing.assert_allclose(one[:, 0], x[:, 0] if first else mean, atol=2e-5)


@pytest.mark.parametrize("summary", ["class", "mean"])
def test_factorised_vivit_equals_numpy(summary):
    encoder = VIVIT.clone(model="factorised", summary=summary)
    p = drawn(encoder)["params"]
    x, mask = run(encoder)
    first = int(summary == "class")
    for row in range(3):
        times, cells = tubelets(row, p)
        cells = cells + np.asarray(p["positions"]["embedding"]).reshape(4, -1)
        seen = [stack(frame, p["spatial"], first) for frame in cells]
        seen = np.stack([s[0] if first else s.mean(0) for s in seen])
        seen = seen + np.asarray(p["times"]["embedding"])[times]
        places = np.concatenate([np.zeros(first, int), np.array(times) + first])
        check(x, mask, row, places, stack(seen, p["temporal"], first))
    assert not mask[3].any()


def test_video_mae_equals_numpy_over_visible_tubelets():
    p = drawn(MAE)["params"]
    visible = np.random.default_rng(2).random((4, 12)) < 0.7
    x, mask = run(MAE, visible=jnp.asarray(visible))
    mean, there = run(MAE.clone(output="mean"), visible=jnp.asarray(visible))
    for row in range(3):
        times, cells = tubelets(row, p)
        places = np.concatenate([np.arange(4 * t, 4 * t + 4) for t in times])
        cells = (cells.reshape(-1, WIDTH) + sinusoids(12, WIDTH)[places])[visible[row, places]]
        after = block(cells, p["block_0"], gelu_exact)
        check(x, mask, row, places[visible[row, places]], norm(after, p["norm"]))
        check(mean, there, row, [0], norm(after.mean(0, keepdims=True), p["norm"]))
    assert not mask[3].any()


def test_vivit_of_a_size_ends_in_the_width():
    value = jax.ShapeDtypeStruct((1, 4, 32, 32, 3), jnp.uint8)
    for encoder in (Vivit(WIDTH, size="Ti"), VideoMae(WIDTH, size="Ti", output="mean")):
        tokens, variables = jax.eval_shape(encoder.init_with_output, jax.random.key(0), value)
        assert tokens.x.shape[2] == WIDTH
        assert variables["params"]["projection"]["kernel"].shape == (192, WIDTH)
    blocks = [name for name in variables["params"] if name.startswith("block")]
    assert len(blocks) == 12


@pytest.mark.parametrize("encoder", [VIVIT, MAE.clone(layers=2)], ids=["vivit", "video_mae"])
def test_remat_is_of_each_block_and_changes_no_output(encoder):
    again = encoder.clone(remat=True)
    assert recomputed_blocks(encoder.apply, drawn(encoder), clips()) == 0
    assert recomputed_blocks(again.apply, drawn(encoder), clips()) == 2
    np.testing.assert_allclose(run(encoder)[0], run(again)[0], atol=1e-6)


def test_factorised_vivit_base_has_the_parameters_of_the_paper():
    """115.1 million with a head for 400 classes (Arnab et al. 2021, table 2)."""
    encoder = Vivit(768, patch_size=16, size="B", model="factorised")
    value = jax.ShapeDtypeStruct((1, 32, 224, 224, 3), jnp.uint8)
    variables = jax.eval_shape(encoder.init, jax.random.key(0), value)
    count = sum(p.size for p in jax.tree.leaves(variables)) + 768 * 400 + 400
    assert round(count / 1e6, 1) == 115.1


def test_vivit_has_a_longest_clip():
    variables = drawn(VIVIT)
    with pytest.raises(UserError, match="a clip of 4 tubelets in time, but .* made for 3"):
        jax.eval_shape(VIVIT.apply, variables, clips(frames=8))
