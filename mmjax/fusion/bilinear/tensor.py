"""Tensor fusion: interactions of all modalities at once."""

from collections.abc import Mapping

from mmjax.errors import UserError
from mmjax.fusion.bilinear.factored import FactoredFusion
from mmjax.fusion.bilinear.multilinear import MultilinearForm
from mmjax.fusion.bilinear.products import one_token
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


class TensorFusion(FactoredFusion):
    """W ([x_1; 1] (outer) ... (outer) [x_M; 1]), with x_i = activation(P_i mean_i + p_i).

    Tensor Fusion Network (Zadeh et al. 2017, https://arxiv.org/abs/1707.07250). W is kept as one
    kernel for each subset of the modalities and a bias. An absent modality has x_i = 0: the
    subsets with it add exactly zero, the others stay.

    Attributes:
        factor_width: d of x_i. W has (d + 1)^M D parameters, and (d + 1)^M may not be over 2^17:
            at d = 8 that is five modalities.
    """

    factor_width: int = 8

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the linear map of the outer product [B D], also as the one token.

        With no modality present it is the bias.

        Raises:
            UserError: an outer product that is too large.
        """
        means, mask = self.means(tokens, deterministic)
        check_entries(self.factor_width, len(means))
        vectors = self.factors(means, mask)
        form = MultilinearForm(self.width, order=len(means), dtype=self.dtype, name="form")
        return one_token(form(vectors), mask)
