"""Transformers over words, of the sizes of BERT (Devlin et al. 2019,
https://arxiv.org/abs/1810.04805), CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020) or
any other."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.backbones.text.transformer import TextBackbone
from mmjax.encoders.encoder import READOUTS, as_tokens
from mmjax.encoders.text.words import TextEncoder
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.ids import check_ids
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose, shared
from mmjax.types import Tokens


class Style(NamedTuple):
    """All that a size settles; the names are those of the attributes of TextTransformer."""

    layers: int = 2
    heads: int = 4
    norm: str = "pre"
    causal: bool = False
    activation: str = "gelu"
    epsilon: float = 1e-6
    embedding_norm: bool = False
    token_types: int = 0
    output: str = "sequence"


BERT = Style(
    norm="post", activation="gelu_exact", epsilon=1e-12, embedding_norm=True, token_types=2
)
CLIP = Style(12, 8, causal=True, activation="quick_gelu", epsilon=1e-5, output="last")
# Inner width, and everything else. Small BERTs: Turc et al. 2019, https://arxiv.org/abs/1908.08962;
# DistilBERT: Sanh et al. 2019, https://arxiv.org/abs/1910.01108.
SIZES: Mapping[str, tuple[int, Style]] = {
    "bert-tiny": (128, BERT._replace(layers=2, heads=2)),
    "bert-mini": (256, BERT._replace(layers=4, heads=4)),
    "bert-small": (512, BERT._replace(layers=4, heads=8)),
    "bert-medium": (512, BERT._replace(layers=8, heads=8)),
    "bert-base": (768, BERT._replace(layers=12, heads=12)),
    "bert-large": (1024, BERT._replace(layers=24, heads=16)),
    "distilbert-base": (768, BERT._replace(layers=6, heads=12, token_types=0)),
    "clip-base": (512, CLIP),
    "clip-large": (768, CLIP._replace(heads=12)),
}


def first_real(x: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B 1 D"]:
    """The first real token of each row; of a row that has none, any."""
    return jnp.take_along_axis(x, jnp.argmax(mask, axis=1)[:, None, None], axis=1)


# From the tokens of all words, zero where masked, and the mask: the tokens that come out.
OUTPUTS: Mapping[str, Callable[[Array, Array], Array]] = {
    "first": first_real,
    "last": lambda x, mask: first_real(x[:, ::-1], mask[:, ::-1]),
    **READOUTS,
}


class TextTransformer(TextEncoder):
    """Word ids [B L] -> one token for each word, or one for the text.

    The published networks are `size="bert-base", vocabulary_size=30522` (no pooler) and
    `size="clip-base", vocabulary_size=49408`; at initialisation give 512 or 77 words. An option
    that is None is as `size` says.

    Attributes:
        width: D of the tokens; a last dense layer takes them there if `size` is of another width.
        layers, heads: of the transformer. None without a size: 2 and 4.
        mlp_ratio, remat, scan: of the transformer.
        size: a name in SIZES. None: the inner width is `width`, and what follows is in brackets.
        positions: "learned", "sincos", "rotary" or "none"; see `mmjax.nn.layers.positions.place`.
            Places are counted from the start of the array, masked ones included.
        norm: "pre" or "post" [pre].
        causal: whether a word reads those before it only [no].
        activation: of the mlps [gelu].
        epsilon: of all norms [1e-6].
        embedding_norm: whether the embeddings pass a norm before the first block [no].
        token_types: rows of a table of BERT's segment embeddings, of which every word gets the
            first; the others are there for the checkpoints [0: no table].
        output: "sequence" (a token a word), or one token: "first" (of the first real word, such as
            [CLS]), "last" (of the last real word, such as CLIP's end of text) or "mean" (over the
            real words) [sequence].
    """

    layers: int | None = None
    heads: int | None = None
    mlp_ratio: float | int = 4
    size: str | None = None
    positions: str = "learned"
    norm: str | None = None
    causal: bool | None = None
    activation: str | None = None
    epsilon: float | None = None
    embedding_norm: bool | None = None
    token_types: int | None = None
    output: str | None = None
    remat: bool = False
    scan: bool = False

    def setup(self):
        width, style = self._style()
        choose(OUTPUTS, style.output, "output")
        options = shared(self, TextBackbone) | style._asdict() | {"width": width}
        del options["output"]
        options |= {"mlp_width": int(width * self.mlp_ratio), "placing": options.pop("positions")}
        self.backbone = TextBackbone(**options)
        nn.share_scope(self, self.backbone)
        self.projection = Dense(self.width, dtype=self.dtype) if width != self.width else None

    def _style(self) -> tuple[int, Style]:
        """The inner width, and the rest: what is given, else as the size says."""
        width, style = self.width, Style()
        if self.size is not None:
            width, style = choose(SIZES, self.size, "size")
        given = {name: getattr(self, name) for name in Style._fields}
        return width, style._replace(**{k: v for k, v in given.items() if v is not None})

    def encode(self, value: Array, mask: Array, deterministic: bool) -> Tokens:
        """Tokens [B L D], or [B 1 D] for one token.

        Raises:
            UserError: a longer text than learned positions were made for at initialisation.
        """
        ids = jnp.where(mask, value, 0)
        check_ids("text", ids, self.vocabulary_size)
        found = self.backbone(ids, mask, deterministic=deterministic)
        x = zero_masked(found["last_hidden_state"], mask)
        x = OUTPUTS[self._style()[1].output](x, mask)
        return as_tokens(x if self.projection is None else self.projection(x), mask)
