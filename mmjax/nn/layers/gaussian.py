"""Gaussians with a diagonal covariance: products, mixtures, samples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Gaussian(NamedTuple):
    """Means and log variances; zeros are the standard normal distribution."""

    mean: Float[Array, "*rows D"]
    log_variance: Float[Array, "*rows D"]


def product_of_experts(
    experts: Gaussian, members: Bool[Array, "B K M"], *, prior: bool
) -> Gaussian:
    """K normalised products of some of M Gaussians [B M D].

    precision = [1 +] sum_m 1/variance_m;  mean = sum_m mean_m/variance_m / precision.

    Args:
        experts: mean and log variance, each [B M D], finite also where in no product.
        members: which experts are in each product.
        prior: whether the standard normal is a member too (the 1). A product without any member
            is the standard normal in both cases.

    Returns:
        mean and log variance of the products, each [B K D].
    """
    shape = (*members.shape, experts.mean.shape[-1])
    precisions = jnp.broadcast_to(-experts.log_variance[:, None], shape)
    precisions = jnp.concatenate([precisions, jnp.zeros_like(precisions[:, :, :1])], axis=2)
    with_prior = ~jnp.any(members, axis=2, keepdims=True) | prior
    allowed = jnp.concatenate([members, with_prior], axis=2)[..., None]
    # A softmax of log precisions: no variance is too small or too large for it.
    precisions = jnp.where(allowed, precisions, jnp.finfo(jnp.float32).min)
    shares = jax.nn.softmax(precisions, axis=2)[:, :, :-1]
    mean = jnp.sum(shares * experts.mean[:, None], axis=2)
    return Gaussian(mean, -jax.nn.logsumexp(precisions, axis=2))


def mixture_moments(components: Gaussian, weights: Float[Array, "B K"]) -> Gaussian:
    """The Gaussian [B D] with the mean and the variance of a mixture of K [B K D].

    variance = sum_k w_k (variance_k + (mean_k - mean)^2).
    """
    weights = weights[..., None]
    mean = jnp.sum(weights * components.mean, axis=1)
    spread = (components.mean - mean[:, None]) ** 2
    variance = jnp.sum(weights * (jnp.exp(components.log_variance) + spread), axis=1)
    return Gaussian(mean, jnp.log(jnp.maximum(variance, jnp.finfo(jnp.float32).tiny)))


def sample(key: jax.Array, gaussian: Gaussian) -> Float[Array, "*rows D"]:
    """mean + deviation * noise: gradients reach the mean and the log variance."""
    noise = jax.random.normal(key, gaussian.mean.shape, gaussian.mean.dtype)
    return gaussian.mean + jnp.exp(0.5 * gaussian.log_variance) * noise


def sample_mixture(
    key: jax.Array, components: Gaussian, weights: Float[Array, "B K"]
) -> Float[Array, "B D"]:
    """A sample of one component [B K D], drawn with the probability of its weight.

    Gradients reach the component that was drawn.
    """
    choice, noise = jax.random.split(key)
    index = jax.random.categorical(choice, jnp.log(weights))[:, None, None]
    drawn = [jnp.take_along_axis(x, index, axis=1)[:, 0] for x in components]
    return sample(noise, Gaussian(*drawn))
