"""Convolutional image encoder: a stack of 3x3 convolution blocks."""

from jaxtyping import Array, Float

from mmjax.encoders.image.grid import GridEncoder
from mmjax.errors import UserError
from mmjax.nn.layers.convolution import ConvolutionBlock
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.embedding import fold_patches
from mmjax.nn.layers.options import activation, initialiser


class Cnn(GridEncoder):
    """uint8 images [R H W 3] -> one token for each cell of the last grid, or one for the image.

    The published easy-VQA network is `Cnn(32, channels=(8, 16), downsample="max", norm="none",
    output="flatten", output_activation="tanh")`.

    Attributes:
        channels: channels of each block.
        strides: factor by which each block shrinks the picture. None: 2 for each.
        downsample: how a block shrinks: "max" (pooling) or "stride" (strided convolution).
        norm: norm of each block: "group", "layer" or "none".
        activation: activation of each block.
        output_activation: activation after the last dense layer.
        patch_size: side in pixels of the squares folded into channels before the first block.
        kernel_init: initialiser of all kernels, a name in `mmjax.nn.layers.options.INITIALISERS`.
    """

    channels: tuple[int, ...] = (32, 64, 128)
    strides: tuple[int, ...] | None = None
    downsample: str = "stride"
    norm: str = "group"
    activation: str = "relu"
    output_activation: str = "identity"
    patch_size: int = 1
    kernel_init: str = "lecun_normal"

    def grid(self, x: Array, rows: Array, deterministic: bool) -> Float[Array, "R y x C"]:
        """The last map.

        Raises:
            UserError: not a stride for each block.
        """
        del rows, deterministic
        strides = self.strides or (2,) * len(self.channels)
        if len(strides) != len(self.channels):
            raise UserError(
                f"cnn: {len(strides)} strides for {len(self.channels)} channels: give one for each"
            )
        x = fold_patches(x, self.patch_size)
        for layer, (channels, stride) in enumerate(zip(self.channels, strides, strict=True)):
            x = ConvolutionBlock(
                channels,
                stride,
                self.downsample,
                self.norm,
                self.activation,
                self.dtype,
                self.kernel_init,
                name=f"block_{layer}",
            )(x)
        return x

    def project(self, x: Array) -> Array:
        """The last dense layer and its activation."""
        init = initialiser(self.kernel_init)
        x = Dense(self.width, dtype=self.dtype, kernel_init=init, name="projection")(x)
        return activation(self.output_activation)(x)
