"""Whisper (Radford et al. 2022, https://arxiv.org/abs/2212.04356) as CTranslate2 has it.

Its model.bin has no sizes in a config: they are those of the tensors. There is no document of the
layout; it is what `python/ctranslate2/specs/whisper_spec.py` of
https://github.com/OpenNMT/CTranslate2 writes.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from mmjax.backbones.audio.whisper import WhisperModel
from mmjax.errors import UserError, decoding
from mmjax.interop.architecture import Architecture, Checkpoint, Spec
from mmjax.interop.architectures.audio import whisper
from mmjax.interop.formats import safetensors
from mmjax.interop.formats.tensors import Weights
from mmjax.interop.weights.layout import Rules, convolution, dense, prefixed, same

# Settings that are tensors, and the only values that Whisper has; 3 is the exact GELU.
FIXED = {
    "activation": 3,
    "alibi": 0,
    "pre_norm": 1,
    "scale_embeddings": 0,
    "start_from_zero_embedding": 0,
}
ENDS = "<|endoftext|>"
MULTILINGUAL = 51865  # words, at least


def recognises(checkpoint: Checkpoint) -> bool:
    """By the names, which no other model has."""
    names = ("encoder/conv1/weight", "decoder/layer_0/attention/linear_1/weight")
    return all(name in checkpoint.weights for name in names)


def module_of(weights: Weights, dtype: Any, where: str) -> WhisperModel:
    """The module of the sizes of the tensors.

    Raises:
        UserError: a tensor is missing, or a setting is another than Whisper's.
    """
    needed = ["encoder/conv1/weight", "decoder/embeddings/weight"]
    for half in ("encoder", "decoder"):
        needed += [f"{half}/num_heads", f"{half}/position_encodings/encodings"]
        needed += [f"{half}/layer_0/ffn/linear_0/weight"]
        for name, value in FIXED.items():
            found = weights.get(f"{half}/{name}")
            if found is not None and int(found.read()) != value:
                raise UserError(f"{where}: {half}/{name} is {found.read()}, in Whisper {value}")
    missing = [name for name in needed if name not in weights]
    if missing:
        raise UserError(f"{where}: {', '.join(missing)} missing: is the file incomplete?")
    projection = weights.get("decoder/projection/weight")
    if projection is not None and projection is not weights["decoder/embeddings/weight"]:
        raise UserError(f"{where}: decoder/projection/weight is not the table of the words")
    width, bins, _ = weights["encoder/conv1/weight"].shape
    config = {
        "vocab_size": weights["decoder/embeddings/weight"].shape[0],
        "num_mel_bins": bins,
        "d_model": width,
        "max_source_positions": weights["encoder/position_encodings/encodings"].shape[0],
        "max_target_positions": weights["decoder/position_encodings/encodings"].shape[0],
    }
    for half in ("encoder", "decoder"):
        layers = {name.split("/")[1] for name in weights if name.startswith(f"{half}/layer_")}
        config[f"{half}_layers"] = len(layers - {"layer_norm"})
        config[f"{half}_attention_heads"] = int(weights[f"{half}/num_heads"].read())
        config[f"{half}_ffn_dim"] = weights[f"{half}/layer_0/ffn/linear_0/weight"].shape[0]
    return whisper.model_of(config, dtype, where, "tied")[0]


def norm(ours: str, theirs: str) -> Rules:
    """A layer norm."""
    return same(f"{ours}/scale", f"{theirs}/gamma") + same(f"{ours}/bias", f"{theirs}/beta")


def layout(model: WhisperModel) -> Rules:
    """Of encoder and decoder; the projections of an attention are one there, too."""

    def linear(ours: str, theirs: str) -> Rules:
        return [
            rule._replace(theirs=tuple(name.replace(".", "/") for name in rule.theirs))
            for rule in dense(ours, theirs)
        ]

    block = [
        *norm("attention_norm", "self_attention/layer_norm"),
        *linear("attention/qkv", "self_attention/linear_0"),
        *linear("attention/out", "self_attention/linear_1"),
        *norm("mlp_norm", "ffn/layer_norm"),
        *linear("mlp_in", "ffn/linear_0"),
        *linear("mlp_out", "ffn/linear_1"),
    ]
    cross = [
        *norm("cross_norm", "attention/layer_norm"),
        *linear("cross/q", "attention/linear_0"),
        *linear("cross/kv", "attention/linear_1"),
        *linear("cross/out", "attention/linear_2"),
    ]
    rules: Rules = same("decoder/words", "decoder/embeddings/weight")
    for layer in range(2):
        for rule in convolution(f"encoder/conv_{layer}", f"encoder/conv{layer + 1}", 1):
            rules.append(rule._replace(theirs=(rule.theirs[0].replace(".", "/"),)))
    for part, rest, layers in (
        ("encoder", [], model.encoder.layers),
        ("decoder", cross, model.decoder.layers),
    ):
        rules += same(f"{part}/positions", f"{part}/position_encodings/encodings")
        rules += norm(f"{part}/transformer/norm", f"{part}/layer_norm")
        for layer in range(layers):
            ours, theirs = f"{part}/transformer/block_{layer}/", f"{part}/layer_{layer}/"
            rules += prefixed(block + rest, ours, theirs)
    return rules


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """The same module as of transformers' checkpoints."""
    weights = checkpoint.weights
    model = module_of(weights, dtype, str(checkpoint.path))
    rules = layout(model)
    settings = {name for name in weights if "/layer_" not in name}
    settings -= {name for rule in rules for name in rule.theirs}

    def normalise(name: str) -> str:
        return "" if name in settings else name

    return whisper.architecture("whisper_ct2", model, rules, normalise)


