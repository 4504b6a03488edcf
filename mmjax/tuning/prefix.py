"""Learned keys and values in self-attentions that are frozen."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from mmjax.nn.layers.attention import SelfAttention
from mmjax.nn.layers.dense import Dense
from mmjax.tuning.paths import ENCODERS, NOT_ENCODERS, Sites, Tree, at, chosen
from mmjax.tuning.tokens import join_tokens, more_tokens


@dataclasses.dataclass(frozen=True)
class Prefix:
    """Learned keys and values that every query of a self-attention reads besides the tokens'.

    Prefix tuning (Li and Liang 2021, https://arxiv.org/abs/2101.00190), without the mlp that the
    paper computes the prefix by in training. They have no position.

    Attributes:
        count: P, the number of keys and values.
        where: a regular expression on the paths of self-attentions.
        also: regular expressions on the paths of the model's own parameters that train too.
    """

    count: int = 10
    where: str = ENCODERS
    also: tuple[str, ...] = (NOT_ENCODERS,)

    key = "prefix"
    what = "self-attention"

    @property
    def trained(self) -> tuple[str, ...]:
        """Patterns of the model's own parameters that train."""
        return self.also

    def site(self, module: nn.Module, method: str, args: tuple, output: Any) -> Any:
        """(path, D) of a self-attention's call; None of any other."""
        del args
        if isinstance(module, SelfAttention) and method == "__call__":
            return "/".join(module.path), output.shape[-1]
        return None

    def choose(self, found: Sites) -> Sites:
        """The self-attentions that get a prefix."""
        return {name: found[name] for name in chosen(list(found), self.where, self.what)}

    def create(self, key: Array, width: int) -> Tree:
        """Keys [P D] and values [P D] of all heads, normal with standard deviation 0.02."""
        init, keys = nn.initializers.normal(0.02), jax.random.split(key)
        names = ("keys", "values")
        return {n: init(k, (self.count, width)) for n, k in zip(names, keys, strict=True)}

    def interceptor(self, params: Tree, extra: Tree, *, deterministic: bool) -> Any:
        """For `flax.linen.intercept_methods`: puts the keys and values in `extra` in front.

        Empty tokens are joined to the input of the attention, and the projection's output at their
        places is replaced.
        """
        del params, deterministic

        def intercept(next_fun, args, kwargs, context):
            module = context.module
            if context.method_name != "__call__":
                return next_fun(*args, **kwargs)
            if isinstance(module, SelfAttention) and at(extra, "/".join(module.path)):
                args, kwargs = more_tokens(args, kwargs, self.count)
                empty = jnp.zeros((self.count, args[0].shape[-1]))
                return next_fun(join_tokens(empty, args[0]), *args[1:], **kwargs)[:, self.count :]
            if isinstance(module, Dense) and module.path[-1] == "qkv":
                prefix = at(extra, "/".join(module.path[:-1]))
                if prefix is not None:
                    keys, values = prefix["keys"], prefix["values"]
                    row = jnp.concatenate([jnp.zeros_like(keys), keys, values], axis=-1)
                    return join_tokens(row, next_fun(args[0][:, self.count :], **kwargs))
            return next_fun(*args, **kwargs)

        return intercept
