"""The perceiver fusion against the encoder of Perceiver IO in transformers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from mmjax.fusion.attention.perceiver import PerceiverFusion  # noqa: E402
from mmjax.types import Tokens  # noqa: E402
from tests.parity.torch_weights import dense_of, norm_of  # noqa: E402

WIDTH, LATENTS, LAYERS, REPEATS = 12, 5, 2, 2
MASKS = {
    "image": np.array([[1, 1, 0], [0, 1, 1], [1, 1, 1]], bool),
    "text": np.array([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 0, 1, 0, 1]], bool),
}


def public():
    torch.manual_seed(0)
    config = transformers.PerceiverConfig(
        num_latents=LATENTS,
        d_latents=WIDTH,
        d_model=WIDTH,
        num_blocks=REPEATS,
        num_self_attends_per_block=LAYERS,
        num_self_attention_heads=4,
        num_cross_attention_heads=2,
        self_attention_widening_factor=3,
        cross_attention_widening_factor=3,
        attention_probs_dropout_prob=0.0,
    )
    model = transformers.PerceiverModel(config).eval()
    # The decoders of Perceiver IO norm the latents before they read them.
    model.closing = torch.nn.LayerNorm(WIDTH)
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-6  # ours; the default of PyTorch is 1e-5
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.1, 0.3)
    return model


def fusion():
    return PerceiverFusion(
        WIDTH,
        latents=LATENTS,
        repeats=REPEATS,
        layers=LAYERS,
        reads="first",
        share=True,
        cross_heads=2,
        mlp_ratio=3,
        activation="gelu_exact",
    )


def block(layer, name):
    own = layer.attention.self
    projections = {
        "attention": {"qkv": dense_of(own.query, own.key, own.value)},
        "cross": {"q": dense_of(own.query), "kv": dense_of(own.key, own.value)},
    }
    return {
        name: projections[name] | {"out": dense_of(layer.attention.output.dense)},
        f"{name}_norm": norm_of(own.layernorm1),
        "mlp_norm": norm_of(layer.layernorm),
        "mlp_in": dense_of(layer.mlp.dense1),
        "mlp_out": dense_of(layer.mlp.dense2),
    }


def converted(model):
    cross = model.encoder.cross_attention
    params = {
        "norm": norm_of(model.closing),
        "latents": model.embeddings.latents.detach().numpy(),
        "cross_0": {
            "cross_block": block(cross, "cross"),
            "context_norm": norm_of(cross.attention.self.layernorm2),
        },
    }
    for layer, theirs in enumerate(model.encoder.self_attends):
        params[f"block_{layer}"] = block(theirs, "attention")
    return params


def test_perceiver_equals_perceiver_io_of_transformers():
    random = np.random.default_rng(0)
    model = public()
    params = converted(model)
    assert sum(p.numel() for p in model.parameters()) == sum(
        np.size(leaf) for leaf in jax.tree.leaves(params)
    )
    contents, places = {}, []
    for name, mask in MASKS.items():
        length = mask.shape[1]
        contents[name] = random.normal(size=(*mask.shape, WIDTH)).astype(np.float32)
        modality = random.normal(size=WIDTH).astype(np.float32)
        positions = random.normal(size=(length, WIDTH)).astype(np.float32)
        params |= {f"modality_{name}": modality, f"positions_{name}": {"embedding": positions}}
        places.append(modality + positions)

    tensors = {n: torch.tensor(x, requires_grad=True) for n, x in contents.items()}
    inputs = torch.cat(
        [x + torch.tensor(p) for x, p in zip(tensors.values(), places, strict=True)], dim=1
    )
    mask = torch.tensor(np.concatenate(list(MASKS.values()), axis=1))
    theirs = model.closing(model(inputs=inputs, attention_mask=mask).last_hidden_state)
    (theirs.mean(1) ** 3).sum().backward()

    def loss(contents):
        tokens = {n: Tokens(x, jnp.asarray(MASKS[n])) for n, x in contents.items()}
        fused = fusion().apply({"params": params}, tokens)
        return (fused.pooled**3).sum(), fused

    contents = jax.tree.map(jnp.asarray, contents)
    gradients, fused = jax.jit(jax.grad(loss, has_aux=True))(contents)
    theirs = theirs.detach().numpy()
    np.testing.assert_allclose(fused.tokens.x, theirs, atol=1e-4)
    np.testing.assert_allclose(fused.pooled, theirs.mean(1), atol=1e-4)
    for name, tensor in tensors.items():
        gradient = tensor.grad.numpy()
        scale = np.abs(gradient).max()
        np.testing.assert_allclose(gradients[name] / scale, gradient / scale, atol=1e-4)


def test_initialisation_makes_the_parameters_that_were_copied():
    tokens = {n: Tokens(jnp.zeros((*m.shape, WIDTH)), jnp.asarray(m)) for n, m in MASKS.items()}
    shapes = jax.eval_shape(fusion().init, jax.random.key(0), tokens)["params"]
    ours = {path: leaf.shape for path, leaf in jax.tree.leaves_with_path(shapes)}
    copied = {path: leaf.shape for path, leaf in jax.tree.leaves_with_path(converted(public()))}
    extra = {path[0].key for path in set(ours) - set(copied)}
    assert extra == {"modality_image", "modality_text", "positions_image", "positions_text"}
    assert all(ours[path] == shape for path, shape in copied.items())
