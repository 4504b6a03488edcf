"""Adversarial losses against loops, and penalties of critics whose slope is known."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from mmjax.losses.generative import adversarial
from tests.losses import contract
from tests.losses.contract import normal

WIDTH = 4
RNG = np.random.default_rng(7)
KERNEL, READOUT = RNG.normal(size=(WIDTH, 3)), RNG.normal(size=3)


def draw(*shapes):
    return lambda rng, rows: tuple(rng.normal(size=(rows, *shape)) for shape in shapes)


def rowwise(function):
    """A loop over rows of numbers."""

    def losses(*inputs, mask):
        rows = zip(*inputs, mask, strict=True)
        return np.array([function(*row) if keep else 0.0 for *row, keep in rows])

    return losses


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def critic(x):
    return jnp.tanh(x @ jnp.asarray(KERNEL, x.dtype)) @ jnp.asarray(READOUT, x.dtype)


def slope(x):
    """The gradient of `critic` by its formula."""
    return KERNEL @ (READOUT * (1 - np.tanh(x @ KERNEL) ** 2))


def naive_gradient_penalty(real, fake, share):
    return (math.sqrt(sum(slope(share * real + (1 - share) * fake) ** 2)) - 1) ** 2


def penalise(real, fake, share):
    return adversarial.gradient_penalty(critic, real, fake, share)


def penalise_real(real):
    return adversarial.r1_penalty(critic, real)


def draw_penalty(rng, rows):
    return *draw((WIDTH,), (WIDTH,))(rng, rows), rng.uniform(size=rows)


LOOPS = {
    "non_saturating_generator": lambda fake: -math.log(sigmoid(fake)),
    "non_saturating_discriminator": lambda real, fake: (
        -math.log(sigmoid(real)) - math.log(1 - sigmoid(fake))
    ),
    "hinge_generator": lambda fake: -fake,
    "hinge_discriminator": lambda real, fake: max(0, 1 - real) + max(0, 1 + fake),
    "wasserstein_generator": lambda fake: -fake,
    "wasserstein_discriminator": lambda real, fake: fake - real,
    "least_squares_generator": lambda fake: (fake - 1) ** 2 / 2,
    "least_squares_discriminator": lambda real, fake: (real - 1) ** 2 / 2 + fake**2 / 2,
}
CASES = {
    name: contract.Case(
        getattr(adversarial, name),
        draw(*[()] * loop.__code__.co_argcount),
        rowwise(loop),
        mixes=False,
    )
    for name, loop in LOOPS.items()
} | {
    "gradient_penalty": contract.Case(
        penalise, draw_penalty, rowwise(naive_gradient_penalty), mixes=False
    ),
    "r1_penalty": contract.Case(
        penalise_real,
        draw((WIDTH,)),
        rowwise(lambda real: sum(slope(real) ** 2) / 2),
        mixes=False,
    ),
}


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


@pytest.mark.parametrize("name", ["non_saturating", "hinge", "wasserstein", "least_squares"])
def test_the_two_sides_pull_apart(name):
    """A generator raises its score; a discriminator raises real ones and lowers fake ones."""
    generator = getattr(adversarial, f"{name}_generator")
    discriminator = getattr(adversarial, f"{name}_discriminator")
    real, fake = jnp.zeros(1), jnp.full(1, 0.5)
    assert jax.grad(lambda fake: generator(fake)[0])(fake) < 0
    of_real, of_fake = jax.grad(lambda *x: discriminator(*x)[0], (0, 1))(real, fake)
    assert of_real < 0
    assert of_fake > 0


def test_of_a_discriminator_that_does_not_know():
    zero = jnp.zeros(2)
    got = adversarial.non_saturating_discriminator(zero, zero)
    np.testing.assert_allclose(got, 2 * math.log(2), rtol=1e-6)
    np.testing.assert_array_equal(adversarial.hinge_discriminator(zero, zero), 2)


@pytest.mark.parametrize("target", [1.0, 0.0])
def test_penalties_of_a_linear_critic(target):
    kernel = normal(2, 3, 1)
    linear = lambda x: jnp.einsum("bhwc,hwc->b", x, kernel) + 5.0  # noqa: E731
    real, fake = normal(4, 2, 3, 1, seed=1), normal(4, 2, 3, 1, seed=2)
    share = jnp.linspace(0, 1, 4)
    length = jnp.linalg.norm(kernel.ravel())
    got = adversarial.gradient_penalty(linear, real, fake, share, target=target)
    np.testing.assert_allclose(got, (length - target) ** 2, rtol=1e-5)
    np.testing.assert_allclose(adversarial.r1_penalty(linear, real), length**2 / 2, rtol=1e-5)


def test_the_penalty_has_a_gradient_for_the_critic():
    real, fake, share = normal(5, WIDTH), normal(5, WIDTH, seed=1), jnp.linspace(0, 1, 5)

    def of_kernel(kernel):
        network = lambda x: jnp.tanh(x @ jnp.asarray(kernel)) @ jnp.asarray(READOUT, jnp.float32)  # noqa: E731
        return adversarial.gradient_penalty(network, real, fake, share) + adversarial.r1_penalty(
            network, real
        )

    check_grads(of_kernel, (jnp.asarray(KERNEL, jnp.float32),), order=1, modes=["rev"], rtol=0.02)


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e-30])
def test_a_flat_critic_has_a_finite_gradient(scale):
    def of_kernel(kernel):
        flat = lambda x: jnp.sum(jax.nn.relu(x @ kernel), axis=1)  # noqa: E731
        ones = jnp.ones((3, WIDTH))
        return adversarial.gradient_penalty(flat, ones, ones, jnp.zeros(3)).sum()

    value, gradient = jax.value_and_grad(of_kernel)(scale * jnp.ones((WIDTH, 3)))
    np.testing.assert_allclose(value, 3.0, rtol=1e-6)
    assert np.isfinite(gradient).all()


def test_bfloat16_critics_have_float32_penalties():
    low = lambda x: critic(x.astype(jnp.bfloat16))  # noqa: E731
    real = normal(4, WIDTH)
    got = adversarial.gradient_penalty(low, real, real, jnp.zeros(4))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, penalise(real, real, jnp.zeros(4)), atol=0.1)
