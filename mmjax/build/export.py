"""A pretrained encoder that was trained in a workdir -> a checkpoint of its own library."""

from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mmjax.build import make_model, pretrained, tuning
from mmjax.build.tables import lookup
from mmjax.interop.checkpoint import copy_beside, open_checkpoint, write_weights
from mmjax.interop.encoding.encoder import part_of
from mmjax.interop.layout import below
from mmjax.interop.recognition import architecture_of
from mmjax.interop.variables import names_in_file, to_tensors
from mmjax.types import UserError


def export(
    config: ConfigDict, workdir: Path, variables: Any, name: str | None, directory: Path
) -> list[str]:
    """Writes the encoder of a modality in the layout that it came in.

    What LoRA added is folded into the kernels. If the encoder is a part of a model, such as the
    image half of CLIP, the rest is taken from where it came, if that is still there.

    Args:
        config, workdir, variables: of the run.
        name: the modality; None: the only one whose encoder is pretrained.
        directory: where to; is made.

    Returns:
        The names of the tensors that the original has and the copy has not.

    Raises:
        UserError: no such encoder, or it was tuned by modules that its library does not have.
    """
    known = pretrained.chosen(config)
    if not known:
        raise UserError(f"{workdir}: none of its encoders is pretrained: there is nothing to give")
    if name is None and len(known) > 1:
        raise UserError(f"{workdir}: say which encoder with --encoder: {' or '.join(known)}")
    name = known[0] if name is None else name
    lookup(dict.fromkeys(known), name, "--encoder")
    how = tuning.tuning(config)
    params = variables["params"]
    if how.key and how.key in params:
        if not hasattr(how, "merge"):
            raise UserError(
                f"{workdir} was tuned with {config.tuning.name!r}, which cannot be folded into the"
                " original's weights: only 'lora' can"
            )
        params = how.merge(params)
    checkpoint = pretrained.checkpoints(config, workdir)[name]
    architecture = architecture_of(checkpoint, np.float32)
    part = part_of(architecture, make_model.kind_of(config, name), f"config.encoders.{name}")
    rules = below(architecture.rules, part.path) if part.path else architecture.rules
    trees = {**variables, "params": params}
    own = {
        collection: tree[f"encoders_{name}"]["tower"]
        for collection, tree in trees.items()
        if f"encoders_{name}" in tree
    }
    found = to_tensors(rules, own, names_in_file(checkpoint, architecture))
    named = {architecture.library_name(name): name for name in checkpoint.weights}
    named.pop("", None)
    lacking = sorted(named.keys() - found.keys())
    origin = Path(config.encoders[name].path).expanduser()
    if lacking and origin.exists():
        rest = open_checkpoint(origin).weights
        there = [other for other in lacking if named[other] in rest]
        found |= {other: np.asarray(rest[named[other]].read()) for other in there}
    directory.mkdir(parents=True, exist_ok=True)
    copy_beside(checkpoint.path, directory)
    write_weights(found, directory)
    return sorted(named.keys() - found.keys())
