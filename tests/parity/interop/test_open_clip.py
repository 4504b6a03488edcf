"""open_clip's CLIP and OpenAI's files against open_clip, and back."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax import interop
from mmjax.errors import UserError
from tests.parity.interop import published
from tests.parity.interop.open_clip_models import (
    build,
    check,
    check_openai,
    inputs_of,
    open_clip,
    outputs,
    torch,
    write,
)

VOCABULARY = 40


@st.composite
def half(draw):
    """Of either half."""
    heads = draw(st.integers(1, 3))
    size = draw(st.sampled_from([3, 5, 8]))
    return heads, {
        "width": heads * size,
        "layers": draw(st.integers(1, 3)),
        "mlp_ratio": draw(st.sampled_from([4.0, 2.5])),
        "norm_kwargs": draw(st.sampled_from([None, {"eps": 1e-3}])),
    }


@st.composite
def configs(draw):
    """What open_clip_config.json holds as model_cfg."""
    heads, vision = draw(half())
    patch, cells = draw(st.integers(2, 4)), draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    quick = draw(st.booleans())
    act = draw(st.sampled_from([None, {"approximate": "tanh"}])) if not quick else None
    vision |= {
        "head_width": vision["width"] // heads,
        "patch_size": patch,
        "image_size": [patch * count for count in cells],
        "ls_init_value": draw(st.sampled_from([None, 0.1])),
        "no_ln_pre": draw(st.booleans()),
        "pool_type": draw(st.sampled_from(["tok", "avg"])),
        "final_ln_after_pool": draw(st.booleans()),
        "act_kwargs": act,
    }
    heads, text = draw(half())
    projected = draw(st.booleans())
    text |= {
        "heads": heads,
        "context_length": draw(st.integers(1, 9)),
        "vocab_size": VOCABULARY,
        "pool_type": draw(st.sampled_from(["argmax", "eos", "first", "last"])),
        "eos_id": draw(st.sampled_from([2, 7])),
        "no_causal_mask": draw(st.booleans()),
        "proj_bias": draw(st.booleans()),
        "proj_type": "linear" if projected else "none",
        "act_kwargs": act,
    }
    return {
        "embed_dim": draw(st.integers(3, 9)) if projected else text["width"],
        "quick_gelu": quick,
        "init_logit_bias": draw(st.sampled_from([None, -10.0])),
        "nonscalar_logit_scale": draw(st.booleans()),
        "vision_cfg": vision,
        "text_cfg": text,
    }


@pytest.mark.parametrize("custom", [False, True])
@published.DRAWN
@given(config=configs())
def test_open_clip_of_any_shape_equals_its_library_and_returns(custom, config, tmp_path_factory):
    check(config, tmp_path_factory.mktemp("open_clip"), custom=custom)


CONFIG = {
    "embed_dim": 7,
    "quick_gelu": True,
    "vision_cfg": {"width": 64, "layers": 2, "patch_size": 4, "image_size": 8},
    "text_cfg": {"width": 64, "heads": 1, "layers": 2, "context_length": 6, "vocab_size": 40},
}


def test_the_folder_that_we_save_is_one_that_open_clip_opens(tmp_path):
    theirs = build(CONFIG)
    write(tmp_path / "theirs", CONFIG, theirs.state_dict())
    interop.save(interop.load(tmp_path / "theirs"), tmp_path / "ours")
    again = open_clip.create_model(f"local-dir:{tmp_path / 'ours'}", load_weights=True)
    for name, x in theirs.state_dict().items():
        assert torch.equal(again.state_dict()[name], x), name


def test_one_input_alone_gives_its_features(tmp_path):
    write(tmp_path, CONFIG, build(CONFIG).state_dict())
    model, inputs = interop.load(tmp_path), published.as_arrays(inputs_of(CONFIG))
    both = model(**inputs)
    for kind in ("image", "text"):
        alone = model(**{kind: inputs[kind]})
        np.testing.assert_allclose(alone[f"{kind}_features"], both[f"{kind}_features"], atol=1e-6)
        assert "logits_per_image" not in alone


@pytest.mark.parametrize("pool", ["argmax", "eos", "first", "last"])
def test_texts_are_pooled_where_the_config_says(pool, tmp_path):
    """The id 2 stands before the highest one: transformers' CLIP would read it as argmax."""
    config = CONFIG | {"text_cfg": CONFIG["text_cfg"] | {"pool_type": pool, "eos_id": 2}}
    theirs = build(config)
    write(tmp_path, config, theirs.state_dict())
    ids = torch.tensor([[5, 2, 9, 30, 2, 1], [2, 39, 7, 7, 7, 3]])
    with torch.no_grad():
        expected = theirs(text=ids)["text_features"].numpy()
    published.assert_close(interop.load(tmp_path)(text=ids.numpy())["text_features"], expected)


