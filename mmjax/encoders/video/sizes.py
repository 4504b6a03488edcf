"""The sizes of video transformers, by the names of the image transformers they come from."""

from mmjax.encoders.image.vit import SIZES
from mmjax.nn.layers.options import choose


def inner_size(
    size: str | None, width: int, layers: int | None, heads: int | None
) -> tuple[int, int, int]:
    """Inner width, layers and heads of `size`; layers and heads that are given go before it.

    Without a size: `width`, 4 and 4.

    Raises:
        UserError: an unknown size.
    """
    inner, depth, count = (width, 4, 4) if size is None else choose(SIZES, size, "size")
    return inner, depth if layers is None else layers, count if heads is None else heads
