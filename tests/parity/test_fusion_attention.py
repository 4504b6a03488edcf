"""Fusions by attention against the multimodal encoders of transformers, with copied weights.

Largest difference allowed: 1e-5 of the outputs, 1e-4 of the gradients. Our embeddings of modality
and place are zeros here: FLAVA and LXMERT have theirs in their encoders.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.fusion.attention.cross_attention import CrossAttentionFusion
from mmjax.fusion.attention.transformer import TransformerFusion
from mmjax.fusion.attention.vilbert import CoAttentionalTransformerFusion
from mmjax.types import Tokens
from tests.parity.torch_weights import dense_of, norm_of

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
lxmert = pytest.importorskip("transformers.models.lxmert.modeling_lxmert")

WIDTH, HEADS, LAYERS = 24, 3, 2
SIZES = {"hidden_size": WIDTH, "num_attention_heads": HEADS, "intermediate_size": 4 * WIDTH}
EXTRA = ("modality_", "positions_", "stand_in_")  # what only ours has; zeros here
LENGTHS = {"image": [5, 3, 1], "text": [2, 7, 4]}


def inputs():
    random = np.random.default_rng(0)
    return {
        name: (
            random.normal(size=(3, max(lengths), WIDTH)).astype(np.float32),
            np.arange(max(lengths)) < np.array(lengths)[:, None],
        )
        for name, lengths in LENGTHS.items()
    }


def randomise(*modules):
    torch.manual_seed(0)
    for module in modules:
        for name, parameter in module.named_parameters():
            torch.nn.init.normal_(parameter, std=0.2)
            if "norm" in name.lower() and name.endswith("weight"):
                parameter.data += 1
        for part in module.modules():
            if isinstance(part, torch.nn.LayerNorm):
                part.eps = 1e-6
        module.eval()


def array(parameter):
    return jnp.asarray(parameter.detach().numpy())


def queries_keys_values(attention):
    return attention.query, attention.key, attention.value


def places():
    return {
        **{f"modality_{n}": jnp.zeros(WIDTH) for n in LENGTHS},
        **{
            f"positions_{n}": {"embedding": jnp.zeros((max(lengths), WIDTH))}
            for n, lengths in LENGTHS.items()
        },
    }


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def assert_same_parameters(module, params, torch_modules):
    """The copy has all parameters of both, and no other."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), as_tokens(*contents()))["params"]
    assert jax.tree.structure(shapes) == jax.tree.structure(params)
    made = sum(p.numel() for m in torch_modules for p in m.parameters())
    assert count({n: p for n, p in params.items() if not n.startswith(EXTRA)}) == made


def contents():
    return ({n: x for n, (x, _) in inputs().items()}, {n: m for n, (_, m) in inputs().items()})


def as_tokens(xs, masks):
    return {n: Tokens(jnp.asarray(xs[n]), jnp.asarray(masks[n])) for n in xs}


def assert_same(module, params, reference):
    """`reference(xs)` -> the tokens of our result, from a dict of leaf tensors."""
    xs, masks = contents()
    leaves = {n: torch.tensor(x, requires_grad=True) for n, x in xs.items()}
    expected = reference(leaves)

    @jax.jit
    def run(params, xs):
        def loss(xs):
            fused = module.apply({"params": params}, as_tokens(xs, masks))
            return (fused.tokens.x**3).sum(), fused

        return jax.grad(loss, has_aux=True)(xs)

    gradients, fused = run(params, xs)
    real = torch.tensor(np.asarray(fused.tokens.mask))
    (expected[real] ** 3).sum().backward()
    difference = np.asarray(fused.tokens.x)[real] - expected[real].detach().numpy()
    assert np.abs(difference).max() <= 1e-5, np.abs(difference).max()
    for name, leaf in leaves.items():
        difference = np.abs(np.asarray(gradients[name]) - leaf.grad.numpy())[masks[name]]
        assert difference.max() <= 1e-4 * np.abs(leaf.grad.numpy()).max(), difference.max()


