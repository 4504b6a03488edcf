"""FILE.py:VARIANT, or the name of a recipe -> the config that it makes."""

import contextlib
import importlib.util
import inspect
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mmjax.errors import UserError, nearest

PACKAGE = Path(__file__).parents[1]


def load_config(argument: str) -> ConfigDict:
    """Runs `get_config` of FILE.py or FILE.py:VARIANT, or of a recipe of ours such as vqa:tiny.

    Raises:
        UserError: no such file or recipe, a file that does not run or has no get_config, an
            unknown variant, or a get_config that does not give a ConfigDict.
    """
    name, _, variant = argument.partition(":")
    path = recipes().get(name, Path(name))
    if not _is_file(path):
        known = [str(p) for p in sorted(path.parent.glob("*.py"))] if _is_dir(path.parent) else []
        known += list(recipes()) if path.parent == Path() else []
        raise UserError(f"no config file {name!r}; {nearest(name, known)}")
    spec = importlib.util.spec_from_file_location("mmjax_config", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{name} is not a Python file; a config is a .py file with get_config")
    module = importlib.util.module_from_spec(spec)
    with _running(name, path):
        spec.loader.exec_module(module)
    make = getattr(module, "get_config", None)
    if not callable(make):
        raise UserError(f"{name} has no function get_config(variant='default')")
    variants = getattr(module, "VARIANTS", None)
    if variant and variants is not None and variant not in variants:
        raise UserError(f"{name} has no variant {variant!r}; {nearest(variant, list(variants))}")
    arguments = (variant,) if variant else ()
    try:
        inspect.signature(make).bind(*arguments)
    except TypeError as error:
        asked = f"variant {variant!r}" if variant else "no variant: write FILE.py:VARIANT"
        raise UserError(
            f"{name}: get_config does not take {asked} ({error});"
            " it is get_config(variant='default')"
        ) from error
    with _running(name, path):
        config = make(*arguments)
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"{name}: get_config gives {_said(config)}; let it return an ml_collections.ConfigDict"
        )
    return config


def recipes() -> dict[str, Path]:
    """The configs that come with mmjax, by name: in the package, or in configs/ of a clone."""
    inside, beside = (folder / "configs" for folder in (PACKAGE, PACKAGE.parent))
    return {
        path.stem: path for path in sorted((inside if inside.is_dir() else beside).glob("*.py"))
    }


def _said(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or that no name can be
        return False


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def _running(name: str, path: Path) -> Iterator[None]:
    """Whatever the code of a config raises is the user's, with the line that it is in."""
    try:
        yield
    except (Exception, SystemExit) as error:
        frames, file = traceback.extract_tb(error.__traceback__), os.path.abspath(path)
        lines = [f.lineno for f in frames if os.path.abspath(f.filename) == file]
        line = f", line {lines[-1]}" if lines else ""
        raise UserError(f"{name}{line} does not run: {type(error).__name__}: {error}") from error