def test_a_file_of_openai_needs_no_config(tmp_path):
    check_openai(CONFIG, tmp_path)


def test_a_state_dict_alone_needs_the_activation(tmp_path):
    theirs, inputs = build(CONFIG), inputs_of(CONFIG)
    torch.save(theirs.state_dict(), tmp_path / "model.bin")
    with pytest.raises(UserError, match="quick_gelu"):
        interop.load(tmp_path)
    (tmp_path / "open_clip_config.json").write_text('{"quick_gelu": true}')
    found = interop.load(tmp_path)(**published.as_arrays(inputs), **published.HIDDEN)
    published.assert_close(found, outputs(theirs, inputs))


def test_a_checkpoint_of_training_beside_its_config(tmp_path):
    theirs, inputs = build(CONFIG), inputs_of(CONFIG)
    optimizer = torch.optim.AdamW(theirs.parameters())
    theirs(**inputs)["image_features"].sum().backward()
    optimizer.step()
    state = {f"module.{name}": x for name, x in theirs.state_dict().items()}
    saved = {"epoch": 3, "name": "x", "state_dict": state, "optimizer": optimizer.state_dict()}
    torch.save(saved, tmp_path / "epoch_3.pt")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG}))
    model = interop.load(tmp_path / "epoch_3.pt")
    assert not model.report.unexpected
    found = model(**published.as_arrays(inputs), **published.HIDDEN)
    published.assert_close(found, outputs(theirs, inputs))


def test_a_config_of_transformers_beside_open_clips_is_not_read(tmp_path):
    theirs, inputs = build(CONFIG), inputs_of(CONFIG)
    write(tmp_path, CONFIG, theirs.state_dict())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip", "vision_config": {}}))
    found = interop.load(tmp_path)(**published.as_arrays(inputs), **published.HIDDEN)
    published.assert_close(found, outputs(theirs, inputs))


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("text_cfg", {"layers": [1, 1, 1, 1]}, "layers=[1, 1, 1, 1]"),
        ("vision_cfg", {"attentional_pool": True}, "attentional_pool"),
        ("vision_cfg", {"timm_model_name": "convnext_base"}, "timm_model_name='convnext_base'"),
        ("vision_cfg", {"head_width": 20}, "does not split into 3 heads"),
        ("vision_cfg", {"pool_type": "none"}, "pool_type='none'"),
        ("vision_cfg", {"norm_kwargs": {"elementwise_affine": False}}, "norm_kwargs"),
        ("text_cfg", {"hf_model_name": "roberta-base"}, "hf_model_name"),
        ("text_cfg", {"embed_cls": True}, "embed_cls"),
        ("text_cfg", {"qk_norm": True}, "qk_norm"),
        ("text_cfg", {"act_kwargs": {"approximate": "tanh"}}, "act_kwargs"),
        ("text_cfg", {"heads": 3}, "does not split into 3 heads"),
        ("multimodal_cfg", {}, "CoCa"),
    ],
)
def test_what_mmjax_does_not_build_is_refused_in_one_line(part, changes, message, tmp_path):
    changed = CONFIG | {part: CONFIG.get(part, {}) | changes}
    write(tmp_path, changed, build(CONFIG).state_dict())
    with pytest.raises(UserError) as caught:
        interop.load(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
