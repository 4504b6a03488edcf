"""big_vision's files: against the readers of timm and of open_clip, and back bit for bit."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax import interop
from mmjax.errors import UserError
from tests.parity.interop import published

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
open_clip = pytest.importorskip("open_clip")
convert = pytest.importorskip("open_clip.convert")

VOCABULARY = 30


@st.composite
def encoders(draw):
    """Any number of heads of any width."""
    heads = draw(st.integers(1, 3))
    return {
        "heads": heads,
        "width": heads * draw(st.sampled_from([3, 5, 8])),
        "layers": draw(st.integers(1, 3)),
        "ratio": draw(st.integers(1, 3)),
    }


@st.composite
def pictures(draw):
    """What an image backbone is made with."""
    side = draw(st.integers(2, 4))
    return draw(encoders()) | {"patch": side, "cells": draw(st.integers(1, 3))}


def flat(tree, start=""):
    """{"a": {"b": x}} -> {"a/b": x}."""
    found = {}
    for name, value in tree.items():
        found |= (
            flat(value, f"{start}{name}/") if isinstance(value, dict) else {start + name: value}
        )
    return found


class Draw:
    """Parameters of flax modules by their names, drawn so that none is idle."""

    def __init__(self, seed):
        self.generator = np.random.default_rng(seed)

    def array(self, *shape):
        return self.generator.normal(size=shape).astype(np.float32)

    def dense(self, *shape, axes=1):
        """A kernel whose first axes are the inputs, and a bias."""
        scale = np.float32(np.prod(shape[:axes]) ** -0.5)
        return {"kernel": self.array(*shape) * scale, "bias": self.array(*shape[axes:]) / 5}

    def norm(self, width):
        return {"scale": 1 + self.array(width) / 5, "bias": self.array(width) / 5}

    def attention(self, width, heads):
        parts = {n: self.dense(width, heads, width // heads) for n in ("query", "key", "value")}
        return parts | {"out": self.dense(heads, width // heads, width, axes=2)}

    def mlp(self, width, hidden):
        return {"Dense_0": self.dense(width, hidden), "Dense_1": self.dense(hidden, width)}

    def encoder(self, size, *, scanned=False, old=False):
        """`old`: as the library of the ViT paper numbered the modules of a block."""
        width, numbers = size["width"], (1, 2, 3) if old else (0, 1, 0)
        blocks = [
            {
                "LayerNorm_0": self.norm(width),
                f"MultiHeadDotProductAttention_{numbers[0]}": self.attention(width, size["heads"]),
                f"LayerNorm_{numbers[1]}": self.norm(width),
                f"MlpBlock_{numbers[2]}": self.mlp(width, width * size["ratio"]),
            }
            for _ in range(size["layers"])
        ]
        found = {f"encoderblock_{i}": block for i, block in enumerate(blocks)}
        if scanned:
            stack = {name: np.stack([flat(b)[name] for b in blocks]) for name in flat(blocks[0])}
            found = {"encoderblock": stack}
        return found | {"encoder_norm": self.norm(width)}

    def image(self, size, pool, classes=0, **kinds):
        width, heads, cells = size["width"], size["heads"], size["cells"] ** 2
        backbone = {
            "embedding": self.dense(size["patch"], size["patch"], 3, width, axes=3),
            "Transformer": self.encoder(size, **kinds),
        }
        if pool == "map":
            backbone["MAPHead_0"] = {
                "probe": self.array(1, 1, width),
                "MultiHeadDotProductAttention_0": self.attention(width, heads),
                "LayerNorm_0": self.norm(width),
                "MlpBlock_0": self.mlp(width, width * size["ratio"]),
            }
        if pool == "tok":
            backbone["cls"] = self.array(1, 1, width)
        if kinds.get("old"):
            place = self.array(1, cells + (pool == "tok"), width)
            backbone["Transformer"]["posembed_input"] = {"pos_embedding": place}
        else:
            backbone["pos_embedding"] = self.array(1, cells, width)
        return backbone | ({"head": self.dense(width, classes)} if classes else {})

    def text(self, size, length, classes, **kinds):
        return {
            "Embed_0": {"embedding": self.array(VOCABULARY, size["width"])},
            "pos_embedding": self.array(1, length, size["width"]),
            "Encoder_0": self.encoder(size, **kinds),
            "head": self.dense(size["width"], classes),
        }


def timm_vit(size, pool, classes=0, *, placed=False):
    """timm's model of the same shape, with big_vision's activation."""
    return timm.create_model(
        "vit_tiny_patch16_224",
        embed_dim=size["width"],
        num_heads=size["heads"],
        depth=size["layers"],
        mlp_ratio=size["ratio"],
        patch_size=size["patch"],
        img_size=size["patch"] * size["cells"],
        class_token=pool == "tok",
        no_embed_class=not placed,
        global_pool={"tok": "token", "gap": "avg", "map": "map"}[pool],
        fc_norm=False,
        num_classes=classes,
        act_layer="gelu_tanh",
    ).eval()


def hooked(blocks, call):
    """What `call` gives, and the tokens before the first block and after each."""
    states = []
    hooks = [blocks[0].register_forward_pre_hook(lambda _, x: states.append(x[0]))]
    hooks += [block.register_forward_hook(lambda _, __, y: states.append(y)) for block in blocks]
    with torch.no_grad():
        found = call()
    for hook in hooks:
        hook.remove()
    return found, tuple(states)


def returned(model, arrays, folder):
    """What we write is what was read, bit for bit."""
    np.savez(folder / "ours.npz", **interop.weights_of(model))
    with np.load(folder / "ours.npz") as ours:
        assert set(ours) == set(arrays)
        for name, x in arrays.items():
            np.testing.assert_array_equal(ours[name], x, err_msg=name)


KINDS = ["plain", "scanned", "old"]
POOLS = ["tok", "gap", "map"]
SIZE = {"heads": 3, "width": 15, "layers": 3, "ratio": 2, "patch": 3, "cells": 2}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pool", POOLS)
def test_an_image_model_equals_timms_reading_and_returns(kind, pool, tmp_path):
    check_image(kind, pool, SIZE, 5, 0, tmp_path)


@published.DRAWN
@given(
    kind=st.sampled_from(KINDS),
    pool=st.sampled_from(POOLS),
    size=pictures(),
    classes=st.sampled_from([0, 5]),
    seed=st.integers(0, 9),
)
def test_an_image_model_of_any_shape(kind, pool, size, classes, seed, tmp_path_factory):
    check_image(kind, pool, size, classes, seed, tmp_path_factory.mktemp("vit"))


def check_image(kind, pool, size, classes, seed, folder):
    kinds = {} if kind == "plain" else {kind: True}
    root = {"plain": "", "scanned": "params/", "old": "opt/target/"}[kind]
    arrays = flat(Draw(seed).image(size, pool, classes, **kinds), root)
    np.savez(folder / "vit.npz", **arrays)
    theirs = timm_vit(size, pool, classes, placed=kind == "old")
    theirs.load_pretrained(str(folder / "vit.npz"))
    side = size["patch"] * size["cells"]
    image = np.random.default_rng(0).normal(size=(2, side, side, 3)).astype(np.float32)
    pixels = torch.tensor(image).permute(0, 3, 1, 2)
    tokens, states = hooked(theirs.blocks, lambda: theirs.forward_features(pixels))
    with torch.no_grad():
        expected = {"last_hidden_state": tokens, "hidden_states": states}
        expected["pre_logits"] = theirs.forward_head(tokens, pre_logits=True)
        if classes:
            expected["logits"] = theirs.forward_head(tokens)
    model = interop.load(folder / "vit.npz")
    published.assert_close(model(image=image, **published.HIDDEN), published.as_numpy(expected))
    returned(model, arrays, folder)


def open_clips(size, words, length, path):
    """Two backbones with the weights of a file, as open_clip reads it."""
    text = open_clip.transformer.TextTransformer(
        context_length=length,
        vocab_size=VOCABULARY,
        width=words["width"],
        heads=words["heads"],
        layers=words["layers"],
        mlp_ratio=words["ratio"],
        output_dim=size["width"],
        no_causal_mask=True,
        pool_type="last",
        proj_bias=True,
        act_layer=lambda: torch.nn.GELU(approximate="tanh"),
        norm_layer=lambda width: torch.nn.LayerNorm(width, eps=1e-6),
    ).eval()
    trunk = SimpleNamespace(trunk=timm_vit(size, "map"))
    scalars = {"logit_bias": torch.zeros(()), "logit_scale": torch.zeros(())}
    theirs = SimpleNamespace(visual=trunk, text=text, **scalars)
    convert.load_big_vision_weights(theirs, str(path))
    return theirs


@pytest.mark.parametrize("scanned", [False, True])
@published.DRAWN
@given(size=pictures(), words=encoders(), length=st.integers(1, 6), seed=st.integers(0, 9))
def test_two_backbones_equal_open_clips_reading_and_return(
    scanned, size, words, length, seed, tmp_path_factory
):
    folder, draw = tmp_path_factory.mktemp("siglip"), Draw(seed)
    tree = {
        "img": draw.image(size, "map", scanned=scanned),
        "txt": draw.text(words, length, size["width"], scanned=scanned),
        "t": draw.array(1),
        "b": draw.array(1),
    }
    arrays = flat(tree, "params/")
    np.savez(folder / "siglip.npz", **arrays)
    theirs = open_clips(size, words, length, folder / "siglip.npz")
    generator = np.random.default_rng(0)
    side = size["patch"] * size["cells"]
    image = generator.normal(size=(2, side, side, 3)).astype(np.float32)
    ids = generator.integers(0, VOCABULARY, (3, length))
    pixels = torch.tensor(image).permute(0, 3, 1, 2)
    trunk, text = theirs.visual.trunk, theirs.text
    zimg, seen = hooked(trunk.blocks, lambda: trunk(pixels))
    ztxt, read = hooked(text.transformer.resblocks, lambda: text(torch.tensor(ids)))
    zimg, ztxt = (torch.nn.functional.normalize(z, dim=-1) for z in (zimg, ztxt))
    logits = zimg @ ztxt.T * theirs.logit_scale.exp() + theirs.logit_bias
    expected = {
        "zimg": zimg,
        "ztxt": ztxt,
        "t": theirs.logit_scale.exp()[None],
        "b": theirs.logit_bias[None],
        "logits_per_image": logits,
        "logits_per_text": logits.T,
        "vision_model_output": {"hidden_states": seen},
        "text_model_output": {"hidden_states": read},
    }
    model = interop.load(folder / "siglip.npz")
    found = model(image=image, text=ids, **published.HIDDEN)
    published.assert_close(found, published.as_numpy(expected))
    returned(model, arrays, folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("pos_embedding"), "no pos_embedding"),
        (lambda arrays: arrays.update(pos_embedding=np.zeros((1, 6, 15), "f4")), "6 positions"),
        (lambda arrays: arrays.update({"Transformer/extra": np.zeros(1)}), "'Transformer/extra'"),
        (lambda arrays: arrays.pop("cls"), "5 positions"),
        (
            lambda arrays: arrays.pop("Transformer/encoderblock_1/LayerNorm_1/bias"),
            "Transformer/encoderblock_1/LayerNorm_1/bias",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(change, message, tmp_path):
    arrays = flat(Draw(0).image(SIZE, "tok"))
    if "5 positions" in message:
        arrays["pos_embedding"] = np.zeros((1, 5, 15), "f4")
    change(arrays)
    np.savez(tmp_path / "vit.npz", **arrays)
    with pytest.raises(UserError) as caught:
        interop.load(tmp_path / "vit.npz")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
