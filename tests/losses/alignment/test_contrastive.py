"""Contrastive losses against loops in float64, and in every corner of a batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.test_util import check_grads

from mmjax.losses.alignment import contrastive

WIDTH = 6


def pair_supervised(a, b, **options):
    """The loss of one set in the form of the others: two halves of a batch, labelled by row."""
    both = jnp.concatenate([a, b])
    mask = options.pop("mask", None)
    mask = None if mask is None else jnp.concatenate([mask, mask])
    labels = jnp.tile(jnp.arange(len(a)), 2)
    losses = contrastive.supervised(both, labels, mask=mask, **options)
    return (losses[: len(a)] + losses[len(a) :]) / 2


LOSSES = {
    "info_nce": contrastive.info_nce,
    "decoupled": contrastive.decoupled,
    "hard_negative": contrastive.hard_negative,
    "sigmoid": contrastive.sigmoid,
    "triplet": contrastive.triplet,
    "triplet, hard": functools.partial(contrastive.triplet, mining="hard"),
    "triplet, all": functools.partial(contrastive.triplet, mining="all"),
    "supervised": pair_supervised,
}
CROSS = [name for name in LOSSES if name != "supervised"]
every = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
cross = pytest.mark.parametrize("name", CROSS)


def both_ways(row):
    """The mean of a row's loss in a matrix and in its transpose; rows that do not count give 0."""

    def losses(a, b, mask, positives, temperature):
        s = a @ b.T / temperature
        values = []
        for i in range(len(a)):
            value = 0.0
            for matrix, right in ((s, positives), (s.T, positives.T)):
                good = [j for j in range(len(a)) if mask[i] and mask[j] and right[i, j]]
                bad = [j for j in range(len(a)) if mask[i] and mask[j] and not right[i, j]]
                value += row(matrix[i], good, bad) / 2
            values.append(value)
        return np.array(values)

    return losses


def mean(values):
    return sum(values) / len(values) if values else 0.0


def naive_info_nce(s, good, bad):
    return mean([np.log(np.exp(s[[*good, *bad]] - s[j]).sum()) for j in good])


def naive_decoupled(s, good, bad):
    return mean([np.log(np.exp(s[bad] - s[j]).sum()) for j in good]) if bad else 0.0


def naive_hard_negative(s, good, bad):
    weights = np.exp(s[bad]) / np.exp(s[bad]).mean() if bad else np.zeros(0)
    return mean([np.log(1 + (weights * np.exp(s[bad] - s[j])).sum()) for j in good])


def naive_sigmoid(s, good, bad):
    return sum(np.log1p(np.exp(-s[j] + 10)) for j in good) + sum(
        np.log1p(np.exp(s[j] - 10)) for j in bad
    )


def naive_triplet(mining):
    def row(s, good, bad):
        values = []
        for j in good:
            if mining == "all":
                values.append(mean([max(0, 0.2 + s[n] - s[j]) for n in bad]))
                continue
            below = [n for n in bad if s[n] < s[j]]
            if not bad:
                n = None
            elif mining == "hard":
                n = max(bad, key=lambda n: s[n])
            else:
                n = max(below, key=lambda n: s[n]) if below else min(bad, key=lambda n: s[n])
            values.append(0.0 if n is None else max(0, 0.2 + s[n] - s[j]))
        return mean(values)

    return row


# The loop of each loss and its temperature when none is given.
NAIVE = {
    "info_nce": (both_ways(naive_info_nce), 0.07),
    "decoupled": (both_ways(naive_decoupled), 0.1),
    "hard_negative": (both_ways(naive_hard_negative), 0.1),
    "sigmoid": (both_ways(naive_sigmoid), 0.1),
    "triplet": (both_ways(naive_triplet("semi-hard")), 1.0),
    "triplet, hard": (both_ways(naive_triplet("hard")), 1.0),
    "triplet, all": (both_ways(naive_triplet("all")), 1.0),
}


