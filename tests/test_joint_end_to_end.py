"""A whole CLIP: trained, interrupted, resumed and used, and given back as one model."""

import json
import shutil

import jax
import numpy as np
import pytest

import mmjax
from mmjax import convert
from mmjax.errors import UserError
from mmjax.train.reporting.writers import read_metrics
from tests import restart
from tests.interop import fakes
from tests.joint_config import config_of

TEXTS = ["is there a red circle ?", "blue"]
IMAGE_POOLING = [
    np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8)
    for i, size in enumerate([(40, 30), (16, 16), (17, 50)])
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of a CLIP, moved away after the start; a run, and what it was converted to.

    Each as a path and as what is loaded from there.
    """
    path = tmp_path_factory.mktemp("joint")
    published, workdir, back = path / "clip", path / "run", path / "back"
    fakes.write_clip(published)
    config = config_of(published)
    restart.start(config, workdir, stop=5)
    shutil.move(published, path / "elsewhere")
    restart.start(config, workdir)
    convert.convert(workdir, back, "safetensors", None)
    found = {"original": path / "elsewhere", "trained": workdir, "returned": back}
    return found, {name: mmjax.load(path) for name, path in found.items()}


def test_all_of_it_learns_and_is_tested(runs):
    paths, models = runs
    before, after = models["original"].params, models["trained"].params
    assert after.keys() == {
        *("encoders_image", "encoders_text", "projections_image", "projections_text"),
        "logit_scale",
    }
    pairs = {
        "logit_scale": after["logit_scale"],
        **{
            part: {
                "backbone": after[f"encoders_{kind}"]["backbone"],
                "projection": after[f"projections_{kind}"],
            }
            for part, kind in (("vision", "image"), ("text", "text"))
        },
    }
    assert pairs.keys() == before.keys()
    for name, tree in pairs.items():
        moved = jax.tree.map(lambda a, b: float(abs(a - b).max()), tree, before[name])
        assert 0 < max(jax.tree.leaves(moved)) < 0.2, name
    assert np.isfinite(read_metrics(paths["trained"])[-1]["test/info_nce"])


def test_what_is_given_back_is_what_was_trained(runs):
    paths, models = runs
    trained, returned, original = (models[n] for n in ("trained", "returned", "original"))
    assert trained.scale == pytest.approx(returned.scale, rel=1e-6)
    assert abs(trained.scale - original.scale) > 1e-4
    for model in (trained, returned):
        assert model.bias is None
    order = (trained, returned, original)
    ours, theirs, old = (m.similarity(image=IMAGE_POOLING, text=TEXTS) for m in order)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert abs(ours - old).max() > 1e-3
    answers = [m.classify(["circle", "red"], image=IMAGE_POOLING) for m in (trained, returned)]
    for one, other in zip(*answers, strict=True):
        assert [a["answer"] for a in one] == [a["answer"] for a in other]
        for a, b in zip(one, other, strict=True):
            assert a["probability"] == pytest.approx(b["probability"], abs=1e-5)
    for name in ("config.json", "preprocessor_config.json", "tokenizer.json"):
        read = [(paths[n] / name).read_bytes() for n in ("returned", "original")]
        assert read[0] == read[1]
    absent = trained.embed(image=[IMAGE_POOLING[0], None])["image"]
    assert (absent[1] == 0).all()


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
def test_transformers_opens_it_and_computes_the_same(runs):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    back, ours = runs[0]["returned"], runs[1]["trained"]
    theirs, notes = transformers.CLIPModel.from_pretrained(back, output_loading_info=True)
    assert not notes["missing_keys"]
    assert not notes["unexpected_keys"]
    options = json.loads((back / "preprocessor_config.json").read_text())
    process = transformers.CLIPImageProcessorPil(**options)
    tokenizer_file = str(back / "tokenizer.json")
    words = transformers.PreTrainedTokenizerFast(tokenizer_file=tokenizer_file, pad_token="</s>")
    with torch.no_grad():
        out = theirs.eval()(
            pixel_values=process(IMAGE_POOLING, return_tensors="pt")["pixel_values"],
            **words(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False),
        )
    logits = ours.scale * ours.similarity(image=IMAGE_POOLING, text=TEXTS)
    np.testing.assert_allclose(logits, out.logits_per_image, atol=1e-4)


def test_a_backbone_of_it_is_not_given_back_alone(runs, tmp_path):
    with pytest.raises(UserError, match="would not fit together: leave --encoder out") as caught:
        convert.convert(runs[0]["trained"], tmp_path / "text", "safetensors", "text")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "text").exists()


def test_the_whole_run_goes_where_no_checkpoint_is(runs, tmp_path):
    convert.convert(runs[0]["trained"], tmp_path / "mmjax", "mmjax", None)
    assert not (tmp_path / "mmjax" / "checkpoints").exists()
    models = runs[1]["trained"], mmjax.load(tmp_path / "mmjax")
    restart.assert_same(models[1].params, models[0].params)
    expected, found = (m.embed(text=TEXTS)["text"] for m in models)
    np.testing.assert_array_equal(found, expected)
