"""Fusions of one vector per modality under the contract tests."""

from mmjax.fusion.concat import ConcatFusion
from mmjax.fusion.multiply import MultiplyFusion
from tests.fusion.spec import Spec

SPECS = {
    "concat": Spec(ConcatFusion),
    "multiply": Spec(MultiplyFusion),
    "multiply_unnormed": Spec(MultiplyFusion, {"norm": False}),
    "multiply_plain": Spec(MultiplyFusion, {"project": False}),
}
