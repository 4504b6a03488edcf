"""How losses weigh against each other: within a task, and tasks among each other.

Within a task a weight is a number or a function of the step (`schedules`). Among tasks it is a
`LossWeighting` (`losses`), whose weights may follow the losses, with one backward pass for all
tasks; or a gradient aggregator (`gradients`), an optax transformation whose input has an axis of
tasks in front, which begins the chain of an optimizer: `optax.chain(pcgrad(), optax.adamw(1e-3))`.
A `FeatureLoss` is one more loss, of what encoders put out, and has a state (`modalities`).
"""

from mmjax.train.weighting.contract import FeatureLoss as FeatureLoss
from mmjax.train.weighting.contract import LossWeighting as LossWeighting
from mmjax.train.weighting.contract import scaled as scaled
from mmjax.train.weighting.gradients.alignment import aligned_mtl as aligned_mtl
from mmjax.train.weighting.gradients.alignment import imtl_g as imtl_g
from mmjax.train.weighting.gradients.bargaining import fairgrad as fairgrad
from mmjax.train.weighting.gradients.bargaining import nash_mtl as nash_mtl
from mmjax.train.weighting.gradients.cones import dual_projection as dual_projection
from mmjax.train.weighting.gradients.cones import upgrad as upgrad
from mmjax.train.weighting.gradients.magnitudes import db_mtl as db_mtl
from mmjax.train.weighting.gradients.magnitudes import gradnorm as gradnorm
from mmjax.train.weighting.gradients.means import mean_of_tasks as mean_of_tasks
from mmjax.train.weighting.gradients.means import random_gradients as random_gradients
from mmjax.train.weighting.gradients.means import sum_of_tasks as sum_of_tasks
from mmjax.train.weighting.gradients.minimum_norm import cagrad as cagrad
from mmjax.train.weighting.gradients.minimum_norm import mgda as mgda
from mmjax.train.weighting.gradients.projections import gradvac as gradvac
from mmjax.train.weighting.gradients.projections import pcgrad as pcgrad
from mmjax.train.weighting.gradients.signs import graddrop as graddrop
from mmjax.train.weighting.losses.fixed import fixed as fixed
from mmjax.train.weighting.losses.fixed import random_weights as random_weights
from mmjax.train.weighting.losses.fixed import scheduled as scheduled
from mmjax.train.weighting.losses.learned import imtl_l as imtl_l
from mmjax.train.weighting.losses.learned import uncertainty as uncertainty
from mmjax.train.weighting.losses.rates import dwa as dwa
from mmjax.train.weighting.losses.rates import famo as famo
from mmjax.train.weighting.losses.scalarizations import gls as gls
from mmjax.train.weighting.losses.scalarizations import stch as stch
from mmjax.train.weighting.modalities.blending import gradient_blending as gradient_blending
from mmjax.train.weighting.modalities.modulation import agm as agm
from mmjax.train.weighting.modalities.modulation import ogm_ge as ogm_ge
from mmjax.train.weighting.modalities.pareto import mmpareto as mmpareto
from mmjax.train.weighting.modalities.prototypes import pmr as pmr
from mmjax.train.weighting.schedules import Weight as Weight
from mmjax.train.weighting.schedules import cosine as cosine
from mmjax.train.weighting.schedules import exponential as exponential
from mmjax.train.weighting.schedules import linear as linear
from mmjax.train.weighting.schedules import weight_at as weight_at
