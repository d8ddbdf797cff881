"""Tests of what is done with freed memory."""

import os
import platform

import pytest

from videozoo.freed_memory import keep_freed_memory, return_freed_memory


@pytest.fixture
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name == "GLIBC_TUNABLES" or name.startswith("MALLOC_")]:
        monkeypatch.delenv(name)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these options")
@pytest.mark.usefixtures("_unset")
def test_glibc_takes_the_options() -> None:
    assert keep_freed_memory()
    assert return_freed_memory()


@pytest.mark.parametrize("name", ["GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_"])
def test_settings_of_the_user_stay(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert not keep_freed_memory()
    assert not return_freed_memory()


@pytest.mark.usefixtures("_unset")
def test_another_c_library_has_no_such_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert not keep_freed_memory()
