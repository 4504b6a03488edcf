"""Learned tokens in transformers that are frozen."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.errors import UserError
from mmjax.nn.layers.transformer import Block
from mmjax.tuning.paths import ENCODERS, NOT_ENCODERS, Sites, Tree, at, chosen, join

NUMBERED = re.compile(r"(.*?)(\d+)([^/\d]*)")  # the name of a block: before, number, after


def more_tokens(args: tuple, kwargs: Mapping[str, Any], count: int) -> tuple[tuple, dict]:
    """The arguments (x, mask, angles=...) of a call with `count` real, unturned tokens in front."""
    mask = args[1] if len(args) > 1 else kwargs.get("mask")
    if mask is not None:
        mask = jnp.pad(mask, ((0, 0), (count, 0)), constant_values=True)
    angles = kwargs.get("angles")
    if angles is not None:
        angles = jnp.pad(angles, ((count, 0), (0, 0)))
    return (args[0], mask), {**kwargs, "angles": angles} if "angles" in kwargs else dict(kwargs)


def join_tokens(tokens: Float[Array, "P D"], x: Float[Array, "B N D"]) -> Float[Array, "B more D"]:
    """The tokens in front of those of each example."""
    rows = jnp.broadcast_to(tokens.astype(x.dtype), (x.shape[0], *tokens.shape))
    return jnp.concatenate([rows, x], axis=1)


def _chain(name: str) -> tuple[str, int] | None:
    """What the names of a transformer's blocks share, and the number of this one."""
    parent, _, last = name.rpartition("/")
    found = NUMBERED.fullmatch(last)
    return (join(parent, f"{found[1]}#{found[3]}"), int(found[2])) if found else None


@dataclasses.dataclass(frozen=True)
class Prompt:
    """Learned tokens in front of those that a transformer's blocks read, dropped from the output.

    Prompt tuning (Lester et al. 2021, https://arxiv.org/abs/2104.08691) joins them to the input of
    the first block; with `deep`, each block has its own (VPT: Jia et al. 2022,
    https://arxiv.org/abs/2203.12119). They are real in every mask and have no position.

    Shallow prompts run through the blocks of one parent that are named alike and numbered, such as
    block_0, block_1, ...: nothing but the next may read what one of these gives. Otherwise, or to
    read hidden states, take deep ones.

    Attributes:
        count: P, the number of tokens.
        where: a regular expression on the paths of blocks.
        deep: see above.
        also: regular expressions on the paths of the model's own parameters that train too.
    """

    count: int = 10
    where: str = ENCODERS
    deep: bool = False
    also: tuple[str, ...] = (NOT_ENCODERS,)

    key = "prompt"
    what = "transformer's block with self-attention"

    @property
    def trained(self) -> tuple[str, ...]:
        """Patterns of the model's own parameters that train."""
        return self.also

    def site(self, module: nn.Module, method: str, args: tuple, output: Any) -> Any:
        """(path, D) of a block's call; None of any other."""
        del args
        if isinstance(module, Block) and module.self_attention and method == "__call__":
            return "/".join(module.path), output.shape[-1]
        return None

    def choose(self, found: Sites) -> Sites:
        """The blocks that tokens are joined to.

        Raises:
            UserError: there is none, or, for shallow prompts, one that has no number.
        """
        names = chosen(list(found), self.where, self.what)
        if not self.deep:
            alone = [name for name in names if _chain(name) is None]
            if alone:
                raise UserError(f"tuning: {alone[0]} has no number; give prompts with deep=True")
            chains = [_chain(name) for name in names]
            firsts = {shared: min(n for s, n in chains if s == shared) for shared, _ in chains}
            names = [n for n, (s, i) in zip(names, chains, strict=True) if firsts[s] == i]
        return {name: found[name] for name in names}

    def create(self, key: Array, width: int) -> Tree:
        """Tokens [P D], normal with standard deviation 0.02."""
        return {"tokens": nn.initializers.normal(0.02)(key, (self.count, width))}

    def interceptor(self, params: Tree, extra: Tree, *, deterministic: bool) -> Any:
        """For `flax.linen.intercept_methods`: joins tokens to the blocks in `extra`."""
        del deterministic

        def intercept(next_fun, args, kwargs, context):
            name = "/".join(context.module.path)
            is_block = isinstance(context.module, Block) and context.method_name == "__call__"
            if not is_block or not context.module.self_attention:
                return next_fun(*args, **kwargs)
            first, last = (name, name) if self.deep else self._ends(params, name)
            tokens = at(extra, join(first, "tokens")) if first is not None else None
            if tokens is None:
                return next_fun(*args, **kwargs)
            args, kwargs = more_tokens(args, kwargs, self.count)
            if name == first:
                args = (join_tokens(tokens, args[0]), *args[1:])
            y = next_fun(*args, **kwargs)
            return y[:, self.count :] if name == last else y

        return intercept

    def _ends(self, params: Tree, name: str) -> tuple[str, str] | tuple[None, None]:
        """The first and the last block of those that a block's tokens run through."""
        if _chain(name) is None or not re.search(self.where, name):
            return None, None
        parent = name.rpartition("/")[0]
        names = [join(parent, key) for key in at(params, parent)]
        names = [n for n in names if _chain(n) and re.search(self.where, n)]
        chain = sorted((n for n in names if _chain(n)[0] == _chain(name)[0]), key=_number)
        return chain[0], chain[-1]


def _number(name: str) -> int:
    return _chain(name)[1]
