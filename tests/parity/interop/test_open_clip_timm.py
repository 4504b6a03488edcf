"""open_clip's SigLIP, and its other ViTs of timm, against open_clip, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax import interop
from mmjax.errors import UserError
from tests.parity.interop import published
from tests.parity.interop.open_clip_models import build, built, check, open_clip, torch, write

vision_transformer = pytest.importorskip("timm.models.vision_transformer")

TEXT = {"width": 64, "heads": 1, "layers": 1, "context_length": 5, "vocab_size": 20}
SIGLIP = {
    "no_causal_mask": True,
    "proj_bias": True,
    "pool_type": "last",
    "norm_kwargs": {"eps": 1e-6},
}


def config_of(name, pool, proj, *, width=64, image_size=12, text=None, **options):
    """A model_cfg of open_clip with a ViT of timm."""
    vision = {"timm_model_name": name, "timm_pool": pool, "timm_proj": proj, **options}
    return {
        "embed_dim": width,
        "custom_text": True,
        "vision_cfg": vision | {"image_size": image_size},
        "text_cfg": TEXT | (text or {}),
    }


@st.composite
def siglips(draw):
    """A SigLIP and the sizes of its trunk; heads have 64 channels as in all of timm's."""
    heads, patch = draw(st.integers(1, 3)), draw(st.integers(2, 4))
    act = draw(st.sampled_from([{}, {"act_kwargs": {"approximate": "tanh"}}]))
    sides = [patch * draw(st.integers(1, 3)) for _ in range(2)]
    name = draw(
        st.sampled_from(
            ["vit_base_patch16_siglip_224", "vit_base_patch32_siglip_256"],
        )
    )
    config = config_of(
        name, "map", "none", width=64 * heads, image_size=sides, text=SIGLIP | act
    ) | {"init_logit_bias": -10, "nonscalar_logit_scale": draw(st.booleans())}
    sizes = {
        "embed_dim": 64 * heads,
        "num_heads": heads,
        "depth": draw(st.integers(1, 2)),
        "mlp_ratio": draw(st.sampled_from([2.5, 4])),
        "patch_size": patch,
        "img_size": sides,
    }
    return config, sizes


@published.DRAWN
@given(drawn=siglips())
def test_a_siglip_of_any_shape_equals_open_clip_and_returns(drawn, tmp_path_factory):
    config, sizes = drawn
    model = check(config, tmp_path_factory.mktemp("siglip"), custom=True, sizes=sizes)
    assert "logit_bias" in model.params


SIZES = {"embed_dim": 64, "num_heads": 1, "depth": 1, "img_size": 12, "patch_size": 4}


@pytest.mark.parametrize(
    ("name", "pool", "proj", "options"),
    [
        ("vit_large_patch14_clip_224", "token", None, {}),
        ("vit_medium_patch16_gap_256", "", "linear", {}),
        ("vit_base_patch16_224", "avg", "linear", {"timm_proj_bias": True}),
        ("vit_base_patch16_224", "avg", "", {}),
    ],
)
def test_other_plain_vits_of_timm(name, pool, proj, options, tmp_path):
    """Quick_gelu is of the texts only, as in open_clip."""
    config = config_of(name, pool, proj, **options) | {"quick_gelu": True, "embed_dim": 7}
    check(config, tmp_path, custom=True, sizes=SIZES)


def test_the_tokens_and_the_pooled_vector_are_those_of_timm(tmp_path):
    config = config_of("vit_base_patch16_siglip_224", "map", "none", text=SIGLIP)
    theirs = build(config, custom=True, sizes=SIZES)
    write(tmp_path, config, theirs.state_dict())
    image = np.random.default_rng(0).normal(size=(2, 3, 12, 12)).astype("f")
    trunk = theirs.visual.trunk
    with torch.no_grad():
        tokens = trunk.forward_features(torch.tensor(image))
        pooled = trunk.forward_head(tokens, pre_logits=True)
    found = interop.load(tmp_path)(image=image)["vision_model_output"]
    published.assert_close(found["last_hidden_state"], tokens.numpy())
    published.assert_close(found["pooler_output"], pooled.numpy())


