"""Tensor fusion: interactions of all modalities at once."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax.errors import UserError
from mmjax.fusion.bilinear.multilinear import MultilinearForm
from mmjax.fusion.bilinear.products import one_token
from mmjax.fusion.pooling.projected import modality_means, project_each
from mmjax.nn.layers.options import activation
from mmjax.types import Fused, Tokens

MAX_ENTRIES = 2**17  # of the outer product, for each example


def check_entries(factor_width: int, modalities: int) -> None:
    """Raises UserError if the outer product of so many vectors [x; 1] is too large to compute."""
    entries = (factor_width + 1) ** modalities
    if entries <= MAX_ENTRIES:
        return
    fits = 0
    while (fits + 2) ** modalities <= MAX_ENTRIES:
        fits += 1
    advice = f"choose factor_width {fits} or less" if fits else "choose the fusion 'lmf'"
    raise UserError(
        f"tfn fusion: the outer product of {modalities} modalities of factor_width {factor_width}"
        f" has {entries} entries, more than {MAX_ENTRIES}: {advice}"
    )


class TensorFusion(nn.Module):
    """W ([x_1; 1] (outer) ... (outer) [x_M; 1]), with x_i = activation(P_i mean_i + p_i).

    Tensor Fusion Network (Zadeh et al. 2017, https://arxiv.org/abs/1707.07250). W is kept as one
    kernel for each subset of the modalities and a bias. An absent modality has x_i = 0: the
    subsets with it add exactly zero, the others stay.

    Attributes:
        width: D of the result. The modalities may have other widths.
        factor_width: d of x_i. W has (d + 1)^M D parameters, and (d + 1)^M may not be over 2^17:
            at d = 8 that is five modalities.
        activation: of x_i, a name in `mmjax.nn.layers.options.ACTIVATIONS`.
        dropout: share dropped of each modality's mean.
        dtype: type of the computation.
    """

    width: int
    factor_width: int = 8
    activation: str = "identity"
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, deterministic: bool = True) -> Fused:
        """Returns the linear map of the outer product [B D], also as the one token.

        With no modality present it is the bias.

        Raises:
            UserError: no modality, different batch sizes, an unknown activation, or an outer
                product that is too large.
        """
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        means, mask = modality_means(tokens, "tfn", drop)
        check_entries(self.factor_width, len(means))
        act = activation(self.activation)
        x = project_each(means, mask, self.factor_width, act, self.dtype)
        vectors = dict(zip(means, jnp.unstack(x, axis=1), strict=True))
        form = MultilinearForm(self.width, order=len(means), dtype=self.dtype, name="form")
        return one_token(form(vectors), mask)
