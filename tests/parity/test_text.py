"""Text encoders against transformers and torch, at real words: distances <= 1e-5."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.encoders.text.cnn import TextCnn
from mmjax.encoders.text.transformer import TextTransformer
from tests.encoders.text_specs import BERT, CLIP

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tests.parity.torch_weights import dense, norm, random_state  # noqa: E402

LENGTH, WIDTH, HEADS, VOCABULARY = 9, 15, 3, 23
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "intermediate_size": 35,
    "max_position_embeddings": LENGTH,
}
OURS = {"vocabulary_size": VOCABULARY, "layers": 2, "heads": HEADS, "mlp_ratio": 35 / 15}
IDS = np.random.default_rng(0).integers(1, VOCABULARY - 1, (4, LENGTH))
MASK = np.arange(LENGTH) < np.array([[9], [4], [1], [6]])


def bert_params(state):
    def block(layer):
        at = f"encoder.layer.{layer}"
        names = [f"{at}.attention.self.{part}" for part in ("query", "key", "value")]
        return {
            "attention": {
                "qkv": dense(state, *names),
                "out": dense(state, f"{at}.attention.output.dense"),
            },
            "attention_norm": norm(state, f"{at}.attention.output.LayerNorm"),
            "mlp_in": dense(state, f"{at}.intermediate.dense"),
            "mlp_out": dense(state, f"{at}.output.dense"),
            "mlp_norm": norm(state, f"{at}.output.LayerNorm"),
        }

    return {
        "words": {"embedding": state["embeddings.word_embeddings.weight"]},
        "positions": {"embedding": state["embeddings.position_embeddings.weight"]},
        "token_types": state["embeddings.token_type_embeddings.weight"],
        "embedding_norm": norm(state, "embeddings.LayerNorm"),
        "transformer": {f"block_{layer}": block(layer) for layer in (0, 1)},
    }


def clip_params(state):
    def block(layer):
        at = f"encoder.layers.{layer}"
        names = [f"{at}.self_attn.{part}_proj" for part in "qkv"]
        return {
            "attention": {
                "qkv": dense(state, *names),
                "out": dense(state, f"{at}.self_attn.out_proj"),
            },
            "attention_norm": norm(state, f"{at}.layer_norm1"),
            "mlp_in": dense(state, f"{at}.mlp.fc1"),
            "mlp_out": dense(state, f"{at}.mlp.fc2"),
            "mlp_norm": norm(state, f"{at}.layer_norm2"),
        }

    blocks = {f"block_{layer}": block(layer) for layer in (0, 1)}
    return {
        "words": {"embedding": state["embeddings.token_embedding.weight"]},
        "positions": {"embedding": state["embeddings.position_embedding.weight"]},
        "transformer": blocks | {"norm": norm(state, "final_layer_norm")},
    }


def encoded(encoder, params, ids=IDS, mask=MASK):
    return jax.jit(encoder.apply)({"params": params}, jnp.asarray(ids), jnp.asarray(mask))


def test_bert():
    config = transformers.BertConfig(**SIZES)
    assert (config.hidden_act, config.layer_norm_eps) == ("gelu", 1e-12)
    theirs = transformers.BertModel(config, add_pooling_layer=False).eval()
    params = bert_params(random_state(torch, theirs))
    mask = MASK.copy()
    mask[3] = [0, 0, 1, 1, 0, 1, 1, 1, 0]  # padding on the left, and a gap
    with torch.no_grad():
        out = theirs(torch.tensor(IDS), attention_mask=torch.tensor(mask).long())
    expected = np.where(mask[..., None], out.last_hidden_state, 0)
    options = BERT | OURS
    every = TextTransformer(WIDTH, **(options | {"output": "sequence"}))
    np.testing.assert_allclose(encoded(every, params, mask=mask).x, expected, atol=1e-5)
    first = encoded(TextTransformer(WIDTH, **options), params, mask=mask).x
    np.testing.assert_allclose(first[:, 0], expected[np.arange(4), mask.argmax(1)], atol=1e-5)


def test_clip():
    end = VOCABULARY - 1
    ends = {"bos_token_id": 0, "eos_token_id": end, "pad_token_id": end}
    config = transformers.CLIPTextConfig(**SIZES, **ends)
    assert (config.hidden_act, config.layer_norm_eps) == ("quick_gelu", 1e-5)
    theirs = transformers.CLIPTextModel(config).eval()
    params = clip_params(random_state(torch, theirs))
    ids = np.where(MASK & np.roll(MASK, -1, axis=1) & (np.arange(LENGTH) < LENGTH - 1), IDS, end)
    with torch.no_grad():
        out = theirs(torch.tensor(ids), attention_mask=torch.tensor(MASK).long())
    options = CLIP | OURS
    every = TextTransformer(WIDTH, **(options | {"output": "sequence"}))
    expected = np.where(MASK[..., None], out.last_hidden_state, 0)
    np.testing.assert_allclose(encoded(every, params, ids).x, expected, atol=1e-5)
    last = encoded(TextTransformer(WIDTH, **options), params, ids).x[:, 0]
    np.testing.assert_allclose(last, out.pooler_output, atol=1e-5)


def sizes(width, layers, heads):
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
    }


def bert(*shape):
    config = transformers.BertConfig(**sizes(*shape))
    return transformers.BertModel(config, add_pooling_layer=False)


def clip(*shape):
    return transformers.CLIPTextModel(transformers.CLIPTextConfig(**sizes(*shape)))


def distilbert(*_):
    return transformers.DistilBertModel(transformers.DistilBertConfig())


@pytest.mark.parametrize(
    ("size", "make", "shape", "count"),
    [
        ("bert-tiny", bert, (128, 2, 2), 4_369_408),
        ("bert-base", bert, (768, 12, 12), 108_891_648),
        ("bert-large", bert, (1024, 24, 16), 334_092_288),
        ("distilbert-base", distilbert, (768, 6, 12), 66_362_880),
        ("clip-base", clip, (512, 12, 8), 63_165_952),
        ("clip-large", clip, (768, 12, 12), 123_060_480),
    ],
)
def test_parameters_of_the_published_sizes(size, make, shape, count):
    vocabulary, length = (49408, 77) if make is clip else (30522, 512)
    ids = jax.ShapeDtypeStruct((1, length), jnp.int32)
    encoder = TextTransformer(shape[0], vocabulary, size=size)
    ours = jax.eval_shape(encoder.init, jax.random.key(0), ids)
    assert sum(p.size for p in jax.tree.leaves(ours)) == count
    with torch.device("meta"):
        theirs = make(*shape)
    assert sum(p.numel() for p in theirs.parameters()) == count


def test_cnn_equals_convolutions_over_each_sentence_alone():
    sizes, channels = (2, 3, 5), 7
    layers = [torch.nn.Conv1d(6, channels, size, padding="same") for size in sizes]
    last = torch.nn.ModuleDict({"projection": torch.nn.Linear(21, 6)})
    params = {
        "words": {"embedding": np.random.default_rng(1).normal(size=(VOCABULARY, 6))},
        "projection": dense(random_state(torch, last), "projection"),
    }
    for place, layer in enumerate(layers):
        state = random_state(torch, layer, seed=place)
        kernel = np.transpose(state["weight"], (2, 1, 0))
        params[f"convolution_{place}"] = {"kernel": kernel, "bias": state["bias"]}
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), params)
    tokens = encoded(TextCnn(6, VOCABULARY, sizes, channels), params)
    table = torch.tensor(np.asarray(params["words"]["embedding"]))
    for row, length in enumerate(MASK.sum(1)):
        words = table[torch.tensor(IDS[row, :length])].T[None]
        found = torch.cat([torch.relu(layer(words)).amax(2) for layer in layers], dim=1)
        expected = last["projection"](found)[0].detach()
        np.testing.assert_allclose(tokens.x[row, 0], expected, atol=1e-5)
