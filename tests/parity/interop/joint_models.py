"""Small models of one space as their libraries save them, with all files beside: drawn weights."""

import contextlib
import json
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.interop import fakes
from tests.parity.interop import published

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
open_clip = pytest.importorskip("open_clip")
convert = pytest.importorskip("open_clip.convert")

from tests.parity.interop import open_clip_models, test_big_vision, test_clap, test_naflex  # noqa: E402
from tests.parity.interop.test_open_clip_timm import SIGLIP, config_of  # noqa: E402

SIDE, LENGTH, VOCABULARY = 8, 6, 40
SIZES = {
    "hidden_size": 12,
    "num_attention_heads": 3,
    "num_hidden_layers": 1,
    "intermediate_size": 20,
}
VISION = SIZES | {"image_size": SIDE, "patch_size": 4}
TEXT = SIZES | {
    "vocab_size": VOCABULARY,
    "max_position_embeddings": LENGTH,
    "eos_token_id": 1,
    "bos_token_id": 0,
    "pad_token_id": 1,
}
NORM = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25]}
PIXELS = {
    "image_processor_type": "CLIPImageProcessor",
    "size": {"shortest_edge": SIDE},
    "crop_size": SIDE,
    "image_mean": NORM["mean"],
    "image_std": NORM["std"],
}
SQUARE = PIXELS | {
    "image_processor_type": "SiglipImageProcessor",
    "size": {"height": SIDE, "width": SIDE},
}
PATCHES = {"image_processor_type": "Siglip2ImageProcessor", "patch_size": 2, "max_num_patches": 16}
RATE = 48_000
SOUNDS = {
    "feature_extractor_type": "ClapFeatureExtractor",
    "sampling_rate": RATE,
    "feature_size": 16,
    "truncation": "rand_trunc",
    "max_length_s": 0.25,
    "nb_max_samples": RATE // 4,
    "hop_length": 200,
}


class Case(NamedTuple):
    """path: what a config names; run: (inputs by transformers' names) -> embeddings and logits;
    again: a folder -> another such function; kind: of what is no text; clamped: whether
    padding is read as words are.
    """

    path: Any
    run: Any
    again: Any
    kind: str = "image"


def files(folder, words, preprocessor):
    folder.mkdir(parents=True, exist_ok=True)
    fakes.tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": words, "pad_token": "</s>", "model_max_length": LENGTH})
    )
    if preprocessor:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))


def of_transformers(model):
    def run(inputs):
        with torch.no_grad():
            return published.as_numpy(model(**{k: torch.tensor(x) for k, x in inputs.items()}))

    return run


def saved(theirs, folder, words, preprocessor, kind="image"):
    theirs = published.randomise(torch, theirs)
    theirs.save_pretrained(folder)
    files(folder, words, preprocessor)

    def again(other):
        found, notes = type(theirs).from_pretrained(other, output_loading_info=True)
        missing = [k for k in notes["missing_keys"] if not k.endswith(("_ids", "_index"))]
        assert not missing  # but for what is no parameter and made anew
        assert not notes["unexpected_keys"], notes
        return of_transformers(found.eval())

    return Case(folder, of_transformers(theirs), again, kind)


def clip(folder):
    config = transformers.CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=7)
    return saved(transformers.CLIPModel(config), folder, "CLIPTokenizer", PIXELS)


def siglip(folder):
    text = TEXT | {"projection_size": 12}
    config = transformers.SiglipConfig(vision_config=VISION, text_config=text)
    return saved(transformers.SiglipModel(config), folder, "SiglipTokenizer", SQUARE)


def siglip2(folder):
    text = TEXT | {"projection_size": 12}
    vision = test_naflex.VISION | {"num_hidden_layers": 1}
    config = transformers.Siglip2Config(vision_config=vision, text_config=text)
    return saved(transformers.Siglip2Model(config), folder, "SiglipTokenizer", PATCHES)


def clap(folder):
    theirs = test_clap.clap(test_clap.AUDIO, test_clap.TEXT | {"max_position_embeddings": 9})
    return saved(theirs, folder, "RobertaTokenizer", SOUNDS, "audio")


