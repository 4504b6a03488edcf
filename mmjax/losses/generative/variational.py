"""Losses of latent variables: divergences of diagonal Gaussians, in nats, and the ELBO.

Exponentials of more than 30 (a variance, or a ratio of variances, over 1e13) go on as their
tangent: value and gradient are finite for every log variance, and exact below.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.losses.alignment.information import LARGEST, exponential

Latent = Float[Array, "B D"]
Components = Float[Array, "B K D"]
Number = float | Float[Array, ""]


def kl_standard_normal(
    mean: Latent, log_variance: Latent, *, free_bits: Number = 0.0
) -> Float[Array, " B"]:
    """sum_d max(free_bits, KL(N(mean_d, variance_d) || N(0, 1))).

    KL(N(m, v) || N(0, 1)) = (v + m^2 - 1 - log v) / 2.

    Args:
        mean, log_variance: of a Gaussian with a diagonal covariance.
        free_bits: nats for each latent dimension (the paper's lambda, in groups of one dimension
            and one example) that cost nothing more: the loss has no gradient below them.

    References:
        Kingma & Welling 2014, https://arxiv.org/abs/1312.6114;
        Kingma et al. 2016, https://arxiv.org/abs/1606.04934 (free bits)
    """
    return jnp.sum(jnp.maximum(_kl_standard_normal(mean, log_variance), free_bits), axis=-1)


def kl_gaussians(
    mean: Latent, log_variance: Latent, other_mean: Latent, other_log_variance: Latent
) -> Float[Array, " B"]:
    """KL(p || q) = sum_d [v_p / v_q + (m_p - m_q)^2 / v_q - 1 - log(v_p / v_q)] / 2.

    Args:
        mean, log_variance: of p, a Gaussian with a diagonal covariance.
        other_mean, other_log_variance: of q, such as a learned prior or another modality's.

    References:
        Kullback & Leibler 1951, https://doi.org/10.1214/aoms/1177729694
    """
    mean, log_variance, other_mean, other_log_variance = (
        x.astype(jnp.float32) for x in (mean, log_variance, other_mean, other_log_variance)
    )
    apart = (mean - other_mean) ** 2 * exponential(-other_log_variance)
    return jnp.sum(apart + _exponential_excess(log_variance - other_log_variance), axis=-1) / 2


def elbo(
    reconstruction_nll: Float[Array, " B"],
    mean: Latent,
    log_variance: Latent,
    *,
    beta: Number = 1.0,
    free_bits: Number = 0.0,
) -> Float[Array, " B"]:
    """reconstruction_nll + beta KL(N(mean, variance) || N(0, 1)): the negative ELBO.

    Args:
        reconstruction_nll: minus the log likelihood of an example given a sample of its latent
            vector, summed over all that is reconstructed. A mean over pixels is another beta.
        mean, log_variance: of the posterior.
        beta: 1 is the bound; more is beta-VAE's; a ramp from 0 is the usual warm-up.
        free_bits: as of `kl_standard_normal`.

    References:
        Kingma & Welling 2014, https://arxiv.org/abs/1312.6114;
        Higgins et al. 2017, https://openreview.net/forum?id=Sy2fzU9gl (beta)
    """
    divergence = kl_standard_normal(mean, log_variance, free_bits=free_bits)
    return reconstruction_nll.astype(jnp.float32) + beta * divergence


def kl_mixture(
    component_mean: Components,
    component_log_variance: Components,
    component_weight: Float[Array, "B K"],
) -> Float[Array, " B"]:
    """sum_k w_k KL(component_k || N(0, 1)), at least the KL of the mixture itself.

    The term of MMVAE and MoPoE for what `mmjax.fusion.pooling.variational` has in `extras`.

    Args:
        component_mean, component_log_variance: of K Gaussians with diagonal covariances.
        component_weight: their weights. One of weight 0 contributes nothing, NaN though it may be.

    References:
        Shi et al. 2019, https://arxiv.org/abs/1911.03393;
        Sutter et al. 2021, https://arxiv.org/abs/2105.02470
    """
    used = (component_weight != 0)[..., None]
    mean, log_variance = (jnp.where(used, x, 0) for x in (component_mean, component_log_variance))
    divergences = jnp.sum(_kl_standard_normal(mean, log_variance), axis=-1)
    return jnp.sum(component_weight.astype(jnp.float32) * divergences, axis=1)


def _kl_standard_normal(
    mean: Float[Array, "B *K D"], log_variance: Float[Array, "B *K D"]
) -> Float[Array, "B *K D"]:
    mean, log_variance = mean.astype(jnp.float32), log_variance.astype(jnp.float32)
    return (mean**2 + _exponential_excess(log_variance)) / 2


def _exponential_excess(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """exp(x) - 1 - x, which is at least 0 and stays so in float32 where x is small."""
    line = math.exp(LARGEST) * jnp.maximum(x - LARGEST, 0)
    return jnp.expm1(jnp.minimum(x, LARGEST)) + line - x