def test_columns_may_have_a_temperature_of_their_own():
    a, b = unit(7), unit(7, 1)
    got = contrastive.info_nce(a, b, temperature=0.2, temperature_b=0.5)
    ours, theirs = (contrastive.info_nce(a, b, temperature=t) for t in (0.2, 0.5))
    back = contrastive.info_nce(b, a, temperature=0.5, temperature_b=0.2)
    np.testing.assert_allclose(got, back, rtol=1e-5)
    s = np.float64(a) @ np.float64(b).T
    rows, columns = s / 0.2, s.T / 0.5
    lost = [np.log(np.exp(x).sum(axis=1)) - np.diag(x) for x in (rows, columns)]
    np.testing.assert_allclose(got, np.mean(lost, axis=0), rtol=1e-5)
    assert abs(got - ours).max() > 0.01
    assert abs(got - theirs).max() > 0.01


def unit(rows, seed=0, width=WIDTH):
    x = np.random.default_rng(seed).normal(size=(rows, width))
    return jnp.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), jnp.float32)


@cross
@pytest.mark.parametrize("case", ["plain", "masked", "many", "one", "no positives", "all masked"])
def test_equals_a_naive_loop(name, case):
    rows = 1 if case == "one" else 7
    a, b = unit(rows), unit(rows, 1)
    mask = np.ones(rows, bool)
    positives = np.eye(rows, dtype=bool)
    if case == "masked":
        mask[[1, 4]] = False
    if case == "all masked":
        mask[:] = False
    if case == "many":  # the first three rows are of one content, and so is the text of 4 and 5
        positives[:3, :3] = True
        positives[4, 5] = positives[5, 4] = True
        b = b.at[5].set(b[4])
    if case == "no positives":
        positives[:] = False
    got = LOSSES[name](a, b, mask=jnp.array(mask), positives=jnp.array(positives))
    naive, temperature = NAIVE[name]
    if name == "sigmoid":  # rows only: the sum over columns is the other direction's rows
        s = np.float64(a) @ np.float64(b).T / temperature
        expected = [
            naive_sigmoid(
                s[i],
                [j for j in range(rows) if mask[i] and mask[j] and positives[i, j]],
                [j for j in range(rows) if mask[i] and mask[j] and not positives[i, j]],
            )
            for i in range(rows)
        ]
    else:
        expected = naive(np.float64(a), np.float64(b), mask, positives, temperature)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_supervised_equals_a_naive_loop():
    z, labels = unit(8), np.array([0, 0, 0, 1, 1, 2, 3, 3])
    mask = np.array([True] * 7 + [False])
    s = np.float64(z) @ np.float64(z).T / 0.1
    expected = []
    for i in range(8):
        others = [j for j in range(8) if j != i and mask[j]]
        good = [j for j in others if mask[i] and labels[j] == labels[i]]
        expected.append(mean([np.log(np.exp(s[i, others] - s[i, j]).sum()) for j in good]))
    got = contrastive.supervised(z, jnp.array(labels), mask=jnp.array(mask))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert got[5] == got[6] == got[7] == 0  # alone of its label, or masked


@every
def test_what_is_masked_contributes_nothing(loss):
    a, b, mask = unit(6), unit(6, 1), jnp.array([True, False, True, True, False, True])
    total = lambda a, b: jnp.sum(loss(a, b, mask=mask))  # noqa: E731
    masked = jnp.array([1, 4])
    other_a, other_b = a.at[masked].set(1e4), b.at[masked].set(jnp.nan)
    np.testing.assert_array_equal(loss(a, b, mask=mask), loss(other_a, other_b, mask=mask))
    for gradient in jax.grad(total, (0, 1))(other_a, other_b):
        assert np.isfinite(gradient).all()
        assert (gradient[masked] == 0).all()
    assert (loss(a, b, mask=mask)[masked] == 0).all()


