"""Every call of every published architecture works, or one line says what to use instead."""

import json

import numpy as np
import pytest
from scipy.io import wavfile

import mmjax
from mmjax.errors import UserError
from mmjax.interop.architectures import ARCHITECTURES
from tests.interop import fakes
from tests.parity.interop import published

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
torchvision = pytest.importorskip("torchvision")
timm = pytest.importorskip("timm")
pytest.importorskip("open_clip")

from tests.parity.interop import (  # noqa: E402
    open_clip_models,
    test_alone_sounds,
    test_big_vision,
    test_sentence,
    test_transcripts,
)
from tests.parity.interop.test_heads import PICTURE, SIZES, WORDS  # noqa: E402
from tests.parity.interop.test_whisper import (  # noqa: E402
    SMALL,
    drawn_model,
)
from tests.parity.interop.test_whisper_ct2 import (  # noqa: E402
    as_ctranslate2,
    write_ctranslate2,
)

PIXELS = {"image_processor_type": "ViTImageProcessor", "size": 8}
CLIPS = {"image_processor_type": "VideoMAEImageProcessor", "size": {"shortest_edge": 8}}
CLIPS |= {"crop_size": 8}
SHORT = {"dim": 12, "n_heads": 3, "n_layers": 1, "hidden_dim": 20, "vocab_size": 30}
CLIP = {"num_frames": 2, "tubelet_size": 1}
NAFLEX = {"vision_config": SIZES | {"patch_size": 4, "num_patches": 4}, "text_config": WORDS}


def saved(name, folder, preprocessing=None, **config):
    """A small model of transformers, with whatever its inputs need beside it."""
    theirs = getattr(transformers, name)
    theirs = published.randomise(torch, theirs(theirs.config_class(**config)))
    theirs.save_pretrained(folder)
    if preprocessing:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    else:
        spell(folder)
    if "text_config" in config:
        spell(folder, "SiglipTokenizer" if name == "SiglipModel" else "PreTrainedTokenizerFast")
    return folder


def spell(folder, kind="PreTrainedTokenizerFast"):
    fakes.tokenizer().save(str(folder / "tokenizer.json"))
    named = {"tokenizer_class": kind, "pad_token": "</s>"}
    named["model_max_length"] = 7
    named["model_input_names"] = ["input_ids", "attention_mask"]
    (folder / "tokenizer_config.json").write_text(json.dumps(named))


def torch_file(theirs, folder, name):
    torch.save(published.randomise(torch, theirs).state_dict(), folder / name)
    return folder / name


def open_clip(folder):
    size = {"width": 12, "layers": 1}
    config = {
        "embed_dim": 8,
        "vision_cfg": size | {"image_size": 8, "patch_size": 4, "head_width": 4},
        "text_cfg": size | {"heads": 3, "vocab_size": 30, "context_length": 8},
    }
    more = {"preprocess_cfg": {"size": 8, "mean": [0.5] * 3, "std": [0.5] * 3}}
    open_clip_models.write(folder, config, open_clip_models.build(config).state_dict(), more)
    spell(folder)
    return folder


def big_vision(folder):
    drawn = test_big_vision.Draw(0).image(test_big_vision.SIZE, "tok", 4)
    np.savez(folder / "vit.npz", **test_big_vision.flat(drawn))
    return folder / "vit.npz"


def timm_vit(folder):
    theirs = timm.create_model(
        "vit_tiny_patch16_224", embed_dim=12, num_heads=3, depth=1, img_size=8, patch_size=4
    )
    theirs.pretrained_cfg["input_size"] = (3, 8, 8)
    timm.models.save_for_hf(published.randomise(torch, theirs), folder, safe_serialization=True)
    return folder


def sentences(folder):
    config = test_sentence.CONFIG
    theirs = test_sentence.drawn("BertModel", config)
    test_sentence.write(folder, theirs, ["mean"], [])
    spell(folder)
    return folder


def whisper_ct2(folder):
    config = SMALL | {"max_source_positions": 50, "num_mel_bins": 6}
    write_ctranslate2(folder, as_ctranslate2(drawn_model(config), np.float32))
    file = {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 6}
    (folder / "preprocessor_config.json").write_text(json.dumps(file | {"chunk_length": 1}))
    return folder


def speller(folder):
    config = test_transcripts.SPEECH | {"vocab_size": len(test_transcripts.LETTERS)}
    test_transcripts.write_letters(folder)
    hears = {"feature_extractor_type": "Wav2Vec2FeatureExtractor"}
    return saved("Wav2Vec2ForCTC", folder, hears, **config)


def clap(folder):
    path, _, _ = test_alone_sounds.clap(folder, "fusion")
    spell(folder)
    return path


