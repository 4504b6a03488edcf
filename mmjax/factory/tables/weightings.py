"""The tables of ways to weigh tasks, or modalities, against each other, of four kinds.

A loss weighting, a `LossWeighting`, follows the losses and takes one backward pass. An aggregator,
an optax transformation of gradients [tasks ...], takes one for each task. A modulator, an optax
transformation of a single gradient, is told what each modality is good for alone. A feature loss,
a `FeatureLoss`, is added to the losses of the tasks. What an import path names is of the kind of
what it returns; with the option `target` it is a feature loss, and with `modalities` alone, if no
aggregator of the table, a modulator.
"""

from collections.abc import Callable, Mapping

import optax

from mmjax.train import weighting
from mmjax.train.weighting import FeatureLoss, LossWeighting

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
    "mmpareto": weighting.mmpareto,
    "nash_mtl": weighting.nash_mtl,
    "pcgrad": weighting.pcgrad,
    "rgw": weighting.random_gradients,
    "sum": weighting.sum_of_tasks,
    "upgrad": weighting.upgrad,
}
MODULATORS: Mapping[str, Callable[..., optax.GradientTransformation]] = {
    "agm": weighting.agm,
    "ogm_ge": weighting.ogm_ge,
}
FEATURE_LOSSES: Mapping[str, Callable[..., FeatureLoss]] = {"pmr": weighting.pmr}
WEIGHTINGS: Mapping[str, Callable[..., LossWeighting | optax.GradientTransformation | FeatureLoss]]
WEIGHTINGS = {**LOSS_WEIGHTINGS, **AGGREGATORS, **MODULATORS, **FEATURE_LOSSES}
# Options that the rest of a config says.
GIVEN = ("classes", "modalities", "target", "tasks", "weights")
# Of aggregators: gradients one after the other. Of all but modulators: each modality alone is a
# further task.
ONE_BY_ONE, ALONE = "one_by_one", "alone"
EXTRA: Mapping[str, type] = {ONE_BY_ONE: bool, ALONE: bool}
