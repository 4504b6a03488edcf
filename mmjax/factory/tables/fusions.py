"""The table of fusions: Tokens by modality -> Fused."""

from mmjax.fusion.attention.attention_pool import AttentionPoolFusion
from mmjax.fusion.attention.bottleneck import BottleneckFusion
from mmjax.fusion.attention.co_attention import ParallelCoAttentionFusion
from mmjax.fusion.attention.cross_attention import CrossAttentionFusion
from mmjax.fusion.attention.early import EarlyConcatFusion
from mmjax.fusion.attention.hierarchical import HierarchicalFusion
from mmjax.fusion.attention.mult import MultFusion
from mmjax.fusion.attention.perceiver import PerceiverFusion
from mmjax.fusion.attention.transformer import TransformerFusion
from mmjax.fusion.attention.vilbert import CoAttentionalTransformerFusion
from mmjax.fusion.bilinear.bilinear import BilinearFusion
from mmjax.fusion.bilinear.block import BlockFusion
from mmjax.fusion.bilinear.compact_bilinear import CompactBilinearFusion
from mmjax.fusion.bilinear.low_rank import LowRankFusion
from mmjax.fusion.bilinear.mlb import MlbFusion
from mmjax.fusion.bilinear.mutan import MutanFusion
from mmjax.fusion.bilinear.tensor import TensorFusion
from mmjax.fusion.modulation.film import FilmFusion
from mmjax.fusion.modulation.mmtm import MmtmFusion
from mmjax.fusion.pooling.adaptive import AdaptiveFusion
from mmjax.fusion.pooling.concat import ConcatFusion
from mmjax.fusion.pooling.gated import GatedFusion
from mmjax.fusion.pooling.multiply import MultiplyFusion
from mmjax.fusion.pooling.sums import ConvexFusion, SumFusion
from mmjax.fusion.pooling.variational import VariationalFusion
from mmjax.fusion.relational.graph import GraphAttentionFusion
from mmjax.fusion.relational.relation import RelationFusion

FUSIONS = {
    "adaptive": AdaptiveFusion,
    "attention_pool": AttentionPoolFusion,
    "bilinear": BilinearFusion,
    "block": BlockFusion,
    "bottleneck": BottleneckFusion,
    "co_attention": ParallelCoAttentionFusion,
    "concat": ConcatFusion,
    "convex": ConvexFusion,
    "cross_attention": CrossAttentionFusion,
    "early_concat": EarlyConcatFusion,
    "film": FilmFusion,
    "gmu": GatedFusion,
    "graph": GraphAttentionFusion,
    "hierarchical": HierarchicalFusion,
    "lmf": LowRankFusion,
    "mcb": CompactBilinearFusion,
    "mlb": MlbFusion,
    "mmtm": MmtmFusion,
    "mult": MultFusion,
    "multiply": MultiplyFusion,
    "mutan": MutanFusion,
    "perceiver": PerceiverFusion,
    "relation": RelationFusion,
    "sum": SumFusion,
    "tfn": TensorFusion,
    "transformer": TransformerFusion,
    "variational": VariationalFusion,
    "vilbert": CoAttentionalTransformerFusion,
}
