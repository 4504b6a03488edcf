"""The blocks of Python in README.md and docs/ run as they are written, but for published files."""

import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import soundfile

from mmjax import cli, factory, main
from mmjax.data.sources.arrays import Arrays
from mmjax.data.sources.targets import Target
from mmjax.factory.by_size import SIZES

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page):
    """The blocks of a page, but for those that need published files."""
    found = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    return [block for block in found if "interop.load(" not in block]


EXTEND = ROOT / "docs" / "extend.md"  # its blocks build on each other
BLOCKS = [(page.name, block) for page in PAGES if page != EXTEND for block in blocks(page)]
RATE, ROWS = 8000, 64
SOUND = np.sin(np.arange(RATE * 2) / 9).astype(np.float32)
WORDS = ("one", "two", "seven")


def rows(**values):
    """Splits of a few rows, with what they are also called."""
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(WORDS, 2)) for _ in range(ROWS)]
    zero = np.zeros(ROWS, int)
    arrays = Arrays(
        name="few",
        values=values,
        masks={n: np.ones((ROWS,) if n == "image" else v.shape, bool) for n, v in values.items()},
        texts={"text": texts},
        targets={"label": Target(zero, ("a",))},
        slice_ids=zero,
        slices=("any",),
    )
    return dict.fromkeys(("train", "validation", "test"), arrays)


def stamps(*, dir: str, image_size: int, language: str, stamps: str):  # noqa: A002
    assert (language, stamps) == ("en", "")
    assert dir.endswith("data")
    shape = (ROWS, image_size, image_size, 3)
    return rows(image=np.random.default_rng(0).integers(0, 256, shape, np.uint8))


def numbers(*, dir: str, seconds: float, new_voices: tuple[str, ...], louder: float):  # noqa: A002
    assert (new_voices, louder) == (("george",), 10.0)
    assert dir.endswith("data")
    return rows(speech=np.zeros((ROWS, int(seconds * RATE)), np.float32))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with runs of the configs that the README names, and the files that it names."""
    path = tmp_path_factory.mktemp("readme")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(factory.DATASETS, "tux_paint", stamps)
        patch.setitem(factory.DATASETS, "spoken_numbers", numbers)
        few = ["--config.train.steps=1", "--config.compilation_cache=", "--config.mesh.data=1"]
        for name in ("vqa:tiny", "align", "speech"):
            config = f"--config={ROOT}/configs/{name.partition(':')[0]}.py:{name.partition(':')[2]}"
            small = ["--config.data.batch_size=8"] if ":" not in name else []
            workdir = f"--workdir={path}/runs/{name.partition(':')[0]}"
            small += [f"--config.data.dir={path}/data"]
            main.main(["main", config.removesuffix(":"), workdir, *few, *small])
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for name in ("IMAGE.png", "a.png", "b.png"):
        PIL.Image.fromarray(image).save(path / name)
    soundfile.write(path / "RECORDING.wav", SOUND, RATE)
    return path


@pytest.mark.parametrize(("page", "block"), BLOCKS)
def test_a_block_runs_as_it_is_written(place, monkeypatch, page, block):
    monkeypatch.chdir(place)
    monkeypatch.setattr("mmjax.factory.automatic.MIN_STEPS", 4)
    monkeypatch.setattr("mmjax.factory.by_size.SIZES", [s._replace(epochs=1) for s in SIZES])
    ids = np.array([[0, 3, 1, 1]] * 2)
    names = {
        "array": SOUND if "speech" in block else np.zeros((32, 32, 3), np.uint8),
        "pixels": np.zeros((2, 3, 16, 16), np.float32),
        "ids": ids,
        "mask": np.ones_like(ids),
        "frame": {
            "photo": np.array(["a.png", "b.png"] * 32),
            "age": np.arange(64.0) % 7,
            "color": np.array(["red", "red", "blue", "blue"] * 16),
            "label": np.array(["new", "old"] * 32),
        },
        "config": cli.load_config(f"{ROOT}/configs/align.py"),
    }
    import mmjax

    names |= {"mmjax": mmjax}
    exec(compile(block, page, "exec"), names)
    if "get_config" in names:
        factory.checked(names["get_config"]())


def test_a_page_of_parts_of_ones_own_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for table in (factory.ENCODERS["image"], factory.FUSIONS, factory.LOSSES, factory.DATASETS):
        for name in ("mean_color", "max", "squared_hinge", "colors"):
            monkeypatch.setitem(table, name, None)
            monkeypatch.delitem(table, name)
    names = {}
    for block in blocks(EXTEND):
        exec(compile(block, EXTEND.name, "exec"), names)
    assert "mean_color" in factory.ENCODERS["image"]
    red = np.full((8, 8, 3), (250, 10, 10), np.uint8)
    (first, *_) = names["mmjax"].load("runs/colors")(image=red, text="what color is it?")
    assert first["answer"] == "red"
    assert names["value"] < 0.9  # log 3 = 1.1 at first
    names["model"].apply(names["params"], {"image": names["inputs"]["image"]})
