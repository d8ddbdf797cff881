"""Tests of loading run folders and backbone files, and of the errors for mismatches."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from helpers import calibrate, clips, randomize
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import videozoo
from videozoo import ARC, DNR, TSM, VideoNet, WeightsError
from videozoo.hub import convert_backbone

T, SIZE, CLASSES = 3, 32, 4
NAMES = ["jump", "run", "sit", "walk"]


def write_folder(net: VideoNet, folder: Path) -> Path:
    """config.json and model.safetensors of a model."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(videozoo.model_config(net, class_names=NAMES)))
    save_file(net.state_dict(), folder / "model.safetensors")
    return folder


def load(folder: Path, **kwargs: Any) -> VideoNet:
    """The model of a folder, in evaluation."""
    return videozoo.create_model(f"local-dir:{folder}", pretrained=True, **kwargs).eval()


@pytest.fixture
def net() -> VideoNet:
    """A small trained-looking model."""
    model = videozoo.compose(
        "test_resnet", TSM(shift_div=4), [DNR(relay="se"), ARC(num_steps=2)], num_classes=CLASSES, num_frames=T
    )
    return calibrate(randomize(model).eval(), clips(4, T, SIZE, seed=7))  # type: ignore[return-value]


@pytest.fixture
def folder(net: VideoNet, tmp_path: Path) -> Path:
    """Its folder."""
    return write_folder(net, tmp_path / "best")


@torch.no_grad()
def test_a_folder_restores_the_model(net: VideoNet, folder: Path) -> None:
    again = load(folder)
    x = clips(2, T, SIZE)
    assert torch.equal(again(x), net(x))
    assert again.spec == net.spec
    assert again.pretrained_cfg["label_names"] == tuple(NAMES)
    assert again.pretrained_cfg["num_frames"] == again.num_frames == T


@torch.no_grad()
def test_a_folder_of_a_named_architecture_loads_through_timm_too(tmp_path: Path) -> None:
    net = randomize(videozoo.create_model("tsm_mbv2", num_classes=CLASSES, num_frames=T)).eval()
    folder = write_folder(net, tmp_path / "best")  # type: ignore[arg-type]
    x = clips(2, T, SIZE)
    for door in (videozoo.create_model, timm.create_model):
        again = door(f"local-dir:{folder}", pretrained=True).eval()
        assert torch.equal(again(x), net(x))
        assert again.num_classes == CLASSES


@torch.no_grad()
def test_sampling_and_size_come_from_the_folder(net: VideoNet, tmp_path: Path) -> None:
    net.pretrained_cfg = {**net.pretrained_cfg, "frame_sampling": "dense", "frame_stride": 6, "test_num_clips": 10}
    again = load(write_folder(net, tmp_path / "best"))
    kept = ("frame_sampling", "frame_stride", "test_num_clips", "mean", "std", "input_size", "num_frames")
    assert {k: again.pretrained_cfg[k] for k in kept} == {k: net.pretrained_cfg[k] for k in kept}


@torch.no_grad()
def test_another_number_of_classes_keeps_all_but_the_classifier(net: VideoNet, folder: Path) -> None:
    again = load(folder, num_classes=9)
    x = clips(2, T, SIZE)
    assert again(x).shape == (2, 9)
    assert torch.equal(again.forward_features(x), net.forward_features(x))
    assert not again.pretrained_cfg.get("label_names")
    pooled = load(folder, num_classes=0)
    assert torch.equal(pooled(x), net.forward_head(net.forward_features(x), pre_logits=True))


@torch.no_grad()
def test_another_number_of_frames(net: VideoNet, folder: Path) -> None:
    again = load(folder, num_frames=2)
    net.set_num_frames(2)
    x = clips(1, 2, SIZE)
    assert torch.equal(again(x), net(x))
    assert again.pretrained_cfg["num_frames"] == 2


@torch.no_grad()
def test_without_pretrained_the_folder_gives_the_architecture_only(net: VideoNet, folder: Path) -> None:
    fresh = videozoo.create_model(f"local-dir:{folder}", num_classes=CLASSES).eval()
    x = clips(1, T, SIZE)
    assert fresh.spec == net.spec
    assert not torch.equal(fresh(x), net(x))


