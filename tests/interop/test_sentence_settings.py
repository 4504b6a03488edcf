"""Prompts, poolings without them, and the layers behind, against numpy over the model's tokens."""

import numpy as np
import pytest

import mmjax
from mmjax.errors import UserError
from tests.interop import text_fakes

PROMPTS = {"query": "query : ", "document": "", "none": None}
TEXTS = ["the owl", "two dogs in the snow"]
generator = np.random.default_rng(0)
LAYER = {"linear.weight": generator.normal(size=(8, 8)).astype(np.float32)}
LAYER |= {"linear.bias": generator.normal(size=8).astype(np.float32)}
NARROW = {"linear.weight": generator.normal(size=(5, 8)).astype(np.float32)}
NARROW |= {"residual.weight": generator.normal(size=(5, 8)).astype(np.float32)}
NORM = {f"norm.{name}": generator.normal(size=8).astype(np.float32) for name in ("weight", "bias")}
DENSE = {"in_features": 8, "out_features": 8, "bias": True, "use_residual": True}
DENSE |= {"activation_function": "torch.nn.modules.activation.Tanh"}
STEPS = [
    ("Dense", DENSE, LAYER),
    ("Dropout", {"dropout": 0.5}, None),
    ("LayerNorm", {"dimension": 8}, NORM),
    (
        "Dense",
        {"in_features": 8, "out_features": 5, "bias": False, "use_residual": True}
        | {"activation_function": "torch.nn.modules.linear.Identity"},
        NARROW,
    ),
    "Normalize",
]


def stepped(x):
    x = np.tanh(x @ LAYER["linear.weight"].T + LAYER["linear.bias"]) + x
    x = (x - x.mean()) / np.sqrt(x.var() + 1e-5) * NORM["norm.weight"] + NORM["norm.bias"]
    x = x @ NARROW["linear.weight"].T + x @ NARROW["residual.weight"].T
    return x / np.linalg.norm(x)


# From the tokens behind a prompt, and the place of the first of them, from 1 on.
POOLINGS = {
    "mean": lambda x, _: x.mean(0),
    "cls": lambda x, _: x[0],
    "weightedmean": lambda x, place: np.average(x, 0, np.arange(place, place + len(x))),
    "max": lambda x, _: x.max(0),
    "mean_sqrt_len_tokens": lambda x, _: x.sum(0) / np.sqrt(len(x)),
    "lasttoken": lambda x, _: x[-1],
}


def load(folder, pooling, default=None, modules=("Normalize",), **transformer):
    config = {"embedding_dimension": 8, **pooling}
    whole = {"prompts": PROMPTS, "default_prompt_name": default, "__version__": {}}
    return mmjax.load(
        text_fakes.write_sentences(
            folder, modules, pooling=config, transformer=transformer, whole=whole
        )
    )


def expected(model, start, texts, pool, skipped=0):
    """The pooled tokens of each text alone, but the first `skipped`."""
    ids = text_fakes.tokenizer("[CLS]", "[SEP]", "[PAD]")
    rows = []
    for text in texts:
        tokens = model.model(input_ids=[ids.encode(start + text).ids]).last_hidden_state[0]
        x = pool(np.asarray(tokens)[skipped:], skipped + 1)
        rows.append(x / np.linalg.norm(x))
    return np.stack(rows)


def every(x, place):
    return np.concatenate([pool(x, place) for pool in POOLINGS.values()])


def test_a_prompt_goes_in_front_and_may_be_left_out_of_each_pooling(tmp_path):
    """The poolings come side by side in the order of the list."""
    pooling = {"pooling_mode": list(POOLINGS)}
    kept = load(tmp_path / "kept", pooling, default="query")
    without = load(tmp_path / "without", pooling | {"include_prompt": False})
    start, size = "query : ", 3  # [CLS] query :
    for model, skipped in ((kept, 0), (without, size)):
        right = expected(model, start, TEXTS, every, skipped)
        for prompt in ("query", "query : "):
            found = model.embed(text=TEXTS, prompt=prompt)["text"]
            np.testing.assert_allclose(found, right, atol=1e-5)
        plain = expected(model, "", TEXTS, every)
        for prompt in ("", "document", "none"):
            found = model.embed(text=TEXTS, prompt=prompt)["text"]
            np.testing.assert_allclose(found, plain, atol=1e-5)
    np.testing.assert_array_equal(
        kept.embed(text=TEXTS)["text"], kept.embed(text=TEXTS, prompt="query")["text"]
    )


def test_the_layers_behind_the_pooling(tmp_path):
    model = load(tmp_path / "steps", {"pooling_mode": "mean"}, modules=STEPS)
    right = expected(model, "", TEXTS[:1], lambda x, _: stepped(x.mean(0)))
    np.testing.assert_allclose(model.embed(text=TEXTS[:1])["text"], right, atol=1e-5)


def test_lengths_case_and_unknown_prompts(tmp_path):
    model = load(tmp_path / "it", {"pooling_mode_cls_token": True}, max_seq_length=3)
    found = model.embed(text=["OWL in the snow", "owl"])["text"]
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    with pytest.raises(UserError, match="no prompt 'querry': the checkpoint has 'query', 'docum"):
        model.embed(text="owl", prompt="querry")
    with pytest.raises(UserError, match="give text, too"):
        model.embed(prompt="query", image=["a.png"])
