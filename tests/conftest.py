"""Fixtures of all tests."""

import os
from pathlib import Path

import pytest
import torch
from helpers import shared_folder
from hypothesis import settings

pytest_plugins = ["video_fixtures"]

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # the workers share the cores


# No test asserts a time, not even per example; CI draws the same examples each time.
settings.register_profile("videozoo", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("videozoo")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real clips (``clips/manifest.csv``, ``order4/``); skips where it is absent."""
    folder = shared_folder("data")
    if folder is None:
        pytest.skip("no shared clips: set VIDEOZOO_DATA to a folder with clips/manifest.csv")
    return folder


@pytest.fixture(scope="session")
def goldens() -> Path:
    """Folder with ``fill.py`` and one JSON file per model of the original authors; skips where it is absent."""
    folder = shared_folder("goldens")
    if folder is None:
        pytest.skip("no shared goldens: set VIDEOZOO_SHARED to the folder that holds goldens/")
    return folder
