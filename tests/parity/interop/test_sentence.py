"""Folders of sentence-transformers against PyTorch: the poolings, the layers after them, and back.

The oracle is written here, over transformers' outputs, one text at a time and without a mask.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax import interop
from mmjax.errors import UserError
from mmjax.interop.formats import safetensors
from mmjax.interop.formats.open_weights import open_weights
from tests.parity.interop import published

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.parity.interop.test_bert import CONFIG, drawn, texts  # noqa: E402

WIDTH = CONFIG["hidden_size"]
CLASSES = "sentence_transformers.models"
# In the order in which they come side by side.
SWITCH = {
    "cls": "cls_token",
    "max": "max_tokens",
    "mean": "mean_tokens",
    "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "weightedmean": "weightedmean_tokens",
    "lasttoken": "lasttoken",
}


def one_text(x, places, mode):
    """Tokens [L D] of a text without padding, and their places from 1 on -> [D]."""
    if mode == "weightedmean":
        return (x * places[:, None]).sum(0) / places.sum()
    return {
        "cls": lambda: x[0],
        "max": lambda: x.max(0).values,
        "mean": lambda: x.mean(0),
        "mean_sqrt_len_tokens": lambda: x.sum(0) / len(x) ** 0.5,
        "lasttoken": lambda: x[-1],
    }[mode]()


def oracle(tokens, mask, modes, after):
    """The sentence embeddings; `cls` is the first token even if it is padding."""
    rows = []
    for x, real in zip(tokens, mask.bool(), strict=True):
        places = torch.arange(1, len(x) + 1)[real].float()
        given = [x[0] if mode == "cls" else one_text(x[real], places, mode) for mode in modes]
        rows.append(torch.cat(given))
    x = torch.stack(rows)
    for layer in after:
        x = torch.nn.functional.normalize(x) if layer is None else layer(x)
    return x


def write(folder, theirs, modes, after, **pooling):
    """A folder as sentence-transformers saves it; `after`: modules, None for Normalize."""
    theirs.save_pretrained(folder)
    entries = [("Transformer", ""), ("Pooling", "1_Pooling")]
    config = {f"pooling_mode_{key}": mode in modes for mode, key in SWITCH.items()}
    (folder / "1_Pooling").mkdir()
    config = {"word_embedding_dimension": WIDTH, **config, **pooling}
    (folder / "1_Pooling/config.json").write_text(json.dumps(config))
    for index, layer in enumerate(after, 2):
        name = "Normalize" if layer is None else "Dense"
        entries.append((name, f"{index}_{name}"))
        if layer is None:
            continue  # its folder is empty, and Git keeps no empty folders
        place = folder / f"{index}_Dense"
        place.mkdir()
        linear, act = layer
        config = {
            "in_features": linear.in_features,
            "out_features": linear.out_features,
            "bias": linear.bias is not None,
            "activation_function": f"torch.nn.modules.activation.{type(act).__name__}",
        }
        (place / "config.json").write_text(json.dumps(config))
        tensors = {f"linear.{key}": x.numpy() for key, x in linear.state_dict().items()}
        safetensors.write(place / "model.safetensors", tensors)
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"{CLASSES}.{kind}"}
        for i, (kind, path) in enumerate(entries)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    return folder


def dense(inside, outside, bias, act):
    return torch.nn.Sequential(torch.nn.Linear(inside, outside, bias=bias), act)


def assert_equals_the_oracle(model, theirs, inputs, modes, after):
    with torch.no_grad():
        expected = theirs(**inputs)
        tokens, mask = expected.last_hidden_state, inputs["attention_mask"]
        expected = published.as_numpy(expected)
        expected["sentence_embedding"] = oracle(tokens, mask, modes, after).numpy()
    published.assert_close(model(**published.as_arrays(inputs)), expected)


@published.DRAWN
@given(
    name=st.sampled_from(["BertModel", "RobertaModel", "DistilBertModel"]),
    modes=st.sets(st.sampled_from(sorted(SWITCH)), min_size=2),
    side=st.sampled_from(["left", "right"]),
    bias=st.booleans(),
    act=st.sampled_from(["Tanh", "Identity", "ReLU", "GELU"]),
    norms=st.lists(st.sampled_from([False, True]), min_size=2, max_size=2),
)
def test_a_folder_equals_pytorch_and_returns(name, modes, side, bias, act, norms, tmp_path_factory):
    config, inputs = dict(CONFIG), texts(7, side)
    if name == "DistilBertModel":
        config |= {"hidden_dim": 20}
        del config["intermediate_size"], inputs["token_type_ids"]
    theirs, modes = drawn(name, config), [mode for mode in SWITCH if mode in modes]
    layers = [
        dense(WIDTH * len(modes), 9, bias, getattr(torch.nn, act)()),
        dense(9, 5, True, torch.nn.Tanh()),
    ]
    after = [
        part
        for layer, norm in zip(layers, norms, strict=True)
        for part in ([layer, None] if norm else [layer])
    ]
    folder = tmp_path_factory.mktemp("sentence")
    model = interop.load(write(folder / "theirs", theirs, modes, after))
    assert not model.report.unexpected
    assert_equals_the_oracle(model, theirs, inputs, modes, after)

    interop.save(model, folder / "ours")
    for place in (folder / "theirs").rglob("*.safetensors"):
        before = open_weights(place)
        again = open_weights(folder / "ours" / place.relative_to(folder / "theirs"))
        assert set(before) == set(again)
        assert all(np.array_equal(before[key].read(), again[key].read()) for key in before)
    assert_equals_the_oracle(interop.load(folder / "ours"), theirs, inputs, modes, after)


@pytest.mark.parametrize("mode", sorted(SWITCH))
def test_each_pooling_alone_reads_nothing_masked(mode, tmp_path):
    theirs, inputs = drawn("BertModel", CONFIG), texts(7)
    model = interop.load(write(tmp_path / "it", theirs, [mode], []))
    assert_equals_the_oracle(model, theirs, inputs, [mode], [])
    arrays = published.as_arrays(inputs)
    changed = {**arrays, "input_ids": np.where(arrays["attention_mask"], arrays["input_ids"], 9)}
    one, other = model(**arrays).sentence_embedding, model(**changed).sentence_embedding
    assert np.array_equal(one, other)


def test_a_text_without_a_word_is_finite_and_so_is_its_gradient(tmp_path):
    model = interop.load(write(tmp_path / "it", drawn("BertModel", CONFIG), ["mean"], [None]))
    nothing = {"input_ids": jnp.full((2, 5), 1), "attention_mask": jnp.zeros((2, 5), jnp.int32)}

    def loss(params):
        found = model.module.apply({**model.variables, "params": params}, **nothing)
        return jnp.sum(found["sentence_embedding"] ** 2)

    value, gradient = jax.jit(jax.value_and_grad(loss))(model.params)
    assert value == 0
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("1_Pooling/config.json", {"word_embedding_dimension": 13}, "word_embedding_dimension"),
        ("1_Pooling/config.json", {"include_promt": False}, "include_promt"),
        ("1_Pooling/config.json", {"pooling_mode": "median"}, "median"),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False}, "no pooling is on"),
        ("2_Dense/config.json", {"activation_function": "torch.nn.Mish"}, "Mish"),
        ("2_Dense/config.json", {"module_input_name": "token_embeddings"}, "module_input_name"),
        ("2_Dense/config.json", {"out_features": 4}, "does not fit"),
        ("config.json", {"model_type": "mpnet"}, "mpnet"),
    ],
)
def test_a_folder_that_cannot_be_run_is_refused(file, change, said, tmp_path):
    layer = dense(WIDTH, 5, True, torch.nn.Tanh())
    folder = write(tmp_path / "it", drawn("BertModel", CONFIG), ["mean"], [layer])
    assert said in published.refused(folder, change, file)


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ("{", "modules.json is not a list"),
        ('[{"path": ""}]', "modules.json is not a list"),
        ('[{"path": "../x", "type": "a.Transformer"}]', "not a folder beside it"),
        ('[{"path": "..", "type": "a.Transformer"}]', "not a folder beside it"),
        ('[{"path": "", "type": "a.CLIPModel"}]', "CLIPModel"),
    ],
)
def test_a_wrong_list_of_modules_is_refused(listed, said, tmp_path):
    folder = write(tmp_path / "it", drawn("BertModel", CONFIG), ["mean"], [])
    (folder / "modules.json").write_text(listed)
    with pytest.raises(UserError, match=said) as error:
        interop.load(folder)
    assert "\n" not in str(error.value)
