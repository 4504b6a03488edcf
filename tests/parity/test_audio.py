"""AST and Whisper against transformers; distances up to 1e-4."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from mmjax.backbones.audio.whisper import sinusoids  # noqa: E402
from mmjax.encoders.audio.ast import SpectrogramTransformer  # noqa: E402
from mmjax.encoders.audio.whisper import SIZES, WhisperEncoder  # noqa: E402
from mmjax.nn.layers import attention as our_attention  # noqa: E402
from tests.parity.torch_weights import dense_of, norm_of  # noqa: E402


def draw(model, seed=0):
    """Random weights everywhere, norms and biases included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def block(attention, names, norms, mlp):
    """Our block from theirs; a projection without a bias gets zeros."""
    *parts, out = [getattr(attention, f"{name}_proj") for name in names]
    zeros = np.zeros(parts[0].out_features, np.float32)
    biases = [zeros if p.bias is None else p.bias.detach().numpy() for p in parts]
    kernel = np.concatenate([p.weight.detach().numpy().T for p in parts], axis=1)
    return {
        "attention": {
            "qkv": {"kernel": kernel, "bias": np.concatenate(biases)},
            "out": dense_of(out),
        },
        "attention_norm": norm_of(norms[0]),
        "mlp_norm": norm_of(norms[1]),
        "mlp_in": dense_of(mlp[0]),
        "mlp_out": dense_of(mlp[1]),
    }


def transformer(norm, layers, parts):
    """Ours from theirs; `parts`: of a layer, what `block` takes."""
    blocks = {f"block_{i}": block(*parts(layer)) for i, layer in enumerate(layers)}
    return {"norm": norm_of(norm), **blocks}


def test_ast():
    config = transformers.ASTConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=96,
        patch_size=5,
        frequency_stride=3,
        time_stride=3,
        max_length=22,
        num_mel_bins=14,
        layer_norm_eps=1e-6,
    )
    theirs = draw(transformers.ASTModel(config))
    x = np.random.default_rng(0).normal(size=(2, 22, 14)).astype(np.float32)
    hidden = theirs(torch.from_numpy(x)).last_hidden_state.detach().numpy()

    def by_time(tokens):
        """Theirs are by mel bin, then by time."""
        return tokens.reshape(*tokens.shape[:-2], 4, 6, 24).swapaxes(-3, -2).reshape(-1, 24, 24)

    def parts(layer):
        norms = (layer.layernorm_before, layer.layernorm_after)
        return layer.attention, "qkvo", norms, (layer.mlp.fc1, layer.mlp.fc2)

    embed = theirs.embeddings
    learned = torch.cat([embed.cls_token, embed.distillation_token], 1).detach().numpy()[0]
    places = embed.position_embeddings.detach().numpy()[0]
    projection = embed.patch_embeddings.projection
    kernel = projection.weight.detach().numpy()[:, 0].transpose(2, 1, 0).reshape(25, 24)
    params = {
        "class_tokens": learned + places[:2],
        "positions": {"embedding": by_time(places[2:])[0]},
        "patches": {"kernel": kernel, "bias": projection.bias.detach().numpy()},
        "transformer": transformer(theirs.layernorm, theirs.layers, parts),
    }
    encoder = SpectrogramTransformer(
        24, patch_size=5, stride=3, layers=2, heads=3, class_tokens=2, mel_bins=14
    )
    mask = jnp.ones((2, 22), bool)
    tokens = jax.jit(lambda x: encoder.apply({"params": params}, x, mask, method="from_log_mel"))(
        jnp.asarray(x)
    )
    np.testing.assert_allclose(tokens.x[:, :2], hidden[:, :2], atol=1e-4)
    np.testing.assert_allclose(tokens.x[:, 2:], by_time(hidden[:, 2:]), atol=1e-4)


def test_whisper():
    config = transformers.WhisperConfig(
        d_model=24,
        encoder_layers=2,
        encoder_attention_heads=3,
        encoder_ffn_dim=96,
        decoder_layers=1,
        decoder_attention_heads=3,
        decoder_ffn_dim=24,
        num_mel_bins=14,
        max_source_positions=13,
    )
    theirs = draw(transformers.WhisperModel(config).encoder)
    with torch.no_grad():
        theirs.embed_positions.weight.copy_(torch.from_numpy(sinusoids(13, 24)))
    x = np.random.default_rng(0).normal(size=(2, 26, 14)).astype(np.float32)
    hidden = theirs(torch.from_numpy(x.swapaxes(1, 2))).last_hidden_state.detach().numpy()

    def conv(layer):
        kernel = layer.weight.detach().numpy().transpose(2, 1, 0)
        return {"kernel": kernel, "bias": layer.bias.detach().numpy()}

    def parts(layer):
        norms = (layer.self_attn_layer_norm, layer.final_layer_norm)
        return layer.self_attn, ("q", "k", "v", "out"), norms, (layer.fc1, layer.fc2)

    params = {
        "conv_0": conv(theirs.conv1),
        "conv_1": conv(theirs.conv2),
        "transformer": transformer(theirs.layer_norm, theirs.layers, parts),
    }
    encoder = WhisperEncoder(24, layers=2, heads=3, mel_bins=14)
    mask = jnp.ones((2, 26), bool)
    run = jax.jit(lambda x: encoder.apply({"params": params}, x, mask, method="from_log_mel"))
    np.testing.assert_allclose(run(jnp.asarray(x)).x, hidden, atol=1e-4)


