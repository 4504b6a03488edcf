"""config.tuning and config.optimizer.freeze -> the model with what is tuned, and what trains."""

import re
from typing import Any

import flax.linen as nn
from ml_collections import ConfigDict

from mmjax.errors import UserError
from mmjax.factory import make_model
from mmjax.factory.checkpoints import joint, pretrained
from mmjax.factory.tables.names import construct, lookup
from mmjax.tuning import tuned
from mmjax.tuning.adapter import Adapter
from mmjax.tuning.lora import PARTS, Lora
from mmjax.tuning.prefix import Prefix
from mmjax.tuning.tokens import Prompt
from mmjax.tuning.weights import BitFit, Full, LinearProbe

TUNINGS = {
    "adapter": Adapter,
    "bitfit": BitFit,
    "full": Full,
    "linear_probe": LinearProbe,
    "lora": Lora,
    "prefix": Prefix,
    "prompt": Prompt,
}
WHERE = "config.tuning"
TUPLES = ("also", "frozen", "parts")


def tuning(config: ConfigDict) -> Any:
    """The tuning of a config; without `config.tuning` all parameters train.

    Raises:
        UserError: an unknown name, option or modality, or a pattern that is none.
    """
    spec = config.get("tuning", ConfigDict({"name": "full"}))
    for key in TUPLES:
        if key in spec and not isinstance(spec[key], (tuple, list)):
            raise UserError(f"{WHERE}.{key}={spec[key]!r}: give a tuple such as ({spec[key]!r},)")
    spec = ConfigDict({k: tuple(v) if k in TUPLES else v for k, v in spec.items()})
    made = construct(TUNINGS, spec, WHERE)
    for name in spec.get("frozen", ()):
        lookup(dict.fromkeys(make_model.modalities(config)), name, f"{WHERE}.frozen")
    for part in spec.get("parts", ()):
        lookup(dict.fromkeys(p for parts in PARTS.values() for p in parts), part, f"{WHERE}.parts")
    for where, patterns in patterns_of(config).items():
        for pattern in patterns:
            check_pattern(pattern, where)
    return made


def patterns_of(config: Any) -> dict[str, tuple[str, ...]]:
    """The regular expressions on paths in a config (or a plain one), by where they stand."""
    spec = config.get("tuning") or {}
    return {
        f"{WHERE}.where": (spec.get("where", ""),),
        f"{WHERE}.also": spec.get("also", ()),
        "config.optimizer.freeze": config["optimizer"].get("freeze", ()),
    }


def check_pattern(pattern: str, where: str) -> None:
    """Raises a UserError for what is no regular expression; `where` is its config key."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise UserError(f"{where}: {pattern!r} is no regular expression: {error}") from error


def frozen(config: ConfigDict) -> tuple[str, ...]:
    """Regular expressions on paths of parameters that do not train, whatever the tuning."""
    taught = (f"^teachers_{name}/" for name in make_model.teachers(config))
    return (*config.optimizer.freeze, *taught, *pretrained.frozen(config), *joint.frozen(config))


def model(config: ConfigDict, **given: Any) -> nn.Module:
    """The model of a config (see make_model.model), and its tuning around it if there is any."""
    plain = make_model.model(config, **given)
    how, freeze = tuning(config), frozen(config)
    return plain if how == Full() and not freeze else tuned.Tuned(plain, how, freeze)


def trains(config: ConfigDict, params: Any) -> Any:
    """Which parameters of the tuned model train, in the form of the parameters; None: all."""
    how, freeze = tuning(config), frozen(config)
    if how == Full() and not freeze:
        return None
    return tuned.trains(params, how, freeze)
