import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.fusion.pooling.concat import ConcatFusion
from mmjax.models.fused import FusedModel
from mmjax.models.heads import ClassificationHead
from mmjax.nn.layers.transformer import Transformer
from mmjax.train import optimizer
from mmjax.train.partition import select
from mmjax.train.sharding import batch_sharding, make_mesh
from mmjax.tuning.adapter import Adapter
from mmjax.tuning.lora import Lora
from mmjax.tuning.prefix import Prefix
from mmjax.tuning.tokens import Prompt
from mmjax.tuning.tuned import Tuned
from mmjax.tuning.weights import BitFit, Full, LinearProbe
from tests.models.tuning import toy

ADDING = (Lora(), Lora(parts=("q", "v")), Adapter(), Prompt(), Prompt(deep=True), Prefix())
SAME_AT_FIRST = (Full(), LinearProbe(), BitFit(), *ADDING[:3], Adapter(parallel=True))
ALL = (Full(("text",)), LinearProbe(), BitFit(), *ADDING)


def loss(tuned, params, inputs, **options):
    return jnp.sum(toy.projections(tuned, params, inputs, **options) ** 2)


@functools.cache
def made(tuning):
    """The tuned model of texts, and its parameters at first."""
    tuned = Tuned(toy.text_model(layers=1), tuning, frozen=("logit",))
    return tuned, jax.jit(tuned.init)(toy.KEY, toy.texts())["params"]


@functools.cache
def plain_outputs():
    tuned, params = made(Full())
    return jax.jit(tuned.model.apply)({"params": params}, toy.texts())


@pytest.mark.parametrize("tuning", SAME_AT_FIRST, ids=str)
def test_it_starts_as_the_model_bit_for_bit(tuning):
    tuned, params = made(tuning)
    plain = toy.own(params, tuning.key)
    assert toy.same(plain, made(Full())[1])
    assert (tuning.key in params) == (tuning.key is not None)
    assert toy.same(jax.jit(tuned.apply)({"params": params}, toy.texts()), plain_outputs())


@pytest.mark.parametrize("tuning", ALL, ids=str)
def test_only_what_trains_has_gradients_state_and_updates(tuning):
    tuned, first = made(tuning)
    trains, params = tuned.trains(first), first
    base = optimizer.adamw(lambda _: 0.1, weight_decay=0.5)
    adamw = optimizer.make_optimizer(
        base, params=params, clip_norm=1.0, accumulate=2, trains=trains
    )
    state = adamw.init(params)
    count = sum(x.size for x in jax.tree.leaves(select(params, trains)))
    held = sum(x.size for x in jax.tree.leaves(state) if x.ndim)
    assert held == 3 * count  # two moments and the accumulated gradient

    @jax.jit
    def step(params, state, inputs):
        grads = jax.grad(functools.partial(loss, tuned))(params, inputs)
        updates, state = adamw.update(grads, state, params)
        return jax.tree.map(jnp.add, params, updates), state, grads

    for seed in range(6):
        params, state, grads = step(params, state, toy.texts(seed=seed))
    moved = {n for n, x in toy.named(params).items() if not toy.same(x, toy.named(first)[n])}
    with_gradient = {n for n, g in toy.named(grads).items() if (g != 0).any()}
    free = {name for name, free in toy.named(trains).items() if free}
    assert moved == with_gradient == free
    assert any(name.startswith("encoders_text") for name in toy.named(first).keys() - free)


def test_which_parameters_train():
    inputs = toy.texts()

    def of(tuning, frozen=()):
        tuned = Tuned(toy.text_model(), tuning, frozen)
        params = jax.eval_shape(tuned.init, toy.KEY, inputs)["params"]
        return {name for name, free in toy.named(tuned.trains(params)).items() if free}

    everything = of(Full())
    heads = {name for name in everything if not name.startswith("encoders_")}
    assert of(LinearProbe()) == of(Full(("text",))) == heads
    biases = {name for name in everything if name.endswith("bias")}
    assert of(BitFit()) == heads | biases
    assert of(BitFit(where="block_1", also=())) == {n for n in biases if "block_1" in n}
    assert {name.split("/")[0] for name in of(Lora(also=()))} == {"lora"}
    assert of(Full(), ("encoders", "logit")) == {n for n in heads if "logit" not in n}
    assert of(Full(("image",))) == everything


