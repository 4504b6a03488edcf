"""Low-rank adaptation of layers (LoRA: Hu et al. 2021, https://arxiv.org/abs/2106.09685)."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float

from mmjax.errors import UserError
from mmjax.nn.layers.conv import Conv, convolve
from mmjax.nn.layers.dense import Dense
from mmjax.tuning.paths import ENCODERS, NOT_ENCODERS, Sites, Tree, at, chosen, join

# What is fused in one layer, in the order of its features.
PARTS = {"qkv": ("q", "k", "v"), "kv": ("k", "v")}
WHOLE = ""


class Kernel(NamedTuple):
    """The shape of a layer's kernel, [D F] or [height width D F], and the layer's name."""

    shape: tuple[int, ...]
    layer: str


@dataclasses.dataclass(frozen=True)
class Lora:
    """y + alpha / rank * (x A) B beside each chosen layer y = x W + b, with B = 0 at first.

    A Dense layer has A [D r] and B [r F]; a convolution of pictures has A as a convolution of the
    same size to r channels, and B [r F] after it.

    Attributes:
        rank: r.
        alpha: see above.
        where: a regular expression on the paths of layers.
        dropout: share of x dropped on the way to A (random stream "dropout").
        parts: of layers that fuse queries, keys and values, those that are adapted, each with an A
            and a B of its own; the paper's are ("q", "v"). (): such a layer is one matrix.
        also: regular expressions on the paths of the model's own parameters that train too.
    """

    rank: int = 8
    alpha: float = 16.0
    where: str = ENCODERS
    dropout: float = 0.0
    parts: tuple[str, ...] = ()
    also: tuple[str, ...] = (NOT_ENCODERS,)

    key = "lora"
    what = "Dense layer or convolution"

    @property
    def trained(self) -> tuple[str, ...]:
        """Patterns of the model's own parameters that train."""
        return self.also

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return self.alpha / self.rank

    def site(self, module: nn.Module, method: str, args: tuple, output: Any) -> Any:
        """(path, Kernel) of a layer's call; None of any other."""
        del output
        if method != "__call__" or not isinstance(module, (Dense, nn.Dense, Conv)):
            return None
        sides = module.sides if isinstance(module, Conv) else ()
        shape = (*sides, args[0].shape[-1], module.features)
        return "/".join(module.path), Kernel(shape, (module.name or ""))

    def choose(self, found: Sites) -> Sites:
        """Of all layers those that are adapted.

        Raises:
            UserError: there is none, or it has none of the parts.
        """
        names = chosen(list(found), self.where, self.what)
        for part in self.parts:
            if not any(part in PARTS.get(found[name].layer, ()) for name in names):
                raise UserError(
                    f"tuning: no layer that {self.where!r} matches has a part {part!r}: parts are"
                    f" of layers named {', '.join(f'{k} {v}' for k, v in PARTS.items())}"
                )
        return {name: found[name] for name in names if self._columns(*found[name][::-1])}

    def create(self, key: Array, kernel: Kernel) -> Tree:
        """A, normal with variance 1 / (inputs of the layer), and B = 0, for each part."""
        made = {}
        columns = self._columns(kernel.layer, kernel.shape)
        for part, (_, features) in columns.items():
            init = nn.initializers.lecun_normal()
            a = init(jax.random.fold_in(key, len(made)), (*kernel.shape[:-1], self.rank))
            made[part] = {"a": a, "b": jnp.zeros((self.rank, features))}
        return made.get(WHOLE, made)

    def _columns(self, layer: str, shape: tuple[int, ...]) -> dict[str, tuple[int, int]]:
        """The first feature, and how many, of each part that is adapted."""
        fused = PARTS.get(layer, ())
        if not self.parts or not fused:
            return {WHOLE: (0, shape[-1])}
        size = shape[-1] // len(fused)
        return {part: (fused.index(part) * size, size) for part in self.parts if part in fused}

    def interceptor(self, params: Tree, extra: Tree, *, deterministic: bool) -> Any:
        """For `flax.linen.intercept_methods`: adds to the outputs of the layers in `extra`."""
        del params

        def intercept(next_fun, args, kwargs, context):
            y = next_fun(*args, **kwargs)
            module = context.module
            if context.method_name != "__call__" or not isinstance(module, (Dense, nn.Dense, Conv)):
                return y
            factors = at(extra, "/".join(module.path))
            if factors is None:
                return y
            x = args[0].astype(y.dtype)
            if self.dropout and not deterministic:
                keep = 1 - self.dropout
                kept = jax.random.bernoulli(module.make_rng("dropout"), keep, x.shape)
                x = jnp.where(kept, x / keep, 0)
            return y + self._delta(module, x, factors, y.shape[-1])

        return intercept

    def _delta(self, module: nn.Module, x: Array, factors: Tree, features: int) -> Array:
        factors = {WHOLE: factors} if "a" in factors else factors
        deltas = []
        for part, (start, size) in self._columns((module.name or ""), (features,)).items():
            a, b = (factors[part][name].astype(x.dtype) for name in ("a", "b"))
            hidden = _convolved(module, x, a) if isinstance(module, Conv) else _product(x, a)
            delta = self.scale * _product(hidden, b)
            before = [(0, 0)] * (delta.ndim - 1)
            deltas.append(jnp.pad(delta, [*before, (start, features - start - size)]))
        return sum(deltas[1:], deltas[0])

    def merge(self, params: Tree) -> dict[str, Any]:
        """The parameters of the model alone that computes the same: A B are in its kernels."""
        own = {name: value for name, value in params.items() if name != self.key}
        return self._added(own, params[self.key], self.scale)

    def unmerge(self, params: Tree, extra: Tree) -> dict[str, Any]:
        """The inverse of `merge`, to rounding.

        Args:
            params: of the model alone, merged.
            extra: what was merged, `params["lora"]` before.
        """
        return self._added(params, extra, -self.scale) | {self.key: extra}

    def _added(self, params: Tree, extra: Tree, scale: float) -> dict[str, Any]:
        flat, factors = flatten_dict(params, sep="/"), flatten_dict(extra, sep="/")
        for name in [name for name in factors if name.split("/")[-1] == "a"]:
            path = name.rpartition("/")[0]
            layer, part = path, WHOLE
            if join(path, "kernel") not in flat:
                layer, _, part = path.rpartition("/")
            kernel = flat[join(layer, "kernel")]
            columns = self._columns(layer.rpartition("/")[2], kernel.shape)
            start, size = columns[part]
            product = factors[name] @ factors[join(path, "b")]
            flat[join(layer, "kernel")] = kernel.at[..., start : start + size].add(scale * product)
        return unflatten_dict(flat, sep="/")


def _product(x: Float[Array, "*rows D"], matrix: Float[Array, "D F"]) -> Float[Array, "*rows F"]:
    flat = x.reshape(-1, x.shape[-1]) @ matrix
    return flat.reshape(*x.shape[:-1], matrix.shape[-1])


def _convolved(module: Conv, x: Array, kernel: Array) -> Array:
    padding = module.padding
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(x.shape[1:3], module.sides, module.strides, padding)
    return convolve(x, kernel, module.strides, tuple(tuple(pair) for pair in padding))
