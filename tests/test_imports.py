"""Imports go downwards only, and never to TensorFlow or PyTorch."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONTRACTS = ("errors", "types")
MAY_IMPORT = {
    "errors": (),
    "types": (),
    **dict.fromkeys(("data", "metrics", "nn"), CONTRACTS),
    "losses": ("nn", *CONTRACTS),
    "backbones": ("nn", *CONTRACTS),
    "encoders": ("backbones", "nn", *CONTRACTS),
    "fusion": ("nn", *CONTRACTS),
    "models": ("encoders", "fusion", "nn", *CONTRACTS),
    "tuning": ("models", "nn", *CONTRACTS),
    "tasks": ("losses", "metrics", "models", *CONTRACTS),
    "interop": ("backbones", "data", "encoders", "models", "nn", *CONTRACTS),
    "train": ("tasks", *CONTRACTS),
    "cli": ("train", *CONTRACTS),
    "factory": (
        *("cli", "data", "encoders", "fusion", "interop", "losses", "metrics", "models", "nn"),
        *("tasks", "train", "tuning", *CONTRACTS),
    ),
    "inference": (
        *("cli", "data", "factory", "interop", "models", "tasks", "train"),
        *CONTRACTS,
    ),
    "convert": ("cli", "factory", "inference", "interop", *CONTRACTS),
    "main": ("cli", "factory", "inference", "train", *CONTRACTS),
    "prepare": ("cli", "data", "train", *CONTRACTS),
    "predict": ("cli", "data", "factory", "inference", "train", *CONTRACTS),
    "__init__": ("factory", "inference"),
}
FILES = sorted((ROOT / "mmjax").rglob("*.py"))


def imported(source, package):
    """The full names of all modules that a piece of source imports."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) + 1 - node.level]
            module = ".".join([*base, node.module or ""]) if node.level else node.module
            names |= {f"{module.rstrip('.')}.{alias.name}" for alias in node.names}
    return names


def violations(room, source, package="mmjax"):
    """What the source of `room` imports and may not."""
    allowed = (room, *MAY_IMPORT[room])
    found = []
    for name in imported(source, package):
        parts = name.split(".")
        if parts[0] in ("tensorflow", "torch", "configs", "experiments", "tests"):
            found.append(name)
        if parts[0] == "mmjax" and parts[1] not in allowed:
            found.append(name)
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_no_room_imports_from_above(file):
    parts = file.relative_to(ROOT / "mmjax").with_suffix("").parts
    package = ".".join(["mmjax", *parts[:-1]])
    assert violations(parts[0], file.read_text(), package) == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("nn", "from mmjax.encoders import image"),
        ("data", "import mmjax.factory"),
        ("models", "def f():\n  from mmjax import train"),
        ("losses", "from ..train import loop"),
        ("train", "import tensorflow as tf"),
        ("factory", "from torch import nn"),
    ],
)
def test_an_upward_import_is_seen(room, source):
    assert violations(room, source, f"mmjax.{room}")


def test_configs_import_only_ml_collections():
    for file in (ROOT / "configs").glob("*.py"):
        roots = {name.split(".")[0] for name in imported(file.read_text(), "configs")}
        assert roots <= {"math", "ml_collections"}, file


def test_no_file_is_longer_than_300_lines():
    files = [
        f
        for room in ("mmjax", "configs", "experiments", "tests")
        for f in (ROOT / room).rglob("*.py")
    ]
    assert [str(f) for f in files if len(f.read_text().splitlines()) > 300] == []


@pytest.mark.parametrize("folder", ["configs", "experiments"])
def test_what_studies_and_recipes_import_is_there(folder):
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("mmjax"):
                continue
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):  # it may be a module that nothing has imported
                    importlib.import_module(f"{node.module}.{alias.name}")
