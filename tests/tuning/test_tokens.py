import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.nn.layers.attention import SelfAttention, split_heads
from mmjax.nn.layers.rotary import rotate
from mmjax.nn.layers.transformer import Block, Transformer
from mmjax.tuning.prefix import Prefix
from mmjax.tuning.tokens import Prompt
from mmjax.tuning.tuned import Tuned
from tests.models.tuning import toy

HEADS, COUNT, LENGTH, WIDTH = 2, 3, 5, 8
X = jnp.asarray(np.random.default_rng(0).normal(size=(2, LENGTH, WIDTH)), jnp.float32)
MASK = jnp.asarray([[True] * 5, [True, True, False, False, False]])
ANGLES = jnp.asarray(np.random.default_rng(1).normal(size=(LENGTH, WIDTH // HEADS // 2)))
MORE_MASK = jnp.pad(MASK, ((0, 0), (COUNT, 0)), constant_values=True)
MORE_ANGLES = jnp.pad(ANGLES, ((COUNT, 0), (0, 0)))


def joined(tokens, x):
    return jnp.concatenate([jnp.tile(tokens[None], (len(x), 1, 1)), x], axis=1)


@pytest.mark.parametrize("remat", [False, True])
def test_shallow_prompts_run_through_all_blocks_and_are_dropped(remat):
    model = Transformer(3, HEADS, causal=True, remat=remat)
    tuned = Tuned(model, Prompt(count=COUNT, where="block", also=()))
    params = jax.jit(tuned.init)(toy.KEY, X, MASK, angles=ANGLES)["params"]
    assert toy.named(params["prompt"]).keys() == {"block_0/tokens"}
    params = toy.shaken(params, "prompt")
    plain = toy.own(params, "prompt")
    full = joined(params["prompt"]["block_0"]["tokens"], X)
    expected = jax.jit(model.apply)({"params": plain}, full, MORE_MASK, angles=MORE_ANGLES)[
        :, COUNT:
    ]
    got = jax.jit(tuned.apply)({"params": params}, X, MASK, angles=ANGLES)
    toy.close(got[MASK], expected[MASK])
    without = jax.jit(model.apply)({"params": plain}, X, MASK, angles=ANGLES)
    assert np.abs(got - without)[MASK].max() > 0.1


def test_deep_prompts_are_new_in_each_block_that_matches():
    model = Transformer(3, HEADS)
    tuned = Tuned(model, Prompt(count=COUNT, where="block_[12]", deep=True, also=()))
    params = toy.shaken(jax.jit(tuned.init)(toy.KEY, X, MASK)["params"], "prompt")
    assert toy.named(params["prompt"]).keys() == {"block_1/tokens", "block_2/tokens"}
    x = X
    for i in range(3):
        block = {"params": params[f"block_{i}"]}
        if i:
            full = joined(params["prompt"][f"block_{i}"]["tokens"], x)
            x = Block(HEADS).apply(block, full, MORE_MASK)[:, COUNT:]
        else:
            x = Block(HEADS).apply(block, x, MASK)
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    x = (x - mean) / jnp.sqrt(variance + 1e-6) * params["norm"]["scale"] + params["norm"]["bias"]
    toy.close(jax.jit(tuned.apply)({"params": params}, X, MASK)[MASK], x[MASK])


def test_shallow_prompts_enter_at_the_first_block_that_matches_and_leave_after_the_last():
    model = Transformer(4, HEADS)
    tuned = Tuned(model, Prompt(count=COUNT, where="block_[12]", also=()))
    params = toy.shaken(jax.jit(tuned.init)(toy.KEY, X, MASK)["params"], "prompt")

    def block(i, x, mask):
        return Block(HEADS).apply({"params": params[f"block_{i}"]}, x, mask)

    x = joined(params["prompt"]["block_1"]["tokens"], block(0, X, MASK))
    x = block(2, block(1, x, MORE_MASK), MORE_MASK)[:, COUNT:]
    x = block(3, x, MASK)
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    x = (x - mean) / jnp.sqrt(variance + 1e-6) * params["norm"]["scale"] + params["norm"]["bias"]
    toy.close(jax.jit(tuned.apply)({"params": params}, X, MASK)[MASK], x[MASK])


def test_a_prefix_is_keys_and_values_that_every_query_reads():
    model = SelfAttention(HEADS, causal=True)
    tuned = Tuned(model, Prefix(count=COUNT, where="", also=()))
    params = toy.shaken(jax.jit(tuned.init)(toy.KEY, X, MASK, angles=ANGLES)["params"], "prefix")
    prefix = params["prefix"]
    qkv = X @ params["qkv"]["kernel"] + params["qkv"]["bias"]
    q, k, v = (split_heads(part, HEADS) for part in jnp.split(qkv, 3, axis=-1))
    q, k = rotate(q, ANGLES), rotate(k, ANGLES)
    keys, values = (split_heads(prefix[name][None], HEADS) for name in ("keys", "values"))
    k = np.concatenate([np.tile(keys, (2, 1, 1, 1)), k], axis=2)
    v = np.concatenate([np.tile(values, (2, 1, 1, 1)), v], axis=2)
    allowed = np.tri(LENGTH, LENGTH, dtype=bool)[None] & np.asarray(MASK)[:, None]
    allowed = np.pad(allowed, ((0, 0), (0, 0), (COUNT, 0)), constant_values=True)
    scores = np.einsum("bhqk,bhnk->bhqn", q, k) / np.sqrt(WIDTH / HEADS)
    weights = np.where(allowed[:, None], np.exp(scores), 0)
    y = np.einsum("bhqn,bhnk->bqhk", weights / weights.sum(-1, keepdims=True), v)
    expected = y.reshape(2, LENGTH, WIDTH) @ params["out"]["kernel"] + params["out"]["bias"]
    got = jax.jit(tuned.apply)({"params": params}, X, MASK, angles=ANGLES)
    toy.close(got[MASK], expected[np.asarray(MASK)])


@pytest.mark.parametrize("tuning", [Prompt(), Prompt(deep=True), Prefix()])
def test_masked_words_contribute_nothing_still(tuning):
    inputs = toy.texts()
    tuned = Tuned(toy.text_model(layers=1, positions="rotary"), tuning)
    params = toy.shaken(jax.jit(tuned.init)(toy.KEY, inputs)["params"], tuning.key)
    words, mask, *_ = inputs["text"]
    other = {"text": inputs["text"]._replace(value=jnp.where(mask, words, 11 - words))}
    run = jax.jit(lambda inputs: toy.projections(tuned, params, inputs))
    assert toy.same(run(inputs), run(other))
    nothing = run({"text": inputs["text"]._replace(mask=jnp.zeros_like(mask))})
    assert (np.asarray(nothing) == 0).all()


def test_what_is_no_transformer_is_an_error():
    for tuning, what in ((Prompt(), "transformer's block"), (Prefix(), "self-attention")):
        with pytest.raises(UserError, match=f"the model has no {what}"):
            jax.eval_shape(Tuned(toy.picture_model(), tuning).init, toy.KEY, toy.pictures())
    alone = Tuned(Block(HEADS), Prompt(where="", also=()))
    with pytest.raises(UserError, match="give prompts with deep=True"):
        jax.eval_shape(alone.init, toy.KEY, X)