@every
def test_gradients(loss):
    inputs = (unit(5), unit(5, 1))
    arrays = lambda a, b: loss(jnp.asarray(a), jnp.asarray(b))  # noqa: E731
    check_grads(arrays, inputs, order=1, modes=["rev"], rtol=0.02, atol=0.02)


@pytest.mark.parametrize("name", ["info_nce", "decoupled", "hard_negative", "sigmoid"])
def test_a_learned_temperature_has_a_gradient(name):
    a, b = unit(5), unit(5, 1)
    check_grads(
        lambda scale: LOSSES[name](a, b, temperature=jnp.exp(-jnp.asarray(scale))),
        (jnp.float32(1.5),),
        order=1,
        modes=["rev"],
        rtol=0.02,
    )


def test_a_learned_bias_has_a_gradient():
    a, b = unit(5), unit(5, 1)
    loss = lambda bias: contrastive.sigmoid(a, b, bias=jnp.asarray(bias))  # noqa: E731
    check_grads(loss, (jnp.float32(-3.0),), order=1, modes=["rev"], rtol=0.02)
    # Without similarity, a pair by itself is right with the probability sigmoid(bias).
    zero = jnp.zeros((3, WIDTH))
    loss = contrastive.sigmoid(zero, zero, bias=jnp.log(0.5))
    np.testing.assert_allclose(loss, np.log(3) + 2 * np.log(1.5), rtol=1e-6)


@every
@pytest.mark.parametrize("scale", [100.0, 1.0])
def test_extreme_logits_stay_finite(loss, scale):
    a, b = scale * unit(4), scale * unit(4, 1)  # products of up to 1e4
    value, gradients = jax.value_and_grad(lambda a, b: loss(a, b).sum(), (0, 1))(a, b)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@every
@pytest.mark.parametrize("rows", [1, 4])
def test_alone_or_all_masked_is_finite_and_still(loss, rows):
    a, b = unit(rows), unit(rows, 1)
    mask = jnp.zeros(rows, bool)
    value, gradients = jax.value_and_grad(lambda a, b: loss(a, b, mask=mask).sum(), (0, 1))(a, b)
    assert value == 0
    assert all((gradient == 0).all() for gradient in gradients)
    assert np.isfinite(jax.grad(lambda a: loss(a, b).sum())(a)).all()


@every
def test_bfloat16_embeddings_give_a_float32_loss(loss):
    a, b = unit(5), unit(5, 1)
    low = loss(a.astype(jnp.bfloat16), b.astype(jnp.bfloat16))
    rounded = loss(*(x.astype(jnp.bfloat16).astype(jnp.float32) for x in (a, b)))
    assert low.dtype == jnp.float32
    np.testing.assert_allclose(low, rounded, rtol=1e-5, atol=1e-5)


@every
def test_eight_devices_give_what_one_gives(loss):
    a, b = unit(16), unit(16, 1)
    mask = jnp.arange(16) % 5 > 0
    total = jax.jit(jax.value_and_grad(lambda a, b, m: loss(a, b, mask=m).sum(), (0, 1)))
    one = total(a, b, mask)
    rows = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))
    eight = total(*jax.device_put((a, b, mask), rows))
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(eight), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


@every
def test_the_order_of_the_rows_does_not_matter(loss):
    a, b, order = unit(6), unit(6, 1), np.random.default_rng(2).permutation(6)
    np.testing.assert_allclose(loss(a[order], b[order]), loss(a, b)[order], rtol=1e-4, atol=1e-5)


def test_hard_negatives_of_hardness_zero_are_info_nce():
    a, b = unit(6), unit(6, 1)
    got = contrastive.hard_negative(a, b, hardness=0.0, temperature=0.2)
    np.testing.assert_allclose(got, contrastive.info_nce(a, b, temperature=0.2), rtol=1e-5)


def test_an_unknown_mining_is_refused():
    with pytest.raises(ValueError, match="there is: all, hard, semi-hard"):
        contrastive.triplet(unit(3), unit(3), mining="soft")
