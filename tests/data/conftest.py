import os
from pathlib import Path

import pytest

import mmjax
from mmjax.data.datasets.easy_vqa.sources import easy_vqa


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A data directory with easy-VQA in it; copy it before you damage it."""
    directory = tmp_path_factory.mktemp("data")
    easy_vqa(dir=str(directory))
    return directory


@pytest.fixture(scope="session")
def environment():
    """For new processes: they find the repository wherever they start."""
    return os.environ | {"PYTHONPATH": str(Path(mmjax.__file__).parents[1])}
