"""The table of fusions: Tokens by modality -> Fused."""

from mmjax.fusion.concat import ConcatFusion
from mmjax.fusion.multiply import MultiplyFusion
from mmjax.fusion.transformer import TransformerFusion

FUSIONS = {"concat": ConcatFusion, "multiply": MultiplyFusion, "transformer": TransformerFusion}
