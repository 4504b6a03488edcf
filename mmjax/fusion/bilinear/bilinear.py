"""Full bilinear pooling."""

from collections.abc import Mapping

from mmjax.fusion.bilinear.factored import FactoredFusion
from mmjax.fusion.bilinear.multilinear import MultilinearForm
from mmjax.fusion.bilinear.products import one_token
from mmjax.types import Fused, Tokens


class BilinearFusion(FactoredFusion):
    """b + sum_i u_i x_i + sum_{i < j} x_i^T W_ij x_j, with x_i = activation(P_i mean_i + p_i).

    Bilinear models (Tenenbaum & Freeman 2000, https://doi.org/10.1162/089976600300015349) for any
    number of modalities: one bilinear form for each unordered pair. The linear terms let one
    modality alone through. A term of an absent modality is exactly zero.

    Attributes:
        factor_width: d of x_i; a pair has d^2 D parameters.
    """

    factor_width: int = 32

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the form's value [B D] (b with no modality present), also as the one token."""
        means, mask = self.means(tokens, deterministic)
        vectors = self.factors(means, mask)
        pooled = MultilinearForm(self.width, order=2, dtype=self.dtype, name="form")(vectors)
        return one_token(pooled, mask)
