"""A critic's scores: whose gradient each of the two is, and what two players come to."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mmjax.encoders.vector.mlp import VectorMlp
from mmjax.losses.generative.adversarial import (
    non_saturating_discriminator,
    non_saturating_generator,
)
from mmjax.models.aligned import AlignedModel
from mmjax.models.critic import Critic, discriminate
from mmjax.models.heads import Projection
from mmjax.types import Input

B, F, E = 6, 5, 4
KEY = jax.random.PRNGKey(0)
MODEL = AlignedModel(
    encoders={name: VectorMlp(8) for name in "ab"},
    projections={name: Projection(E) for name in "ab"},
    critic=Critic(hidden=(12,)),
)


def inputs(mask=None):
    rng = np.random.default_rng(0)
    there = np.ones(B, bool) if mask is None else mask
    masks = jnp.asarray(np.broadcast_to(there[:, None], (B, F)))
    return {name: Input(jnp.asarray(rng.normal(size=(B, F)), jnp.float32), masks) for name in "ab"}


VARIABLES = jax.jit(MODEL.init)(KEY, inputs())


def gradient(output):
    """By part of the model, whether any gradient of the sum of an output reaches it."""
    found = jax.grad(lambda params: MODEL.apply({"params": params}, inputs())[output].sum())
    return {
        part: any((g != 0).any() for g in jax.tree.leaves(tree))
        for part, tree in found(VARIABLES["params"]).items()
    }


def test_both_are_the_critics_score_of_the_embedding():
    outputs = MODEL.apply(VARIABLES, inputs())
    params = {"params": VARIABLES["params"]["critic"]}
    for name in "ab":
        expected = Critic(hidden=(12,)).apply(params, outputs[f"embedding/{name}"])
        for kind in ("critic", "generator_score"):
            np.testing.assert_allclose(outputs[f"{kind}/{name}"], expected, atol=1e-6)


def test_one_trains_the_critic_alone_and_the_other_the_encoder_alone():
    of_critic, of_encoder = gradient("critic/a"), gradient("generator_score/a")
    assert {part for part, there in of_critic.items() if there} == {"critic"}
    assert {part for part, there in of_encoder.items() if there} == {
        "encoders_a",
        "projections_a",
    }


def test_what_is_absent_is_not_judged():
    mask = np.array([True, False, True, True, False, True])
    outputs = MODEL.apply(VARIABLES, inputs(mask))
    for kind in ("critic", "generator_score"):
        np.testing.assert_array_equal(outputs[f"{kind}/a_mask"], mask)


def test_fooling_brings_two_sets_together():
    """Fixed points of one side; the other side's are free and far away at first."""
    real = jax.random.normal(KEY, (64, 2)) + jnp.array([2.0, 0.0])
    start = jax.random.normal(jax.random.PRNGKey(1), (64, 2)) - jnp.array([2.0, 0.0])
    critic = Critic(hidden=())
    params = {"critic": critic.init(KEY, real)["params"], "moved": jnp.zeros(2)}

    def loss(params):
        judged = critic.bind({"params": params["critic"]})
        of_real, _ = discriminate(judged, real)
        of_fake, generator_score = discriminate(judged, start + params["moved"])
        both = non_saturating_discriminator(of_real, of_fake) + non_saturating_generator(
            generator_score
        )
        return both.mean() + 0.05 * sum(jnp.sum(p**2) for p in jax.tree.leaves(params["critic"]))

    optimizer = optax.sgd(0.2)

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for _ in range(500):
        params, state = step(params, state)
    apart = jnp.linalg.norm((start + params["moved"]).mean(0) - real.mean(0))
    assert jnp.linalg.norm(start.mean(0) - real.mean(0)) > 3.5
    assert apart < 0.5
