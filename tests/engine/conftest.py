"""Runs in these tests draw no pictures unless the test asks for ``pictures``: drawing would be most of their time."""

import pytest

from videozoo.engine import run_folder


@pytest.fixture
def pictures() -> None:
    """Let the runs of this test draw."""


@pytest.fixture(autouse=True)
def _no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(run_folder, "plot_curves", lambda *args: None)
        monkeypatch.setattr(run_folder, "plot_confusion", lambda *args: None)
