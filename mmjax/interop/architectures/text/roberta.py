"""RoBERTa (Liu et al. 2019, https://arxiv.org/abs/1907.11692), XLM-RoBERTa (Conneau et al. 2019,
https://arxiv.org/abs/1911.02116) and CamemBERT (Martin et al. 2019,
https://arxiv.org/abs/1911.03894): BERT whose positions do not count padding."""

from collections.abc import Mapping
from typing import Any

from mmjax.backbones.text.transformer import TextBackbone
from mmjax.errors import UserError
from mmjax.interop.architecture import Architecture, Checkpoint, Spec, has_type
from mmjax.interop.architectures.text import bert
from mmjax.interop.architectures.text.heads import with_head
from mmjax.interop.weights.layout import Rules

DEFAULTS = {"vocab_size": 50265, "pad_token_id": 1}
TYPES = ("roberta", "xlm-roberta", "camembert")


def text_backbone(
    config: Mapping[str, Any], dtype: Any, where: str, *, pooled: bool
) -> tuple[TextBackbone, Rules]:
    """The module and its layout.

    Raises:
        UserError: a config that mmjax, or the original, cannot run.
    """
    config = DEFAULTS | dict(config)
    padding, positions = config["pad_token_id"], config.get("max_position_embeddings", 512)
    if not isinstance(padding, int) or not isinstance(positions, int) or positions < padding + 2:
        raise UserError(
            f"{where}: pad_token_id={padding!r} and max_position_embeddings={positions!r} in"
            " config.json leave no position for a word: is the file damaged?"
        )
    return bert.text_backbone(config, dtype, where, pooled=pooled, padding=padding)


def encoder(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """RobertaModel, with its pooler if the file has one."""
    plain = bert.normalise(("roberta.",))
    pooled = bert.has_pooler(checkpoint, plain)
    backbone, rules = text_backbone(checkpoint.config, dtype, str(checkpoint.path), pooled=pooled)
    return bert.alone("roberta", backbone, rules, plain)


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """RobertaModel, with its pooler if the file has one, or with its head for sequences, words or
    spans; that of the pretraining is left over."""
    return with_head(encoder(checkpoint, dtype), checkpoint, dtype)


SPEC = Spec("roberta", has_type(*TYPES), build)