def damage(folder: Path, what: str) -> None:
    """Break one thing in a folder."""
    config, weights = folder / "config.json", folder / "model.safetensors"
    data = json.loads(config.read_text())
    state = load_file(weights)
    if what == "no folder":
        for file in (config, weights):
            file.unlink()
        folder.rmdir()
    elif what == "no config":
        config.unlink()
    elif what == "no weights":
        weights.rename(folder / "pytorch_model.bin")
    elif what == "broken json":
        config.write_text(config.read_text()[:-5])
    elif what == "json list":
        config.write_text("[]")
    elif what == "no architecture":
        config.write_text("{}")
    elif what == "binary config":
        config.write_bytes(b"\xff\xfe\x00")
    elif what == "no spec":
        config.write_text(json.dumps({k: v for k, v in data.items() if k != "spec"}))
    elif what == "unknown option":
        data["spec"]["augmenters"][0]["speed"] = 1
        config.write_text(json.dumps(data))
    elif what == "unknown part":
        data["spec"]["temporal"] = {"name": "tsm9"}
        config.write_text(json.dumps(data))
    elif what == "unknown architecture":
        config.write_text(json.dumps({**data, "architecture": "arc_tsm_r5"}))
    elif what == "unknown backbone":
        data["spec"]["backbone"] = "../../resnet18"
        config.write_text(json.dumps(data))
    elif what == "frames are words":
        data["spec"]["num_frames"] = "eight"
        config.write_text(json.dumps(data))
    elif what == "size is missing":
        data["pretrained_cfg"]["input_size"] = None
        config.write_text(json.dumps(data))
    elif what == "too few names":
        data["pretrained_cfg"]["label_names"] = ["a"]
        config.write_text(json.dumps(data))
    elif what == "other classes":
        data["pretrained_cfg"]["num_classes"] = 5
        config.write_text(json.dumps(data))
    elif what == "truncated":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif what == "cut in the header":
        weights.write_bytes(weights.read_bytes()[:20])
    elif what == "empty":
        weights.write_bytes(b"")
    elif what == "pickle inside":
        weights.write_bytes(pickle.dumps({"a": 1}))
    elif what == "missing key":
        state.pop("backbone.layer2.0.conv1.weight")
        save_file(state, weights)
    elif what == "extra key":
        save_file({**state, "backbone.extra": torch.zeros(2)}, weights)
    elif what == "shape":
        save_file({**state, "backbone.bn1.weight": torch.zeros(5)}, weights)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no folder", "best: no such folder"),
        ("no config", "best: config.json is missing; the folder holds model.safetensors"),
        ("no weights", "best: model.safetensors is missing; the folder holds config.json, pytorch_model.bin"),
        ("broken json", "config.json: not a JSON file"),
        ("binary config", "config.json: not a JSON file"),
        ("json list", "config.json: has no 'architecture'"),
        ("no architecture", "config.json: has no 'architecture'"),
        ("no spec", "config.json: not a videozoo config: has no 'spec'"),
        ("unknown option", r"config.json: not a videozoo config .*no options \['speed'\]"),
        ("unknown part", r"config.json: not a videozoo config .*unknown part 'tsm9'"),
        (
            "unknown architecture",
            r"config.json: the architecture 'arc_tsm_r5' is unknown to videozoo .*near: arc_tsm_r50",
        ),
        ("unknown backbone", r"config.json: its model cannot be built \(.*'../../resnet18'"),
        ("frames are words", r"config.json: not a videozoo config \(num_frames is 'eight', must be a whole number"),
        (
            "size is missing",
            r"config.json: not a videozoo config \(input_size is None, must be \(channels, height, width\)",
        ),
        (
            "too few names",
            r"config.json: not a videozoo config \(label_names must be a list of 4 names",
        ),
        ("other classes", r"config.json: not a videozoo config \(5 classes in pretrained_cfg, 4 in spec\)"),
        ("truncated", "model.safetensors: not a readable safetensors file"),
        ("cut in the header", "model.safetensors: not a readable safetensors file"),
        ("empty", "model.safetensors: not a readable safetensors file"),
        ("pickle inside", "model.safetensors: not a readable safetensors file"),
        ("missing key", r"model.safetensors: keys do not fit: 1 missing \(backbone.layer2.0.conv1.weight\)"),
        ("extra key", r"1 left over \(backbone.extra\)"),
        ("shape", r"1 of another shape \(backbone.bn1.weight \(5,\) for \(32,\)\)"),
    ],
)
def test_damaged_folders_are_refused_with_the_reason(folder: Path, what: str, message: str) -> None:
    damage(folder, what)
    with pytest.raises(WeightsError, match=message) as caught:
        load(folder)
    assert caught.value.reason
    assert "best" in caught.value.source
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@torch.no_grad()
def test_checkpoint_path_is_loaded_strictly(net: VideoNet, folder: Path, tmp_path: Path) -> None:
    mine = randomize(videozoo.create_model("tsn_mbv2", num_classes=3, num_frames=T)).eval()
    path = tmp_path / "mine.safetensors"
    save_file(mine.state_dict(), path)
    again = videozoo.create_model("tsn_mbv2", num_classes=3, num_frames=T, checkpoint_path=path).eval()
    x = clips(1, T, SIZE)
    assert torch.equal(again(x), mine(x))
    with pytest.raises(WeightsError, match=r"of another shape .*fc"):
        videozoo.create_model("tsn_mbv2", num_classes=5, checkpoint_path=path)
    with pytest.raises(WeightsError, match="keys do not fit"):
        videozoo.create_model("tsn_r18", num_classes=3, checkpoint_path=path)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt", ""])
