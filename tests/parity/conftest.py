"""Comparisons with public PyTorch implementations; leave them out with -m "not parity"."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Marks every test of this folder; what PyTorch's own code warns of is not our business."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.parity)
            item.add_marker(pytest.mark.filterwarnings("ignore"))
