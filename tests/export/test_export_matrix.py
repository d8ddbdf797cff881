"""Every kind of architecture as a file: what onnxruntime and torch.export answer is what the model answers.

ResNets keep a block per stage and two of the second, as the others repeat: tracing each of 33 takes minutes. Other
backbones have the small form of the conformance tests. The command itself compares every file of whatever depth.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from helpers import calibrate, clips, one_of_each_family, randomize
from small_backbones import SMALL
from torch import Tensor

import videozoo
from videozoo.data import VideoDataset, VideoRecord, create_transform, resolve_data_config, sampling_options
from videozoo.export import OnnxNet, export_model
from videozoo.export.trace import free_sizes
from videozoo.models import spec_of

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
# Frames: five by default, so that DNR sees a whole group and a shorter one; segments of TDN have five, those of ABM
# three; SlowFast takes every eighth.
FRAMES = {16: 6, 24: 15, 32: 16, 40: 15, 48: 15, 64: 16}
RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet50_gn", "resnext101_32x4d", "res2net50_26w_4s")


def size_of(name: str) -> int:
    # attention over a single pixel is traced as one that never has more
    is_64 = any(part in name for part in ("inception", "eco_", "uniformer"))
    return 75 if "inception_v3" in name else 64 if is_64 else 40


@pytest.fixture(autouse=True)
def _few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def create_shallow(name: str, **options: Any) -> Any:
        return create(name, **options, **({"layers": (1, 2, 1, 1)} if name in RESNETS else {}))

    monkeypatch.setattr(timm, "create_model", create_shallow)


def make(name: str) -> Any:
    """The model with a few frames of a small size, random in all its parts."""
    size = (3, size_of(name), size_of(name))
    overlay = {"input_size": size}
    spec = spec_of(name)
    frames = 8 if "eco_" in name else FRAMES.get(spec.num_frames, 5)
    if getattr(spec, "backbone", "") in SMALL and spec.backbone not in RESNETS and "eco_" not in name:
        model: Any = videozoo.compose(
            SMALL[spec.backbone], spec.temporal, spec.augmenters, num_classes=6, num_frames=frames
        )
        model.pretrained_cfg.update(overlay)
    else:
        model = videozoo.create_model(name, num_classes=6, num_frames=frames, pretrained_cfg_overlay=overlay)
    return randomize(model).eval().requires_grad_(False)


def real_clips(model: Any, folder: Path) -> Tensor:
    """Five clips of people, as the model's test takes them."""
    config = resolve_data_config(model, test_num_clips=1, test_num_crops=1)
    files = sorted((folder / "order4" / "videos").rglob("*.mp4"))[:50:10]
    records = [VideoRecord(file, -1, "") for file in files]
    dataset = VideoDataset(records, create_transform(**config), **sampling_options(config))
    found = torch.cat([dataset[index]["video"] for index in range(len(records))])
    assert found.shape[0] == 5
    return found


def largest_difference(model: Any, answer: Any, x: Tensor) -> float:
    """Of a logit, over the largest logit."""
    expected, got = model(x), answer(x)
    assert got.shape == expected.shape == (len(x), 6)
    assert expected.abs().max() > 0
    return ((got - expected).abs().max() / expected.abs().max()).item()


# test_models.py exports small models of every combination. Here are real ones: a family each, and ARC and DNR once.
# Left out is what has its modules and its backbone in two others.
LEFT_OUT = "(arc|dnr)_(?!tsm_r18|tsn_r18)|(gsm|trn)_bninception|gsm_inception_v3|tsm_mbv2|nl_slowonly|test_arc_tsm"
REAL = [name for name in one_of_each_family(videozoo.list_models()) if not re.match(LEFT_OUT, name)]


@pytest.mark.parametrize("name", REAL)
def test_onnxruntime_gives_the_logits(name: str, shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = make(name)
    x = real_clips(model, shared_data)
    calibrate(model, torch.cat([x[:3], clips(2, *x.shape[2:4], seed=9)]))
    report = export_model(model, tmp_path / "a.onnx", clips=x)
    assert report.max_difference <= 1e-4
    net = OnnxNet(report.path)
    assert (model(x) - model(x[:1])).abs().max() > 1e-3 * model(x).abs().max()
    # With random weights R(2+1)D's own single precision is up to 7e-4 away from double.
    limit = 1e-3 if "r2plus1d" in name else 1e-4
    for count in (1, 2, 5):
        assert largest_difference(model, net, x[:count]) <= limit
    if 3 in free_sizes(model):
        more = (32, 0, 0, 32) if "eco_" in name else (8, 8, 0, 24)  # BN-Inception takes multiples of 32
        assert largest_difference(model, net, torch.nn.functional.pad(x[:2], more)) <= limit


# One of each kind of part: the program is the one that the test above translates.
@pytest.mark.parametrize("name", ["arc_msn_r18", "tdn_r18", "tanet_r18", "test_dnr_tsn", "slowfast_r18"])
def test_torch_export_gives_the_logits(name: str, tmp_path: Path) -> None:
    model = make(name)
    x = clips(5, model.num_frames, size_of(name))
    calibrate(model, x)
    path = export_model(model, tmp_path / "a.pt2", "torch-export").path
    extra = {"videozoo.json": ""}
    answer = torch.export.load(path, extra_files=extra).module()
    assert '"num_classes": 6' in extra["videozoo.json"]
    for count in (1, 2, 5):
        assert largest_difference(model, answer, x[:count]) <= 1e-5


@pytest.mark.parametrize("name", ["test_arc_tsm", "test_dnr_tsn", "slowfast_r18"])
def test_fused_and_int8(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    import onnx

    model = make(name)
    x = clips(5, model.num_frames, size_of(name))
    calibrate(model, x)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    plain = export_model(model, tmp_path / "plain.onnx", clips=x)
    report = export_model(model, tmp_path / "small.onnx", fuse=True, int8=True, clips=x)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert report.num_bytes < 0.5 * plain.num_bytes
    found = report.agreement
    assert found is not None
    # The loss is what it says, and is one.
    difference = (OnnxNet(report.path)(x) - model(x)).abs().max().item()
    assert difference == pytest.approx(found.max_difference, rel=0.05)
    assert 0 < found.max_difference < 0.1 * found.max_logit
    assert found.num_clips == 5
    kinds = {kept.data_type for kept in onnx.load(report.path).graph.initializer}
    assert onnx.TensorProto.INT8 in kinds
    files = (plain.path, report.path)
    norms = [sum(node.op_type == "BatchNormalization" for node in onnx.load(file).graph.node) for file in files]
    assert norms[1] < norms[0]


def test_a_file_that_differs_is_never_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from videozoo.export import ExportError

    forward = OnnxNet.forward
    monkeypatch.setattr(OnnxNet, "forward", lambda self, x: forward(self, x) * 1.001)
    with pytest.raises(ExportError, match="differs from the model"):
        export_model(make("test_dnr_tsn"), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())
