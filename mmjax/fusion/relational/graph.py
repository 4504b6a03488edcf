"""Late fusion by a graph whose nodes are the modalities."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.errors import UserError
from mmjax.fusion.pooling.projected import MeansFusion, project_each
from mmjax.nn.layers.attention import merge_heads, split_heads
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import activation, choose
from mmjax.nn.layers.pooling import masked_mean, masked_softmax
from mmjax.types import Fused, Tokens

SLOPE = 0.2  # of the leaky ReLU, in both papers
DYNAMIC = {"gat": False, "gatv2": True}


class GraphAttention(nn.Module):
    """One layer of graph attention on a full graph with self-loops.

    Each head gives node i the vector sum_j a_ij W h_j, with a_ij a softmax over the real nodes j
    of e_ij; the heads are concatenated, and a bias is added.

        gat:    e_ij = leaky_relu(s . W h_i + t . W h_j)   (Velickovic et al. 2018,
                https://arxiv.org/abs/1710.10903)
        gatv2:  e_ij = t . leaky_relu(S h_i + W h_j)       (Brody et al. 2022,
                https://arxiv.org/abs/2105.14491)

    In "gat" every node i ranks its neighbours in the same order; "gatv2" has no such limit.

    Attributes:
        features: width of the result, cut into the heads.
        heads: number of heads; it divides `features`.
        score: "gat" or "gatv2".
        dropout: share dropped of the weights a.
        dtype: type of the computation; scores and softmax are in float32.
    """

    features: int
    heads: int = 1
    score: str = "gatv2"
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B M D"], mask: Bool[Array, "B M"], *, deterministic: bool = True
    ) -> tuple[Float[Array, "B M features"], Float[Array, "B H M M"]]:
        """Nodes [B M D] -> nodes [B M features], zero where masked, and the weights a [B H M M].

        Raises:
            UserError: an unknown score, or heads that do not divide `features`.
        """
        if self.heads < 1 or self.features % self.heads:
            raise UserError(
                f"{'/'.join(self.path)}: width {self.features} does not split into {self.heads}"
                " heads: choose heads that divide width"
            )
        values = split_heads(self._project("project", x), self.heads)
        init = nn.initializers.glorot_uniform()
        shape = (self.heads, self.features // self.heads)
        target = self.param("target", init, shape, jnp.float32)
        if choose(DYNAMIC, self.score, "score"):
            own = split_heads(self._project("project_own", x), self.heads)
            pairs = own[:, :, :, None].astype(jnp.float32) + values[:, :, None]
            scores = jnp.einsum("bhijk,hk->bhij", jax.nn.leaky_relu(pairs, SLOPE), target)
        else:
            source = self.param("source", init, shape, jnp.float32)
            ends = jnp.einsum("bhik,ehk->ebhi", values, jnp.stack([source, target]))
            scores = jax.nn.leaky_relu(ends[0][..., :, None] + ends[1][..., None, :], SLOPE)
        weights = masked_softmax(scores, jnp.broadcast_to(mask[:, None, None], scores.shape))
        weights = jnp.where(mask[:, None, :, None], weights, 0.0)
        share = nn.Dropout(self.dropout, deterministic=deterministic)(weights)
        y = merge_heads(jnp.einsum("bhij,bhjk->bhik", share.astype(self.dtype), values))
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        return zero_masked(y + bias.astype(y.dtype), mask), weights

    def _project(self, name: str, x: Float[Array, "B M D"]) -> Float[Array, "B M features"]:
        init = nn.initializers.glorot_uniform()
        return Dense(self.features, False, self.dtype, init, name=name)(x)


class GraphAttentionFusion(MeansFusion):
    """Graph attention among the means of the modalities, and the mean of what the nodes become.

    Nodes are mean_m @ kernel_m + bias_m of the present modalities; the graph is full, with
    self-loops. Between layers there is an ELU, as in Velickovic et al. 2018. A modality that is
    absent is no node, so a single present one attends to itself alone.

    Attributes:
        layers: number of layers of graph attention.
        heads: number of heads; it divides the width.
        score: "gat" or "gatv2", see GraphAttention.
        dropout: share dropped of each modality's mean and of the weights.
    """

    layers: int = 2
    heads: int = 4
    score: str = "gatv2"

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the mean [B D] of the present nodes (zeros if there is none), and the nodes.

        `tokens` of the result is [B M D] by sorted name, masked where a modality is absent.
        `extras["attention"]` is [B layers H M M] in float32: what node i (second last axis) gives
        to node j (last), zero where either is absent.

        Raises:
            UserError: heads that do not divide the width.
        """
        means, mask = self.means(tokens, deterministic)
        x = project_each(means, mask, self.width, activation("identity"), self.dtype)
        weights = []
        for layer in range(self.layers):
            if layer:
                x = jax.nn.elu(x)
            x, share = GraphAttention(
                self.width,
                self.heads,
                self.score,
                self.dropout,
                self.dtype,
                name=f"attention_{layer}",
            )(x, mask, deterministic=deterministic)
            weights.append(share)
        pooled = masked_mean(x, mask)
        return Fused(Tokens(x, mask), pooled, {"attention": jnp.stack(weights, axis=1)})
