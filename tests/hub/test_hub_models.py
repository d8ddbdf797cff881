"""Tests of models from the Hub, also through timm and the command line."""

import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from fake_hub import FakeHub, Fault
from helpers import REPO as CHECKOUT
from helpers import clips, randomize
from huggingface_hub import constants
from safetensors.torch import load, save
from torch import Tensor

import videozoo
from videozoo import ARC, TSM, WeightsError
from videozoo.cli import main
from videozoo.data import resolve_data_config
from videozoo.hub import retry

REPO, T, SIZE, NAMES = "lab/net", 4, 32, ["jump", "run", "sit"]
ABOUT = {
    "frame_sampling": "dense",
    "frame_stride": 6,
    "test_num_clips": 10,
    "test_num_crops": 3,
    "mean": (0.4, 0.5, 0.6),
    "std": (0.2, 0.3, 0.4),
    "input_size": (3, SIZE, SIZE),
    "license": "cc-by-4.0",
    "dataset": "motions",
    "train_recipe": "30 epochs",
    "decoder": "PyAV 14",
    "metrics": {"top1": 0.9},
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub where the client of this process will look."""
    with FakeHub() as hub:
        hub.patch(monkeypatch, tmp_path / "home")
        monkeypatch.setattr(retry, "DELAYS", (0.0, 0.0))
        yield hub


def network(named: bool = True) -> Any:
    """A random model that knows a lot of itself."""
    if named:
        net = videozoo.create_model("test_arc_tsm", num_classes=3, num_frames=T)
    else:
        net = videozoo.compose("test_resnet", TSM(shift_div=4), [ARC(num_steps=2)], num_classes=3, num_frames=T)
    net.pretrained_cfg = {**net.pretrained_cfg, **ABOUT}
    return randomize(net).eval()


def files(net: Any, **changes: Any) -> dict[str, bytes]:
    """A repository of the model, with single fields of its config changed."""
    config = {**videozoo.model_config(net, class_names=NAMES), **changes}
    return {"config.json": json.dumps(config).encode(), "model.safetensors": save(net.state_dict())}


def logits(net: Any, x: Tensor | None = None) -> Tensor:
    """What a model says to a fixed clip."""
    with torch.no_grad():
        out: Tensor = net.eval()(clips(2, T, SIZE) if x is None else x)
    return out


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("prefix", ["hf-hub:", "hf_hub:"])
def test_weights_labels_and_sampling_come_back(hub: FakeHub, named: bool, prefix: str) -> None:
    net = network(named)
    hub.put(REPO, files(net))
    again = videozoo.create_model(f"{prefix}{REPO}", pretrained=True)
    assert torch.equal(logits(again), logits(net))
    assert again.spec == net.spec
    assert again.pretrained_cfg["label_names"] == tuple(NAMES)
    assert {key: again.pretrained_cfg[key] for key in ABOUT} == ABOUT
    assert resolve_data_config(again) == resolve_data_config(net)
    assert json.loads(json.dumps(videozoo.model_config(again))) == json.loads(files(net)["config.json"])


def test_a_revision_of_the_name(hub: FakeHub) -> None:
    old, new = network(), network()
    commit = hub.put(REPO, files(old))
    hub.put(REPO, files(new))
    assert torch.equal(logits(videozoo.create_model(f"hf-hub:{REPO}@{commit}", pretrained=True)), logits(old))
    assert torch.equal(logits(videozoo.create_model(f"hf-hub:{REPO}", pretrained=True)), logits(new))
    assert not torch.equal(logits(old), logits(new))


@pytest.mark.parametrize("named", [True, False])
def test_timm_loads_our_repositories_too(hub: FakeHub, named: bool) -> None:
    net = network(named)
    hub.put(REPO, files(net))
    again = timm.create_model(f"hf-hub:{REPO}", pretrained=True)
    assert torch.equal(logits(again), logits(net))
    assert again.pretrained_cfg["label_names"] == tuple(NAMES)
    assert {key: again.pretrained_cfg[key] for key in ABOUT} == ABOUT
    other = timm.create_model(f"hf-hub:{REPO}@main", pretrained=True, num_classes=7)
    assert logits(other).shape == (2, 7)
    key = next(key for key, value in net.state_dict().items() if value.ndim == 4)
    assert torch.equal(other.state_dict()[key], net.state_dict()[key])
    fresh = timm.create_model(f"hf-hub:{REPO}", num_frames=2)
    assert (fresh.num_frames, fresh.num_classes) == (2, 3)
    hub.faults.append(Fault(r"model\.safetensors", "corrupt", times=None))
    hub.put(REPO, files(network()))
    with pytest.raises(WeightsError, match=r"lab/net@.*: model.safetensors: SHA-256 is"):
        timm.create_model(f"hf-hub:{REPO}", pretrained=True)


def test_the_name_for_compositions_is_no_model() -> None:
    with pytest.raises(ValueError, match=r"videozoo_composed has no composition of its own; make one with"):
        timm.create_model("videozoo_composed")
    assert "videozoo_composed" not in videozoo.list_models()


def test_another_number_of_classes_drops_the_old_names(hub: FakeHub) -> None:
    net = network()
    hub.put(REPO, files(net))
    again = videozoo.create_model(f"hf-hub:{REPO}", pretrained=True, num_classes=7).eval()
    assert torch.equal(again.forward_features(clips(1, T, SIZE)), net.forward_features(clips(1, T, SIZE)))
    assert not {"label_names", "metrics", "dataset", "train_recipe"} & set(again.pretrained_cfg)
    assert again.pretrained_cfg["num_classes"] == 7
    net.reset_classifier(7)
    assert not {"label_names", "metrics", "dataset", "train_recipe"} & set(net.pretrained_cfg)
    assert again.pretrained_cfg["license"] == "cc-by-4.0"
    assert again.pretrained_cfg["frame_stride"] == 6


def test_fields_of_a_newer_version_warn_and_are_preserved(hub: FakeHub, tmp_path: Path) -> None:
    net = network()
    config = json.loads(files(net)["config.json"])
    config["pretrained_cfg"] |= {
        "frame_jitter": 0.25,
        "audio": {"rate": 16000},
        "file": "/etc/passwd",
        "url": "http://x",
    }
    config["written_by"] = "videozoo 9"
    hub.put(REPO, {**files(net), "config.json": json.dumps(config).encode()})
    with pytest.warns(
        UserWarning, match=r"lab/net: config.json has fields that videozoo .* not know \(audio, frame_jit"
    ):
        again = videozoo.create_model(f"hf-hub:{REPO}", pretrained=True)
    assert torch.equal(logits(again), logits(net))
    assert not {"file", "url"} & set(again.pretrained_cfg)
    kept = json.loads(json.dumps(videozoo.model_config(again)))["pretrained_cfg"]
    assert kept["audio"] == {"rate": 16000}
    assert kept["frame_jitter"] == 0.25
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        timm.create_model(f"hf-hub:{REPO}", pretrained=True)
    assert any("frame_jitter" in str(warning.message) for warning in caught)


def broken(net: Any, what: str) -> dict[str, bytes]:
    """A repository with one thing wrong in its content."""
    rows = files(net)
    state, config = load(rows["model.safetensors"]), json.loads(rows["config.json"])
    if what == "wrong keys":
        state["backbone.conv9.weight"] = state.pop("backbone.conv1.weight")
    elif what == "wrong shapes":
        state["backbone.conv1.weight"] = torch.zeros(2, 3, 3, 3)
    elif what == "unknown architecture":
        config["architecture"] = "../../test_arc_tsm"
    elif what == "missing fields":
        del config["spec"], config["pretrained_cfg"]
    elif what == "missing backbone":
        del config["spec"]["backbone"]
    elif what == "classes of the weights":
        config["spec"]["num_classes"] = config["num_classes"] = config["pretrained_cfg"]["num_classes"] = 4
        del config["pretrained_cfg"]["label_names"]
    elif what == "classes without end":
        config["spec"]["num_classes"] = config["num_classes"] = config["pretrained_cfg"]["num_classes"] = 10**15
        del config["pretrained_cfg"]["label_names"]
    elif what == "deep config":
        return {**rows, "config.json": b"[" * 200_000}
    elif what == "newer composition":
        config["spec"]["optical_flow"] = True
    return {"config.json": json.dumps(config).encode(), "model.safetensors": save(state)}


@pytest.mark.parametrize(
    ("what", "file", "message"),
    [
        (
            "wrong keys",
            "model.safetensors",
            r"1 missing \(backbone.conv1.weight\), 1 left over \(backbone.conv9.weight",
        ),
        ("wrong shapes", "model.safetensors", r"1 of another shape \(backbone.conv1.weight \(2, 3, 3, 3\) for"),
        ("unknown architecture", "config.json", r"the architecture '../../test_arc_tsm' is unknown to videozoo"),
        ("missing fields", "config.json", r"not a videozoo config: has no 'spec' and no 'pretrained_cfg'"),
        ("missing backbone", "config.json", r"not a videozoo config \(ModelSpec: .*no backbone"),
        ("classes of the weights", "model.safetensors", r"2 of another shape \(fc.weight \(3, \d+\) for \(4, "),
        ("classes without end", "config.json", r"num_classes is 10+, must be a whole number"),
        ("deep config", "config.json", r"not a JSON file \("),
        ("newer composition", "config.json", r"not a videozoo config \(ModelSpec: unknown fields \['optical_flow'\]"),
    ],
)
def test_mismatches_are_a_weights_error(hub: FakeHub, what: str, file: str, message: str) -> None:
    commit = hub.put(REPO, broken(network(), what))
    with pytest.raises(WeightsError, match=rf"^lab/net@{commit}: {file}: .*{message}") as caught:
        videozoo.create_model(f"hf-hub:{REPO}", pretrained=True)
    assert (caught.value.repository, caught.value.revision, caught.value.file) == (REPO, commit, file)
    assert caught.value.reason


def test_a_name_with_a_slash_says_how_to_write_it() -> None:
    with pytest.raises(ValueError, match="'lab/net': there is no such folder; for a repository write hf-hub:ORG"):
        videozoo.create_model("lab/net", pretrained=True)


def test_a_local_folder_by_home_and_by_path_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    folder = tmp_path / "best"
    folder.mkdir()
    for name, data in files(net).items():
        (folder / name).write_bytes(data)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("local-dir:~/best", folder, Path("~/best"), f"local-dir:{folder}"):
        assert torch.equal(logits(videozoo.create_model(name, pretrained=True)), logits(net))
    again = videozoo.create_model(
        "test_arc_tsm", num_classes=3, num_frames=T, checkpoint_path="~/best/model.safetensors"
    )
    assert torch.equal(logits(again), logits(net))


SCRIPT = """
import sys, torch, videozoo
from pathlib import Path
from safetensors.torch import load_file, save_file
net = videozoo.create_model(sys.argv[1], pretrained=True).eval()
with torch.no_grad():
    save_file({"logits": net(load_file(sys.argv[2])["x"])}, sys.argv[3])
print(net.pretrained_cfg["label_names"], net.pretrained_cfg["frame_sampling"], net.num_frames)
"""


@pytest.mark.slow
def test_a_new_process_says_the_same_offline(hub: FakeHub, tmp_path: Path) -> None:
    """Its variables are all that it knows; test_cli_push has the one that is online."""
    net = network()
    hub.put(REPO, files(net))
    videozoo.create_model(f"hf-hub:{REPO}", pretrained=True)
    given, result = tmp_path / "x.safetensors", tmp_path / "y.safetensors"
    given.write_bytes(save({"x": clips(2, T, SIZE)}))
    hub.requests.clear()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, f"hf-hub:{REPO}", str(given), str(result)],
        env={
            **os.environ,
            **hub.env(tmp_path / "home"),
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": str(CHECKOUT),
            "OMP_NUM_THREADS": str(torch.get_num_threads()),  # sums are the same to the last bit only so
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not hub.requests
    assert torch.equal(load(result.read_bytes())["logits"], logits(net))
    assert done.stdout.strip() == f"{tuple(NAMES)} dense {T}"


def test_the_command_line_takes_repositories(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.put(REPO, files(network()))
    assert main(["info", f"hf-hub:{REPO}", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["class_names"], facts["has_weights"]) == (NAMES, True)


def test_the_command_line_reports_an_empty_cache_in_one_line(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    video = tmp_path / "a.mp4"
    video.write_bytes(b"")
    assert main(["predict", "--model", f"hf-hub:{REPO}", str(video), "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    pattern = rf"videozoo: error: lab/net@main: .*model.safetensors: offline .*{constants.HF_HUB_CACHE}/.*\n"
    assert re.fullmatch(pattern, error)
