"""From a file on the disk to an embedding, against the original libraries with their readers."""

import json
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import mmjax
from tests.interop import fakes

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")
transformers = pytest.importorskip("transformers")

SIZES = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 32,
        "layers": 2,
        "width": 64,
        "head_width": 32,
        "patch_size": 16,
    },
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
NORM = {"mean": (0.48, 0.45, 0.40), "std": (0.26, 0.27, 0.28)}
TEXTS = ["a photo of a cat", "Zwei Hunde &amp; ein Vogel!"]


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "a.png"
    pixels = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    PIL.Image.fromarray(pixels).save(path)
    return path


def test_open_clip(picture, tmp_path):
    torch.manual_seed(0)
    theirs = open_clip.CLIP(**SIZES).eval()
    torch.save(theirs.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    config = {"model_cfg": SIZES, "preprocess_cfg": NORM}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    shutil.copy(Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz", tmp_path)
    options = open_clip.transform.PreprocessCfg(size=32, **NORM)
    pixels = open_clip.transform.image_transform_v2(options, is_train=False)
    ids = open_clip.SimpleTokenizer(context_length=16)(TEXTS)
    with torch.no_grad():
        image = theirs.encode_image(pixels(PIL.Image.open(picture))[None], normalize=True)
        text = theirs.encode_text(ids, normalize=True)
    model = mmjax.load(tmp_path)
    found = model.embed(image=[picture], text=TEXTS)
    np.testing.assert_allclose(found["image"], image, atol=1e-5)
    np.testing.assert_allclose(found["text"], text, atol=1e-5)
    assert model.scale == pytest.approx(float(theirs.logit_scale.exp()), rel=1e-5)


def test_clip_of_transformers(picture, tmp_path):
    fakes.write_clip(tmp_path)
    theirs = transformers.CLIPModel.from_pretrained(tmp_path).eval()
    words = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "tokenizer.json"), pad_token="</s>"
    )
    options = json.loads((tmp_path / "preprocessor_config.json").read_text())
    pixels = transformers.CLIPImageProcessorPil(**options)(str(picture), return_tensors="pt")
    texts = ["a red circle", "what shape is the red shape ?"]
    ids = words(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        out = theirs(
            pixel_values=pixels["pixel_values"],
            input_ids=ids["input_ids"],
            attention_mask=ids["attention_mask"],
        )
    model = mmjax.load(tmp_path)
    found = model.embed(image=str(picture), text=texts)
    np.testing.assert_allclose(found["image"], out.image_embeds, atol=1e-5)
    np.testing.assert_allclose(found["text"], out.text_embeds, atol=1e-5)
    logits = model.scale * model.similarity(image=[picture], text=texts)
    np.testing.assert_allclose(logits, out.logits_per_image, atol=1e-4)
