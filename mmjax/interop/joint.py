"""Published models of one space, taken apart: the projection of each kind, temperature and bias.

A model that trains has its parts where `mmjax.models.aligned.AlignedModel` has them; `to_run` and
`from_run` move the variables there and back.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.backbones.dual.dual import KINDS, DualEncoder
from mmjax.interop.architecture import Architecture
from mmjax.interop.weights.layout import nested
from mmjax.interop.weights.variables import expected_shapes, flat

Variables = Mapping[str, Any]


class AsItIs(nn.Module):
    """The pooled vector of a backbone is the embedding; no parameters."""

    @nn.compact
    def __call__(self, x: Float[Array, "B D"]) -> Float[Array, "B D"]:
        return x


class Projection(NamedTuple):
    """module: the pooled vector [B D] -> [B E]; path: of its parameters in the whole, or ""."""

    module: nn.Module
    path: str = ""


class Joint(NamedTuple):
    """What a model of one space has behind its backbones.

    Attributes:
        projections: by kind of input.
        bias: whether logits have one: logits = cosine exp(logit_scale) + logit_bias.
        asking: the kinds of input with a scale of their own for what they ask (CLAP's texts).
    """

    projections: Mapping[str, Projection]
    bias: bool
    asking: tuple[str, ...]


def joint_of(architecture: Architecture) -> Joint | None:
    """What is behind the backbones of a model of one space; None for a model of another kind."""
    module = architecture.module
    if not isinstance(module, DualEncoder):
        return None
    projections = {}
    for name, kind in KINDS.items():
        part = getattr(module, name)
        if part is not None and part.projection is None:
            projections[kind] = Projection(AsItIs())
        elif part is not None:
            projections[kind] = Projection(part.projection, f"{name}/projection")
    return Joint(projections, module.bias, ("text",) if module.text_scale else ())


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
    found = {name: name for name in ("logit_scale", "logit_bias")[: 1 + joint.bias]}
    for name, kind in names.items():
        found[f"encoders_{name}/backbone"] = architecture.parts[kind].path
        if joint.projections[kind].path:
            found[f"projections_{name}"] = joint.projections[kind].path
        if kind in joint.asking:
            found[f"logit_scale_{name}"] = f"logit_scale_{kind}"
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
