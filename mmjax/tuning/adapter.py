"""Bottleneck adapters (Houlsby et al. 2019, https://arxiv.org/abs/1902.00751)."""

import dataclasses
import re
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from mmjax.nn.layers.options import activation
from mmjax.nn.layers.transformer import Block
from mmjax.tuning.paths import ENCODERS, NOT_ENCODERS, Sites, Tree, at, chosen, join

BRANCH = "_branch"  # the method of Block that runs each of its branches


class Width(NamedTuple):
    """D of what is adapted; whether it is a Block's branch."""

    size: int
    is_branch: bool


@dataclasses.dataclass(frozen=True)
class Adapter:
    """y + scale * up(activation(down(y))) after each chosen branch, with up = 0 at first.

    Branches are those of every `mmjax.nn.layers.transformer.Block`, before they join the residual
    stream:
    BLOCK/attention, BLOCK/cross and BLOCK/mlp. If `where` finds none, it must match the whole path
    of modules that give one array; there the adapter has no biases, so what is zero stays zero.

    Attributes:
        bottleneck: width between down and up.
        where: a regular expression on the paths of branches.
        parallel: down reads what the branch reads instead of what it gives (He et al. 2022,
            https://arxiv.org/abs/2110.04366); of modules the first argument, as wide as the output.
        scale: see above; He et al. take 4 for parallel ones.
        activation: a name in `mmjax.nn.layers.options.ACTIVATIONS`.
        also: regular expressions on the paths of the model's own parameters that train too.
    """

    bottleneck: int = 16
    where: str = ENCODERS
    parallel: bool = False
    scale: float = 1.0
    activation: str = "gelu"
    also: tuple[str, ...] = (NOT_ENCODERS,)

    key = "adapter"
    what = "branch of a transformer's block, nor the whole path of a module"

    @property
    def trained(self) -> tuple[str, ...]:
        """Patterns of the model's own parameters that train."""
        return self.also

    def site(self, module: nn.Module, method: str, args: tuple, output: Any) -> Any:
        """(path, Width) of a branch, or of a module that `where` matches; None of any other."""
        name = "/".join(module.path)
        if isinstance(module, Block) and method == BRANCH:
            return join(name, args[2]), Width(output.shape[-1], True)
        if method != "__call__" or not isinstance(output, jax.Array) or output.ndim < 2:
            return None
        whole = re.fullmatch(self.where, name) and jnp.issubdtype(output.dtype, jnp.floating)
        return (name, Width(output.shape[-1], False)) if whole else None

    def create(self, key: Array, width: Width) -> Tree:
        """down [D bottleneck] and up [bottleneck D] = 0, under what it is that they adapt."""
        kernel = nn.initializers.lecun_normal()(key, (width.size, self.bottleneck))
        made = {"down": {"kernel": kernel}, "up": {"kernel": jnp.zeros_like(kernel.T)}}
        if width.is_branch:
            for name, size in (("down", self.bottleneck), ("up", width.size)):
                made[name]["bias"] = jnp.zeros(size)
        # A branch has the path of the module that it runs.
        return {"branch" if width.is_branch else "module": made}

    def choose(self, found: Sites) -> Sites:
        """Of all sites those that are adapted: branches, or modules where no branch matches."""
        names = chosen(list(found), self.where, self.what)
        branches = [name for name in names if found[name].is_branch]
        return {name: found[name] for name in branches or names}

    def interceptor(self, params: Tree, extra: Tree, *, deterministic: bool) -> Any:
        """For `flax.linen.intercept_methods`: adapts the branches and modules in `extra`."""
        del params, deterministic

        def intercept(next_fun, args, kwargs, context):
            name, method = "/".join(context.module.path), context.method_name
            if isinstance(context.module, Block) and method == BRANCH:
                x, branch, which, *rest = args
                weights = at(extra, join(name, which, "branch"))
                if weights is None:
                    return next_fun(*args, **kwargs)

                def adapted(y):
                    return self._adapted(weights, y, branch(y))

                return next_fun(x, adapted, which, *rest, **kwargs)
            y = next_fun(*args, **kwargs)
            weights = at(extra, join(name, "module")) if method == "__call__" else None
            return y if weights is None else self._adapted(weights, args[0], y)

        return intercept

    def _adapted(self, weights: Tree, x: Array, y: Array) -> Array:
        hidden = activation(self.activation)(_dense(weights["down"], x if self.parallel else y))
        return y + self.scale * _dense(weights["up"], hidden).astype(y.dtype)


def _dense(weights: Tree, x: Array) -> Array:
    flat = x.reshape(-1, x.shape[-1]) @ weights["kernel"].astype(x.dtype)
    if "bias" in weights:
        flat = flat + weights["bias"].astype(x.dtype)
    return flat.reshape(*x.shape[:-1], -1)
