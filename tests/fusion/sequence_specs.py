"""Fusions of token sequences under the contract tests."""

from mmjax.fusion.transformer import TransformerFusion
from tests.fusion.spec import Spec

SPECS = {
    "transformer": Spec(TransformerFusion, {"layers": 1}),
    "transformer_tokens": Spec(TransformerFusion, {"layers": 1, "fusion_tokens": 3}),
}