SPEC = Spec("whisper_ct2", recognises, build)


def words_of(folder: Path) -> list[str]:
    """The vocabulary beside model.bin.

    Raises:
        UserError: there is none.
    """
    listed, plain = folder / "vocabulary.json", folder / "vocabulary.txt"
    with decoding(f"{folder}: its vocabulary cannot be read", "fetch that file again"):
        if listed.is_file():
            return [str(word) for word in json.loads(listed.read_text(encoding="utf-8"))]
        if plain.is_file():
            return plain.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    raise UserError(f"{folder}: no vocabulary.json and no vocabulary.txt: fetch that file, too")


def generation_config(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """What generation_config.json of transformers would be.

    Args:
        folder: where the vocabulary lies.
        config: CTranslate2's config.json.

    Raises:
        UserError: no vocabulary, or a word of Whisper is not in it.
    """
    ids = {word: number for number, word in enumerate(words_of(folder))}
    wanted = (ENDS, "<|startoftranscript|>", "<|notimestamps|>", "<|transcribe|>", "<|translate|>")
    missing = [word for word in wanted if word not in ids]
    if missing:
        raise UserError(f"{folder}: its vocabulary has no {', '.join(missing)}: not Whisper's")
    end, start, no_times, transcribe, translate = (ids[word] for word in wanted)
    found = {
        "decoder_start_token_id": start,
        "eos_token_id": end,
        "pad_token_id": end,
        "bos_token_id": end,
        "suppress_tokens": config.get("suppress_ids", []),
        "begin_suppress_tokens": config.get("suppress_ids_begin", []),
        "no_timestamps_token_id": no_times,
        "is_multilingual": len(ids) >= MULTILINGUAL,
        "return_timestamps": False,
    }
    if found["is_multilingual"]:
        numbers = config.get("lang_ids", [])
        names = {number: word for word, number in ids.items()}
        found["lang_to_id"] = {names[number]: number for number in numbers}
        found["task_to_id"] = {"transcribe": transcribe, "translate": translate}
    return found


def save_as_transformers(model: Any, directory: str | Path) -> Path:
    """Saves a model from CTranslate2 as transformers has it: weights in float32, both configs, that
    of the spectrograms, and the tokenizer.

    Args:
        model: as `mmjax.interop.load` gives it.
        directory: is made if need be; another one than the model's.

    Returns:
        The file of the weights.

    Raises:
        UserError: a model of another origin, or the directory is the one that it came from.
    """
    if model.architecture.name != SPEC.name:
        raise UserError(f"{model.path}: not a Whisper of CTranslate2: use mmjax.interop.save")
    source = model.path if model.path.is_dir() else model.path.parent
    directory = Path(directory).expanduser()
    if directory.exists() and directory.samefile(source):
        raise UserError(f"{directory} is where the model came from: choose another directory")
    generation = generation_config(source, model.config)
    config = whisper.config_of(model.module)
    for key in ("decoder_start_token_id", "eos_token_id", "pad_token_id", "bos_token_id"):
        config[key] = generation[key]
    bins = model.module.encoder.bins
    sounds = {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": bins}
    directory.mkdir(parents=True, exist_ok=True)
    for name, value in (
        ("config.json", config),
        ("generation_config.json", generation),
        ("preprocessor_config.json", sounds),
    ):
        (directory / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    if (source / "tokenizer.json").is_file():
        shutil.copyfile(source / "tokenizer.json", directory / "tokenizer.json")
    _, rules = whisper.model_of(config, model.module.decoder.dtype, str(directory), "tied")
    flat = flatten_dict(model.variables, sep="/")
    tensors = {
        f"model.{name}": np.asarray(array, order="C")
        for rule in rules
        for name, array in zip(rule.theirs, rule.save(np.asarray(flat[rule.ours])), strict=True)
    }
    safetensors.write(directory / "model.safetensors", tensors)
    return directory / "model.safetensors"
