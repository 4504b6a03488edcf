"""Small models as their libraries would have saved them; drawn weights, and no PyTorch."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from mmjax.interop.architecture import Checkpoint
from mmjax.interop.formats import safetensors
from mmjax.interop.weights.layout import nested
from mmjax.interop.weights.recognition import architecture_of
from mmjax.interop.weights.variables import expected_shapes, to_tensors

SIZES = {
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
}
CLIP = {
    "model_type": "clip",
    "projection_dim": 16,
    "vision_config": SIZES | {"image_size": 16, "patch_size": 8},
    "text_config": SIZES
    | {"vocab_size": 40, "max_position_embeddings": 16, "eos_token_id": 1, "bos_token_id": 0},
}
WORDS = ("is", "there", "a", "what", "shape", "color", "the", "red", "blue", "circle", "?", "photo")


def draw(config, seed=0):
    """The tensors of a CLIP of a config, by the names of its library."""
    names = ("visual_projection.weight",)
    checkpoint = Checkpoint(Path("a fake"), config, dict.fromkeys(names))
    architecture = architecture_of(checkpoint, jnp.float32)
    generator = np.random.default_rng(seed)
    drawn = {
        path: generator.normal(0.0, 0.2, shape).astype(np.float32)
        for path, shape in expected_shapes(architecture).items()
    }
    return to_tensors(architecture.rules, nested(drawn), {})


def tokenizer():
    """Words between <s> and </s>."""
    ids = {name: i for i, name in enumerate(("<s>", "</s>", "<unk>", *WORDS))}
    made = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return made


def new_clip(tmp_path_factory):
    """A folder of its own with a CLIP."""
    path = tmp_path_factory.mktemp("published") / "clip"
    write_clip(path)
    return path


def write_clip(directory, config=CLIP, seed=0):
    """A whole folder; returns the tensors."""
    directory.mkdir(parents=True, exist_ok=True)
    tensors = draw(config, seed)
    safetensors.write(directory / "model.safetensors", tensors)
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "CLIPImageProcessor",
                "size": {"shortest_edge": 16},
                "crop_size": 16,
            }
        )
    )
    tokenizer().save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "pad_token": "</s>"})
    )
    return tensors
