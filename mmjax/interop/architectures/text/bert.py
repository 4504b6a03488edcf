"""BERT (Devlin et al. 2018, https://arxiv.org/abs/1810.04805) and DistilBERT (Sanh et al. 2019,
https://arxiv.org/abs/1910.01108) as transformers stores them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mmjax.backbones.text.transformer import TextBackbone
from mmjax.errors import UserError
from mmjax.interop.architecture import Architecture, Checkpoint, Part, Spec, has_type, strip
from mmjax.interop.architectures.blocks import repeated
from mmjax.interop.architectures.settings import BASE, settings, transformer_sizes
from mmjax.interop.architectures.text.heads import with_head
from mmjax.interop.weights.layout import Rules, dense, norm, qkv, same

CONFIG = BASE | {
    "vocab_size": 30522,
    "hidden_act": "gelu",
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
}
# What mmjax runs, of options that change the numbers.
ONLY = {"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False}
# The words of DistilBERT for the same.
DISTILLED = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "hidden_dim": "intermediate_size",
    "activation": "hidden_act",
}
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
NUMBERS = ("position_ids", "token_type_ids")  # buffers that some files hold


def refuse_others(config: Mapping[str, Any], only: Mapping[str, Any], where: str) -> None:
    """Raises UserError for an option that mmjax has no other value of than `only` says."""
    for key, value in only.items():
        if config.get(key, value) != value:
            raise UserError(
                f"{where}: {key}={config[key]!r} in config.json: mmjax runs such models with"
                f" {key}={value!r} only"
            )


def normalise(prefixes: Sequence[str]) -> Callable[[str], str]:
    """Names without the prefix of a model with a head, and the norms' as PyTorch has them.

    The oldest files, converted from TensorFlow, have LayerNorm.gamma and LayerNorm.beta.
    """

    def plain(name: str) -> str:
        name = strip(prefixes, name)
        if name.startswith("embeddings.") and name.endswith(NUMBERS):
            return ""
        for old, new in (("gamma", "weight"), ("beta", "bias")):
            if name.endswith(f"LayerNorm.{old}"):
                return name.removesuffix(old) + new
        return name

    return plain


def embeddings(types: int) -> Rules:
    """Of words, positions, kinds of words if there are any, and the norm after their sum."""
    return [
        *same("words/embedding", "embeddings.word_embeddings.weight"),
        *same("positions/embedding", "embeddings.position_embeddings.weight"),
        *(same("token_types", "embeddings.token_type_embeddings.weight") if types else ()),
        *norm("embedding_norm", "embeddings.LayerNorm"),
    ]


def post_norm_blocks(layers: int, width: int) -> Rules:
    """Blocks as BERT and RoBERTa name them."""
    names = [f"attention.self.{part}" for part in ("query", "key", "value")]
    block = [
        *qkv("attention/qkv", names, width),
        *dense("attention/out", "attention.output.dense"),
        *norm("attention_norm", "attention.output.LayerNorm"),
        *dense("mlp_in", "intermediate.dense"),
        *dense("mlp_out", "output.dense"),
        *norm("mlp_norm", "output.LayerNorm"),
    ]
    return repeated(block, "transformer", "encoder.layer", layers)


def distilled_blocks(layers: int, width: int) -> Rules:
    """Blocks as DistilBERT names them."""
    block = [
        *qkv("attention/qkv", [f"attention.{part}_lin" for part in "qkv"], width),
        *dense("attention/out", "attention.out_lin"),
        *norm("attention_norm", "sa_layer_norm"),
        *dense("mlp_in", "ffn.lin1"),
        *dense("mlp_out", "ffn.lin2"),
        *norm("mlp_norm", "output_layer_norm"),
    ]
    return repeated(block, "transformer", "transformer.layer", layers)


def text_backbone(
    config: Mapping[str, Any],
    dtype: Any,
    where: str,
    *,
    pooled: bool,
    padding: int | None = None,
    blocks: Callable[[int, int], Rules] = post_norm_blocks,
) -> tuple[TextBackbone, Rules]:
    """The module and its layout.

    Args:
        config: in the words of BERT.
        dtype: type of the computation.
        where: for messages.
        pooled: whether there is a pooler.
        padding: the id that positions do not count (RoBERTa). None: they count all.
        blocks: (layers, width) -> their layout.

    Raises:
        UserError: a config that mmjax, or the original, cannot run.
    """
    c = settings(config, CONFIG, where)
    refuse_others(config, ONLY, where)
    backbone = TextBackbone(
        **transformer_sizes(c, where),
        dtype=dtype,
        vocabulary_size=c.vocab_size,
        positions=c.max_position_embeddings,
        norm="post",
        embedding_norm=True,
        token_types=c.type_vocab_size,
        padding=padding,
        pooling="tanh" if pooled else None,
    )
    rules = [
        *embeddings(c.type_vocab_size),
        *blocks(c.num_hidden_layers, c.hidden_size),
        *(dense("pooler", "pooler.dense") if pooled else ()),
    ]
    return backbone, rules


def has_pooler(checkpoint: Checkpoint, plain: Callable[[str], str]) -> bool:
    """Whether the file has the layer that the pooled vector passes."""
    return any(plain(name) == "pooler.dense.weight" for name in checkpoint.weights)


def example(backbone: TextBackbone) -> dict[str, jax.ShapeDtypeStruct]:
    """A text as long as the model takes."""
    longest = backbone.positions - (0 if backbone.padding is None else backbone.padding + 1)
    return {"input_ids": jax.ShapeDtypeStruct((1, longest), jnp.int32)}


def alone(
    name: str,
    backbone: TextBackbone,
    rules: Rules,
    plain: Callable[[str], str],
    inputs: tuple[str, ...] = INPUTS,
) -> Architecture:
    """A text backbone as a whole model."""
    padding = {} if backbone.padding is None else {"padding": backbone.padding}
    parts = {"text": Part(backbone, options=padding)}
    return Architecture(name, backbone, rules, example(backbone), plain, parts, inputs)


def encoder(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """BertModel, with its pooler if the file has one."""
    plain = normalise(("bert.",))
    pooled = has_pooler(checkpoint, plain)
    backbone, rules = text_backbone(checkpoint.config, dtype, str(checkpoint.path), pooled=pooled)
    return alone("bert", backbone, rules, plain)


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """BertModel, with its pooler if the file has one, or with its head for sequences, words or
    spans; those of the pretraining are left over."""
    return with_head(encoder(checkpoint, dtype), checkpoint, dtype)


def distilled(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """DistilBertModel, which has no pooler and tells no kinds of words apart."""
    config = {DISTILLED.get(key, key): value for key, value in checkpoint.config.items()}
    config |= {"type_vocab_size": 0, "layer_norm_eps": 1e-12}
    where = str(checkpoint.path)
    backbone, rules = text_backbone(config, dtype, where, pooled=False, blocks=distilled_blocks)
    inputs = tuple(name for name in INPUTS if name != "token_type_ids")
    return alone("distilbert", backbone, rules, normalise(("distilbert.",)), inputs)


def build_distilled(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """DistilBertModel, which has no pooler and tells no kinds of words apart, or with its head for
    sequences, words or spans."""
    return with_head(distilled(checkpoint, dtype), checkpoint, dtype)


SPEC = Spec("bert", has_type("bert"), build)
DISTILBERT = Spec("distilbert", has_type("distilbert"), build_distilled)
