"""The tables of ways to weigh tasks against each other, of two kinds.

A loss weighting, a `LossWeighting`, follows the losses and takes one backward pass. An aggregator,
an optax transformation of gradients [tasks ...], takes one for each task. What an import path names
is of the kind of what it returns.
"""

from collections.abc import Callable, Mapping

import optax

from mmjax.train import weighting
from mmjax.train.weighting import LossWeighting

LOSS_WEIGHTINGS: Mapping[str, Callable[..., LossWeighting]] = {
    "dwa": weighting.dwa,
    "famo": weighting.famo,
    "fixed": weighting.fixed,
    "gls": weighting.gls,
    "imtl_l": weighting.imtl_l,
    "rlw": weighting.random_weights,
    "scheduled": weighting.scheduled,
    "stch": weighting.stch,
    "uncertainty": weighting.uncertainty,
}
AGGREGATORS: Mapping[str, Callable[..., optax.GradientTransformation]] = {
    "aligned_mtl": weighting.aligned_mtl,
    "cagrad": weighting.cagrad,
    "db_mtl": weighting.db_mtl,
    "dual_projection": weighting.dual_projection,
    "fairgrad": weighting.fairgrad,
    "graddrop": weighting.graddrop,
    "gradnorm": weighting.gradnorm,
    "gradvac": weighting.gradvac,
    "imtl_g": weighting.imtl_g,
    "mean": weighting.mean_of_tasks,
    "mgda": weighting.mgda,
    "nash_mtl": weighting.nash_mtl,
    "pcgrad": weighting.pcgrad,
    "rgw": weighting.random_gradients,
    "sum": weighting.sum_of_tasks,
    "upgrad": weighting.upgrad,
}
WEIGHTINGS: Mapping[str, Callable[..., LossWeighting | optax.GradientTransformation]] = {
    **LOSS_WEIGHTINGS,
    **AGGREGATORS,
}
GIVEN = ("tasks", "weights")  # options that the tasks of a config say
EXTRA = "one_by_one"  # of aggregators: gradients one after the other
