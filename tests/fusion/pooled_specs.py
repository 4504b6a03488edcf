"""Fusions of one vector per modality under the contract tests."""

from mmjax.fusion.attention.early import EarlyConcatFusion
from mmjax.fusion.bilinear.mlb import MlbFusion
from mmjax.fusion.modulation.film import FilmFusion
from mmjax.fusion.pooling.adaptive import AdaptiveFusion
from mmjax.fusion.pooling.concat import ConcatFusion
from mmjax.fusion.pooling.gated import GatedFusion
from mmjax.fusion.pooling.multiply import MultiplyFusion
from mmjax.fusion.pooling.sums import ConvexFusion, SumFusion
from mmjax.fusion.pooling.variational import VariationalFusion
from tests.fusion.spec import Spec

SPECS = {
    "concat": Spec(ConcatFusion),
    "multiply": Spec(MultiplyFusion),
    "multiply_unnormed": Spec(MultiplyFusion, {"norm": False}),
    "multiply_plain": Spec(MultiplyFusion, {"project": False}),
    "early_concat": Spec(EarlyConcatFusion),
    "early_concat_max": Spec(EarlyConcatFusion, {"pool": "max"}),
    "sum": Spec(SumFusion),
    "convex": Spec(ConvexFusion),
    "gmu": Spec(GatedFusion),
    "adaptive": Spec(AdaptiveFusion),
    "mlb": Spec(MlbFusion, {"rank": 96}),
    "film": Spec(FilmFusion, {"layers": 2}),
    "variational_poe": Spec(VariationalFusion),
    "variational_moe": Spec(VariationalFusion, {"posterior": "moe"}),
    "variational_mopoe": Spec(VariationalFusion, {"posterior": "mopoe"}),
}
