"""Fusions of one vector per modality under the contract tests."""

from mmjax.fusion.adaptive import AdaptiveFusion
from mmjax.fusion.concat import ConcatFusion
from mmjax.fusion.early import EarlyConcatFusion
from mmjax.fusion.film import FilmFusion
from mmjax.fusion.gated import GatedFusion
from mmjax.fusion.mlb import MlbFusion
from mmjax.fusion.multiply import MultiplyFusion
from mmjax.fusion.sums import ConvexFusion, SumFusion
from mmjax.fusion.variational import VariationalFusion
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
