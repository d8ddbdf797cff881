"""Tests of hubconf.py, the entry point of torch.hub."""

import importlib.util
import runpy
import sys
from typing import Any

import pytest
import torch
from helpers import REPO, clips, imports_of, randomize

import videozoo

PACKAGE = REPO / "videozoo"
NAMES = videozoo.list_models()


@pytest.mark.parametrize("name", ["arc_tsm_r18", "tsn_mbv2"])
def test_torch_hub_gives_the_same_model(name: str) -> None:
    hub: Any = torch.hub.load(str(REPO), name, source="local", num_classes=5, num_frames=3)
    net = videozoo.create_model(name, num_classes=5, num_frames=3)
    net.load_state_dict(randomize(hub).state_dict())
    x = clips(1, 3, 32)
    with torch.no_grad():
        assert torch.equal(hub.eval()(x), net.eval()(x))


def test_every_name_is_an_entry_point_of_torch_hub_with_a_docstring() -> None:
    door = runpy.run_path(str(REPO / "hubconf.py"))
    assert set(NAMES) <= {name for name, value in door.items() if callable(value) and not name.startswith("_")}
    assert all(door[name].__doc__ for name in NAMES)


def test_dependencies_of_hubconf_are_complete() -> None:
    """Everything that the rooms behind it import, and nothing that is not installed."""
    declared = runpy.run_path(str(REPO / "hubconf.py"))["dependencies"]
    assert all(importlib.util.find_spec(name) for name in declared)
    rooms = ("shapes.py", "layers", "surgery", "temporal", "augment", "hub", "models")
    files = [file for room in rooms for file in [PACKAGE / room, *(PACKAGE / room).rglob("*.py")]]
    imported = {name.partition(".")[0] for file in files if file.is_file() for _, name in imports_of(file)}
    assert imported - set(sys.stdlib_module_names) - {"videozoo", "peft"} <= set(declared)  # peft: register_lora alone
