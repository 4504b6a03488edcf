"""Variational fusion: a joint posterior from one Gaussian per modality."""

import itertools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from mmjax.fusion.pooling.projected import MeansFusion, project_each
from mmjax.nn.layers.gaussian import Gaussian, mixture_moments, product_of_experts, sample_mixture
from mmjax.nn.layers.options import choose
from mmjax.types import Fused, Tokens


class Posterior(NamedTuple):
    """A mixture of products of experts.

    members: which modalities are present [B M] -> which ones each component multiplies [B K M].
    prior: whether each product has the prior as a member.
    """

    members: Callable[[Bool[Array, "B M"]], Bool[Array, "B K M"]]
    prior: bool


def _complete_subsets(mask: Bool[Array, "B M"]) -> Bool[Array, "B K M"]:
    """The non-empty sets of modalities, K = 2^M - 1; empty where one of the set is absent."""
    subsets = list(itertools.product([False, True], repeat=mask.shape[1]))[1:]
    subsets = jnp.asarray(np.array(subsets))
    complete = jnp.all(mask[:, None] | ~subsets, axis=2)
    return subsets & complete[..., None]


POSTERIORS: Mapping[str, Posterior] = {
    "moe": Posterior(lambda mask: mask[:, :, None] & jnp.eye(mask.shape[1], dtype=bool), False),
    "mopoe": Posterior(_complete_subsets, False),
    "poe": Posterior(lambda mask: mask[:, None], True),
}


class VariationalFusion(MeansFusion):
    """A latent vector with the posterior that the present modalities agree on.

    Each modality has the Gaussian q_i = N(m_i, exp(s_i)) with [m_i, s_i] = mean_i @ kernel + bias.
    The prior p is N(0, 1). The joint posterior is, over the present modalities,

        "poe":   proportional to p * prod_i q_i (MVAE, Wu & Goodman 2018,
                 https://arxiv.org/abs/1802.05335)
        "moe":   the mean of the q_i (MMVAE, Shi et al. 2019, https://arxiv.org/abs/1911.03393)
        "mopoe": the mean over their non-empty subsets of the normalised prod_i q_i (MoPoE-VAE,
                 Sutter et al. 2021, https://arxiv.org/abs/2105.02470); 2^M - 1 components

    With no modality present it is the prior. The encoder half of these models only: the losses are
    elsewhere, and find what they need in `extras`.

    Attributes:
        width: D, the size of the latent vector. The modalities may have other widths.
        posterior: "poe", "moe" or "mopoe".
    """

    posterior: str = "poe"

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the latent vector [B D], and the means m_i as tokens.

        The latent vector is the mean of the joint posterior, or, if not deterministic, a
        reparametrised sample from it (random stream "sample"); for a mixture, from one component
        drawn for each example. `tokens` of the result is [B M D] by sorted name, masked where a
        modality is absent. `extras`, where the standard normal stands for what is absent:

            mean, log_variance: [B D], the moments of the joint posterior
            modality_mean, modality_log_variance: [B M D], of each q_i
            component_mean, component_log_variance: [B K D], of what the joint posterior mixes
            component_weight: [B K], sums to one; K = 1 for "poe", M for "moe"
        """
        members_of, prior = choose(POSTERIORS, self.posterior, "posterior")
        means, mask = self.means(tokens, deterministic)
        heads = project_each(means, mask, 2 * self.width, lambda y: y, self.dtype)
        experts = Gaussian(*jnp.split(heads.astype(jnp.float32), 2, axis=-1))
        members = members_of(mask)
        components = product_of_experts(experts, members, prior=prior)
        used = jnp.any(members, axis=2)
        # Without a modality all components are the prior, and each is as good as another.
        used = (used | ~jnp.any(used, axis=1, keepdims=True)).astype(jnp.float32)
        weights = used / jnp.sum(used, axis=1, keepdims=True)
        joint = mixture_moments(components, weights)
        latent = joint.mean
        if not deterministic:
            latent = sample_mixture(self.make_rng("sample"), components, weights)
        extras = {
            **joint._asdict(),
            **{f"modality_{name}": value for name, value in experts._asdict().items()},
            **{f"component_{name}": value for name, value in components._asdict().items()},
            "component_weight": weights,
        }
        x = experts.mean.astype(self.dtype)
        return Fused(Tokens(x, mask), latent.astype(self.dtype), extras)
