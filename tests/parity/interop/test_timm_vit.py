"""timm's vision transformers against timm: drawn shapes, every name that timm has, and back."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax import interop
from mmjax.errors import UserError
from mmjax.interop.architecture import Checkpoint
from mmjax.interop.architectures.vision import timm_names, timm_vit
from mmjax.interop.formats import safetensors
from mmjax.interop.formats.tensors import Tensor
from tests.parity.interop import published

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
vision_transformer = pytest.importorskip("timm.models.vision_transformer")

NAME = "vit_tiny_patch16_224"


@st.composite
def arguments(draw):
    """What timm.create_model takes."""
    heads = draw(st.integers(1, 4))
    patch = draw(st.integers(2, 4))
    classed = draw(st.booleans())
    pools = ["token", "avg", "map"] if classed else ["avg", "map"]
    pool = draw(st.sampled_from(pools))
    return {
        "embed_dim": heads * draw(st.sampled_from([3, 5, 8])),
        "num_heads": heads,
        "depth": draw(st.integers(1, 3)),
        "mlp_ratio": draw(st.sampled_from([1, 2.5, 4])),
        "patch_size": patch,
        "img_size": [patch * draw(st.integers(1, 3)) for _ in range(2)],
        "in_chans": draw(st.integers(1, 3)),
        "num_classes": draw(st.sampled_from([0, 5])),
        "qkv_bias": draw(st.booleans()),
        "init_values": draw(st.sampled_from([None, 0.1])),
        "class_token": classed,
        "reg_tokens": draw(st.integers(0, 2)),
        "no_embed_class": draw(st.booleans()),
        "pre_norm": draw(st.booleans()),
        "fc_norm": draw(st.booleans()) if pool != "map" else None,
        "global_pool": pool,
        "act_layer": draw(st.sampled_from(["gelu", "gelu_tanh", "quick_gelu"])),
    }


def pictures(*shape, seed=0):
    return torch.tensor(np.random.default_rng(seed).normal(size=(2, *shape))).float()


def build(name=NAME, **given):
    return published.randomise(torch, timm.create_model(name, **given))


def outputs(theirs, pixels):
    """Theirs by our names, and the tokens before the first block and after each."""
    states = []
    hooks = [theirs.blocks[0].register_forward_pre_hook(lambda _, x: states.append(x[0]))]
    hooks += [
        block.register_forward_hook(lambda _, __, y: states.append(y)) for block in theirs.blocks
    ]
    with torch.no_grad():
        tokens = theirs.forward_features(pixels)
        for hook in hooks:
            hook.remove()
        found = {"last_hidden_state": tokens, "hidden_states": states}
        found["pooler_output"] = theirs.forward_head(tokens, pre_logits=True)
        if theirs.num_classes:
            found["logits"] = theirs.forward_head(tokens)
    return published.as_numpy(found)


def check(theirs, pixels, folder):
    """Saves with timm, compares, exports, lets timm load that, and compares again."""
    timm.models.save_for_hf(theirs, folder / "theirs", safe_serialization=True)
    model = interop.load(folder / "theirs")
    assert not model.report.unexpected
    expected = outputs(theirs, pixels)
    found = model(pixel_values=pixels.numpy(), **published.HIDDEN)
    published.assert_close(found, expected)
    interop.save(model, folder / "ours")
    again = timm.create_model(f"local-dir:{folder / 'ours'}", pretrained=True).eval()
    published.assert_close(outputs(again, pixels), expected, 1e-6)


@published.DRAWN
@given(drawn=arguments())
def test_a_vit_of_any_shape_equals_timm_and_returns(drawn, tmp_path_factory):
    pixels = pictures(drawn["in_chans"], *drawn["img_size"])
    check(build(**drawn), pixels, tmp_path_factory.mktemp("timm"))


SIZES = {"embed_dim": 12, "num_heads": 3, "depth": 2, "img_size": 12, "patch_size": 4}


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("vit_giant_patch14_reg4_dinov2", {"mlp_ratio": 4}),
        ("vit_base_patch16_siglip_224", {}),
        ("vit_large_patch16_siglip_512", {}),
        ("vit_base_patch16_clip_quickgelu_224", {}),
        ("vit_medium_patch16_reg4_gap_256", {}),
        ("vit_so150m_patch16_reg4_map_256", {}),
        ("vit_intern300m_patch14_448", {}),
        ("deit3_small_patch16_224", {}),
    ],
)
def test_what_only_the_name_says(name, given, tmp_path):
    """Gates, activations, epsilons, poolings."""
    check(build(name, **SIZES, **given), pictures(3, 12, 12), tmp_path)


@pytest.mark.parametrize("sides", [(20, 20), (8, 24), (4, 4)])
def test_pictures_of_another_size_interpolate_the_positions(sides, tmp_path):
    check(build(**SIZES, dynamic_img_size=True), pictures(3, *sides), tmp_path)


def test_a_checkpoint_of_training_without_a_config(tmp_path):
    """Of a usual architecture; the averaged weights are those that timm takes."""
    theirs, other = (
        build(**SIZES | {"embed_dim": 64, "num_heads": 1}, num_classes=5) for _ in range(2)
    )
    published.randomise(torch, other, seed=1)
    saved = {"epoch": 3, "state_dict": other.state_dict(), "state_dict_ema": theirs.state_dict()}
    torch.save(saved | {"optimizer": {"state": {0: torch.ones(3)}}}, tmp_path / "last.pth.tar")
    model = interop.load(tmp_path / "last.pth.tar")
    assert not model.report.unexpected
    pixels = pictures(3, 12, 12)
    found = model(pixel_values=pixels.numpy(), **published.HIDDEN)
    published.assert_close(found, outputs(theirs, pixels))


VITS = [
    name
    for name in timm.list_models()
    if name.startswith(("vit_", "deit", "flexivit", "beit3", "eva", "samvit"))
]


def test_every_name_of_timm_is_read_as_timm_builds_it_or_refused():
    """Built with one block and without memory; only what the name says is compared."""
    read = 0
    for name in VITS:
        try:
            theirs = timm.create_model(name, depth=1, device="meta")
        except (TypeError, ValueError, RuntimeError, AssertionError):
            theirs = None
        usual = type(theirs) is vision_transformer.VisionTransformer
        usual = usual and type(theirs.blocks[0]) is vision_transformer.Block
        names = {}
        if theirs is not None:
            for key, x in theirs.state_dict().items():
                names[key] = Tensor(tuple(x.shape), np.dtype("float32"), lambda: None, "")
        config = {"architecture": name, "global_pool": getattr(theirs, "global_pool", "")}
        checkpoint = Checkpoint(Path(name), config, names)
        if not timm_vit.recognises(checkpoint):
            continue
        try:
            backbone = timm_vit.build(checkpoint, np.float32).parts["image"].module
        except UserError:
            continue
        assert usual, name
        read += 1
        block = theirs.blocks[0]
        acts = {"GELU": "gelu_exact", "GELUTanh": "gelu", "QuickGELU": "quick_gelu", "SiLU": "silu"}
        assert backbone.heads == block.attn.num_heads, name
        assert backbone.activation == acts[type(block.mlp.act).__name__], name
        assert backbone.epsilon == block.norm1.eps, name
        assert backbone.grid == theirs.patch_embed.grid_size, name
        if theirs.num_prefix_tokens:
            assert backbone.register_position == (not theirs.no_embed_class), name
        assert not theirs.pool_include_prefix, name
    assert read >= 140


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "vit_base_patch16_rope_224"}, "'rope'"),
        ({"architecture": "vit_base_patch16_rpn_224"}, "'rpn'"),
        ({"model_args": {"qk_norm": True}}, "'qk_norm'"),
        ({"model_args": {"num_heads": 5}}, "does not split into 5 heads"),
        ({"model_args": {"act_layer": "mish"}}, "act_layer='mish'"),
        ({"global_pool": "avgmax"}, "global_pool='avgmax'"),
    ],
)
def test_what_mmjax_does_not_build_is_refused_in_one_line(changes, message, tmp_path):
    timm.models.save_for_hf(build(**SIZES), tmp_path, safe_serialization=True)
    assert message in published.refused(tmp_path, changes)


def test_a_part_that_mmjax_does_not_have_is_refused(tmp_path):
    state = {name: x.numpy() for name, x in build(**SIZES, qk_norm=True).state_dict().items()}
    safetensors.write(tmp_path / "model.safetensors", state)
    (tmp_path / "config.json").write_text(json.dumps({"model_args": {"num_heads": 3}}))
    with pytest.raises(UserError, match="attn.k_norm"):
        interop.load(tmp_path)
    assert timm_names.pooling(state) == "token"
