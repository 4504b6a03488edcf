import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.nn.layers.conv import Conv
from mmjax.nn.layers.dense import Dense
from mmjax.tuning.lora import Lora
from mmjax.tuning.tuned import Tuned
from tests.models.tuning import toy


class One(nn.Module):
    """A single layer, which has a name."""

    layer: nn.Module

    def __call__(self, x, deterministic=True):
        del deterministic
        return self.layer(x)


def test_a_dense_layer_gets_w_plus_s_a_b():
    tuned = Tuned(One(Dense(3)), Lora(rank=2, alpha=5.0, where="", also=()))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 7, 6)), jnp.float32)
    params = toy.shaken(jax.jit(tuned.init)(toy.KEY, x)["params"], "lora")
    w, b = (np.float64(params["layer"][name]) for name in ("kernel", "bias"))
    a, up = (np.float64(params["lora"]["layer"][name]) for name in ("a", "b"))
    assert (a.shape, up.shape) == ((6, 2), (2, 3))
    y = jax.jit(tuned.apply)({"params": params}, x)
    toy.close(y, np.float64(x) @ (w + 5.0 / 2 * a @ up) + b)


def test_only_the_parts_of_a_fused_projection_are_adapted():
    model = toy.text_model()
    tuned = Tuned(model, Lora(rank=2, alpha=6.0, where="block_0.*qkv", parts=("q", "v")))
    inputs = toy.texts()
    params = toy.shaken(jax.jit(tuned.init)(toy.KEY, inputs)["params"], "lora")
    place = f"{toy.TEXT}/block_0/attention/qkv"
    named = toy.named(params)
    added = {name for name in named if name.startswith("lora/")}
    assert added == {f"lora/{place}/{part}/{factor}" for part in "qv" for factor in "ab"}
    kernel = np.array(named[f"{place}/kernel"])
    for part, start in (("q", 0), ("v", 2 * toy.WIDTH)):
        a, b = (np.asarray(named[f"lora/{place}/{part}/{factor}"]) for factor in "ab")
        kernel[:, start : start + toy.WIDTH] += 3.0 * a @ b
    got = toy.projections(tuned, params, inputs)
    plain = toy.own(params, "lora")
    attention = plain["encoders_text"]["transformer"]["block_0"]["attention"]
    attention["qkv"] = {**attention["qkv"], "kernel": jnp.asarray(kernel)}
    toy.close(got, toy.projections(model, plain, inputs))


MODELS = {"text": (toy.text_model, toy.texts), "image": (toy.picture_model, toy.pictures)}


@pytest.mark.parametrize("parts", [(), ("k",)])
@pytest.mark.parametrize("name", MODELS)
def test_what_is_merged_computes_the_same_and_comes_apart_again(name, parts):
    if name == "image" and parts:
        return
    make_model, make_inputs = MODELS[name]
    model, inputs = make_model(), make_inputs()
    lora = Lora(rank=2, where="", parts=parts, also=())
    tuned = Tuned(model, lora)
    variables = jax.jit(tuned.init)(toy.KEY, inputs)
    params = toy.shaken(variables.pop("params"), "lora")
    merged = lora.merge(params)
    assert merged.keys() == toy.own(params, "lora").keys()
    expected = jax.jit(tuned.apply)({"params": params, **variables}, inputs)[f"projection/{name}"]
    plain = jax.jit(model.apply)({"params": toy.own(params, "lora"), **variables}, inputs)
    assert np.abs(plain[f"projection/{name}"] - expected).max() > 0.1
    got = jax.jit(model.apply)({"params": merged, **variables}, inputs)[f"projection/{name}"]
    toy.close(got, expected, 1e-4)
    apart = lora.unmerge(merged, params["lora"])
    jax.tree.map(toy.close, apart, params)


def test_a_convolution_is_adapted_by_one_of_fewer_channels():
    conv = One(Conv(5, (3, 3), (2, 2), "SAME"))
    lora = Lora(rank=2, where="", also=())
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 7, 7, 4)), jnp.float32)
    params = toy.shaken(jax.jit(Tuned(conv, lora).init)(toy.KEY, x)["params"], "lora")
    assert params["lora"]["layer"]["a"].shape == (3, 3, 4, 2)
    kernel = params["layer"]["kernel"] + lora.scale * jnp.einsum(
        "hwcr,rf->hwcf", params["lora"]["layer"]["a"], params["lora"]["layer"]["b"]
    )
    names = ("NHWC", "HWIO", "NHWC")
    expected = jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=names)
    toy.close(
        Tuned(conv, lora).apply({"params": params}, x), expected + params["layer"]["bias"], 1e-4
    )


def test_dropout_is_of_what_enters_a_and_only_in_training():
    tuned = Tuned(One(Dense(3)), Lora(rank=2, where="", dropout=0.5, also=()))
    x = jnp.ones((4000, 6))
    variables = {"params": toy.shaken(jax.jit(tuned.init)(toy.KEY, x)["params"], "lora")}
    plain = One(Dense(3)).apply({"params": toy.own(variables["params"], "lora")}, x)
    calm = tuned.apply(variables, x)
    assert toy.same(calm, tuned.apply(variables, x, rngs={"dropout": toy.KEY}))
    wild = tuned.apply(variables, x, deterministic=False, rngs={"dropout": toy.KEY})
    assert len(np.unique(np.asarray(wild)[:, 0])) > 30  # of the 64 subsets of six inputs
    np.testing.assert_allclose((wild - plain).mean(0), (calm - plain)[0], rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"where": "block_7"},
            "'block_7' matches no Dense layer or convolution; of 9 the nearest",
        ),
        ({"where": "out$", "parts": ("q",)}, "has a part 'q'"),
        ({"also": ("heads",)}, "'heads' matches no parameter"),
        ({"also": ("",)}, "nothing is frozen"),
    ],
)
def test_what_matches_nothing_is_said(options, words):
    with pytest.raises(UserError, match=words) as error:
        jax.eval_shape(Tuned(toy.text_model(), Lora(**options)).init, toy.KEY, toy.texts())
    assert "\n" not in str(error.value)
