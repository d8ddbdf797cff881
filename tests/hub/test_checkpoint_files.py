"""Tests that checkpoint files are read for tensors only and that nothing in them is run."""

import argparse
import collections
import contextlib
import datetime
import enum
import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from videozoo.hub import WeightsError
from videozoo.hub.convert.base import ConvertError
from videozoo.hub.convert.checkpoint import open_checkpoint, unwrap

Save = Callable[[Any, Path], None]
SAVES: dict[str, tuple[str, Save]] = {
    "zip": ("a.pth", torch.save),
    "protocol 4": ("a.pyth", lambda obj, path: torch.save(obj, path, pickle_protocol=4)),
    "legacy": ("a.pth.tar", lambda obj, path: torch.save(obj, path, _use_new_zipfile_serialization=False)),
    "pickle": ("a.pkl", lambda obj, path: path.write_bytes(pickle.dumps(obj)) and None),
    "pickle of Python 2": ("a.pkl", lambda obj, path: path.write_bytes(pickle.dumps(obj, protocol=2)) and None),
}


class Color(enum.Enum):
    RED = 1


class Ordered(OrderedDict):
    """Class as in MMEngine and Detectron2."""

    class Nested:
        """Nested class; below protocol 4 pickle gets it from the outer class."""

        def __new__(cls, *, lr: float) -> Any:
            return super().__new__(cls)

        def __getnewargs_ex__(self) -> Any:
            return (), {"lr": 0.1}


@pytest.fixture
def foreign() -> Iterator[types.ModuleType]:
    """Classes of a package that exists while the checkpoint is written and is gone when it is read."""
    module = types.ModuleType("foreign_package")

    class HistoryBuffer:
        def __init__(self) -> None:
            self.log = np.array([1.0, 2.0])

        def __setstate__(self, state: Any) -> None:
            raise AssertionError("the class was run")

    class EasyDict(dict):  # type: ignore[type-arg]
        def __setitem__(self, key: Any, value: Any) -> None:
            raise AssertionError("the class was run")

    class Items(list):  # type: ignore[type-arg]
        pass

    for kind in (HistoryBuffer, EasyDict, Items):
        kind.__module__, kind.__qualname__ = module.__name__, kind.__name__
        setattr(module, kind.__name__, kind)
    sys.modules[module.__name__] = module
    yield module
    sys.modules.pop(module.__name__, None)


def _state() -> dict[str, Tensor]:
    base = torch.arange(24.0).reshape(4, 6)
    return {
        "a.weight": base,
        "a.part": base[1:, ::2],  # a view of the same storage
        "a.half": torch.ones(3, dtype=torch.bfloat16),
        "a.num_batches_tracked": torch.tensor(5),
        "a.mask": torch.tensor([True, False]),
        "a.empty": torch.zeros(0, 3),
        "a.parameter": nn.Parameter(torch.ones(2, 2)),
    }


def _extras(foreign: types.ModuleType) -> dict[str, Any]:
    easy = foreign.EasyDict()
    dict.update(easy, lr=0.1)
    return {
        "message_hub": {"loss": foreign.HistoryBuffer(), "list": foreign.Items([1, 2])},
        "cfg": easy,
        "best_prec1": np.float64(41.5),
        "args": argparse.Namespace(lr=0.1, out=Path("/x")),
        "date": datetime.datetime(2024, 1, 1),
        "ordered": Ordered(a=1),
        "nested": Ordered.Nested(lr=0.1),
        "counts": collections.Counter("aab"),
        "default": collections.defaultdict(list, a=[1]),
        "color": Color.RED,
        "dtype": torch.float16,
        "size": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "set": {1, 2},
        "bytes": b"\xff\x00",
        "big": 2**70,
        "rng": np.random.default_rng(0).bit_generator.state,
    }


@pytest.mark.parametrize("how", SAVES)
def test_tensors_are_read_next_to_any_other_objects(
    how: str, foreign: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, save = SAVES[how]
    state = _state()
    save({"state_dict": OrderedDict(state), **_extras(foreign)}, tmp_path / name)
    monkeypatch.delitem(sys.modules, foreign.__name__)
    read = unwrap(open_checkpoint(tmp_path / name))
    assert list(read) == list(state)
    for key, value in state.items():
        assert read[key].dtype == value.dtype
        assert torch.equal(read[key], value.detach())


@pytest.mark.parametrize("how", SAVES)
def test_functions_named_by_a_pickle_are_not_called(how: str, tmp_path: Path) -> None:
    name, save = SAVES[how]
    mark = tmp_path / "harm"

    class Evil:
        def __init__(self, what: Any, *args: Any) -> None:
            self.call = what, args

        def __reduce__(self) -> Any:
            return self.call

    calls = [
        Evil(os.system, f"touch {mark}"),
        Evil(Path.touch, mark),
        Evil(eval, f"open({str(mark)!r}, 'w')"),
    ]
    save({"state_dict": _state(), "evil": calls}, tmp_path / name)
    assert len(unwrap(open_checkpoint(tmp_path / name))) == len(_state())
    save({"state_dict": {"a": calls[0], "b": torch.zeros(1)}}, tmp_path / name)
    with pytest.raises(ConvertError, match=r"a \((posix|nt)\.system\) are no tensors"):
        unwrap(open_checkpoint(tmp_path / name))
    assert not mark.exists()


def test_no_attribute_of_a_class_can_be_set(tmp_path: Path) -> None:
    """BUILD on a global sets attributes in Python's own unpickler."""
    before = dict(vars(torch._utils._rebuild_tensor_v2))
    build = b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n}X\x04\x00\x00\x00harmK\x01sbs."
    (tmp_path / "a.pkl").write_bytes(build)
    open_checkpoint(tmp_path / "a.pkl")
    assert vars(torch._utils._rebuild_tensor_v2) == before
    for code in (
        b"\x80\x02\x82\x01.",
        b"\x80\x02X\x01\x00\x00\x00aX\x01\x00\x00\x00bK\x01s.",
        b"\x80\x02Nctorch\nTensor\nQ.",
        b"\x80\x04](K\x01\x90.",  # adds to a list as to a set
    ):
        (tmp_path / "a.pkl").write_bytes(code)
        with pytest.raises(WeightsError, match="not a checkpoint that can be read"):
            open_checkpoint(tmp_path / "a.pkl")


