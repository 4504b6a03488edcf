import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.nn.layers.attention import SelfAttention
from mmjax.nn.layers.transformer import Block
from mmjax.tuning.adapter import Adapter
from mmjax.tuning.tuned import Tuned
from tests.models.tuning import toy

BRANCHES = ("attention", "mlp")


def norm(x, weights):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return x * weights["scale"] + weights["bias"]


@pytest.mark.parametrize("order", ["pre", "post"])
@pytest.mark.parametrize("parallel", [False, True])
def test_an_adapter_is_a_bottleneck_after_or_beside_each_branch(parallel, order):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 8)), jnp.float32)
    block = Block(2, norm=order)
    options = {"bottleneck": 3, "where": "", "parallel": parallel, "scale": 2.0, "also": ()}
    tuned = Tuned(block, Adapter(activation="relu", **options))
    params = toy.shaken(jax.jit(tuned.init)(toy.KEY, x)["params"], "adapter")
    plain, adapters = toy.own(params, "adapter"), params["adapter"]
    assert set(adapters) == set(BRANCHES)

    def alone(y, name):
        if name == "attention":
            return SelfAttention(2).apply({"params": plain["attention"]}, y)
        hidden = y @ plain["mlp_in"]["kernel"] + plain["mlp_in"]["bias"]
        return jax.nn.gelu(hidden) @ plain["mlp_out"]["kernel"] + plain["mlp_out"]["bias"]

    expected = x
    for name in BRANCHES:
        weights = adapters[name]["branch"]
        y_in = norm(expected, plain[f"{name}_norm"]) if order == "pre" else expected
        y = alone(y_in, name)
        source = y_in if parallel else y
        hidden = source @ weights["down"]["kernel"] + weights["down"]["bias"]
        up = np.maximum(hidden, 0) @ weights["up"]["kernel"] + weights["up"]["bias"]
        expected = expected + y + 2.0 * up
        if order == "post":
            expected = norm(expected, plain[f"{name}_norm"])
    toy.close(jax.jit(tuned.apply)({"params": params}, x), expected, 1e-4)


def test_only_the_branches_that_match_are_adapted():
    tuned = Tuned(toy.text_model(), Adapter(where="block_1/mlp$"))
    params = jax.eval_shape(tuned.init, toy.KEY, toy.texts())["params"]
    added = {name for name in toy.named(params) if name.startswith("adapter/")}
    parts = ("down/bias", "down/kernel", "up/bias", "up/kernel")
    assert added == {f"adapter/{toy.TEXT}/block_1/mlp/branch/{part}" for part in parts}


def test_a_module_that_is_no_block_is_adapted_by_its_whole_path_and_keeps_zeros():
    tuned = Tuned(toy.picture_model(), Adapter(where="encoders_image/stem", bottleneck=2))
    variables = jax.jit(tuned.init)(toy.KEY, toy.pictures())
    params = toy.shaken(variables["params"], "adapter")
    weights = params["adapter"]["encoders_image"]["stem"]["module"]
    assert {part: set(weights[part]) for part in weights} == {"down": {"kernel"}, "up": {"kernel"}}
    inputs = toy.pictures()
    statistics = {"batch_stats": variables["batch_stats"]}
    seen = {}

    def look(next_fun, args, kwargs, context):
        if context.module.path == ("encoders_image", "dense"):
            seen["x"] = args[0]
        return next_fun(*args, **kwargs)

    with nn.intercept_methods(look):
        tuned.model.apply({"params": toy.own(params, "adapter"), **statistics}, inputs)
        before = np.asarray(seen["x"])
        tuned.apply({"params": params, **statistics}, inputs)
    hidden = jax.nn.gelu(before @ weights["down"]["kernel"])
    toy.close(seen["x"], before + hidden @ weights["up"]["kernel"], 1e-4)


@pytest.mark.parametrize("where", ["block_7", "encoders_image/ste"])
def test_what_matches_nothing_is_said(where):
    model, inputs = toy.text_model(), toy.texts()
    if "image" in where:
        model, inputs = toy.picture_model(), toy.pictures()
    with pytest.raises(UserError, match=r"no branch of a transformer's block, nor the whole path"):
        jax.eval_shape(Tuned(model, Adapter(where=where)).init, toy.KEY, inputs)