CLASSES, WRITES, COMPARES = {"call"}, {"transcribe"}, {"classify"}
# By architecture: how to write one, and what it does beside embedding.
TABLE = {
    "ast": (lambda f: test_alone_sounds.ast(f)[0], set()),
    "bert": (lambda f: saved("BertForSequenceClassification", f, **WORDS), CLASSES | COMPARES),
    "big_vision": (big_vision, None),  # no file beside it says how pictures enter
    "clap": (clap, COMPARES),
    "clip": (lambda f: fakes.write_clip(f) and f, COMPARES),
    "dinov2": (
        lambda f: saved("Dinov2ForImageClassification", f, PIXELS, num_labels=3, **PICTURE),
        CLASSES,
    ),
    "distilbert": (lambda f: saved("DistilBertModel", f, **SHORT), COMPARES),
    "mobilenet": (
        lambda f: torch_file(
            torchvision.models.MobileNetV2(num_classes=5, width_mult=0.1, round_nearest=2),
            f,
            "mobilenet_v2-b0353104.pth",
        ),
        CLASSES,
    ),
    "open_clip": (open_clip, COMPARES),
    "resemblyzer": (lambda f: test_alone_sounds.resemblyzer(f)[0], set()),
    "resnet": (
        lambda f: torch_file(
            torchvision.models.ResNet(
                torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=5
            ),
            f,
            "resnet18-f37072fd.pth",
        ),
        CLASSES,
    ),
    "roberta": (lambda f: saved("RobertaModel", f, **WORDS), COMPARES),
    "sentence_transformers": (sentences, COMPARES),
    "siglip": (
        lambda f: saved(
            "SiglipModel",
            f,
            {"image_processor_type": "SiglipImageProcessor", "size": {"height": 8, "width": 8}},
            vision_config=PICTURE,
            text_config=WORDS,
        ),
        COMPARES,
    ),
    "siglip2": (
        lambda f: saved(
            "Siglip2Model",
            f,
            {
                "image_processor_type": "Siglip2ImageProcessor",
                "patch_size": 4,
                "max_num_patches": 4,
            },
            **NAFLEX,
        ),
        COMPARES,
    ),
    "silero": (lambda f: test_alone_sounds.silero(f)[0], set()),
    "timm_vit": (timm_vit, CLASSES),
    "videomae": (
        lambda f: saved("VideoMAEForVideoClassification", f, CLIPS, **PICTURE, **CLIP),
        CLASSES,
    ),
    "vit": (lambda f: saved("ViTModel", f, PIXELS, **PICTURE), set()),
    "vivit": (
        lambda f: saved(
            "VivitForVideoClassification",
            f,
            CLIPS | {"image_processor_type": "VivitImageProcessor"},
            **PICTURE,
            num_frames=2,
            tubelet_size=[1, 4, 4],
        ),
        CLASSES,
    ),
    "wav2vec2": (speller, WRITES),
    "whisper": (lambda f: test_transcripts.Whisper(f, 3).folder, WRITES),
    "whisper_ct2": (whisper_ct2, WRITES),
}


def inputs(folder):
    """Two of each kind."""
    random = np.random.default_rng(0)
    tones = [np.sin(np.arange(n) * 0.05).astype(np.float32) for n in (16_000, 9000)]
    for i, tone in enumerate(tones):
        wavfile.write(folder / f"{i}.wav", 48_000, tone)
    return {
        "audio": [folder / "0.wav", folder / "1.wav"],
        "image": list(random.integers(0, 255, (2, 8, 8, 3), np.uint8)),
        "text": ["a red circle", "is the circle blue ?"],
        "video": list(random.integers(0, 255, (2, 2, 8, 8, 3), np.uint8)),
    }


def test_the_table_has_every_architecture():
    assert set(TABLE) == {architecture.name for architecture in ARCHITECTURES}


@pytest.mark.parametrize("architecture", TABLE)
def test_every_call_works_or_says_what_to_use(architecture, tmp_path):
    write, can = TABLE[architecture]
    (tmp_path / "it").mkdir()
    model, given = mmjax.load(write(tmp_path / "it")), inputs(tmp_path)
    assert model.model.architecture.name == architecture
    assert model.modalities
    for kind in model.modalities:
        two = given[kind]
        calls = {
            "embed": lambda x, kind=kind: model.embed(**{kind: x})[kind],
            "call": lambda x, kind=kind: model(**{kind: x}),
            "transcribe": lambda x, kind=kind: model.transcribe(**{kind: x}),
            "classify": lambda x, kind=kind: model.classify(
                ["red", "blue"], templates=["a {}"], **{kind: x}
            ),
        }
        for name, call in calls.items():
            if can is not None and name in can | {"embed"}:
                many, one = call(two), call(two[0])
                assert len(many) == 2
                if name == "embed":
                    assert np.isfinite(many).all()
                    np.testing.assert_allclose(np.linalg.norm(many, axis=1), 1, rtol=1e-4)
                    np.testing.assert_allclose(one[0], many[0], atol=2e-5)
                elif name == "transcribe":
                    assert [type(x) for x in (*many, one)] == [str] * 3
                    assert many[0] == one
                else:
                    assert [answer["answer"] for answer in many[0]] == [a["answer"] for a in one]
                continue
            with pytest.raises(UserError) as error:
                call(two)
            assert "\n" not in str(error.value)
            assert any(word in str(error.value) for word in ("use ", "add it", "takes ", "pass "))
