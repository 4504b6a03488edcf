"""Fusions of token sequences under the contract tests."""

from mmjax.fusion.attention.co_attention import ParallelCoAttentionFusion
from mmjax.fusion.attention.cross_attention import CrossAttentionFusion
from mmjax.fusion.attention.mult import MultFusion
from mmjax.fusion.attention.transformer import TransformerFusion
from mmjax.fusion.attention.vilbert import CoAttentionalTransformerFusion
from mmjax.fusion.modulation.mmtm import MmtmFusion
from tests.fusion.spec import Spec

SPECS = {
    "transformer": Spec(TransformerFusion, {"layers": 1}),
    "transformer_tokens": Spec(TransformerFusion, {"layers": 1, "fusion_tokens": 3}),
    "mmtm": Spec(MmtmFusion),
    "co_attention": Spec(ParallelCoAttentionFusion),
    "co_attention_concat": Spec(ParallelCoAttentionFusion, {"join": "concat", "hidden": 48}),
    "vilbert": Spec(CoAttentionalTransformerFusion, {"layers": 1}),
    "vilbert_post": Spec(
        CoAttentionalTransformerFusion,
        {"layers": 1, "norm": "post", "join": "mean", "pool": "first"},
    ),
    "cross_attention": Spec(CrossAttentionFusion, {"layers": 1}),
    "cross_attention_self": Spec(
        CrossAttentionFusion,
        {"layers": 1, "self_attention": True, "norm": "post"},
    ),
    "mult": Spec(MultFusion, {"layers": 1, "self_layers": 1}),
}
