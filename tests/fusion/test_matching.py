"""Binding: which fact is asked for? Attention between modalities can tell, means cannot."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmjax.fusion.attention.co_attention import ParallelCoAttentionFusion
from mmjax.fusion.attention.cross_attention import CrossAttentionFusion
from mmjax.fusion.modulation.mmtm import MmtmFusion
from mmjax.fusion.pooling.concat import ConcatFusion
from mmjax.fusion.pooling.multiply import MultiplyFusion
from mmjax.types import Tokens
from tests.fusion.oracle import run


def matching(seed, batch=128, size=4):
    """A question holds a key; two tokens of the other modality hold a key and a sign each.

    The label is the sign at the key of the question. The signs of the two differ, so that their
    mean says nothing about the label.
    """
    random = np.random.default_rng(seed)
    keys = random.normal(size=(batch, 2, size))
    keys = keys / np.linalg.norm(keys, axis=-1, keepdims=True) * 2
    signs = random.permuted(np.tile([-1.0, 1.0], (batch, 1)), axis=1)
    asked = random.integers(2, size=batch)
    question = np.concatenate([keys[np.arange(batch), asked], np.ones((batch, 16 - size))], 1)
    facts = np.concatenate([keys, np.repeat(signs[..., None], 16 - size, axis=2)], 2)
    tokens = {
        "facts": Tokens(jnp.asarray(facts, jnp.float32), jnp.ones((batch, 2), bool)),
        "question": Tokens(jnp.asarray(question, jnp.float32)[:, None], jnp.ones((batch, 1), bool)),
    }
    return tokens, jnp.asarray(signs[np.arange(batch), asked], jnp.float32)


def test_cross_attention_learns_to_find_the_fact_that_is_asked_for():
    module, optimizer = (
        CrossAttentionFusion(16, query="question", layers=1, heads=2, mlp_ratio=2),
        optax.adam(5e-3),
    )
    examples = [matching(seed) for seed in range(20)]
    tokens, labels = jax.tree.map(lambda *x: jnp.stack(x), *examples)

    def logits(params, tokens):
        return module.apply({"params": params["fusion"]}, tokens).pooled @ params["head"]

    @jax.jit
    def train(key):
        fusion = module.init(key, examples[0][0])["params"]
        params = {"fusion": fusion, "head": jnp.ones(16) / 4}

        def step(carry, i):
            params, state = carry
            batch, wanted = jax.tree.map(lambda x: x[i % 20], (tokens, labels))

            def loss(params):
                return jax.nn.softplus(-logits(params, batch) * wanted).mean()

            updates, state = optimizer.update(jax.grad(loss)(params), state)
            return (optax.apply_updates(params, updates), state), None

        (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(800))
        unseen, wanted = matching(99)
        return (logits(params, unseen) * wanted > 0).mean()

    assert train(jax.random.key(0)) > 0.9


def test_co_attention_can_find_the_fact_that_is_asked_for():
    """By hand: the affinity is that of the keys, and the facts' scores are their affinities."""
    tokens, labels = matching(0)
    module = ParallelCoAttentionFusion(16, hidden=1)
    shapes = jax.eval_shape(module.init, jax.random.key(0), tokens)["params"]
    params = jax.tree.map(lambda p: jnp.zeros(p.shape), shapes)
    same = jnp.diag(jnp.where(jnp.arange(16) < 4, 0.2, 0))
    params["affinity_facts-question"]["kernel"] = same
    params["hidden_question"]["kernel"] = jnp.zeros((16, 1)).at[4].set(1)
    params["score_facts"]["kernel"] = jnp.full((1, 1), 1e3)
    fused = jax.jit(module.apply)({"params": params}, tokens)
    found = fused.tokens.x[:, 0, 4]
    assert (np.sign(found) == labels).mean() > 0.98


@pytest.mark.parametrize(
    "module", [ConcatFusion(16), MultiplyFusion(16), MmtmFusion(16)], ids=lambda m: type(m).__name__
)
def test_fusions_of_means_cannot_tell_which_fact_is_asked_for(module):
    """With the signs exchanged every label is another, and the fused vector the same."""
    tokens, _ = matching(0)
    facts = tokens["facts"].x
    exchanged = jnp.concatenate([facts[..., :4], facts[:, ::-1, 4:]], axis=2)
    assert np.abs(exchanged - facts).max() == 2
    other = tokens | {"facts": Tokens(exchanged, tokens["facts"].mask)}
    fused, params = run(module, tokens)
    again = jax.jit(module.apply)({"params": params}, other)
    np.testing.assert_allclose(again.pooled, fused.pooled, atol=1e-5)
