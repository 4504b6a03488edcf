"""Small models of every architecture with damaged configs, and damaged files of a run."""

import functools
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.fuzz import damage

SIZES = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
TEXT = SIZES | {"vocab_size": 40, "max_position_embeddings": 16, "eos_token_id": 1}
PICTURE = SIZES | {"image_size": 16, "patch_size": 8}
SOUND = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 1}
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": TEXT | {"model_type": "bert"},
    "distilbert": {
        "model_type": "distilbert",
        "dim": 24,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dim": 32,
        "vocab_size": 40,
        "max_position_embeddings": 16,
    },
    "roberta": TEXT | {"model_type": "roberta"},
    "clip": {
        "model_type": "clip",
        "projection_dim": 16,
        "vision_config": PICTURE,
        "text_config": TEXT,
    },
    "siglip": {"model_type": "siglip", "vision_config": PICTURE, "text_config": TEXT},
    "siglip2": {
        "model_type": "siglip2",
        "vision_config": SIZES | {"patch_size": 8, "num_patches": 4},
        "text_config": TEXT,
    },
    "vit": PICTURE | {"model_type": "vit", "id2label": {"0": "a", "1": "b"}},
    "dinov2": PICTURE | {"model_type": "dinov2"},
    "registers": PICTURE | {"model_type": "dinov2_with_registers"},
    "videomae": PICTURE | {"model_type": "videomae", "num_frames": 4},
    "vivit": PICTURE | {"model_type": "vivit", "num_frames": 4, "tubelet_size": [2, 8, 8]},
    "ast": SIZES
    | {"model_type": "audio-spectrogram-transformer", "max_length": 32, "num_mel_bins": 16}
    | {"patch_size": 8, "frequency_stride": 4, "time_stride": 4},
    "wav2vec2": SIZES
    | {"model_type": "wav2vec2", "conv_dim": [8, 8], "conv_kernel": [10, 3]}
    | {"conv_stride": [5, 2], "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2},
    "whisper": {
        "model_type": "whisper",
        "vocab_size": 40,
        "num_mel_bins": 8,
        "d_model": 24,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "max_source_positions": 8,
        "max_target_positions": 8,
    },
    "clap": {
        "model_type": "clap",
        "projection_dim": 16,
        "text_config": TEXT,
        "audio_config": {
            "hidden_size": 64,
            "patch_embeds_hidden_size": 8,
            "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 2, 2, 2],
            "num_mel_bins": 64,
            "spec_size": 256,
        },
    },
    "open_clip": {
        "model_cfg": {
            "embed_dim": 16,
            "vision_cfg": {"layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
            | {"image_size": 16},
            "text_cfg": {
                "context_length": 8,
                "vocab_size": 40,
                "width": 16,
                "heads": 2,
                "layers": 1,
            },
        }
    },
}
KEYS = [
    *SIZES,
    *(
        "vocab_size",
        "max_position_embeddings",
        "image_size",
        "patch_size",
        "hidden_act",
        "head_dim",
    ),
    *("layer_norm_eps", "num_channels", "mlp_ratio", "id2label", "model_type", "vision_config"),
    *("text_config", "tubelet_size", "num_frames", "conv_dim", "d_model", "layers", "heads"),
    *("depths", "window_size", "pretrained_cfg", "architecture", "global_pool", "pad_token_id"),
    *("type_vocab_size", "timm_model_name", "pool_type", "projection_dim", "is_decoder"),
]


def write(folder: Path, config: dict[str, Any]) -> str:
    """The weights of a model of a config, drawn; returns the name of the file of the config."""
    import jax.numpy as jnp

    from mmjax.interop.architecture import Checkpoint
    from mmjax.interop.formats import safetensors
    from mmjax.interop.formats.tensors import Tensor
    from mmjax.interop.weights.layout import nested
    from mmjax.interop.weights.recognition import architecture_of
    from mmjax.interop.weights.variables import expected_shapes, to_tensors

    scalar = Tensor((), np.dtype(np.float32), lambda: np.zeros((), np.float32), "nowhere")
    names = ["visual_projection.weight", "text_model.x"]
    names = ["logit_scale", "visual.conv1.weight"] if "model_cfg" in config else names
    checkpoint = Checkpoint(folder, config, dict.fromkeys(names, scalar))
    architecture = architecture_of(checkpoint, jnp.float32)
    shapes = expected_shapes(architecture)
    drawn = {path: np.full(shape, 0.1, np.float32) for path, shape in shapes.items()}
    folder.mkdir(parents=True, exist_ok=True)
    tensors = to_tensors(architecture.rules, nested(drawn), {})
    safetensors.write(folder / "model.safetensors", tensors)
    return "open_clip_config.json" if "model_cfg" in config else "config.json"


def configs(
    drawn: Callable[..., random.Random], folder: Path, names: Sequence[str] = tuple(CONFIGS)
) -> Callable:
    """A model whose config.json does not fit its weights, loaded, and traced if it loads."""
    import jax

    from mmjax.inference import published

    files = {name: write(folder / name, CONFIGS[name]) for name in names}

    def attempt(number: int, seed: int, folder: Path) -> None:
        draw = drawn("configs", number, seed)
        name = draw.choice(sorted(names))
        path = folder / name / files[name]
        path.write_bytes(damage.table_of(CONFIGS[name], draw, KEYS))
        model = published.load(folder / name).model
        example = model.architecture.example
        jax.eval_shape(functools.partial(model.module.apply, model.variables), **example)

    return attempt


FILES = ("config.json", "labels.json", "tokenizer.json", "tuned.json", "class_counts.json")
INPUTS = {"text": "a circle", "image": np.zeros((8, 8, 3), np.uint8)}


def workdirs(drawn: Callable[..., random.Random], folder: Path) -> Callable:
    """A run of a few steps, one of whose files is damaged, loaded and asked; every other one has
    no checksums, as those of older versions.
    """
    import jax

    import mmjax
    from mmjax import cli
    from mmjax.errors import UserError
    from mmjax.train.checkpoints import checksums

    whole, copy = folder / "whole", folder / "copy"
    command = [
        sys.executable,
        "-m",
        "mmjax.main",
        f"--workdir={whole}",
        "--config=configs/vqa.py:tiny",
    ]
    command += [f"--config.data.dir={folder / 'data'}", "--config.train.steps=2"]
    subprocess.run(command, check=True, capture_output=True)
    texts = {name: (whole / name).read_text() for name in FILES if (whole / name).exists()}
    shutil.copytree(whole, copy)
    sums = copy / checksums.FILE
    listed = sums.read_text()

    def attempt(number: int, seed: int, _folder: Path) -> None:
        draw = drawn("workdirs", number, seed)
        for name, text in texts.items():
            (copy / name).write_text(text)
        sums.unlink(missing_ok=True)
        if number % 2:
            sums.write_text(listed)
        name = draw.choice(sorted(texts))
        (copy / name).write_bytes(damage.table_of(json.loads(texts[name]), draw))
        try:
            model = mmjax.load(copy)
        except jax.errors.JaxRuntimeError as error:
            if cli.EXHAUSTED not in str(error):
                raise
            raise UserError("out of memory") from error  # a line of every command, see cli.run
        if number % 20 == 0:
            model(**{key: INPUTS[key] for key in model.modalities})

    return attempt