ACTIVATIONS = {"GELU": "gelu_exact", "GELUTanh": "gelu"}
PLAIN = ("siglip", "vit_large_patch14_clip_224", "vit_medium_patch16_gap_256")


def plain_configs():
    """Of open_clip, with an own text backbone: one for each plain ViT of timm, by its name."""
    found = {}
    for name in open_clip.list_models():
        config = open_clip.get_model_config(name)
        whole = "multimodal_cfg" not in config and "hf_model_name" not in config["text_cfg"]
        if whole and any(w in config["vision_cfg"].get("timm_model_name", "") for w in PLAIN):
            found[config["vision_cfg"]["timm_model_name"]] = config
    return found


def test_every_siglip_of_open_clip_is_read_as_it_builds_it():
    """Built with one block and without memory; what the names say is compared."""
    configs = plain_configs()
    assert len(configs) >= 18
    for name, config in configs.items():
        config["text_cfg"]["layers"] = 1
        theirs, architecture = built(config, depth=1)
        backbone, trunk = architecture.parts["image"].module, theirs.visual.trunk
        assert type(trunk.blocks[0]) is vision_transformer.Block
        assert backbone.heads == trunk.blocks[0].attn.num_heads, name
        assert backbone.activation == ACTIVATIONS[type(trunk.blocks[0].mlp.act).__name__], name
        assert backbone.epsilon == trunk.blocks[0].norm1.eps, name
        assert backbone.grid == trunk.patch_embed.grid_size, name
        if trunk.attn_pool is not None:
            assert backbone.pooling == "attention", name
            assert trunk.attn_pool.num_heads == backbone.heads, name


SIGLIP_CONFIG = config_of("vit_base_patch16_siglip_224", "map", "none", text=SIGLIP)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timm_model_name": "vit_pe_core_base_patch16_224"}, "'pe', 'core'"),
        ({"timm_model_name": "vit_relpos_medium_patch16_cls_224"}, "'relpos'"),
        ({"timm_pool": "rot_attn"}, "global_pool='rot_attn'"),
        ({"timm_pool": ""}, "timm_pool=''"),
        ({"timm_pool": "token"}, "global_pool='token'"),
        ({"timm_pool": "avg"}, "'attn_pool.kv.bias'"),
        ({"timm_proj": "mlp"}, "timm_proj='mlp'"),
        ({"timm_proj": None}, "visual.trunk.head.weight"),
        ({"timm_proj": "linear"}, "visual.head.proj.weight"),
    ],
)
def test_what_mmjax_does_not_build_is_refused_in_one_line(changes, message, tmp_path):
    changed = SIGLIP_CONFIG | {"vision_cfg": SIGLIP_CONFIG["vision_cfg"] | changes}
    write(tmp_path, changed, build(SIGLIP_CONFIG, custom=True, sizes=SIZES).state_dict())
    with pytest.raises(UserError) as caught:
        interop.load(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_features_of_another_width_than_the_configs_are_refused(tmp_path):
    state = build(SIGLIP_CONFIG, custom=True, sizes=SIZES).state_dict()
    write(tmp_path, SIGLIP_CONFIG | {"embed_dim": 7}, state)
    with pytest.raises(UserError, match="embed_dim=7"):
        interop.load(tmp_path)


@pytest.mark.parametrize("name", ["convnext_base", "eva02_base_patch16_clip_224", "vitamin_base"])
def test_models_of_timm_that_are_no_plain_vits_are_refused(name, tmp_path):
    """By the tensors, or where these are alike by the name."""
    config = config_of(name, "", "linear")
    state = build(SIGLIP_CONFIG, custom=True, sizes=SIZES).state_dict()
    if name == "convnext_base":
        state = {key.replace("trunk.blocks", "trunk.stages"): x for key, x in state.items()}
    write(tmp_path, config, state)
    with pytest.raises(UserError) as caught:
        interop.load(tmp_path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