def test_a_frozen_encoder_runs_as_in_evaluation():
    model, inputs = toy.picture_model(), toy.pictures(rows=8)
    variables = jax.jit(model.init)(toy.KEY, inputs)
    run = {"deterministic": False, "rngs": {"dropout": toy.KEY}, "mutable": ["batch_stats"]}
    expected = model.apply(variables, inputs)["projection/image"]
    for tuned in (Tuned(model, LinearProbe()), Tuned(model, Full(("image",)))):
        outputs, state = tuned.apply(variables, inputs, **run)
        assert toy.same(outputs["projection/image"], expected)
        assert toy.same(state["batch_stats"], variables["batch_stats"])
    # A new projection trains in an encoder of which the rest is frozen.
    model = toy.picture_model("to_width")
    variables = jax.jit(model.init)(toy.KEY, inputs)
    tuned = Tuned(model, LinearProbe())
    assert toy.named(tuned.trains(variables["params"]))["encoders_image/to_width/kernel"]
    _, state = tuned.apply(variables, inputs, **run)
    assert toy.same(state["batch_stats"], variables["batch_stats"])
    _, state = Tuned(model, BitFit()).apply(variables, inputs, **run)
    assert not toy.same(state["batch_stats"], variables["batch_stats"])


def test_no_gradient_of_a_frozen_kernel_is_computed():
    model, inputs = toy.text_model(64), toy.texts(rows=8, length=16)

    def flops(tuning):
        tuned = Tuned(model, tuning)
        shapes = jax.eval_shape(tuned.init, toy.KEY, inputs)["params"]

        def all_gradients(params):
            # As the training step does it: the norm is of all of them.
            grads = jax.grad(functools.partial(loss, tuned))(params, inputs)
            return grads, jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(grads)))

        return jax.jit(all_gradients).lower(shapes).compile().cost_analysis()["flops"]

    full = flops(Full())  # one part forward, one to the inputs and one to the kernels
    assert flops(Lora(rank=1, where="qkv")) < 0.75 * full
    assert flops(LinearProbe()) < 0.4 * full


@pytest.mark.parametrize("tuning", [*ADDING[1:4], ADDING[5]], ids=str)
def test_bfloat16_remat_and_eight_devices_are_the_same_to_rounding(tuning):
    inputs = toy.texts(rows=8)
    exact, params = made(tuning)
    params = toy.shaken(params, tuning.key)
    value, grads = jax.jit(jax.value_and_grad(functools.partial(loss, exact)))(params, inputs)
    again = Tuned(toy.text_model(layers=1, remat=True), tuning, exact.frozen)
    mesh = make_mesh(data=8, fsdp=1, tensor=1, rows=(8,))
    divided = jax.device_put(inputs, batch_sharding(mesh))
    value_again, grads_again = jax.jit(jax.value_and_grad(functools.partial(loss, again)))(
        params, divided
    )
    toy.close(value, value_again)
    jax.tree.map(functools.partial(toy.close, tolerance=1e-3), grads, grads_again)
    half = Tuned(toy.text_model(layers=1, dtype=jnp.bfloat16), tuning)
    shapes = jax.eval_shape(half.init, toy.KEY, inputs)["params"]
    assert {x.dtype for x in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
    rough = jax.jit(functools.partial(loss, half))(params, inputs)
    np.testing.assert_allclose(rough, value, rtol=0.1)


def test_a_modality_may_be_absent_after_initialisation():
    text = toy.text_model().encoders["text"]
    model = FusedModel(
        {"text": text, "image": toy.Pictures()},
        ConcatFusion(toy.WIDTH),
        {"label": ClassificationHead(3)},
    )
    both = toy.texts() | toy.pictures()
    for tuning in (Lora(), Prompt()):
        tuned = Tuned(model, tuning)
        variables = jax.eval_shape(tuned.init, toy.KEY, both)
        for name in both:
            outputs = jax.eval_shape(tuned.apply, variables, {name: both[name]})
            assert outputs["label"].shape == (2, 3)


@pytest.mark.parametrize("kind", [Lora, Adapter, Prompt, Prefix])
def test_blocks_that_are_scanned_share_nothing_that_is_added(kind):
    """One array would be in all of them."""
    options = {"deep": True} if kind is Prompt else {}
    tuning = kind(where=".", also=(), **options)
    tuned = Tuned(Transformer(layers=2, heads=1, scan=True), tuning)
    with pytest.raises(UserError, match=r"block.* is of all blocks at once \(scan=True\)"):
        jax.eval_shape(tuned.init, jax.random.key(0), jnp.ones((1, 2, 4)))
