"""Where each parameter of ours lies in a file of another library, and how to turn it, both ways.

A layout is a list of rules. Linear weights are (out, in) there and kernels [in out] here; the three
projections of an attention are one here; a convolution that cuts patches is a dense layer here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Load = Callable[..., np.ndarray]
Save = Callable[[np.ndarray], Sequence[np.ndarray]]


class Rule(NamedTuple):
    """One parameter.

    ours: its path in our tree, collection first: "params/vision/patches/projection/kernel".
    theirs: the names in the file that it is made of.
    load: their arrays, in the order of `theirs` -> ours.
    save: ours -> theirs; the inverse of load.
    """

    ours: str
    theirs: tuple[str, ...]
    load: Load
    save: Save


Rules = list[Rule]


def same(ours: str, theirs: str, *, collection: str = "params") -> Rules:
    """Alike in both."""
    return [Rule(f"{collection}/{ours}", (theirs,), lambda x: x, lambda x: (x,))]


def reshaped(ours: str, theirs: str, shape: Sequence[int], given: Sequence[int]) -> Rules:
    """Of `shape` here and of `given` there, in the same order."""
    here, there = tuple(shape), tuple(given)
    return [
        Rule(f"params/{ours}", (theirs,), lambda x: x.reshape(here), lambda x: (x.reshape(there),))
    ]


def transposed(ours: str, theirs: str, axes: Sequence[int]) -> Rules:
    """Ours is theirs with its axes in the order `axes`."""
    back = tuple(np.argsort(axes))
    return [
        Rule(
            f"params/{ours}",
            (theirs,),
            lambda x: x.transpose(axes),
            lambda x: (x.transpose(back),),
        )
    ]


def matrix(ours: str, theirs: str) -> Rules:
    """A dense layer without a bias; `theirs` is the name of the weight itself."""
    return transposed(f"{ours}/kernel", theirs, (1, 0))


def dense(ours: str, theirs: str, *, bias: bool = True) -> Rules:
    """A linear layer."""
    rules = matrix(ours, f"{theirs}.weight")
    return rules + same(f"{ours}/bias", f"{theirs}.bias") if bias else rules


def norm(ours: str, theirs: str) -> Rules:
    """A layer norm."""
    return same(f"{ours}/scale", f"{theirs}.weight") + same(f"{ours}/bias", f"{theirs}.bias")


def side_by_side(
    ours: str, theirs: Sequence[str], widths: Sequence[int], biased: Sequence[bool]
) -> Rules:
    """Several linear layers of one input as one.

    Args:
        ours, theirs: the layer, and the layers it is made of.
        widths: of their outputs.
        biased: which of them have a bias; the others get zeros, which are not given back. All
            False: ours has none either.
    """
    cuts = np.cumsum(widths)[:-1]

    def save_kernel(x):
        return [part.T for part in np.split(x, cuts, axis=1)]

    rules = [
        Rule(
            f"params/{ours}/kernel",
            tuple(f"{name}.weight" for name in theirs),
            lambda *parts: np.concatenate([part.T for part in parts], axis=1),
            save_kernel,
        )
    ]
    if not any(biased):
        return rules

    def load_bias(*given):
        rest = iter(given)
        zeros = [np.zeros(width, given[0].dtype) for width in widths]
        parts = [next(rest) if has else z for has, z in zip(biased, zeros, strict=True)]
        return np.concatenate(parts)

    def save_bias(x):
        return [part for part, has in zip(np.split(x, cuts), biased, strict=True) if has]

    names = tuple(f"{name}.bias" for name, has in zip(theirs, biased, strict=True) if has)
    return [*rules, Rule(f"params/{ours}/bias", names, load_bias, save_bias)]


def qkv(
    ours: str,
    theirs: Sequence[str],
    width: int,
    *,
    biased: Sequence[bool] = (True, True, True),
) -> Rules:
    """Three projections of D -> D as the fused one of `mmjax.nn.layers.attention.SelfAttention`."""
    return side_by_side(ours, theirs, (width,) * 3, biased)


def fused_qkv(ours: str, theirs: str, *, bias: bool = True) -> Rules:
    """A projection that is fused there, too: NAME_weight [3D D] and NAME_bias [3D]."""
    rules = matrix(ours, f"{theirs}_weight")
    return rules + same(f"{ours}/bias", f"{theirs}_bias") if bias else rules


def patches(
    ours: str, theirs: str, sides: Sequence[int], channels: int = 3, *, bias: bool = True
) -> Rules:
    """A convolution with the stride of its size -> a dense layer over the cells of a patch.

    Args:
        ours, theirs: the layers.
        sides: of a patch: (rows, columns), for clips (frames, rows, columns).
        channels: of the input.
        bias: whether there is one.
    """
    last = len(sides)
    order = (*range(2, 2 + last), 1, 0)

    def load(x):
        return x.transpose(order).reshape(-1, x.shape[0])

    def save(x):
        back = (last + 1, last, *range(last))
        return (x.reshape(*sides, channels, x.shape[-1]).transpose(back),)

    rules = [Rule(f"params/{ours}/kernel", (f"{theirs}.weight",), load, save)]
    return rules + same(f"{ours}/bias", f"{theirs}.bias") if bias else rules


def convolution(ours: str, theirs: str, axes: int, *, bias: bool = True) -> Rules:
    """OI... -> ...IO, over 1, 2 or 3 axes."""
    rules = transposed(f"{ours}/kernel", f"{theirs}.weight", (*range(2, 2 + axes), 1, 0))
    return rules + same(f"{ours}/bias", f"{theirs}.bias") if bias else rules


def prefixed(rules: Iterable[Rule], ours: str = "", theirs: str = "") -> Rules:
    """The same one level down: `ours` and `theirs` are put in front, with their separators."""

    def path(name: str) -> str:
        collection, _, rest = name.partition("/")
        return f"{collection}/{ours}{rest}"

    return [
        rule._replace(ours=path(rule.ours), theirs=tuple(theirs + name for name in rule.theirs))
        for rule in rules
    ]


def below(rules: Iterable[Rule], path: str) -> Rules:
    """The rules of the parameters under a path of ours, with the path cut off."""
    found = []
    for rule in rules:
        collection, _, rest = rule.ours.partition("/")
        if rest.startswith(f"{path}/"):
            found.append(rule._replace(ours=f"{collection}/{rest.removeprefix(f'{path}/')}"))
    return found


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"a/b": x} -> {"a": {"b": x}}."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, last = path.split("/")
        node = tree
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = value
    return tree
