"""BERT, DistilBERT and RoBERTa against transformers: drawn shapes, paddings, gradients, back."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax import interop
from mmjax.errors import UserError
from mmjax.interop.formats import safetensors
from tests.parity.interop import published

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCABULARY, PADDING = 30, 1


@st.composite
def sizes(draw):
    """Any number of heads of any width, with room for the longest text."""
    return draw(published.sizes("gelu", "relu", "gelu_new", "silu")) | {
        "vocab_size": VOCABULARY,
        "max_position_embeddings": draw(st.integers(3, 12)),
        "type_vocab_size": draw(st.integers(1, 3)),
        "layer_norm_eps": draw(st.sampled_from([1e-12, 1e-5, 1e-3])),
        "pad_token_id": PADDING,
    }


def texts(length, side="right", types=1, seed=0):
    """Three texts, the second of one word, the third of some."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(PADDING + 1, VOCABULARY, (3, length))
    mask = np.arange(length) < np.array([length, 1, (length + 1) // 2])[:, None]
    mask = mask[:, ::-1].copy() if side == "left" else mask
    ids[~mask] = PADDING
    return {
        "input_ids": torch.tensor(ids),
        "attention_mask": torch.tensor(mask.astype(int)),
        "token_type_ids": torch.tensor(generator.integers(0, types, (3, length))),
    }


def drawn(name, config, pooler=True):
    """A model of transformers."""
    theirs = getattr(transformers, name)
    if not pooler:
        theirs = without_pooler(theirs)
    return published.randomise(torch, theirs(theirs.config_class(**config)))


def without_pooler(theirs):
    """A class whose models have none, from their files, too."""

    def init(self, config):
        theirs.__init__(self, config, add_pooling_layer=False)

    return type(theirs.__name__, (theirs,), {"__init__": init})


CONFIG = published.SIZES | {
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 10,
    "pad_token_id": PADDING,
}


@pytest.mark.parametrize("name", ["BertModel", "RobertaModel"])
@published.DRAWN
@given(data=st.data())
def test_of_any_shape_equals_transformers_and_returns(name, data, tmp_path_factory):
    config = data.draw(sizes())
    room = config["max_position_embeddings"] - (PADDING + 1) * (name == "RobertaModel")
    length = data.draw(st.sampled_from([1, room]))
    side = data.draw(st.sampled_from(["left", "right"]))
    inputs = texts(length, side, config["type_vocab_size"])
    theirs = drawn(name, config, pooler=data.draw(st.booleans()))
    published.check(torch, theirs, inputs, tmp_path_factory.mktemp("bert"))


@published.DRAWN
@given(config=sizes(), side=st.sampled_from(["left", "right"]))
def test_distilbert_of_any_shape_equals_transformers_and_returns(config, side, tmp_path_factory):
    words = {"hidden_size": "dim", "num_attention_heads": "n_heads", "hidden_act": "activation"}
    words |= {"num_hidden_layers": "n_layers", "intermediate_size": "hidden_dim"}
    config = {words.get(key, key): value for key, value in config.items()}
    inputs = texts(config["max_position_embeddings"], side)
    del inputs["token_type_ids"]
    theirs = drawn("DistilBertModel", config)
    published.check(torch, theirs, inputs, tmp_path_factory.mktemp("distilbert"))


def test_nothing_but_word_ids_and_given_places(tmp_path):
    theirs = drawn("BertModel", CONFIG)
    ids = texts(6)["input_ids"]
    published.check(torch, theirs, {"input_ids": ids}, tmp_path / "ids")
    places = torch.tensor([[3, 2, 9, 0, 1, 5]])
    inputs = {"input_ids": ids, "position_ids": places}
    published.check(torch, theirs, inputs, tmp_path / "places")


@pytest.mark.parametrize(
    "name", ["BertForMaskedLM", "BertForNextSentencePrediction", "RobertaForMaskedLM"]
)
def test_the_head_for_another_task_is_left_over_and_given_back(name, tmp_path):
    theirs = drawn(name, CONFIG)
    theirs.save_pretrained(tmp_path / "theirs")
    model = interop.load(tmp_path / "theirs")
    inputs = texts(6)
    with torch.no_grad():
        expected = published.as_numpy(theirs.base_model(**inputs, **published.HIDDEN))
    found = model(**published.as_arrays(inputs), **published.HIDDEN)
    published.assert_close(found, expected)
    starts = ("cls.", "lm_head.")
    assert all(name.startswith(starts) for name in model.report.unexpected)
    published.check_return(torch, theirs, model, inputs, tmp_path / "ours")


def test_names_of_old_files_are_given_back(tmp_path):
    theirs = drawn("BertModel", CONFIG)
    theirs.save_pretrained(tmp_path / "new")
    old = {}
    for name, tensor in theirs.state_dict().items():
        for new, before in (("weight", "gamma"), ("bias", "beta")):
            name = name.replace(f"LayerNorm.{new}", f"LayerNorm.{before}")
        old[f"bert.{name}"] = tensor.numpy()
    old["bert.embeddings.position_ids"] = np.arange(10)[None]
    (tmp_path / "old").mkdir()
    (tmp_path / "old/config.json").write_bytes((tmp_path / "new/config.json").read_bytes())
    safetensors.write(tmp_path / "old/model.safetensors", old)

    model = interop.load(tmp_path / "old")
    ids = {"input_ids": texts(6)["input_ids"].numpy()}
    published.assert_close(
        model(**ids), published.as_numpy(dict(interop.load(tmp_path / "new")(**ids)))
    )
    assert list(model.report.buffers) == ["bert.embeddings.position_ids"]
    given = interop.weights_of(model)
    assert set(old) - set(given) == {"bert.embeddings.position_ids"}
    assert all(np.array_equal(given[name], old[name]) for name in given)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", ["BertModel", "RobertaModel"])
def test_gradients_equal_those_of_torch(name, side, tmp_path):
    theirs = drawn(name, CONFIG)
    inputs = texts(7, side, 2)
    model = published.check(torch, theirs, inputs, tmp_path)
    # transformers drops the gradient of the padding's own word, so the loss reads none: not the
    # pooled vectors of the shorter texts, either, which may be of padding.
    mask = inputs["attention_mask"].unsqueeze(-1)
    given = theirs(**inputs)
    loss = ((given.last_hidden_state * mask) ** 3).sum()
    (loss + (given.pooler_output[0] ** 3).sum()).backward()

    def ours(outputs):
        tokens = outputs["last_hidden_state"] * mask.numpy()
        return jnp.sum(tokens**3) + jnp.sum(outputs["pooler_output"][0] ** 3)

    arrays = {key: jnp.asarray(x.numpy()) for key, x in inputs.items()}
    found = published.gradients(model, arrays, ours)
    expected = {key: p.grad.numpy() for key, p in theirs.named_parameters()}
    published.assert_close(found, expected)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"is_decoder": True}, "is_decoder"),
        ({"add_cross_attention": True}, "add_cross_attention"),
        ({"num_attention_heads": 5}, "5 heads"),
        ({"hidden_act": "mish"}, "mish"),
        ({"hidden_size": "12"}, "hidden_size"),
        ({"intermediate_size": 21}, "does not fit"),
        ({"num_hidden_layers": 3}, "missing"),
    ],
)
def test_a_config_that_cannot_be_run_is_refused(change, said, tmp_path):
    drawn("BertModel", CONFIG).save_pretrained(tmp_path)
    assert said in published.refused(tmp_path, change)


def test_a_text_longer_than_the_positions_is_refused(tmp_path):
    drawn("RobertaModel", CONFIG).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="9 words, but the model takes 8"):
        interop.load(tmp_path)(input_ids=np.full((1, 9), 5))