def test_weights_of_a_whole_model_are_not_read_from_a_pickle(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"file is not opened, since a pickle can run code; need .safetensors"):
        videozoo.create_model("tsn_mbv2", checkpoint_path=path)


def save_backbone(state: dict[str, Tensor], path: Path) -> Path:
    """A state dict as a file."""
    save_file({k: v.contiguous() for k, v in state.items()}, path)
    return path


@torch.no_grad()
@pytest.mark.parametrize("name", ["tsn_r18", "tsm_r18", "arc_tsm_r18", "dnr_tsm_r18"])
def test_a_local_file_of_timm_fills_the_backbone_before_it_is_changed(name: str, tmp_path: Path) -> None:
    image: Any = randomize(timm.create_model("resnet18", num_classes=10))
    path = save_backbone(image.state_dict(), tmp_path / "resnet18.safetensors")
    net = videozoo.create_model(name, num_classes=CLASSES, num_frames=T, backbone_weights=str(path)).eval()
    own = net.backbone.state_dict()
    shared = [k for k in image.state_dict() if not k.startswith("fc.") and k in own]
    assert len(shared) > 80 - 2 * 16 * ("dnr" in name)
    assert all(torch.equal(own[k], image.state_dict()[k]) for k in shared)
    if name == "tsn_r18":
        x = clips(1, T, SIZE)
        frames = [
            net.fc(image.eval().forward_head(image.forward_features(x[:, :, t]), pre_logits=True)) for t in range(T)
        ]
        torch.testing.assert_close(net(x), torch.stack(frames).mean(0))


def torchvision_mobilenet() -> nn.Module:
    """torchvision's MobileNetV2 with random norms."""
    return randomize(torchvision.models.mobilenet_v2(num_classes=CLASSES)).eval()