OPEN_CLIP = {
    "embed_dim": 7,
    "quick_gelu": True,
    "vision_cfg": {"width": 64, "layers": 1, "patch_size": 4, "image_size": SIDE},
    "text_cfg": {
        "width": 64,
        "heads": 1,
        "layers": 1,
        "context_length": LENGTH,
        "vocab_size": VOCABULARY,
    },
}
# What lies behind a text is read: no causal mask, and no mask of padding.
SEEN = OPEN_CLIP | {
    "init_logit_bias": -3.0,
    "text_cfg": OPEN_CLIP["text_cfg"] | {"no_causal_mask": True, "pool_type": "last"},
}
RESNET = OPEN_CLIP | {
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "head_width": 32, "image_size": 32}
}
TIMM = {"embed_dim": 64, "num_heads": 1, "depth": 1, "img_size": 12, "patch_size": 4}


def of_open_clip(model):
    def run(inputs):
        with torch.no_grad():
            image, text = (torch.tensor(inputs[k]) for k in ("pixel_values", "input_ids"))
            found = model(image=image, text=text)
            logits = model.get_logits(image=image, text=text)[0]
        named = {"image_embeds": found["image_features"], "text_embeds": found["text_features"]}
        return published.as_numpy(named | {"logits_per_image": logits})

    return run


def of_config(config, folder, *, sizes=None):
    custom = sizes is not None
    theirs = open_clip_models.build(config, custom=custom, sizes=sizes)
    folder.mkdir(parents=True)
    side = config["vision_cfg"]["image_size"]
    more = {"preprocess_cfg": {**NORM, "size": side}}
    open_clip_models.write(folder, config, theirs.state_dict(), more)
    files(folder, "CLIPTokenizer", None)

    def again(other):
        found = open_clip_models.build(config, custom=custom, sizes=sizes, seed=1)
        open_clip.load_checkpoint(found, str(other / "model.safetensors"))
        return of_open_clip(found)

    return Case(folder, of_open_clip(theirs), again)


def openai(folder):
    files(folder, "CLIPTokenizer", PIXELS)
    path, _ = open_clip_models.openai(OPEN_CLIP, folder)

    def again(path):
        found = open_clip.load_openai_model(str(path), precision="fp32")
        found.output_dict = True
        return of_open_clip(found)

    return Case(path, again(path), lambda other: again(other / "model.safetensors"))


def big_vision(folder):
    files(folder, "SiglipTokenizer", SQUARE)
    draw = test_big_vision.Draw(0)
    size = {"heads": 3, "width": 15, "layers": 1, "ratio": 2, "patch": 4, "cells": 2}
    words = {"heads": 2, "width": 10, "layers": 1, "ratio": 2}
    tree = {"img": draw.image(size, "map"), "txt": draw.text(words, LENGTH, size["width"])}
    tree |= {"t": draw.array(1), "b": draw.array(1)}
    np.savez(folder / "siglip.npz", **test_big_vision.flat(tree, "params/"))

    def again(path):
        theirs = test_big_vision.open_clips(size, words, LENGTH, path)
        trunk, text = theirs.visual.trunk, theirs.text

        def run(inputs):
            with torch.no_grad():
                x = (trunk(torch.tensor(inputs["pixel_values"])),)
                x += (text(torch.tensor(inputs["input_ids"])),)
            image, text_ = (torch.nn.functional.normalize(z, dim=-1) for z in x)
            logits = image @ text_.T * theirs.logit_scale.exp() + theirs.logit_bias
            named = {"image_embeds": image, "text_embeds": text_, "logits_per_image": logits}
            return published.as_numpy(named)

        return run

    path = folder / "siglip.npz"
    return Case(path, again(path), lambda other: again(other / "model.npz"))


CASES = {
    "clip": clip,
    "siglip": siglip,
    "siglip2": siglip2,
    "clap": clap,
    "open_clip": lambda folder: of_config(OPEN_CLIP, folder),
    "open_clip that reads padding": lambda folder: of_config(SEEN, folder),
    "open_clip resnet": lambda folder: of_config(RESNET, folder),
    "open_clip siglip": lambda folder: of_config(
        config_of(
            "vit_base_patch16_siglip_224",
            "map",
            "none",
            text=SIGLIP | {"context_length": LENGTH},
        )
        | {"init_logit_bias": -10},
        folder,
        sizes=TIMM,
    ),
    "openai": openai,
    "big_vision": big_vision,
}


@contextlib.contextmanager
def away(path):
    """Within it the original is not there."""
    other = path.with_name("elsewhere")
    path.rename(other)
    try:
        yield
    finally:
        other.rename(path)