def test_whisper_positions():
    from transformers.models.whisper import modeling_whisper

    for length, width in ((1500, 384), (7, 10)):
        expected = modeling_whisper.sinusoids(length, width).numpy()
        # Theirs are in float32: at position 1500 it has steps of 1e-4.
        np.testing.assert_allclose(sinusoids(length, width), expected, atol=2e-4)


def count(tree):
    return sum(p.size for p in jax.tree.leaves(tree))


@pytest.mark.parametrize("size", SIZES)
def test_whisper_sizes_have_the_parameters_of_the_published(size):
    given = SIZES[size]
    with torch.device("meta"):
        config = transformers.WhisperConfig(
            d_model=given.width,
            encoder_layers=given.layers,
            encoder_attention_heads=given.heads,
            encoder_ffn_dim=4 * given.width,
            decoder_layers=1,
        )
        theirs = transformers.models.whisper.modeling_whisper.WhisperEncoder(config)
    positions = theirs.embed_positions.weight.numel()  # not learned, so not ours
    expected = sum(p.numel() for p in theirs.parameters()) - positions
    encoder = WhisperEncoder(given.width, size=size)
    x = jax.ShapeDtypeStruct((1, 480_000), jnp.float32)
    shapes = jax.eval_shape(encoder.init, jax.random.key(0), x)["params"]
    # Theirs has no bias for keys, where softmax makes one vanish.
    assert count(shapes) - given.layers * given.width == expected


def test_ast_base_has_the_parameters_of_the_published():
    with torch.device("meta"):
        theirs = transformers.ASTModel(transformers.ASTConfig())
    encoder = SpectrogramTransformer(768, layers=12, heads=12, class_tokens=2)
    x = jax.ShapeDtypeStruct((1, 400 + 160 * 1023), jnp.float32)
    tokens, shapes = jax.eval_shape(encoder.init_with_output, jax.random.key(0), x)
    assert tokens.x.shape == (1, 2 + 101 * 12, 768)
    # Theirs adds positions to the class tokens as well, which are learned themselves.
    expected = sum(p.numel() for p in theirs.parameters()) - 2 * 768
    assert count(shapes["params"]) == expected
    assert 86e6 < expected < 87e6


@pytest.mark.parametrize("name", ["ast", "whisper"])
def test_forward_cost_is_that_of_the_published(name, monkeypatch):
    """Of AST-base on 10.24 s (261 GFLOP) and Whisper tiny on 30 s (37), without spectrograms."""
    from torch.utils.flop_counter import FlopCounterMode

    monkeypatch.setattr(our_attention, "LONG", np.inf)  # of a loop over heads XLA counts one turn

    with torch.device("meta"):
        if name == "ast":
            config = transformers.ASTConfig(attn_implementation="eager")
            theirs, x = transformers.ASTModel(config), torch.empty(1, 1024, 128)
            encoder = SpectrogramTransformer(768, layers=12, heads=12, class_tokens=2)
        else:
            tiny = {"d_model": 384, "encoder_layers": 4, "encoder_attention_heads": 6}
            config = transformers.WhisperConfig(
                **tiny, encoder_ffn_dim=1536, decoder_layers=1, attn_implementation="eager"
            )
            module = transformers.models.whisper.modeling_whisper
            theirs, x = module.WhisperEncoder(config), torch.empty(1, 80, 3000)
            encoder = WhisperEncoder(384, size="tiny")
        with FlopCounterMode(display=False) as counter:
            theirs(x)
    frames, bins = (3000, 80) if name == "whisper" else (1024, 128)
    x = jax.ShapeDtypeStruct((1, frames, bins), jnp.float32)
    mask = jax.ShapeDtypeStruct((1, frames), bool)
    run = functools.partial(encoder.apply, method="from_log_mel")
    init = functools.partial(encoder.init, method="from_log_mel")
    variables = jax.eval_shape(init, jax.random.key(0), x, mask)
    flops = jax.jit(run).lower(variables, x, mask).cost_analysis()["flops"]
    # Theirs counts matrix products and convolutions only; ours norms, softmax and the like too.
    assert 1 <= flops / counter.get_total_flops() < 1.06
