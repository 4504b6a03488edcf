"""The table of fusions: Tokens by modality -> Fused."""

from mmjax.fusion.adaptive import AdaptiveFusion
from mmjax.fusion.attention_pool import AttentionPoolFusion
from mmjax.fusion.bilinear import BilinearFusion
from mmjax.fusion.block import BlockFusion
from mmjax.fusion.bottleneck import BottleneckFusion
from mmjax.fusion.co_attention import ParallelCoAttentionFusion
from mmjax.fusion.compact_bilinear import CompactBilinearFusion
from mmjax.fusion.concat import ConcatFusion
from mmjax.fusion.cross_attention import CrossAttentionFusion
from mmjax.fusion.early import EarlyConcatFusion
from mmjax.fusion.film import FilmFusion
from mmjax.fusion.gated import GatedFusion
from mmjax.fusion.graph import GraphAttentionFusion
from mmjax.fusion.hierarchical import HierarchicalFusion
from mmjax.fusion.low_rank import LowRankFusion
from mmjax.fusion.mlb import MlbFusion
from mmjax.fusion.mmtm import MmtmFusion
from mmjax.fusion.mult import MultFusion
from mmjax.fusion.multiply import MultiplyFusion
from mmjax.fusion.mutan import MutanFusion
from mmjax.fusion.perceiver import PerceiverFusion
from mmjax.fusion.relation import RelationFusion
from mmjax.fusion.sums import ConvexFusion, SumFusion
from mmjax.fusion.tensor import TensorFusion
from mmjax.fusion.transformer import TransformerFusion
from mmjax.fusion.variational import VariationalFusion
from mmjax.fusion.vilbert import CoAttentionalTransformerFusion

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
