"""Attention over modalities, graphs and relations against plain numpy, one example at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.fusion.attention.attention_pool import AttentionPoolFusion
from mmjax.fusion.relational.graph import GraphAttention, GraphAttentionFusion
from mmjax.fusion.relational.relation import RelationFusion
from mmjax.types import Tokens
from tests.fusion.oracle import MASKS, means, run, tokens

NAMES = ("image", "text")


def dense(x, params):
    return x @ np.asarray(params["kernel"]) + np.asarray(params.get("bias", 0))


def softmax(scores):
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attend(x, params, level="top"):
    """Additive attention over the vectors x [n D]."""
    keys = np.tanh(dense(x, params[f"{level}_keys"]))
    return softmax(dense(keys, params[f"{level}_scores"])[:, 0])


def test_attention_pool_is_attention_over_tokens_then_over_present_modalities():
    inputs = tokens(width=6, text_width=4)
    fused, params = run(AttentionPoolFusion(5), inputs)
    for row in range(4):
        vectors = []
        for place, name in enumerate(NAMES):
            real = MASKS[name][row]
            assert fused.tokens.mask[row, place] == real.any()
            weights = np.asarray(fused.extras[f"tokens_{name}"][row])
            np.testing.assert_array_equal(weights[~real], 0)
            if not real.any():
                continue
            x = np.asarray(inputs[name].x)[row][real]
            shares = attend(x, params[f"pool_{name}"])
            np.testing.assert_allclose(weights[real], shares, atol=1e-5)
            vectors.append(dense(shares @ x, params[f"project_{name}"]))
            np.testing.assert_allclose(fused.tokens.x[row, place], vectors[-1], atol=1e-5)
        if not vectors:
            np.testing.assert_array_equal(fused.pooled[row], 0)
            continue
        shares = attend(np.stack(vectors), params["pool"])
        present = np.asarray(fused.tokens.mask[row])
        np.testing.assert_allclose(fused.extras["modalities"][row][present], shares, atol=1e-5)
        np.testing.assert_allclose(fused.pooled[row], shares @ np.stack(vectors), atol=1e-5)


def naive_graph_attention(nodes, params, heads, score):
    """One layer, written for each head and each pair of nodes. Returns nodes and weights."""
    width = params["bias"].shape[0]
    size = width // heads
    values = dense(nodes, params["project"])
    own = dense(nodes, params["project_own"]) if score == "gatv2" else None
    outputs, all_weights = [], []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        t = np.asarray(params["target"][head])
        e = np.zeros((len(nodes), len(nodes)))
        for i in range(len(nodes)):
            for j in range(len(nodes)):
                if score == "gatv2":
                    pair = own[i, part] + values[j, part]
                    e[i, j] = t @ np.where(pair > 0, pair, 0.2 * pair)
                else:
                    s = np.asarray(params["source"][head])
                    e[i, j] = s @ values[i, part] + t @ values[j, part]
                    e[i, j] *= 1 if e[i, j] > 0 else 0.2
        weights = softmax(e)
        outputs.append(weights @ values[:, part])
        all_weights.append(weights)
    return np.concatenate(outputs, axis=1) + np.asarray(params["bias"]), np.stack(all_weights)


@pytest.mark.parametrize("score", ["gat", "gatv2"])
def test_graph_equals_loops_over_pairs_of_present_nodes(score):
    inputs = tokens(width=6, text_width=4)
    fused, params = run(GraphAttentionFusion(8, layers=2, heads=2, score=score), inputs)
    for row in range(4):
        present = means(inputs, row)
        real = np.array([name in present for name in NAMES])
        np.testing.assert_array_equal(fused.tokens.mask[row], real)
        attention = np.asarray(fused.extras["attention"][row])
        np.testing.assert_array_equal(attention[:, :, ~(real[:, None] & real)], 0)
        if not present:
            np.testing.assert_array_equal(fused.pooled[row], 0)
            continue
        nodes = np.stack([dense(x, params[f"project_{name}"]) for name, x in present.items()])
        for layer in range(2):
            if layer:
                nodes = np.where(nodes > 0, nodes, np.expm1(nodes))
            layer_params = params[f"attention_{layer}"]
            nodes, weights = naive_graph_attention(nodes, layer_params, 2, score)
            seen = attention[layer][:, real][:, :, real]
            np.testing.assert_allclose(seen, weights, atol=1e-5)
        np.testing.assert_allclose(np.asarray(fused.tokens.x[row])[real], nodes, atol=1e-5)
        np.testing.assert_allclose(fused.pooled[row], nodes.mean(0), atol=1e-5)


@pytest.mark.parametrize(("score", "rankings"), [("gat", {1}), ("gatv2", {2, 3, 4, 5})])
def test_only_gatv2_lets_nodes_prefer_different_neighbours(score, rankings):
    """Brody et al. 2022: in "gat" the order of the neighbours is the same for every node."""
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(1, 5, 6)), jnp.float32)
    module = GraphAttention(8, score=score)
    mask = jnp.ones((1, 5), bool)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x, mask)
    variables = jax.tree.map(lambda p: jnp.asarray(random.normal(size=p.shape)), shapes)
    _, weights = module.apply(variables, x, mask)
    orders = {tuple(order) for order in np.argsort(weights[0, 0], axis=1)}
    assert len(orders) in rankings


def test_mistakes_are_told_in_one_line():
    for module, message in [
        (GraphAttentionFusion(6), "attention_0: width 6 does not split into 4 heads"),
        (GraphAttentionFusion(8, score="gin"), "unknown score 'gin': choose one of gat, gatv2"),
        (RelationFusion(6, level="word"), "unknown level 'word': choose one of modality, token"),
        (RelationFusion(6, reduction="max"), "unknown reduction 'max': choose one of mean, sum"),
        (AttentionPoolFusion(6, pooling="max"), "unknown pooling 'max': choose one of gumbel"),
    ]:
        with pytest.raises(UserError, match=message):
            jax.eval_shape(module.init, jax.random.key(0), tokens())


def relu(x):
    return np.maximum(x, 0)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("level", ["token", "modality"])
def test_relation_equals_loops_over_concatenated_pairs(level, reduction):
    inputs = tokens(width=6, text_width=4)
    fused, params = run(RelationFusion(5, level, reduction), inputs)
    one, other = np.split(np.asarray(params["pair_0"]["kernel"]), 2, axis=1)
    first = {"kernel": np.concatenate([one, other]), "bias": params["pair_0_bias"]}
    reduce = {"mean": np.mean, "sum": np.sum}[reduction]
    for row in range(4):
        objects = []
        for name, mean in means(inputs, row).items():
            real = MASKS[name][row]
            x = mean[None] if level == "modality" else np.asarray(inputs[name].x)[row][real]
            x = dense(x, params[f"project_{name}"])
            if level == "token":
                x = x + np.asarray(params[f"positions_{name}"]["embedding"])[real]
                x = x + np.asarray(params[f"modality_{name}"])
            objects.extend(x)
        relations = []
        for i in objects:
            pairs = [relu(dense(np.concatenate([i, j]), first)) for j in objects]
            relations.append(reduce([relu(dense(p, params["pair_1"])) for p in pairs], axis=0))
        joint = reduce(relations, axis=0) if relations else np.zeros(5)
        expected = dense(relu(dense(joint, params["output_0"])), params["output_1"])
        np.testing.assert_allclose(fused.pooled[row], expected, rtol=1e-4, atol=1e-5)
        real = np.asarray(fused.tokens.mask[row])
        assert real.sum() == len(objects)
        if relations:
            np.testing.assert_allclose(fused.tokens.x[row][real], relations, rtol=1e-4, atol=1e-5)


def test_relation_can_add_up_the_distances_between_all_objects():
    """g = relu([o_i - o_j; o_j - o_i]), f = their sum: zero exactly if all objects are the same."""
    random = np.random.default_rng(3)
    content = {"image": random.normal(size=(4, 3, 2)), "text": random.normal(size=(4, 2, 2))}
    for name in NAMES:
        content[name][3] = 0.7  # all the same
    masks = {name: np.ones(x.shape[:2], bool) for name, x in content.items()}
    masks["image"][1, 1:] = False
    inputs = {n: Tokens(jnp.asarray(content[n], jnp.float32), jnp.asarray(masks[n])) for n in NAMES}
    module = RelationFusion(2, reduction="sum", pair_layers=1, output_layers=1)
    _, params = run(module, inputs)
    params = jax.tree.map(jnp.zeros_like, params)
    params["pair_0"]["kernel"] = jnp.asarray([[1.0, -1, -1, 1], [0, 0, 0, 0]])
    params["output_0"]["kernel"] = jnp.ones((2, 2))
    pooled = module.apply({"params": params}, inputs).pooled
    for row in range(4):
        values = np.concatenate([content[n][row][masks[n][row]][:, 0] for n in NAMES])
        expected = np.abs(values[:, None] - values).sum()
        np.testing.assert_allclose(pooled[row], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(pooled[3], 0)


@pytest.mark.parametrize(("activation", "interacts"), [("identity", False), ("relu", True)])
def test_relation_is_no_sum_of_what_each_modality_says_alone(activation, interacts):
    """f(1, 1) - f(1, -1) - f(-1, 1) + f(-1, -1), which is zero for a sum over modalities."""
    signs = {"image": np.array([1, 1, -1, -1]), "text": np.array([1, -1, 1, -1])}
    vector = np.random.default_rng(0).normal(size=6)
    inputs = {
        n: Tokens(jnp.asarray(s[:, None, None] * vector, jnp.float32), jnp.ones((4, 1), bool))
        for n, s in signs.items()
    }
    module = RelationFusion(6, output_layers=1, activation=activation)
    fused, _ = run(module, inputs)
    interaction = np.abs(fused.pooled[0] - fused.pooled[1] - fused.pooled[2] + fused.pooled[3])
    assert (interaction.max() > 1e-3) == interacts


def test_relation_does_not_see_the_order_of_tokens_without_positions():
    inputs = tokens(6)
    module = RelationFusion(6)
    fused, params = run(module, inputs)
    positions = {n: p for n, p in params.items() if n.startswith("positions")}
    without = params | jax.tree.map(jnp.zeros_like, positions)
    x, mask = inputs["text"]
    permuted = inputs | {"text": Tokens(x[:, ::-1], mask[:, ::-1])}
    apply = jax.jit(module.apply)
    one, other = (apply({"params": without}, given).pooled for given in (inputs, permuted))
    np.testing.assert_allclose(one, other, atol=1e-5)
    assert not np.allclose(apply({"params": params}, permuted).pooled, fused.pooled, atol=1e-4)


def test_relation_multiplies_no_concatenated_pairs():
    """The first layer of g costs a product for each object, not for each pair of objects."""
    module = RelationFusion(16, pair_layers=1)
    given = {"image": Tokens(jnp.zeros((1, 32, 16)), jnp.ones((1, 32), bool))}
    variables = jax.eval_shape(module.init, jax.random.key(0), given)
    flops = jax.jit(module.apply).lower(variables, given).cost_analysis()["flops"]
    concatenated = 2 * 32 * 32 * 32 * 16
    assert flops < concatenated / 4
