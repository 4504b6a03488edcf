"""Small models that read, as their libraries would have saved them: one of each architecture."""

import json
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from mmjax.interop.architecture import Checkpoint
from mmjax.interop.formats import safetensors
from mmjax.interop.weights.layout import nested
from mmjax.interop.weights.recognition import architecture_of
from mmjax.interop.weights.variables import expected_shapes, to_tensors

WORDS = ("the", "owl", "and", "two", "dogs", "in", "snow", "paris", "a", "photo", "query", ":")
LENGTH, VOCABULARY = 9, 24
SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 12}
TEXT = SIZES | {"vocab_size": VOCABULARY, "max_position_embeddings": LENGTH}
VISION = SIZES | {"image_size": 8, "patch_size": 4}
NAFLEX = SIZES | {"num_patches": 4, "patch_size": 4}
VISION_CFG = {"image_size": 8, "patch_size": 4, "width": 8, "layers": 1, "head_width": 4}
TEXT_CFG = {"context_length": LENGTH, "vocab_size": VOCABULARY, "width": 8, "heads": 2, "layers": 1}
SIGLIP_CFG = TEXT_CFG | {"no_causal_mask": True, "proj_bias": True, "pool_type": "last"}
SIGLIP_CFG |= {"hf_tokenizer_name": "any", "tokenizer_kwargs": {"clean": "canonicalize"}}
MEAN = {"embedding_dimension": 8, "pooling_mode": "mean"}


def open_clip(text):
    """The model_cfg of open_clip with such texts."""
    return {"model_cfg": {"embed_dim": 8, "vision_cfg": VISION_CFG, "text_cfg": text}}


# By name: config.json, and the class of its tokenizer with the words at the ends of a text.
BERT = ("BertTokenizer", "[CLS]", "[SEP]", "[PAD]")
ROBERTA = ("RobertaTokenizer", "<s>", "</s>", "<pad>")
CLIP = ("CLIPTokenizer", "<|startoftext|>", "<|endoftext|>", "<|endoftext|>")
GEMMA = ("GemmaTokenizer", "", "<eos>", "<pad>")
T5 = ("T5Tokenizer", "", "</s>", "</s>")
ARCHITECTURES = {
    "bert": ({"model_type": "bert"} | TEXT, BERT),
    "distilbert": (
        {"model_type": "distilbert", "dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 12}
        | {"vocab_size": VOCABULARY, "max_position_embeddings": LENGTH},
        BERT,
    ),
    "roberta": (
        {"model_type": "roberta"} | TEXT | {"max_position_embeddings": LENGTH + 2},
        ROBERTA,
    ),
    "clip": (
        {"model_type": "clip", "projection_dim": 6, "vision_config": VISION}
        | {"text_config": TEXT | {"eos_token_id": 1}},
        CLIP,
    ),
    "siglip": ({"model_type": "siglip", "vision_config": VISION, "text_config": TEXT}, T5),
    "siglip2_fixed": (
        {"model_type": "siglip", "vision_config": VISION, "text_config": TEXT},
        GEMMA,
    ),
    "siglip2": ({"model_type": "siglip2", "vision_config": NAFLEX, "text_config": TEXT}, GEMMA),
    "siglip_text_model": ({"model_type": "siglip_text_model"} | TEXT, GEMMA),
    "clap_text_model": (
        {"model_type": "clap_text_model"} | TEXT | {"max_position_embeddings": LENGTH + 2},
        ROBERTA,
    ),
    "open_clip": (open_clip(TEXT_CFG | {"hf_tokenizer_name": "any"}), CLIP),
    "open_clip_siglip": (open_clip(SIGLIP_CFG), T5),
    "open_clip_siglip2": (open_clip(SIGLIP_CFG), GEMMA),
}
FIXED = [name for name in ARCHITECTURES if "siglip" in name]


def tokenizer(start, end, pad, words=WORDS):
    """Words as they are written, between `start` and `end`, which has the id 1."""
    names = [pad, *([end] if end != pad else []), *([start] if start else [])]
    names = ["<unk>", *names] if end == pad else [names[0], *names[1:], "<unk>"]
    ids = {name: i for i, name in enumerate(dict.fromkeys((*names, *words)))}
    made = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    around = [token for token in (start, end) if token]
    made.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}".strip(),
        special_tokens=[(token, ids[token]) for token in around],
    )
    made.add_special_tokens([*around, pad])
    return made


def lower_cased(made):
    """As BERT's: the tokenizer's own file says it."""
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    return made


def tensors(config, seed=0):
    """Drawn, by the names of the library."""
    names = {"logit_scale": (), "visual.conv1.weight": ()} if "model_cfg" in config else {}
    weights = {name: SimpleNamespace(shape=shape) for name, shape in names.items()}
    made = architecture_of(Checkpoint(Path("a fake"), config, weights), jnp.float32)
    generator = np.random.default_rng(seed)
    drawn = {
        path: generator.normal(0.0, 0.4, shape).astype(np.float32)
        for path, shape in expected_shapes(made).items()
    }
    return to_tensors(made.rules, nested(drawn), {})


def write(folder, name, **settings):
    """A folder of a architecture; `settings` of tokenizer_config.json."""
    config, (kind, start, end, pad) = ARCHITECTURES[name]
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.write(folder / "model.safetensors", tensors(config))
    file = "open_clip_config.json" if "model_cfg" in config else "config.json"
    (folder / file).write_text(json.dumps(config))
    made = tokenizer(start, end, pad)
    made = lower_cased(made) if kind == "BertTokenizer" else made
    made.save(str(folder / "tokenizer.json"))
    said = {"tokenizer_class": kind, "pad_token": pad, "eos_token": end, **settings}
    if name in FIXED:  # as all published ones say
        said["model_input_names"] = ["input_ids"]
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    return folder


def write_sentences(folder, modules=("Normalize",), *, pooling=MEAN, transformer=None, whole=None):
    """A folder of sentence-transformers around the model of "bert".

    Args:
        modules: after the pooling: a kind, or (kind, config, tensors).
        pooling, transformer, whole: the settings' files.
    """
    write(folder, "bert")
    entries = [("Transformer", ""), ("Pooling", "1_Pooling")]
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    for place, module in enumerate(modules, 2):
        kind, config, weights = module if isinstance(module, tuple) else (module, None, None)
        entries.append((kind, f"{place}_{kind}"))
        if config is not None:
            inner = folder / f"{place}_{kind}"
            inner.mkdir()
            (inner / "config.json").write_text(json.dumps(config))
            if weights:
                safetensors.write(inner / "model.safetensors", weights)
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(entries)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    for file, values in (
        ("sentence_bert_config.json", transformer),
        ("config_sentence_transformers.json", whole),
    ):
        if values is not None:
            (folder / file).write_text(json.dumps(values))
    return folder
