"""PMR against a plain loop: scores, coefficients, prototypes, masks, and what no row can spoil."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.train import weighting
from mmjax.train.weighting.modalities.prototypes import PmrState, distances, ratios_to_others

NAMES = ("image", "sound", "text")
CLASSES, WIDTH, ROWS = 3, 4, 6
OPTIONS = {"target": "targets/digit", "classes": CLASSES, "early": 10, "momentum": 0.75}


def made(names=NAMES, **options):
    return weighting.pmr(modalities=names, **{**OPTIONS, **options})


def example(names=NAMES, seed=0, rows=ROWS):
    """Outputs, a batch and a state in which every class has a prototype."""
    rng = np.random.default_rng(seed)
    outputs, prototypes = {}, {}
    for scale, name in enumerate(names, 1):
        outputs[f"encoder/{name}"] = np.float32(scale * rng.normal(size=(rows, WIDTH)))
        outputs[f"encoder/{name}_mask"] = rng.random(rows) < 0.8
        prototypes[name] = np.float32(rng.normal(size=(CLASSES, WIDTH)))
    batch = {
        "targets/digit": rng.integers(CLASSES, size=rows).astype(np.int32),
        "targets/digit_mask": np.arange(rows) != 2,
        "_mask": np.arange(rows) != rows - 1,
    }
    return outputs, batch, PmrState(prototypes, {name: np.ones(CLASSES, bool) for name in names})


def value(pmr, outputs, batch, step, state):
    return pmr.value(*jax.tree.map(jnp.asarray, (outputs, batch, step, state)))


def plain(outputs, batch, step, state, names=NAMES, alpha=1.0, mu=0.01):
    """The loss in float64, row by row, and the prototypes afterwards."""
    scores, pulls, entropies, prototypes = {}, {}, {}, {}
    for name in names:
        found, of_class = [], {c: [] for c in range(CLASSES)}
        for row in range(len(batch["_mask"])):
            label = batch["targets/digit"][row]
            there = batch["_mask"][row] and batch["targets/digit_mask"][row]
            if not (there and outputs[f"encoder/{name}_mask"][row]):
                continue
            z = np.float64(outputs[f"encoder/{name}"][row])
            of_class[label].append(z)
            known = [c for c in range(CLASSES) if state.seen[name][c]]
            if label in known:
                d = np.array([np.linalg.norm(z - state.prototypes[name][c]) for c in known])
                p = np.exp(-d) / np.exp(-d).sum()
                found.append((p[known.index(label)], -(p * np.log(p)).sum()))
        if found:
            scores[name] = np.mean([p for p, _ in found])
            pulls[name] = np.mean([-np.log(p) for p, _ in found])
            entropies[name] = np.mean([h for _, h in found])
        prototypes[name] = np.float64(state.prototypes[name]).copy()
        for c, features in of_class.items():
            if features:
                stays = OPTIONS["momentum"] if state.seen[name][c] else 0.0
                prototypes[name][c] = stays * prototypes[name][c] + (1 - stays) * np.mean(
                    features, axis=0
                )
    loss = 0.0
    for name in scores:
        others = [scores[n] for n in scores if n != name]
        ratio = scores[name] / np.mean(others) if others else 1.0
        loss += alpha * np.clip(1 / ratio - 1, 0, 1) * pulls[name]
        loss -= mu * (step < OPTIONS["early"]) * np.clip(ratio - 1, 0, 1) * entropies[name]
    return loss, prototypes


@pytest.mark.parametrize("step", [0, 10])
@pytest.mark.parametrize("names", [NAMES, NAMES[:2]])
def test_loss_and_prototypes_are_those_of_a_plain_loop(names, step):
    outputs, batch, state = example(names)
    found, after = jax.jit(made(names, mu=0.5).value)(outputs, batch, step, state)
    expected, prototypes = plain(outputs, batch, step, state, names, mu=0.5)
    assert found == pytest.approx(expected, rel=1e-5)
    assert abs(expected) > 0.05
    for name in names:
        np.testing.assert_allclose(after.prototypes[name], prototypes[name], rtol=1e-5, atol=1e-6)


def test_two_modalities_weigh_as_in_the_paper():
    """Scores 1/4 and 3/8 have the ratio 2/3: the first is pulled by 3/2 - 1."""
    ratios = ratios_to_others(jnp.array([0.25, 0.375]), jnp.ones(2, bool))
    np.testing.assert_allclose(ratios, [2 / 3, 3 / 2], rtol=1e-6)
    alone = ratios_to_others(jnp.array([0.25, 0.375]), jnp.array([True, False]))
    np.testing.assert_array_equal(alone, 1.0)


def test_the_first_batch_makes_prototypes_and_has_no_loss():
    outputs, batch, _ = example()
    pmr = made()
    state = pmr.init(outputs)
    loss, after = value(pmr, outputs, batch, 0, state)
    assert float(loss) == 0
    _, prototypes = plain(outputs, batch, 0, state)
    for name in NAMES:
        np.testing.assert_allclose(after.prototypes[name], prototypes[name], rtol=1e-5, atol=1e-6)
        there = batch["_mask"] & batch["targets/digit_mask"] & outputs[f"encoder/{name}_mask"]
        has = np.isin(np.arange(CLASSES), batch["targets/digit"][there])
        np.testing.assert_array_equal(after.seen[name], has)


def test_a_class_without_a_prototype_takes_no_part():
    outputs, batch, state = example()
    seen = {name: np.array([True, True, False]) for name in NAMES}
    state = state._replace(seen=seen)
    found, _ = value(made(), outputs, batch, 0, state)
    assert found == pytest.approx(plain(outputs, batch, 0, state)[0], rel=1e-5)
    spoiled = {name: x.copy() for name, x in state.prototypes.items()}
    for x in spoiled.values():
        x[2] = 1e9
    again, _ = value(made(), outputs, batch, 0, state._replace(prototypes=spoiled))
    assert again == found


def test_what_is_masked_changes_nothing_and_has_no_gradient():
    outputs, batch, state = example()
    names = [f"encoder/{name}" for name in NAMES]
    features = {name: outputs[name] for name in names}

    def loss(features, labels):
        return value(made(), {**outputs, **features}, {**batch, "targets/digit": labels}, 0, state)

    labels = batch["targets/digit"]
    gradients = jax.grad(lambda x: loss(x, labels)[0])(features)
    hidden = ~(batch["_mask"] & batch["targets/digit_mask"])
    other = np.where(hidden, 99, labels)
    changed = {}
    for name in names:
        counts = ~hidden & outputs[f"{name}_mask"]
        np.testing.assert_array_equal(gradients[name][~counts], 0)
        changed[name] = np.where(counts[:, None], features[name], 7.0)
    assert any(np.abs(x).max() > 0 for x in gradients.values())
    assert all(np.isfinite(x).all() for x in gradients.values())
    one, two = loss(features, labels), loss(changed, other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)


def test_only_features_get_a_gradient_and_only_of_what_is_behind():
    """Of two modalities the one that is ahead is left alone once the entropy does not count."""
    outputs, batch, state = example(NAMES[:2])
    outputs["encoder/image"] = state.prototypes["image"][batch["targets/digit"]]  # on the spot
    pmr = made(NAMES[:2])

    def loss(image, sound, prototypes):
        features = {"encoder/image": image, "encoder/sound": sound}
        given = state._replace(prototypes=prototypes)
        return value(pmr, {**outputs, **features}, batch, 99, given)[0]

    given = (outputs["encoder/image"], outputs["encoder/sound"], state.prototypes)
    image, sound = jax.grad(loss, argnums=(0, 1))(*given)
    np.testing.assert_array_equal(image, 0)
    assert np.abs(sound).max() > 0


@pytest.mark.parametrize("lacks", ["rows", "labels", "image"])
def test_a_batch_without_any_is_finite_and_keeps_the_state(lacks):
    outputs, batch, state = example()
    none = np.zeros(ROWS, bool)
    if lacks == "image":
        outputs["encoder/image_mask"] = none
    else:
        batch["_mask" if lacks == "rows" else "targets/digit_mask"] = none
    found, after = value(made(), outputs, batch, 0, state)
    assert found == pytest.approx(plain(outputs, batch, 0, state)[0], rel=1e-5, abs=1e-9)
    np.testing.assert_array_equal(after.prototypes["image"], state.prototypes["image"])


def test_the_order_of_modalities_is_nothing():
    outputs, batch, state = example()
    one, _ = value(made(), outputs, batch, 0, state)
    other, _ = value(made(NAMES[::-1]), outputs, batch, 0, state)
    assert one == pytest.approx(float(other), rel=1e-6)


def test_a_distance_of_zero_has_a_finite_gradient():
    x = jnp.ones((2, WIDTH))
    np.testing.assert_array_equal(jax.grad(lambda x: distances(x, x[:1]).sum())(x), 0)


def test_mistakes_are_one_line():
    with pytest.raises(ValueError, match=r"momentum=1.0: give 0 or more"):
        made(momentum=1.0)
    with pytest.raises(UserError, match="puts out no encoder/sound"):
        made().init({"encoder/image": jnp.zeros((1, WIDTH))})
