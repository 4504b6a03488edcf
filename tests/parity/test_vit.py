"""The vision transformer and its positions against timm, transformers and torch.nn.functional."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.encoders.image.vit import Vit
from mmjax.nn.layers.embedding import resize_positions, sincos_positions
from tests.parity.torch_weights import dense_of, norm_of

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")

MASK = np.array([True, False, True])


def images(*sides):
    return np.random.default_rng(0).integers(0, 256, (3, *sides, 3), np.uint8)


def pixels(*sides):
    """All rows as PyTorch takes them, -1 to 1."""
    return torch.tensor((images(*sides) / 127.5 - 1).transpose(0, 3, 1, 2), dtype=torch.float32)


def randomise(module):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    return module.eval()


def numpy(tensor):
    return tensor.detach().numpy()


def patches(convolution):
    """A patch's features are in the order row, column, channel."""
    kernel = numpy(convolution.weight)
    kernel = kernel.transpose(2, 3, 1, 0).reshape(-1, len(kernel))
    return {"projection": {"kernel": kernel, "bias": numpy(convolution.bias)}}


def assert_apply(encoder, params, images, expected):
    shapes = jax.eval_shape(encoder.init, jax.random.key(0), images)["params"]
    assert jax.tree.structure(shapes) == jax.tree.structure(params)
    tokens = jax.jit(encoder.apply)({"params": params}, images, MASK)
    np.testing.assert_allclose(tokens.x[MASK], numpy(expected)[MASK], atol=1e-4)


@pytest.mark.parametrize("registers", [0, 3])
def test_vit_with_registers_equals_timm(registers):
    theirs = timm.models.vision_transformer.VisionTransformer(
        img_size=(16, 24),
        patch_size=8,
        embed_dim=24,
        depth=2,
        num_heads=3,
        reg_tokens=registers,
        no_embed_class=True,
        init_values=0.3,
    )
    theirs = randomise(theirs)

    def block(b):
        return {
            "attention_norm": norm_of(b.norm1),
            "attention": {"qkv": dense_of(b.attn.qkv), "out": dense_of(b.attn.proj)},
            "attention_scale": numpy(b.ls1.gamma),
            "mlp_norm": norm_of(b.norm2),
            "mlp_in": dense_of(b.mlp.fc1),
            "mlp_out": dense_of(b.mlp.fc2),
            "mlp_scale": numpy(b.ls2.gamma),
        }

    blocks = {f"block_{i}": block(b) for i, b in enumerate(theirs.blocks)}
    params = {
        "patches": patches(theirs.patch_embed.proj),
        "positions": {"embedding": numpy(theirs.pos_embed).reshape(2, 3, 24)},
        "class_token": numpy(theirs.cls_token)[0],
        "transformer": {**blocks, "norm": norm_of(theirs.norm)},
    }
    if registers:
        params["registers"] = numpy(theirs.reg_token)[0]
    options = {"layers": 2, "heads": 3, "activation": "gelu_exact", "layer_scale": 0.3}
    ours = Vit(24, **options, class_token=True, registers=registers, output="all")
    features = theirs.forward_features(pixels(16, 24))
    expected = torch.cat([features[:, :1], features[:, 1 + registers :]], 1)
    assert_apply(ours, params, images(16, 24), expected)


@pytest.mark.parametrize("sides", [(32, 32), (48, 24), (16, 16)])
def test_vit_of_any_image_size_equals_transformers(sides):
    """Made for 32x32; their class token has a position, which is added to ours."""
    config = transformers.ViTConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=48,
        image_size=32,
        patch_size=8,
    )
    theirs = randomise(transformers.ViTModel(config, add_pooling_layer=False))

    def block(b):
        qkv = [dense_of(getattr(b.attention, f"{part}_proj")) for part in "qkv"]
        qkv = {key: np.concatenate([part[key] for part in qkv], -1) for key in ("kernel", "bias")}
        return {
            "attention_norm": norm_of(b.layernorm_before),
            "attention": {"qkv": qkv, "out": dense_of(b.attention.o_proj)},
            "mlp_norm": norm_of(b.layernorm_after),
            "mlp_in": dense_of(b.mlp.fc1),
            "mlp_out": dense_of(b.mlp.fc2),
        }

    places = numpy(theirs.embeddings.position_embeddings)[0]
    params = {
        "patches": patches(theirs.embeddings.patch_embeddings.projection),
        "positions": {"embedding": places[1:].reshape(4, 4, 24)},
        "class_token": numpy(theirs.embeddings.cls_token)[0] + places[:1],
        "transformer": {f"block_{i}": block(b) for i, b in enumerate(theirs.layers)}
        | {"norm": norm_of(theirs.layernorm)},
    }
    options = {"activation": "gelu_exact", "epsilon": 1e-12, "output": "all"}
    ours = Vit(24, layers=2, heads=3, mlp_ratio=2, class_token=True, **options)
    expected = theirs(pixels(*sides), interpolate_pos_encoding=True).last_hidden_state
    assert_apply(ours, params, images(*sides), expected)


@pytest.mark.parametrize("grid", [(14, 14), (5, 9), (7, 7), (3, 20)])
def test_resized_positions_equal_torch(grid):
    table = np.random.default_rng(0).normal(size=(7, 7, 5)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.tensor(table).permute(2, 0, 1)[None], grid, mode="bicubic", align_corners=False
    )
    out = resize_positions(jnp.asarray(table), *grid)
    np.testing.assert_allclose(out, expected[0].permute(1, 2, 0), atol=1e-5)


def test_sincos_positions_equal_mae():
    """transformers has the row first, where MAE's own code has the column first."""
    mae = pytest.importorskip("transformers.models.vit_mae.modeling_vit_mae")
    row_first = mae.build_2d_sinusoidal_position_embedding(5, 3, 24).reshape(5, 3, 2, 12)
    expected = row_first[:, :, [1, 0]].reshape(5, 3, 24)
    np.testing.assert_allclose(sincos_positions(5, 3, 24), expected, atol=1e-6)
