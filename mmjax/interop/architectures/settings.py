"""config.json as the architectures read it: defaults filled in, names in our words."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from mmjax.backbones.stack import check_heads
from mmjax.errors import UserError

# From the names of transformers to those of mmjax.nn.layers.options.ACTIVATIONS.
ACTIVATIONS = {
    "gelu": "gelu_exact",
    "gelu_new": "gelu",
    "gelu_pytorch_tanh": "gelu",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}

# The sizes of BERT-base and its kind, and of ViT-B and its kind.
BASE = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
BASE_VIT = BASE | {"num_channels": 3, "image_size": 224}

# The most that a number may be: published models stay below a tenth. What is built takes time and
# memory by these numbers before any tensor is read.
MAX_LAYERS, MOST = 2**10, 2**20
FRACTIONS = ("mlp_ratio",)  # may be broken numbers, though they are whole ones by default
OF_LAYERS = ("num_hidden_layers", "encoder_layers", "decoder_layers", "layers", "depths")
OF_PICTURES = ("image_size", "patch_size", "patch_stride")  # which may be rows and columns


def settings(config: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> SimpleNamespace:
    """The entries of a config that `defaults` names: a config.json holds only what differs.

    Raises:
        UserError: one is of another type than its default: a number for a number (or two for a size
            of OF_PICTURES), a word for a word; or over MOST. Where the default is None, anything is
            taken.
    """
    found = {**defaults, **{key: config[key] for key in defaults if key in config}}
    for key, value in found.items():
        default = defaults[key]
        kind = (int, float) if type(default) in (int, float) else type(default)
        two = key in OF_PICTURES and are_two(value)
        wrong = isinstance(value, bool) and not isinstance(default, bool)
        wrong |= type(default) is int and type(value) is float and key not in FRACTIONS
        if default is not None and (wrong or not (isinstance(value, kind) or two)):
            raise UserError(
                f"{where}: config.json has {key}={value!r}, where {default!r} would be usual:"
                " is the file damaged, or of another model?"
            )
        numbers = value if isinstance(value, (list, tuple)) else (value,)
        most = MAX_LAYERS if key in OF_LAYERS else MOST
        if any(type(number) in (int, float) and not abs(number) <= most for number in numbers):
            raise UserError(
                f"{where}: config.json has {key}={value!r}, over {most}: is the file damaged?"
            )
    return SimpleNamespace(**found)


def section(config: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    """A nested part of config.json; {} if it is left out."""
    part = config.get(name) or {}
    if not isinstance(part, Mapping):
        raise UserError(f"{where}: {name!r} in config.json is not a table: is the file damaged?")
    return part


def activation(name: str, where: str) -> str:
    """Our name of an activation.

    Raises:
        UserError: mmjax does not have it.
    """
    if name not in ACTIVATIONS:
        raise UserError(
            f"{where}: activation {name!r} in config.json is not one of"
            f" {', '.join(sorted(ACTIVATIONS))}"
        )
    return ACTIVATIONS[name]


def are_two(value: Any) -> bool:
    """Whether it is a list of rows and columns."""
    listed = isinstance(value, (list, tuple)) and len(value) == 2
    return listed and all(type(number) is int and number > 0 for number in value)


def pair(size: Any, where: str = "a size in config.json") -> tuple[int, int]:
    """A side, or rows and columns -> rows and columns.

    Raises:
        UserError: it is neither; `where` is what the message starts with. What `settings` gives,
            where the default is a number, is one of them.
    """
    if type(size) is int:
        return size, size
    if not are_two(size):
        raise UserError(f"{where}: {size!r} is not a side, nor rows and columns")
    return size[0], size[1]


def transformer_sizes(config: Any, where: str) -> dict[str, Any]:
    """What a backbone with a transformer is made with, by the names of transformers' config.json.

    Raises:
        UserError: heads that the width does not split into, or an activation that mmjax does not
            have.
    """
    check_heads(where, config.hidden_size, config.num_attention_heads)
    return {
        "width": config.hidden_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "mlp_width": config.intermediate_size,
        "activation": activation(config.hidden_act, where),
        "epsilon": config.layer_norm_eps,
    }


def patch_sizes(config: Any) -> dict[str, tuple[int, int]]:
    """The sides of a patch, and the grid of whole ones in an image."""
    sides, size = pair(config.patch_size), pair(config.image_size)
    return {"patch_size": sides, "grid": (size[0] // sides[0], size[1] // sides[1])}
