"""Published models of one space, taken apart: the projection of each kind, temperature and bias.

A model that trains has its parts where `mmjax.models.aligned.AlignedModel` has them; `to_run` and
`from_run` move the variables there and back.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.backbones.dual.big_vision import TwoTowers
from mmjax.backbones.dual.clap import ClapTower, Projection
from mmjax.backbones.dual.dual import DualTower
from mmjax.backbones.dual.open_clip import FeatureTower, OpenClip
from mmjax.backbones.vision.naflex import NaflexDual
from mmjax.interop.architecture import Architecture
from mmjax.interop.weights.layout import nested
from mmjax.interop.weights.variables import expected_shapes, flat
from mmjax.nn.layers.dense import Dense

Variables = Mapping[str, Any]


class AsItIs(nn.Module):
    """The pooled vector of a tower is the embedding; no parameters."""

    @nn.compact
    def __call__(self, x: Float[Array, "B D"]) -> Float[Array, "B D"]:
        return x


class Projected(NamedTuple):
    """module: the pooled vector [B D] -> [B E]; path: of its parameters in the whole, or ""."""

    module: nn.Module
    path: str = ""


class Joint(NamedTuple):
    """What a model of one space has behind its towers.

    Attributes:
        projections: by kind of input.
        scale: the name of the logarithm of the factor of cosines. logits = cosine exp(scale) + bias
        bias: the name of that; "" for none.
        scales: by kind of input, the name of a scale of its own for what it asks (CLAP's texts).
    """

    projections: Mapping[str, Projected]
    scale: str
    bias: str = ""
    scales: Mapping[str, str] = {}


def _dual(module: DualTower) -> Joint:
    def projected(name: str) -> Projected:
        if module.projection is None:
            return Projected(AsItIs())
        layer = Dense(module.projection, use_bias=False, dtype=module.dtype)
        return Projected(layer, name)

    both = {"image": projected("visual_projection"), "text": projected("text_projection")}
    return Joint(both, "logit_scale", "logit_bias" if module.bias else "")


def _naflex(module: NaflexDual) -> Joint:
    del module
    both = {kind: Projected(AsItIs()) for kind in ("image", "text")}
    return Joint(both, "logit_scale", "logit_bias")


def _clap(module: ClapTower) -> Joint:
    both = {
        kind: Projected(
            Projection(module.projection, module.activation, module.dtype), f"{kind}_projection"
        )
        for kind in ("audio", "text")
    }
    return Joint(both, "logit_scale_a", scales={"text": "logit_scale_t"})


def _features(tower: FeatureTower, path: str) -> Projected:
    if tower.width is None:
        return Projected(AsItIs())
    return Projected(Dense(tower.width, tower.bias, dtype=tower.dtype), f"{path}/projection")


def _open_clip(module: OpenClip | TwoTowers, scale: str, bias: str) -> Joint:
    both = {"image": _features(module.vision, "vision"), "text": _features(module.text, "text")}
    return Joint(both, scale, bias if module.bias else "")


KINDS: Mapping[type, Callable[[Any], Joint]] = {
    ClapTower: _clap,
    DualTower: _dual,
    NaflexDual: _naflex,
    OpenClip: lambda module: _open_clip(module, "logit_scale", "logit_bias"),
    TwoTowers: lambda module: _open_clip(module, "t", "b"),
}


def joint_of(architecture: Architecture) -> Joint | None:
    """What is behind the towers of a model of one space; None for a model of another kind."""
    make = KINDS.get(type(architecture.module))
    return None if make is None else make(architecture.module)


def width_of(architecture: Architecture) -> int:
    """E of the embeddings of a model of one space."""
    run = architecture.module.init_with_output
    found, _ = jax.eval_shape(run, jax.random.PRNGKey(0), **architecture.example)
    return found["text_embeds"].shape[-1]


def moves(architecture: Architecture, joint: Joint, names: Mapping[str, str]) -> dict[str, str]:
    """From the place in a model that trains to that in the whole published one.

    Args:
        architecture, joint: of the model.
        names: from the modalities of the run to the kinds of the model.
    """
    found = {"logit_scale": joint.scale} | ({"logit_bias": joint.bias} if joint.bias else {})
    for name, kind in names.items():
        found[f"encoders_{name}/tower"] = architecture.parts[kind].path
        if joint.projections[kind].path:
            found[f"projections_{name}"] = joint.projections[kind].path
        if kind in joint.scales:
            found[f"logit_scale_{name}"] = joint.scales[kind]
    return found


def to_run(variables: Variables, places: Mapping[str, str]) -> dict[str, Any]:
    """Variables of a published model as the model that trains has them; scalars have no axis."""
    found = {}
    for path, leaf in flat(variables).items():
        collection, _, own = path.partition("/")
        for ours, theirs in places.items():
            if own == theirs:
                found[f"{collection}/{ours}"] = jnp.reshape(leaf, ())
            elif own.startswith(f"{theirs}/"):
                found[f"{collection}/{ours}/{own.removeprefix(f'{theirs}/')}"] = leaf
    return nested(found)


def from_run(
    variables: Variables, places: Mapping[str, str], architecture: Architecture
) -> dict[str, Any]:
    """The inverse of `to_run`; what else the model that trained has is left out."""
    leaves, found = flat(variables), {}
    for path, shape in expected_shapes(architecture).items():
        collection, _, own = path.partition("/")
        for ours, theirs in places.items():
            if own == theirs or own.startswith(f"{theirs}/"):
                leaf = leaves[f"{collection}/{ours}{own.removeprefix(theirs)}"]
                found[path] = jnp.reshape(leaf, shape)
    return nested(found)
