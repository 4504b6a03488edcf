"""What a published classifier says, as the pipelines of transformers say it, by any config."""

import json

import numpy as np
import PIL.Image
import pytest
from scipy.io import wavfile

import mmjax
from mmjax.errors import UserError
from mmjax.interop import answers
from tests.interop import fakes
from tests.parity.interop import published
from tests.parity.interop.test_heads import PICTURE, SPEECH, WORDS

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

CASES = [(1, None), (1, answers.NUMBERS), (2, None), (3, answers.ONE), (3, answers.ANY)]
CASES += [(3, answers.NUMBERS)]
CLIP = {"image_size": 8, "num_frames": 2, "tubelet_size": 1}


def named(labels):
    return {"num_labels": labels, "id2label": {i: f"kind {i}" for i in range(labels)}}


def saved(name, config, folder, problem, preprocessing=None):
    theirs = getattr(transformers, name)
    theirs = published.randomise(torch, theirs(theirs.config_class(**config)))
    theirs.config.problem_type = problem
    theirs.save_pretrained(folder)
    if preprocessing:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    return theirs


def compare(found, expected, problem, labels):
    """Ours against [{"label": ..., "score": ...}] of theirs."""
    key = "value" if problem == answers.NUMBERS else "probability"
    assert [set(answer) for answer in found] == [{"answer", key}] * len(expected)
    ours = {answer["answer"]: answer[key] for answer in found}
    theirs = {answer["label"]: answer["score"] for answer in expected}
    assert len(theirs) == labels
    assert ours == pytest.approx(theirs, abs=2e-5)
    if problem != answers.NUMBERS:
        values = [answer[key] for answer in found]
        assert values == sorted(values, reverse=True)
    else:
        assert list(ours) == [f"kind {i}" for i in range(labels)]


@pytest.mark.parametrize(("labels", "problem"), CASES)
def test_pictures_are_judged_as_by_the_pipeline(labels, problem, tmp_path):
    plain = {"image_processor_type": "ViTImageProcessor", "size": 8, "resample": 0}
    config = PICTURE | named(labels)
    theirs = saved("ViTForImageClassification", config, tmp_path, problem, plain)
    picture = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))
    processor = transformers.ViTImageProcessorPil(size=8, resample=0)
    pipe = transformers.pipeline("image-classification", theirs, image_processor=processor)
    found = mmjax.load(tmp_path)(image=picture, top=9)
    compare(found, pipe(picture, top_k=labels), problem, labels)


@pytest.mark.parametrize(("labels", "problem"), [CASES[i] for i in (0, 2, 4, 5)])
def test_texts_are_judged_as_by_the_pipeline(labels, problem, tmp_path):
    config = WORDS | named(labels) | {"max_position_embeddings": 16, "pad_token_id": 0}
    theirs = saved("BertForSequenceClassification", config, tmp_path, problem)
    fakes.tokenizer().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "BertTokenizer",
                "pad_token": "</s>",
                "unk_token": "<unk>",
                "cls_token": "<s>",
                "sep_token": "</s>",
                "mask_token": "<unk>",
            }
        )
    )
    words = transformers.PreTrainedTokenizerFast(
        tokenizer_object=fakes.tokenizer(), pad_token="</s>", unk_token="<unk>"
    )
    pipe = transformers.pipeline("text-classification", theirs, tokenizer=words)
    texts = ["a red circle", "what shape is the blue circle ?"]
    found = mmjax.load(tmp_path)(text=texts, top=9)
    for ours, text in zip(found, texts, strict=True):
        compare(ours, pipe(text, top_k=None), problem, labels)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("VideoMAEForVideoClassification", None),
        ("VideoMAEForVideoClassification", answers.ANY),
        ("VivitForVideoClassification", answers.NUMBERS),
        ("VivitForVideoClassification", answers.ONE),
    ],
)
def test_clips_are_judged_by_their_logits(name, problem, tmp_path):
    config = PICTURE | CLIP | named(3)
    if name.startswith("Vivit"):
        config = config | {"tubelet_size": [1, 4, 4]}
    kind = name.removesuffix("ForVideoClassification") + "ImageProcessor"
    plain = {"image_processor_type": kind, "size": 8, "crop_size": 8, "resample": 0}
    theirs = saved(name, config, tmp_path, problem, plain)
    clip = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    model = mmjax.load(tmp_path)
    pixels = mmjax.inference.published.reader(model.model, "video")([clip])["pixel_values"]
    with torch.no_grad():
        logits = theirs(torch.tensor(pixels)).logits[0]
    right = {None: logits.softmax(-1), answers.ONE: logits.softmax(-1)}
    right |= {answers.ANY: logits.sigmoid(), answers.NUMBERS: logits}
    expected = [{"label": f"kind {i}", "score": float(x)} for i, x in enumerate(right[problem])]
    compare(model(video=[clip], top=9)[0], expected, problem, 3)


def test_sounds_are_judged_by_their_logits(tmp_path):
    plain = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "return_attention_mask": True}
    config = SPEECH | named(3)
    theirs = saved("Wav2Vec2ForSequenceClassification", config, tmp_path, answers.ANY, plain)
    sound = np.float32(np.random.default_rng(0).uniform(-1, 1, 500))
    wavfile.write(tmp_path / "sound.wav", 16_000, sound)
    x = torch.tensor((sound - sound.mean()) / np.sqrt(sound.var() + 1e-7))[None]
    with torch.no_grad():
        scores = theirs(x).logits[0].sigmoid()
    expected = [{"label": f"kind {i}", "score": float(x)} for i, x in enumerate(scores)]
    compare(mmjax.load(tmp_path)(audio=tmp_path / "sound.wav", top=9), expected, answers.ANY, 3)


def test_labels_of_timm_and_labels_that_do_not_fit(tmp_path):
    plain = {"image_processor_type": "ViTImageProcessor", "size": 8}
    saved("ViTForImageClassification", PICTURE | named(3), tmp_path, None, plain)
    picture = np.zeros((8, 8, 3), np.uint8)

    def say(**entries):
        config = json.loads((tmp_path / "config.json").read_text())
        config = {k: v for k, v in config.items() if k not in ("id2label", "label2id")} | entries
        (tmp_path / "config.json").write_text(json.dumps(config))
        return mmjax.load(tmp_path)

    names = {answer["answer"] for answer in say(label_names=["a", "b", "c"])(image=picture)}
    assert names == {"a", "b", "c"}
    assert {a["answer"] for a in say(label_names=None)(image=picture)} == {"0", "1", "2"}
    with pytest.raises(UserError, match="names 2 classes, but the classifier has 3"):
        say(label_names=["a", "b"])(image=picture)
    with pytest.raises(UserError, match="does not number its classes from 0 on"):
        say(id2label={"0": "a", "2": "b", "3": "c"})
    with pytest.raises(UserError, match="problem_type='several' in config.json is none of"):
        say(id2label=None, problem_type="several")(image=picture)


def test_a_head_for_each_word_is_no_class_of_the_text():
    with pytest.raises(UserError, match="no classes of the whole input"):
        answers.answers(np.zeros((2, 5, 3)), (), answers.ONE, None, "here")


def test_how_many_answers():
    logits = np.arange(5.0)[None]
    assert len(answers.answers(logits, (), answers.ONE, None, "here")[0]) == 3
    assert len(answers.answers(logits, (), answers.ANY, 4, "here")[0]) == 4
    assert len(answers.answers(logits, (), answers.NUMBERS, None, "here")[0]) == 5
