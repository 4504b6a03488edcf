"""Multimodal compact bilinear pooling."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.fusion.bilinear.products import one_token, product_of_present, signed_root, unit_norm
from mmjax.fusion.pooling.projected import MeansFusion
from mmjax.nn.layers.count_sketch import count_sketch, make_hashes
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.types import Fused, Tokens


def circular_convolution(x: Float[Array, "B M W"], mask: Bool[Array, "B M"]) -> Float[Array, "B W"]:
    """The circular convolution of the present vectors, by FFT in float32; zeros with none."""
    spectra = jnp.fft.rfft(x.astype(jnp.float32))
    product = jnp.fft.irfft(product_of_present(jnp.unstack(spectra, axis=1), mask), n=x.shape[-1])
    return zero_masked(product, jnp.any(mask, axis=1))


class CompactBilinearFusion(MeansFusion):
    """O norm(sketch_1(mean_1) * ... * sketch_M(mean_M)) + o, with * the circular convolution.

    Multimodal compact bilinear pooling (Fukui et al. 2016, https://arxiv.org/abs/1606.01847): the
    convolution of count sketches is a count sketch of the outer product of the means. The norm is
    the signed square root followed by division by the Euclidean norm. The hashes of the sketches
    are fixed by the modality's name and `seed`, and are no parameters. The convolution is over the
    present modalities, any number of them; one alone is its sketch; with none, the result is o.

    Attributes:
        sketch_width: size of the sketches. The paper's is 16,000.
        seed: of the hashes. A model must keep the one it was trained with.
        dtype: type of the last layer; sketches, convolution and norm are in float32.
    """

    sketch_width: int = 1024
    seed: int = 0

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the projected pooling [B D], also as the one token."""
        means, mask = self.means(tokens, deterministic)
        sketches = [
            count_sketch(mean, make_hashes(name, mean.shape[-1], self.sketch_width, self.seed))
            for name, mean in means.items()
        ]
        z = circular_convolution(jnp.stack(sketches, axis=1), mask)
        z = unit_norm(signed_root(z)).astype(self.dtype)
        # The entries of a vector of norm one are small: this gives outputs of variance one.
        init = nn.initializers.variance_scaling(self.sketch_width, "fan_in", "truncated_normal")
        out = Dense(self.width, dtype=self.dtype, kernel_init=init, name="out")
        return one_token(out(z), mask)
