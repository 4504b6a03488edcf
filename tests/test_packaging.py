"""What pyproject.toml says is what there is; a fresh process imports no more than it needs."""

import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mmjax
from mmjax import cli
from mmjax.cli import config_file
from mmjax.errors import UserError

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = ("train", "vqa", "data", "speech", "text", "video")
HEAVY = (
    *("scipy.signal", "scipy.sparse", "scipy.spatial", "scipy.stats", "sklearn", "matplotlib"),
    *("tensorflow_datasets", "tensorboard", "sacrebleu", "jiwer", "soundfile", "sentencepiece"),
    *("ftfy", "easy_vqa", "av", "pyarrow", "aiohttp"),
)
DATA = ("grain", "orbax", "clu", "tokenizers", "ml_collections", "PIL", "pandas")
IMPORT = """
import importlib, pkgutil, sys
for name in sys.argv[2:]:
    room = importlib.import_module(name)
    for module in pkgutil.walk_packages(getattr(room, "__path__", ()), name + "."):
        importlib.import_module(module.name)
print(*(heavy for heavy in sys.argv[1].split(",") if heavy in sys.modules))
"""


def imports(heavy, *modules):
    """Which of the heavy modules are imported in a fresh process that imports all of a room."""
    command = [sys.executable, "-c", IMPORT, ",".join(heavy), *modules]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_package_itself_imports_nothing():
    assert imports((*HEAVY, *DATA, "jax", "flax", "numpy"), "mmjax.errors") == []


def test_what_is_made_of_arrays_imports_no_data_and_no_files():
    rooms = ("nn", "fusion", "losses", "models", "encoders", "backbones")
    assert imports((*HEAVY, *DATA), *(f"mmjax.{room}" for room in rooms)) == []


def test_nothing_that_is_slow_is_imported_before_it_is_used():
    rooms = ("metrics", "tasks", "train", "factory", "inference", "interop", "main", "predict")
    assert imports(HEAVY, *(f"mmjax.{room}" for room in rooms)) == []


def names(requirements):
    lines = (line.partition("#")[0].strip() for line in requirements)
    return {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in lines if line}


EVERY = """
import importlib, pkgutil
import mmjax
for found in pkgutil.walk_packages(mmjax.__path__, "mmjax."):
    importlib.import_module(found.name)
from jax._src import xla_bridge
print(xla_bridge.backends_are_initialized())
"""


def test_no_import_finds_the_devices():
    """Whoever imports mmjax may still say what devices there are to be."""
    done = subprocess.run([sys.executable, "-c", EVERY], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_all_extras_are_what_the_requirements_say():
    extras = PROJECT["optional-dependencies"]
    parts = [part for name in EXTRAS for part in extras[name]]
    installed = names([*PROJECT["dependencies"], *parts]) - {"mmjax"}
    assert installed == names((ROOT / "requirements.txt").read_text().splitlines())
    assert extras["all"] == [f"mmjax[{','.join(EXTRAS)}]"]
    assert set(cli.TRAINING.values()) == names(extras["train"])


def test_what_is_installed_here_is_in_the_ranges():
    from packaging.requirements import Requirement

    extras = PROJECT["optional-dependencies"]
    for line in (
        *PROJECT["dependencies"],
        *(line for name in EXTRAS if name != "vqa" for line in extras[name]),
    ):
        requirement = Requirement(line)
        version = importlib.metadata.version(requirement.name)
        assert requirement.specifier.contains(version), line


def test_the_commands_are_functions():
    for name, place in PROJECT["scripts"].items():
        module, _, function = place.partition(":")
        assert getattr(importlib.import_module(module), function).__doc__.endswith(f"`{name}`.")


def test_the_version_stands_in_one_place():
    assert "version" in PROJECT["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", mmjax.__version__)


def test_a_recipe_is_found_by_its_name_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    by_path = cli.load_config(f"{ROOT}/configs/vqa.py:tiny")
    assert cli.load_config("vqa:tiny").to_dict() == by_path.to_dict()
    (tmp_path / "vqa.py").write_text("def get_config():\n    raise KeyError('mine')\n")
    with pytest.raises(UserError, match=r"vqa\.py, line 2 does not run: KeyError"):
        cli.load_config("vqa.py")
    with pytest.raises(UserError, match="no config file 'vqaa'; did you mean 'vqa'"):
        cli.load_config("vqaa")


def test_an_installed_package_has_its_recipes_inside(tmp_path, monkeypatch):
    package = tmp_path / "mmjax"
    (package / "configs").mkdir(parents=True)
    (package / "configs" / "mine.py").touch()
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "other.py").touch()
    monkeypatch.setattr(config_file, "PACKAGE", package)
    assert cli.recipes() == {"mine": package / "configs" / "mine.py"}


def test_what_training_needs_is_said_before_it_starts(monkeypatch):
    monkeypatch.setitem(cli.TRAINING, "no_such_module", "no-such-package")
    with pytest.raises(UserError, match=r"mmjax\[train\].*pip install no-such-package"):
        cli.require_packages()
