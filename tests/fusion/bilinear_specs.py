"""Bilinear and tensor fusions under the contract tests."""

from mmjax.fusion.bilinear.bilinear import BilinearFusion
from mmjax.fusion.bilinear.block import BlockFusion
from mmjax.fusion.bilinear.compact_bilinear import CompactBilinearFusion
from mmjax.fusion.bilinear.low_rank import LowRankFusion
from mmjax.fusion.bilinear.mutan import MutanFusion
from mmjax.fusion.bilinear.tensor import TensorFusion
from tests.fusion.spec import Spec

SPECS = {
    "bilinear": Spec(BilinearFusion, {"factor_width": 8}),
    "block": Spec(BlockFusion, {"factor_width": 16, "chunks": 4, "rank": 3}),
    "block_whole": Spec(BlockFusion, {"factor_width": 16, "norm": "whole"}),
    "block_plain": Spec(BlockFusion, {"factor_width": 16, "norm": "none"}),
    "lmf": Spec(LowRankFusion, {"rank": 3}),
    "mcb": Spec(CompactBilinearFusion, {"sketch_width": 128}),
    "mutan": Spec(MutanFusion, {"factor_width": 16}),
    "mutan_full": Spec(MutanFusion, {"factor_width": 8, "rank": None}),
    "tfn": Spec(TensorFusion, {"factor_width": 4}),
}
