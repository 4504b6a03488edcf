"""Fusions by attention pooling, graphs, relations, latents and levels under the contract tests."""

from mmjax.fusion.attention.attention_pool import AttentionPoolFusion
from mmjax.fusion.attention.bottleneck import BottleneckFusion
from mmjax.fusion.attention.hierarchical import HierarchicalFusion
from mmjax.fusion.attention.perceiver import PerceiverFusion
from mmjax.fusion.relational.graph import GraphAttentionFusion
from mmjax.fusion.relational.relation import RelationFusion
from tests.fusion.spec import Spec

SPECS = {
    "attention_pool": Spec(AttentionPoolFusion),
    "attention_pool_hard": Spec(AttentionPoolFusion, {"pooling": "hard", "score": "dot"}),
    "attention_pool_gumbel": Spec(AttentionPoolFusion, {"pooling": "gumbel", "count": 2}),
    "attention_pool_multilevel": Spec(
        AttentionPoolFusion, {"pooling": "multilevel", "segments": (2,)}
    ),
    "bottleneck": Spec(BottleneckFusion, {"layers": 2, "bottlenecks": 2}),
    "bottleneck_early": Spec(BottleneckFusion, {"layers": 2, "fusion_start": 0}),
    "graph": Spec(GraphAttentionFusion),
    "graph_gat": Spec(GraphAttentionFusion, {"score": "gat", "layers": 1}),
    "hierarchical": Spec(HierarchicalFusion),
    "perceiver": Spec(PerceiverFusion, {"latents": 3}),
    "perceiver_io": Spec(PerceiverFusion, {"latents": 3, "share": True, "reads": "first"}),
    "relation": Spec(RelationFusion),
    "relation_modality": Spec(RelationFusion, {"level": "modality", "reduction": "mean"}),
}