def test_a_whole_model_is_read_as_its_state_dict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.Linear(4, 2)))
    model[1].register_buffer("scratch", torch.zeros(2), persistent=False)
    for content in (model, {"model": model, "epoch": 3}):
        torch.save(content, tmp_path / "a.pth")
        read = unwrap(open_checkpoint(tmp_path / "a.pth"))
        assert set(read) == set(model.state_dict())
        assert all(torch.equal(read[key], value) for key, value in model.state_dict().items())


def test_arrays_of_numpy_are_tensors(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6.0, dtype=np.float32).reshape(2, 3), "b": np.asfortranarray(np.ones((2, 3), ">f4"))}
    arrays |= {"count": np.array(7), "f": np.asfortranarray(np.arange(6.0).reshape(2, 3))}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps({"model_state": arrays}, protocol=protocol))
        read = unwrap(open_checkpoint(tmp_path / "a.pkl"))
        assert torch.equal(read["a"], torch.arange(6.0).reshape(2, 3))
        assert torch.equal(read["b"], torch.ones(2, 3))
        assert torch.equal(read["count"], torch.tensor(7))
        assert torch.equal(read["f"], torch.arange(6.0, dtype=torch.float64).reshape(2, 3))
    (tmp_path / "b.pkl").write_bytes(pickle.dumps({"state_dict": {"a": np.array([None, "x"])}}))
    with pytest.raises(ConvertError, match="holds no numbers"):
        unwrap(open_checkpoint(tmp_path / "b.pkl"))


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>", b"version https://git-lfs", b"././@PaxHeader"])
def test_a_file_that_is_no_pickle_is_reported_with_its_first_bytes(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=f"no pickle; it begins with b'{content[:8].decode()}"):
        open_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("how", SAVES)
def test_damaged_files_raise_no_other_error(how: str, tmp_path: Path) -> None:
    name, save = SAVES[how]
    save({"state_dict": _state()}, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    rng = np.random.default_rng(0)
    for k in range(40):
        broken = bytearray(whole[: int(rng.integers(len(whole)))] if k % 2 else whole)
        for place in rng.integers(len(broken) or 1, size=8 if k % 2 == 0 else 0):
            broken[int(place)] = int(rng.integers(256))
        (tmp_path / name).write_bytes(bytes(broken))
        with contextlib.suppress(WeightsError):  # a damaged number of a tensor is not noticed
            open_checkpoint(tmp_path / name)


def test_a_small_file_cannot_ask_for_all_memory(tmp_path: Path) -> None:
    storage = torch.zeros(4)
    torch.save({"a": storage}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as old, zipfile.ZipFile(tmp_path / "b.pth", "w") as new:
        for row in old.infolist():
            data = old.read(row)
            if row.filename.endswith("data.pkl"):
                assert data.count(b"K\x04\x85") == 1
                data = data.replace(b"K\x04\x85", b"J\x00\x00\x00\x70\x85")  # the shape (4,) as (1.9e9,)
            new.writestr(row, data)
    with pytest.raises(WeightsError, match="outside its storage"):
        open_checkpoint(tmp_path / "b.pth")
    with zipfile.ZipFile(tmp_path / "c.pth", "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("a/data.pkl", b"\x80\x02N.")
        new.writestr("a/data/0", bytes(10**7))
    with pytest.raises(WeightsError, match="compressed"):
        open_checkpoint(tmp_path / "c.pth")


def test_escape_codes_of_a_file_do_not_reach_the_message(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a\x1b[2J": 3, "b": torch.zeros(1)}}, tmp_path / "a.pth")
    with pytest.raises(ConvertError) as caught:
        unwrap(open_checkpoint(tmp_path / "a.pth"))
    assert str(caught.value).isprintable()
    torch.jit.script(nn.Linear(1, 1)).save(str(tmp_path / "b.pt"))
    with pytest.raises(WeightsError, match="TorchScript"):
        open_checkpoint(tmp_path / "b.pt")
