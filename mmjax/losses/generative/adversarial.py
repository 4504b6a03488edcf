"""Losses of a generator and of its discriminator (critic), for each example's scores.

A discriminator's score is high for what it takes for real. A generator's loss is minimised in the
generator's parameters, a discriminator's in its own, with samples that carry no gradient back.
`real` and `fake` are of one batch: the mean of a row's two terms is the sum of their means.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Scores = Float[Array, " B"]
Number = float | Float[Array, ""]


def non_saturating_generator(fake: Scores) -> Scores:
    """softplus(-fake) = -log sigmoid(fake).

    References:
        Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661
    """
    return jax.nn.softplus(-fake.astype(jnp.float32))


def non_saturating_discriminator(real: Scores, fake: Scores) -> Scores:
    """softplus(-real) + softplus(fake) = -log sigmoid(real) - log(1 - sigmoid(fake)).

    References:
        Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661
    """
    return jax.nn.softplus(-real.astype(jnp.float32)) + jax.nn.softplus(fake.astype(jnp.float32))


def hinge_generator(fake: Scores) -> Scores:
    """-fake.

    References:
        Lim & Ye 2017, https://arxiv.org/abs/1705.02894
    """
    return -fake.astype(jnp.float32)


def hinge_discriminator(real: Scores, fake: Scores) -> Scores:
    """max(0, 1 - real) + max(0, 1 + fake).

    References:
        Lim & Ye 2017, https://arxiv.org/abs/1705.02894
    """
    real, fake = real.astype(jnp.float32), fake.astype(jnp.float32)
    return jax.nn.relu(1 - real) + jax.nn.relu(1 + fake)


def wasserstein_generator(fake: Scores) -> Scores:
    """-fake.

    References:
        Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875
    """
    return -fake.astype(jnp.float32)


def wasserstein_discriminator(real: Scores, fake: Scores) -> Scores:
    """fake - real, for a critic that `gradient_penalty` or its layers keep 1-Lipschitz.

    References:
        Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875
    """
    return fake.astype(jnp.float32) - real.astype(jnp.float32)


def least_squares_generator(fake: Scores) -> Scores:
    """(fake - 1)^2 / 2.

    References:
        Mao et al. 2017, https://arxiv.org/abs/1611.04076 (a = 0, b = c = 1)
    """
    return (fake.astype(jnp.float32) - 1) ** 2 / 2


def least_squares_discriminator(real: Scores, fake: Scores) -> Scores:
    """(real - 1)^2 / 2 + fake^2 / 2.

    References:
        Mao et al. 2017, https://arxiv.org/abs/1611.04076 (a = 0, b = c = 1)
    """
    return ((real.astype(jnp.float32) - 1) ** 2 + fake.astype(jnp.float32) ** 2) / 2


def gradient_penalty(
    critic: Callable[[Float[Array, " B *features"]], Scores],
    real: Float[Array, " B *features"],
    fake: Float[Array, " B *features"],
    epsilon: Scores,
    *,
    target: float = 1.0,
) -> Scores:
    """(||d critic(x) / dx|| - target)^2 at x = epsilon * real + (1 - epsilon) * fake.

    Its gradient reaches the critic's parameters, which `critic` closes over; one whose gradient is
    exactly 0 has a penalty of target^2 and gets no gradient from it.

    Args:
        critic: scores each example by itself (no batch normalisation).
        epsilon: for each row, drawn uniformly from [0, 1].
        target: 1 for the Wasserstein critic; 0 penalises every slope.

    References:
        Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028
    """
    real, fake, epsilon = (x.astype(jnp.float32) for x in (real, fake, epsilon))
    epsilon = epsilon.reshape(-1, *[1] * (real.ndim - 1))
    squares = _squared_slopes(critic, epsilon * real + (1 - epsilon) * fake)
    some = squares > 0  # the square root has an infinite slope at 0
    slopes = jnp.where(some, jnp.sqrt(jnp.where(some, squares, 1)), 0)
    return (slopes - target) ** 2


def r1_penalty(
    critic: Callable[[Float[Array, " B *features"]], Scores], real: Float[Array, " B *features"]
) -> Scores:
    """||d critic(real) / d real||^2 / 2: R1, whose weight is the paper's gamma.

    Args:
        critic: scores each example by itself (no batch normalisation).

    References:
        Mescheder et al. 2018, https://arxiv.org/abs/1801.04406
    """
    return _squared_slopes(critic, real.astype(jnp.float32)) / 2


def _squared_slopes(
    critic: Callable[[Float[Array, " B *features"]], Scores], x: Float[Array, " B *features"]
) -> Scores:
    # The sum's gradient is each row's own, as no score depends on another row.
    gradient = jax.grad(lambda x: jnp.sum(critic(x).astype(jnp.float32)))(x)
    return jnp.sum(gradient.reshape(len(x), -1) ** 2, axis=1)
