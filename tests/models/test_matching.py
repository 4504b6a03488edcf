"""Matching: whose pair is scored, which negatives are compared, and what is absent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mmjax.encoders.text.bag_of_words import BagOfWords
from mmjax.encoders.vector.mlp import VectorMlp
from mmjax.fusion.attention.transformer import TransformerFusion
from mmjax.fusion.pooling.concat import ConcatFusion
from mmjax.losses.targets.binary import image_text_matching
from mmjax.models.aligned import AlignedModel
from mmjax.models.heads import Projection
from mmjax.models.matching import Matcher, match_pairs
from mmjax.types import Input, Tokens

B, L, F, E = 8, 4, 5, 6
KEY = jax.random.PRNGKey(7)


def make(*names, fusion=TransformerFusion):
    encoders = {name: VectorMlp(16) for name in names} | {
        name: BagOfWords(16, vocabulary_size=30) for name in names if name == "text"
    }
    return AlignedModel(
        encoders=encoders,
        projections={name: Projection(E) for name in names},
        matcher=Matcher(fusion=fusion(width=16)),
    )


def inputs(*names, rows=B, absent=(), seed=0):
    """Random inputs; `absent` are (name, row)."""
    rng = np.random.default_rng(seed)
    made = {}
    for name in names:
        shape, there = (rows, L if name == "text" else F), np.ones(rows, bool)
        there[[row for other, row in absent if other == name]] = False
        draw = rng.integers(30, size=shape) if name == "text" else rng.normal(size=shape)
        value = jnp.asarray(draw, jnp.int32 if name == "text" else jnp.float32)
        mask = jnp.asarray(np.broadcast_to(there[:, None], shape))
        made[name] = Input(value, mask)
    return made


MODEL = make("text", "vector")


@pytest.fixture(scope="module")
def variables():
    return jax.jit(MODEL.init)(KEY, inputs("text", "vector"))


@jax.jit
def training(variables, given):
    return MODEL.apply(variables, given, deterministic=False, rngs={"sample": KEY})


@jax.jit
def evaluation(variables, given):
    return MODEL.apply(variables, given)


def both_rows(tokens, **_):
    """A matcher whose logit says which rows it was shown: 100 * of the one + of the other."""
    return 100 * tokens["a"].x[:, 0, 0] + tokens["b"].x[:, 0, 0]


def numbered(rows, mask=None):
    there = jnp.ones((rows, 1), bool) if mask is None else mask[:, None]
    return Tokens(jnp.arange(rows, dtype=jnp.float32).reshape(rows, 1, 1), there)


def matched(similar, *, key=None, contents=None, masks=(None, None)):
    """What is compared with what, if b's embedding of row j has `similar[i, j]` with a's row i."""
    rows = len(similar)
    return match_pairs(
        both_rows,
        {"a": numbered(rows, masks[0]), "b": numbered(rows, masks[1])},
        {"a": jnp.asarray(similar), "b": jnp.eye(rows)},
        contents or {"a": None, "b": None},
        temperature=jnp.float32(0.5),
        key=key,
        deterministic=key is None,
    )


def shown(outputs):
    """The rows of a and of b in each pair [B P]."""
    return np.stack(divmod(np.asarray(outputs["matching/scores"]).astype(int), 100), axis=-1)


SIMILAR = np.float32([[9, 3, 1, 2], [4, 9, 2, 1], [1, 7, 9, 6], [5, 1, 2, 9]])


def test_each_row_meets_its_own_and_the_hardest_of_either_modality():
    outputs = matched(SIMILAR)
    expected = [
        [(i, i), (i, b), (a, i)] for i, b, a in ((0, 1, 3), (1, 0, 2), (2, 1, 1), (3, 0, 2))
    ]
    np.testing.assert_array_equal(shown(outputs), expected)
    np.testing.assert_array_equal(outputs["matching/targets"], [[True, False, False]] * 4)
    np.testing.assert_array_equal(outputs["match/a-b"], [0, 101, 202, 303])
    for name in ("matching/pairs", "match/a-b_mask", "matching/scores_mask"):
        assert outputs[name].all()


def test_negatives_are_drawn_by_their_similarity():
    def drawn(key):
        scores = matched(SIMILAR, key=key)["matching/scores"]
        return scores.astype(int) % 100, scores.astype(int) // 100

    columns, rows = jax.vmap(drawn)(jax.random.split(KEY, 4000))
    scaled = SIMILAR.astype(np.float64) / 0.5
    np.fill_diagonal(scaled, -np.inf)
    for found, logits in ((columns[:, :, 1], scaled), (rows[:, :, 2], scaled.T)):
        share = np.asarray(jax.nn.one_hot(found, 4).mean(0))
        expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        np.testing.assert_allclose(share, expected, atol=0.03)


@pytest.mark.parametrize("key", [None, KEY])
def test_rows_of_the_same_content_are_never_negatives(key):
    contents = {"a": jnp.array([5, 5, 6, 7]), "b": jnp.array([1, 2, 1, 3])}
    outputs = matched(SIMILAR, key=key, contents=contents)
    same = np.eye(4, dtype=bool)
    same[0, 1] = same[1, 0] = same[0, 2] = same[2, 0] = True
    for i, pairs in enumerate(shown(outputs)):
        for (a, b), right in zip(pairs, outputs["matching/targets"][i], strict=True):
            assert i in (a, b)
            assert right == same[a, b]


def test_the_model_knows_what_is_shared_by_its_number_and_by_its_row(variables):
    given = inputs("text", "vector")
    assert not evaluation(variables, given)["matching/targets"][:, 1:].any()
    same = jnp.zeros(B, jnp.int32)
    numbered = given | {"text": given["text"]._replace(id=same)}
    assert evaluation(variables, numbered)["matching/targets"].all()
    value, mask = given["vector"].value[:1], given["vector"].mask[:1]
    shared = given | {"vector": Input(value, mask, same)}
    assert evaluation(variables, shared)["matching/targets"].all()


def test_without_a_negative_the_own_pair_is_a_match_again():
    for outputs in (
        matched(SIMILAR, contents={"a": jnp.zeros(4, int), "b": None}),
        matched(np.ones((1, 1), np.float32), key=KEY),
    ):
        own = np.asarray(outputs["match/a-b"])[:, None]
        np.testing.assert_array_equal(outputs["matching/scores"], np.tile(own, 3))
        assert outputs["matching/targets"].all()


def test_what_lacks_one_of_the_two_is_no_pair_and_nobodys_negative():
    there = jnp.array([True, True, False, True]), jnp.array([True, False, True, True])
    outputs = matched(SIMILAR, masks=there)
    both = np.array([True, False, False, True])
    np.testing.assert_array_equal(outputs["match/a-b_mask"], both)
    np.testing.assert_array_equal(outputs["matching/pairs"], np.tile(both[:, None], 3))
    for i in np.flatnonzero(both):
        assert set(shown(outputs)[i].ravel()) <= {0, 3}


def test_the_own_score_depends_on_the_own_row_only(variables):
    given = inputs("text", "vector")
    outputs = evaluation(variables, given)
    two = jax.tree.map(lambda x: x[jnp.array([2, 5])], given)
    np.testing.assert_allclose(
        evaluation(variables, two)["match/text-vector"],
        outputs["match/text-vector"][jnp.array([2, 5])],
        atol=1e-6,
    )
    np.testing.assert_array_equal(
        training(variables, given)["match/text-vector"],
        training(variables, given)["matching/scores"][:, 0],
    )


def test_what_is_masked_changes_no_bit_and_gets_no_gradient(variables):
    absent = [("text", 1), ("vector", 3)]
    given = inputs("text", "vector", absent=absent)

    def loss(vector, text):
        values = {"text": given["text"]._replace(value=text)}
        values["vector"] = given["vector"]._replace(value=vector)
        o = training(variables, values)
        parts = (o["matching/scores"], o["matching/targets"])
        value = image_text_matching(*parts, pairs=o["matching/pairs"])
        return jnp.where(o["matching/scores_mask"], value, 0).sum()

    vector, text = given["vector"].value, given["text"].value
    value, gradient = jax.value_and_grad(loss)(vector, text)
    other = jax.value_and_grad(loss)(vector.at[3].set(1e9), text.at[1].set(7))
    assert value == other[0]
    assert value > 0
    np.testing.assert_array_equal(gradient, other[1])
    assert (gradient[3] == 0).all()
    assert (gradient[1] == 0).all()  # its text is absent: it has no pair
    assert (gradient[jnp.array([0, 2])] != 0).any()


def test_nothing_there_is_finite(variables):
    absent = [(name, row) for name in ("text", "vector") for row in range(B)]
    outputs = training(variables, inputs("text", "vector", absent=absent))
    assert not outputs["matching/pairs"].any()
    assert np.isfinite(outputs["matching/scores"]).all()


@pytest.mark.parametrize("fusion", [TransformerFusion, ConcatFusion])
def test_three_modalities_have_three_kinds_of_pairs(fusion):
    names = ("text", "u", "v")
    model = make(*names, fusion=fusion)
    given = inputs(*names)
    variables = jax.jit(model.init)(KEY, given)
    apply = jax.jit(lambda given: model.apply(variables, given))
    outputs = apply(given)
    assert outputs["matching/scores"].shape == (B, 9)
    changed = apply(given | {"v": inputs(*names, seed=3)["v"]})
    for pair in ("text-u", "text-v", "u-v"):
        same = np.array_equal(outputs[f"match/{pair}"], changed[f"match/{pair}"])
        assert same == ("v" not in pair), pair  # the third takes no part
    assert not any(name.startswith("match") for name in apply({"u": given["u"]}))


def test_bfloat16_is_near(variables):
    given = inputs("text", "vector")
    low = MODEL.clone(
        encoders={
            "text": BagOfWords(16, vocabulary_size=30, dtype=jnp.bfloat16),
            "vector": VectorMlp(16, dtype=jnp.bfloat16),
        },
        matcher=Matcher(TransformerFusion(width=16, dtype=jnp.bfloat16), jnp.bfloat16),
    )
    found = jax.jit(low.apply)(variables, given)["match/text-vector"]
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, evaluation(variables, given)["match/text-vector"], atol=0.1)
    assert (found != evaluation(variables, given)["match/text-vector"]).any()


def test_eight_devices_match_what_one_matches(variables):
    given = inputs("text", "vector", rows=16)
    rows = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))
    one, eight = training(variables, given), training(variables, jax.device_put(given, rows))
    for name in ("matching/scores", "matching/targets", "match/text-vector"):
        np.testing.assert_allclose(one[name], eight[name], atol=1e-5)
