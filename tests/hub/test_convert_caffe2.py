"""Tests of PySlowFast's checkpoints in Caffe2's form, in pickles as Python 2 wrote them."""

import io
import pickle
import re
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pyslowfast_names import native_names
from torch import Tensor

from videozoo.hub import WeightsError
from videozoo.hub.convert import pyslowfast, pyslowfast_caffe2, pyslowfast_x3d
from videozoo.hub.convert.base import ConvertError
from videozoo.models import ModelSpec, build
from videozoo.models.convert import convert_file

BACKBONES = ("i3d_resnet50_nl", "slowonly_resnet50", "slowfast_resnet50_4x16", "slowfast_resnet101_8x8_50", "x3d_small")
NORM_LEAVES = {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"}
LAST = {"2": 2, "3": 3, "4": 5}  # last blocks of ResNet-50's stages


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes alike as Python 2's strings, which is how the blobs of these files are stored."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def _string(self, value: Any) -> None:
        data = value.encode("latin1") if isinstance(value, str) else bytes(value)
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = _string


def write_pickle(path: Path, value: Any) -> None:
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(value)
    path.write_bytes(buffer.getvalue())


def blob_name(native: str) -> str:
    """Caffe2's name of a tensor of PySlowFast, written from that side."""
    path, _, leaf = native.rpartition(".")
    is_norm = path.endswith("bn")
    end = NORM_LEAVES[leaf] if is_norm else {"weight": "w", "bias": "b"}[leaf]
    if path == "head.projection":
        return f"pred_{end}"
    if path.startswith("head."):
        return f"{path.removeprefix('head.')}_{end}"
    if match := re.fullmatch(r"s(\d)_fuse\.(conv_f2s|bn)", path):
        start = "t_pool1" if match[1] == "1" else f"t_res{match[1]}_{LAST[match[1]]}_branch2c_bn"
        return f"{start}_subsample{'_bn' if is_norm else ''}_{end}"
    match = re.fullmatch(r"s(\d)\.pathway(\d)_(stem|res|nonlocal)(\d*)\.(.*)", path)
    assert match is not None
    stage, pathway, kind, index, part = match.groups()
    fast = "t_" * int(pathway)
    if kind == "stem":
        return f"{fast}{'res_conv1_bn' if is_norm else part.replace('conv', 'conv1')}_{end}"
    if kind == "nonlocal":
        return f"nonlocal_conv{stage}_{index}_{part.removeprefix('conv_')}_{end}"
    part = part.replace("branch2.se.", "branch2.b_bn_").replace("branch2.", "branch2")
    return f"{fast}res{stage}_{index}_{part}_{end}"


def blobs(backbone: str) -> dict[str, np.ndarray]:
    native = native_names(build(ModelSpec(backbone, num_frames=32, num_classes=9)).state_dict())
    kept = {key: value for key, value in native.items() if "num_batches" not in key}
    out = {blob_name(key): value.numpy() for key, value in kept.items()}
    return out | {"conv1_w_momentum": np.zeros(2, "f4"), "lr": np.array(0.1, "f4"), "model_iter": np.array(7, "i8")}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_blobs_get_the_places_of_the_native_keys(backbone: str) -> None:
    given = {key: torch.from_numpy(value) for key, value in blobs(backbone).items()}
    assert pyslowfast_caffe2.matches(given)
    assert not any(other.matches(given) for other in (pyslowfast, pyslowfast_x3d))
    converted = pyslowfast_caffe2.convert(given)
    assert converted.spec["backbone"] == backbone
    assert set(converted.dropped) == {"conv1_w_momentum", "lr", "model_iter"}
    own = build(ModelSpec.from_dict(converted.spec)).state_dict()
    assert {key: value.shape for key, value in converted.state.items()} == {
        key: value.shape for key, value in own.items() if "num_batches" not in key
    }


def test_names_of_the_authors_rules() -> None:
    """Names as they stand in the model zoo's files, and the module that the authors' loader gives them."""
    wanted = {
        "t_pool1_subsample_w": "s1_fuse.conv_f2s.weight",
        "t_res4_5_branch2c_bn_subsample_bn_rm": "s4_fuse.bn.running_mean",
        "nonlocal_conv3_1_theta_w": "s3.pathway0_nonlocal1.theta.weight",
        "nonlocal_conv4_5_bn_s": "s4.pathway0_nonlocal5.bn.weight",
        "res4_4_branch2c_bn_b": "s4.pathway0_res4.branch2.c_bn.bias",
        "t_res_conv1_bn_riv": "s1.pathway1_stem.bn.running_var",
        "t_conv1_w": "s1.pathway1_stem.conv.weight",
        "conv1_xy_w": "s1.pathway0_stem.conv_xy.weight",
        "res4_0_branch1_w": "s4.pathway0_res0.branch1.weight",
        "res2_0_branch2b_bn_fc1_b": "s2.pathway0_res0.branch2.se.fc1.bias",
        "pred_b": "head.projection.bias",
    }
    assert {name: pyslowfast_caffe2._name(name) for name in wanted} == wanted


@pytest.mark.parametrize("backbone", ["slowonly_resnet50", "x3d_small"])
def test_a_pickle_of_python_2_becomes_a_model(backbone: str, tmp_path: Path) -> None:
    given = blobs(backbone)
    if backbone == "x3d_small":  # Caffe2 has linear layers where there are convolutions of one pixel
        given = {k: v[..., 0, 0, 0] if re.match(r"lin_5_w|.*_fc\d_w", k) else v for k, v in given.items()}
    write_pickle(tmp_path / "model.pkl", {"blobs": given, "cfg": "NUM_GPUS: 8"})
    model, _, source = convert_file(tmp_path / "model.pkl")
    assert source == "pyslowfast"
    state = model.state_dict()
    first = {"x3d_small": "conv1_xy_w", "slowonly_resnet50": "conv1_w"}[backbone]
    assert torch.equal(state["backbone.conv1.weight"], torch.from_numpy(given[first]))
    assert torch.equal(state["fc.bias"], torch.from_numpy(given["pred_b"]))


def test_nothing_in_such_a_pickle_is_run(tmp_path: Path) -> None:
    """A function that a pickle names is never called."""
    mark = tmp_path / "mark"

    class Bomb:
        def __reduce__(self) -> Any:
            return mark.touch, ()

    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"blobs": {"conv1_w": Bomb()}}, protocol=2))
    with pytest.raises(WeightsError, match="are no tensors"):
        convert_file(tmp_path / "model.pkl")
    assert not mark.exists()


def test_a_blob_without_a_place_is_named() -> None:
    given = {key: torch.from_numpy(value) for key, value in blobs("slowonly_resnet50").items()}
    with pytest.raises(ConvertError, match="Caffe2 models: no place for res2_0_branch2d_w"):
        pyslowfast_caffe2.convert(given | {"res2_0_branch2d_w": torch.zeros(1)})


def test_an_image_model_is_not_one_of_these() -> None:
    state: dict[str, Tensor] = {"conv1_w": torch.zeros(64, 3, 7, 7), "res2_0_branch2a_w": torch.zeros(64, 64, 1, 1)}
    assert not pyslowfast_caffe2.matches(state)