@torch.no_grad()
def test_mobilenet_under_the_names_of_torchvision_computes_the_same(tmp_path: Path) -> None:
    theirs: Any = torchvision_mobilenet()
    path = save_backbone(theirs.state_dict(), tmp_path / "mobilenet.safetensors")
    net = videozoo.create_model("tsn_mbv2", num_classes=CLASSES, num_frames=1, backbone_weights=path).eval()
    net.fc.load_state_dict(theirs.classifier[1].state_dict())
    x = clips(3, 1, 64)
    torch.testing.assert_close(net(x), theirs(x[:, :, 0]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(net.forward_features(x)[:, :, 0], theirs.features(x[:, :, 0]), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_real_mobilenet_weights_load(shared_data: Path) -> None:
    path = shared_data / "weights" / "mobilenetv2_imagenet_torchvision_names.safetensors"
    if not path.is_file():
        pytest.skip("the shared data has no weights of MobileNetV2")
    state = load_file(path)
    theirs: Any = torchvision.models.mobilenet_v2()
    theirs.load_state_dict({**{k: v for k, v in theirs.state_dict().items() if k not in state}, **state})
    net = videozoo.create_model("tsn_mbv2", num_frames=1, num_classes=0, backbone_weights=path).eval()
    x = clips(2, 1, 96)
    expected = theirs.eval().features(x[:, :, 0]).mean((2, 3))
    torch.testing.assert_close(net(x), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_rgb_weights_are_adapted_to_other_channels(tmp_path: Path) -> None:
    image = timm.create_model("resnet18", num_classes=10)
    path = save_backbone(image.state_dict(), tmp_path / "r18.safetensors")
    gray = videozoo.create_model("tsn_r18", in_chans=1, backbone_weights=path)
    expected = image.conv1.weight.sum(1, keepdim=True)
    torch.testing.assert_close(gray.backbone.conv1.weight, expected)
    four = videozoo.create_model("tsn_r18", in_chans=4, backbone_weights=path)
    assert four.backbone.conv1.weight.shape[1] == 4


def test_statistics_counters_may_be_absent(tmp_path: Path) -> None:
    image = timm.create_model("resnet18", num_classes=10)
    state = {k: v for k, v in image.state_dict().items() if not k.endswith("num_batches_tracked")}
    videozoo.create_model("tsn_r18", backbone_weights=save_backbone(state, tmp_path / "r18.safetensors"))


def test_files_that_do_not_match_the_backbone_are_refused(tmp_path: Path) -> None:
    image = timm.create_model("resnet18", num_classes=10)
    state = image.state_dict()
    files = {
        "other": timm.create_model("resnet34").state_dict(),
        "mobile": torchvision_mobilenet().state_dict(),
        "less": {k: v for k, v in state.items() if k != "layer1.0.bn1.weight"},
        "shape": {**state, "conv1.weight": torch.zeros(64, 3, 3, 3)},
    }
    paths = {name: save_backbone(rows, tmp_path / f"{name}.safetensors") for name, rows in files.items()}
    for name, message in (
        ("other", r"0 missing, \d+ left over \(layer1.2"),
        ("mobile", r"\d+ missing \(bn1.bias.*left over"),
        ("less", r"1 missing \(layer1.0.bn1.weight\), 0 left over"),
        ("shape", r"1 of another shape \(conv1.weight \(64, 3, 3, 3\) for \(64, 3, 7, 7\)\)"),
    ):
        with pytest.raises(WeightsError, match=message) as caught:
            videozoo.create_model("tsn_r18", backbone_weights=paths[name])
        assert caught.value.source == str(paths[name])
    with pytest.raises(WeightsError, match=r"nowhere.safetensors: no such file"):
        videozoo.create_model("tsn_r18", backbone_weights=tmp_path / "nowhere.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(paths["less"].read_bytes()[:100])
    with pytest.raises(WeightsError, match=r"cut.safetensors: not a readable safetensors file"):
        videozoo.create_model("tsn_r18", backbone_weights=tmp_path / "cut.safetensors")


def test_an_unknown_tag_lists_the_existing_ones() -> None:
    with pytest.raises(WeightsError, match=r"resnet18: timm has no weights 'nonsense'; tags: .*tv_in1k"):
        videozoo.create_model("tsn_r18", backbone_weights="nonsense")


def test_names_that_need_no_change_are_left_alone() -> None:
    state = timm.create_model("resnet18").state_dict()
    assert convert_backbone(state, set(state)) is state


def test_class_names_must_be_as_many_as_classes(net: VideoNet) -> None:
    with pytest.raises(ValueError, match="2 class names for 4 classes"):
        videozoo.model_config(net, class_names=["a", "b"])


def test_the_config_is_plain_data(net: VideoNet) -> None:
    config = videozoo.model_config(net, class_names=NAMES)
    assert json.loads(json.dumps(config))["spec"]["augmenters"][1]["name"] == "arc"
    assert (config["num_classes"], config["num_features"]) == (CLASSES, net.num_features)
    assert config["pretrained_cfg"]["label_names"] == NAMES