def test_transformer_fusion_is_the_multimodal_encoder_of_flava():
    config = transformers.FlavaMultimodalConfig(
        **SIZES, num_hidden_layers=LAYERS, hidden_act="gelu_pytorch_tanh", layer_norm_eps=1e-6
    )
    flava = transformers.FlavaMultimodalModel(config, add_pooling_layer=False)
    randomise(flava)
    blocks = {
        f"block_{i}": {
            "attention_norm": norm_of(layer.layernorm_before),
            "attention": {
                "qkv": dense_of(*queries_keys_values(layer.attention.attention)),
                "out": dense_of(layer.attention.output.dense),
            },
            "mlp_norm": norm_of(layer.layernorm_after),
            "mlp_in": dense_of(layer.intermediate.dense),
            "mlp_out": dense_of(layer.output.dense),
        }
        for i, layer in enumerate(flava.encoder.layer)
    }
    params = {
        **places(),
        "fusion_tokens": array(flava.cls_token)[0],
        "transformer": {**blocks, "norm": norm_of(flava.layernorm)},
    }
    module = TransformerFusion(WIDTH, LAYERS, HEADS)
    masks = [torch.ones(3, 1, dtype=torch.bool), *(torch.tensor(m) for m in contents()[1].values())]

    def reference(xs):
        joined = torch.cat([xs["image"], xs["text"]], dim=1)
        return flava(joined, attention_mask=torch.cat(masks, dim=1).long()).last_hidden_state

    assert_same_parameters(module, params, [flava])
    assert_same(module, params, reference)


class Stream(torch.nn.Module):
    """A co-attention block and a self-attention block as in ViLBERT, of LXMERT's parts."""

    def __init__(self, config):
        super().__init__()
        self.cross = lxmert.LxmertCrossAttentionLayer(config)
        self.enter = lxmert.LxmertIntermediate(config)
        self.leave = lxmert.LxmertOutput(config)
        self.own = lxmert.LxmertLayer(config)

    def forward(self, x, mask, context, context_mask):
        (read,) = self.cross(x, context, added(context_mask))
        return self.own(self.leave(self.enter(read), read), added(mask))[0]


def added(mask):
    """What LXMERT adds to the scores of keys."""
    return (1 - mask.float())[:, None, None] * torch.finfo(torch.float32).min


def stream_params(stream):
    def mlp(enter, leave):
        return {
            "mlp_in": dense_of(enter.dense),
            "mlp_out": dense_of(leave.dense),
            "mlp_norm": norm_of(leave.LayerNorm),
        }

    cross, own = stream.cross, stream.own.attention
    return {
        "cross_block": {
            "cross": {
                "q": dense_of(cross.att.query),
                "kv": dense_of(cross.att.key, cross.att.value),
                "out": dense_of(cross.output.dense),
            },
            "cross_norm": norm_of(cross.output.LayerNorm),
            **mlp(stream.enter, stream.leave),
        },
        "self_block": {
            "attention": {
                "qkv": dense_of(*queries_keys_values(own.self)),
                "out": dense_of(own.output.dense),
            },
            "attention_norm": norm_of(own.output.LayerNorm),
            **mlp(stream.own.intermediate, stream.own.output),
        },
    }


def streams(*keys):
    config = transformers.LxmertConfig(**SIZES, hidden_act="gelu_pytorch_tanh")
    made = {key: Stream(config) for key in keys}
    randomise(*made.values())
    return made, {n: torch.tensor(mask) for n, mask in contents()[1].items()}


def test_vilbert_has_the_cross_modality_layers_of_lxmert():
    made, masks = streams(*((layer, n) for layer in range(LAYERS) for n in LENGTHS))
    params = {f"layer_{i}_{n}": stream_params(stream) for (i, n), stream in made.items()}
    params |= places()
    module = CoAttentionalTransformerFusion(WIDTH, LAYERS, HEADS, norm="post")

    def reference(xs):
        image, text = xs["image"], xs["text"]
        for i in range(LAYERS):
            image, text = (
                made[i, "image"](image, masks["image"], text, masks["text"]),
                made[i, "text"](text, masks["text"], image, masks["image"]),
            )
        return torch.cat([image, text], dim=1)

    assert_same_parameters(module, params, made.values())
    assert_same(module, params, reference)


def test_cross_attention_has_the_cross_modality_layers_of_lxmert():
    made, masks = streams(*range(LAYERS))
    params = {f"layer_{i}": stream_params(stream) for i, stream in made.items()}
    params |= places() | {"stand_in_text": jnp.zeros(WIDTH)}
    module = CrossAttentionFusion(
        WIDTH, LAYERS, HEADS, query="text", self_attention=True, norm="post"
    )

    def reference(xs):
        text = xs["text"]
        for stream in made.values():
            text = stream(text, masks["text"], xs["image"], masks["image"])
        return torch.cat([torch.zeros(3, 1, WIDTH), text], dim=1)

    assert_same_parameters(module, params, made.values())
    assert_same(module, params, reference)
