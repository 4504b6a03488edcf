"""A model of which some parameters train, with small modules put into it from outside."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
from flax.traverse_util import flatten_dict, unflatten_dict

from mmjax.errors import UserError
from mmjax.nn.layers.transformer import SCANNED
from mmjax.tuning.paths import Sites, Tree, at, chosen, join, map_named, names_of
from mmjax.tuning.weights import Full


def trains(params: Tree, tuning: Any, frozen: Sequence[str] = ()) -> Tree:
    """True where a parameter trains: what the tuning added, and what one of its patterns matches.

    Args:
        params: of the tuned model.
        tuning: see Tuned.
        frozen: regular expressions on paths of parameters that do not train all the same.
    """

    def matches(patterns: Sequence[str], name: str) -> bool:
        return any(re.search(pattern, name) for pattern in patterns)

    def is_free(name: str, _: Any) -> bool:
        wanted = name.split("/")[0] == tuning.key or matches(tuning.trained, name)
        return wanted and not matches(frozen, name)

    return map_named(is_free, params)


class Tuned(nn.Module):
    """A model behind `init` and `apply`; its parameters keep their names.

    What a tuning adds is under a key of its own, such as params["lora"], so a checkpoint of the
    model alone loads as it is. Frozen parameters are constants to `jax.grad`: their gradients are
    zeros that nothing is computed for. A module in which nothing trains, such as an encoder
    or a block, runs as in evaluation: its batch norms keep their statistics, and it drops nothing.

    Not to be put into another Linen module.

    Attributes:
        model: any Linen module; its parts take `deterministic` by name.
        tuning: an instance of Full, BitFit, LinearProbe, Lora, Adapter, Prompt or Prefix.
        frozen: regular expressions on paths of parameters that do not train whatever the tuning.
    """

    model: nn.Module
    tuning: Any = Full()
    frozen: tuple[str, ...] = ()

    @nn.nowrap
    def trains(self, params: Tree) -> Tree:
        """True where a parameter trains."""
        return trains(params, self.tuning, self.frozen)

    @nn.nowrap
    def init(self, rngs: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The model's variables, the same as without tuning, and what the tuning adds.

        Raises:
            UserError: a pattern that matches nothing, a tuning that freezes nothing, or one that
                would add to blocks which are scanned.
        """
        found: Sites = {}
        key = self.tuning.key

        def look(next_fun, inner, options, context):
            output = next_fun(*inner, **options)
            if key:
                site = self.tuning.site(context.module, context.method_name, inner, output)
                found.update([site] if site else [])
            return output

        with nn.intercept_methods(look):
            variables = self.model.init(rngs, *args, **kwargs)
        params = dict(variables["params"])
        for pattern in self.tuning.trained:
            chosen(names_of(params), pattern, "parameter")
        if not isinstance(self.tuning, Full) and all(jax.tree.leaves(self.trains(params))):
            raise UserError(
                f"tuning: nothing is frozen: all parameters match one of {self.tuning.trained}; say"
                " with `also` which of the model's own train, () for none"
            )
        if key:
            if key in params:
                raise UserError(f"tuning: the model has parameters named {key!r} already")
            root = rngs["params"] if isinstance(rngs, Mapping) else rngs
            sites = sorted(self.tuning.choose(found).items())
            stacked = [name for name, _ in sites if SCANNED in name.split("/")]
            if stacked:
                raise UserError(
                    f"tuning: {stacked[0]} is of all blocks at once (scan=True), which would share"
                    " what is added: set scan=False, or tune other places"
                )
            added = {}
            for place, (name, site) in enumerate(sites):
                made = self.tuning.create(jax.random.fold_in(root, place), site)
                added |= {join(name, leaf): x for leaf, x in flatten_dict(made, sep="/").items()}
            params[key] = unflatten_dict(added, sep="/")
        return {**variables, "params": params}

    @nn.nowrap
    def apply(self, variables: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As of the model; `deterministic` also decides about the dropout of what was added."""
        params, tuning = variables["params"], self.tuning
        free = self.trains(params)
        params = jax.tree.map(lambda p, t: p if t else jax.lax.stop_gradient(p), params, free)
        extra = params.get(tuning.key, {})
        params = {name: value for name, value in params.items() if name != tuning.key}

        def rests(path: tuple[str, ...]) -> bool:
            own = at(free, "/".join(path)) if path else None
            idle = isinstance(own, Mapping) and not any(jax.tree.leaves(own))
            return idle and at(extra, "/".join(path)) is None

        def rest(next_fun, inner, options, context):
            if "deterministic" in options and rests(context.module.path):
                options = {**options, "deterministic": True}
            return next_fun(*inner, **options)

        deterministic = kwargs.get("deterministic", True)
        own = tuning.key and tuning.interceptor(params, extra, deterministic=deterministic)
        with nn.intercept_methods(rest), nn.intercept_methods(own or _as_it_is):
            return self.model.apply({**variables, "params": params}, *args, **kwargs)


def _as_it_is(next_fun, args, kwargs, context):
    del context
    return next_fun(*args, **kwargs)
