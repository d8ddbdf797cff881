"""Tests of public checkpoints: download, conversion, cache, manual import."""

import hashlib
import json
import logging
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from fake_hub import FakeHub, Fault
from helpers import golden_fill
from huggingface_hub import constants
from safetensors.torch import save
from torch import Tensor

import videozoo
from videozoo import VideoCfg, VideoNet, WeightsError
from videozoo.cli import main
from videozoo.hub import retry
from videozoo.hub.download import download_file
from videozoo.models import registry
from videozoo.models.pretrained import cache_folder, place_weights, weights_folder

NAME = "tsm_r18.here_set"
NAMES = ("left", "right", "up")


def authors_state(model: VideoNet) -> dict[str, Tensor]:
    """Our TSM under the names of its authors' code."""
    out = {}
    for key, value in model.state_dict().items():
        if value.ndim == 4:
            value = value[:, :1, :1, :1].clone().expand_as(value)
        name = key.replace("backbone.", "base_model.").replace("fc.", "new_fc.")
        out[re.sub(r"(layer\d\.\d+\.conv1)\.", r"\1.net.", name)] = value
    return out


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A model, and the checkpoint file of it as its authors would save it."""
    torch.manual_seed(5)
    model = videozoo.create_model("tsm_r18", num_classes=3, num_frames=4)
    path = tmp_path_factory.mktemp("published") / "tsm.pth"
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 4:  # one number per channel: the file is small
                parameter.copy_(parameter[:, :1, :1, :1].expand_as(parameter))
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in authors_state(model).items()}}, path)
    data = path.read_bytes()
    return SimpleNamespace(model=model.eval(), path=path, data=data, sha256=hashlib.sha256(data).hexdigest())


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A server, and caches of the test's own."""
    monkeypatch.setattr(retry, "DELAYS", (0.0, 0.0))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with FakeHub() as hub:
        hub.patch(monkeypatch, tmp_path / "home")
        yield hub


@pytest.fixture
def cfg(hub: FakeHub, published: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> VideoCfg:
    """Its record, registered as a tag."""
    hub.put("lab/zoo", {"tsm.pth": published.data})
    record = VideoCfg(
        url=f"{hub.url}/lab/zoo/resolve/main/tsm.pth",
        sha256_prefix=published.sha256[:8],
        architecture="tsm_r18",
        tag="here_set",
        num_classes=3,
        num_frames=4,
        frame_sampling="dense",
        frame_stride=6,
        test_num_clips=10,
        test_num_crops=3,
        label_names=NAMES,  # type: ignore[arg-type]
        license="MIT",
        classifier="fc",
    )
    monkeypatch.setitem(registry._CFGS["tsm_r18"], "here_set", record)
    return record


def same(folder: Path, published: SimpleNamespace) -> VideoNet:
    """The model of a folder, which gives what the published one gives."""
    model = videozoo.create_model(f"local-dir:{folder}", pretrained=True).eval()
    x = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(x), published.model(x))
    return model


def held(folder: Path) -> list[str]:
    """What lies in the cache, locks aside."""
    return sorted(path.name for path in folder.parent.glob("*") if path.suffix != ".lock")


def test_a_tag_is_downloaded_converted_and_cached(cfg: VideoCfg, hub: FakeHub, published: SimpleNamespace) -> None:
    folder = weights_folder(NAME, cfg)
    assert folder == cache_folder(NAME)
    assert held(folder) == [NAME]
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "origin.json"]
    own = same(folder, published).pretrained_cfg
    assert (own["label_names"], own["frame_sampling"], own["frame_stride"]) == (NAMES, "dense", 6)
    assert (own["num_frames"], own["test_num_clips"], own["test_num_crops"]) == (4, 10, 3)
    assert (own["architecture"], own["tag"], own["license"]) == ("tsm_r18", "here_set", "MIT")
    assert "url" not in own
    origin = json.loads((folder / "origin.json").read_text())
    assert (origin["url"], origin["sha256"]) == (cfg.url, published.sha256)
    hub.requests.clear()
    model = videozoo.create_model(NAME, pretrained=True)
    assert (model.pretrained_cfg["label_names"], model.num_frames) == (NAMES, 4)
    assert torch.equal(model.get_parameter("fc.weight"), published.model.get_parameter("fc.weight"))
    assert torch.equal(timm.create_model(NAME, pretrained=True).fc.weight, model.fc.weight)
    assert not hub.requests


def test_the_name_alone_is_enough(cfg: VideoCfg, hub: FakeHub, published: SimpleNamespace, tmp_path: Path) -> None:
    plain = videozoo.get_pretrained_cfg("tsm_r18")  # an architecture means its first tag
    folder = weights_folder("tsm_r18", plain, cache_dir=tmp_path / "elsewhere")
    assert folder == tmp_path / "elsewhere" / "videozoo" / NAME
    same(folder, published)
    model = videozoo.create_model("tsm_r18", pretrained=True, num_classes=5, cache_dir=tmp_path / "elsewhere")
    assert torch.equal(model.get_parameter("backbone.bn1.weight"), published.model.get_parameter("backbone.bn1.weight"))
    assert (model.num_classes, model.pretrained_cfg.get("label_names")) == (5, None)


def test_the_cache_is_enough_offline(
    cfg: VideoCfg, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, published: SimpleNamespace
) -> None:
    folder = weights_folder(NAME, cfg)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    same(weights_folder(NAME, cfg), published)
    (folder / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"tsm_r18\.here_set.*HF_HUB_OFFLINE is set"):
        weights_folder(NAME, cfg)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("tsm.pth", "status", 404, times=None), "HTTP status 404"),
        (Fault("tsm.pth", "status", 503, times=None), "HTTP status 503"),
        (Fault("tsm.pth", "reset", times=None), "could not be downloaded"),
        (Fault("tsm.pth", "cut", 1000, times=None), "could not be downloaded"),
        (Fault("tsm.pth", "corrupt", times=None), "SHA-256 is .*also after a second download"),
        (None, "HF_HUB_OFFLINE is set"),
    ],
)
def test_a_failed_download_explains_the_manual_way(
    cfg: VideoCfg, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, fault: Fault | None, words: str, tmp_path: Path
) -> None:
    if fault is None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    else:
        hub.faults.append(fault)
    by_hand = f"videozoo convert FILE --model {NAME}"
    with pytest.raises(WeightsError, match=words) as caught:
        weights_folder(NAME, cfg)
    message = str(caught.value)
    assert f"Download {cfg.url} on a machine that is online and run `{by_hand}`" in message
    assert message.startswith(NAME)
    assert held(cache_folder(NAME)) == []
    other = tmp_path / "other"
    with pytest.raises(WeightsError, match=re.escape(f"`{by_hand} --output {cache_folder(NAME, other)}`")):
        weights_folder(NAME, cfg, cache_dir=other)


def test_unreachable_server(cfg: VideoCfg, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeHub() as gone:
        url = gone.url
    cfg.url = f"{url}/lab/zoo/resolve/main/tsm.pth"
    with pytest.raises(WeightsError, match=r"could not be downloaded \(its server cannot.*convert FILE"):
        weights_folder(NAME, cfg)


@pytest.mark.parametrize(
    ("do", "value"),
    [
        ("status", 503),
        ("reset", None),
        ("cut", 40_000),
        ("reset_at", 40_000),
        ("stall", 40_000),
        ("short", 40_000),
        ("corrupt", None),
    ],
)
def test_a_passing_fault_passes(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, do: str, value: int | None
) -> None:
    if do == "stall":
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.5)
    data = bytes(range(256)) * 400
    hub.put("lab/zoo", {"file.pth": data})
    hub.faults.append(Fault("file.pth", do, value))
    path = tmp_path / "file.pth"
    download_file(f"{hub.url}/lab/zoo/resolve/main/file.pth", path, hashlib.sha256(data).hexdigest()[:8])
    assert path.read_bytes() == data
    assert hub.faults[0].times == 0


def test_a_refusal_is_not_retried(hub: FakeHub, tmp_path: Path) -> None:
    hub.put("lab/zoo", {"file.pth": b"x"})
    hub.faults.append(Fault("file.pth", "status", 403, times=None))
    with pytest.raises(WeightsError, match="HTTP status 403"):
        download_file(f"{hub.url}/lab/zoo/resolve/main/file.pth", tmp_path / "file.pth")
    assert len(hub.asked("file.pth")) == 1


def test_a_mismatched_file_leaves_no_files(cfg: VideoCfg, hub: FakeHub, published: SimpleNamespace) -> None:
    cfg.sha256_prefix = None
    odd = published.path.with_name("odd.pth")
    for content, words in (
        ({**authors_state(published.model), "base_model.layer1.0.odd.weight": torch.zeros(1)}, "layer1.0.odd.weight"),
        ({"weights.0": torch.zeros(1)}, "weights.0"),
        ({"new_fc.weight": Path("harm")}, "no tensors"),
    ):
        torch.save(content, odd)
        hub.put("lab/zoo", {"tsm.pth": odd.read_bytes()})
        with pytest.raises(WeightsError, match=rf"^{NAME}.*{re.escape(words)}"):
            weights_folder(NAME, cfg)
        assert held(cache_folder(NAME)) == []
    hub.put("lab/zoo", {"tsm.pth": published.data})
    cfg.num_classes = 5
    with pytest.raises(WeightsError, match="has 3 classes, not 5"):
        weights_folder(NAME, cfg)
    assert held(cache_folder(NAME)) == []


def test_a_damaged_cache_heals(
    cfg: VideoCfg, hub: FakeHub, published: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    folder = weights_folder(NAME, cfg)
    weights = folder / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-5] ^= 1
    weights.write_bytes(damaged)
    with caplog.at_level(logging.WARNING, "videozoo"):
        same(weights_folder(NAME, cfg), published)
    assert "damaged" in caplog.text
    (folder / "origin.json").unlink()  # as a folder of another origin would be
    same(weights_folder(NAME, cfg), published)


def test_a_record_that_names_another_file_is_followed(cfg: VideoCfg, hub: FakeHub, published: SimpleNamespace) -> None:
    weights_folder(NAME, cfg)
    other = published.path.with_name("other.pth")
    state = authors_state(published.model)
    state["new_fc.bias"] = state["new_fc.bias"] + 1
    torch.save(state, other)
    hub.put("lab/zoo", {"tsm.pth": other.read_bytes()})
    cfg.sha256_prefix = hashlib.sha256(other.read_bytes()).hexdigest()[:10]
    model = videozoo.create_model(f"local-dir:{weights_folder(NAME, cfg)}", pretrained=True)
    assert torch.equal(model.get_parameter("fc.bias"), state["new_fc.bias"])


def test_two_at_once_download_once(cfg: VideoCfg, hub: FakeHub) -> None:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(weights_folder(NAME, cfg))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [cache_folder(NAME)] * 2
    assert len(hub.asked("resolve/main/tsm.pth", "GET")) == 1


def test_by_hand_into_the_cache(
    cfg: VideoCfg,
    hub: FakeHub,
    published: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert main(["convert", str(published.path), "--model", NAME]) == 0
    assert f"--model {NAME}" in capsys.readouterr().out
    same(weights_folder(NAME, cfg), published)
    assert not hub.requests


def test_by_hand_the_file_must_be_the_one(
    cfg: VideoCfg, published: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, out = tmp_path / "other.pth", tmp_path / "out"
    torch.save(authors_state(published.model), other)
    for argv, words in (
        ([str(other), "--model", NAME], f"is not the file of {NAME}: its SHA-256 is"),
        ([str(other), "--model", NAME, "--output", str(out)], "--model tsm_r18"),
        ([str(tmp_path / "gone.pth"), "--model", NAME], "no such file"),
        ([str(published.path), "--model", "tsm_r18.here_sat"], "it has here_set"),
        ([str(published.path), "--model", NAME, "--num-frames", "8"], "--num-frames"),
        ([str(published.path), "--model", NAME, "--ema"], "--ema"),
        ([str(published.path), "--model", "tsm_r18"], "--output DIR is needed"),
        ([str(published.path), "--model", "test_arc_tsm.motions"], "has no public checkpoint"),
    ):
        assert main(["convert", *argv]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert len(error.splitlines()) == 1
    assert not out.exists()
    assert held(cache_folder(NAME)) == []
    assert main(["convert", str(published.path), "--model", NAME, "--output", str(out)]) == 0
    same(out, published)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("golden", "name"),
    [
        ("mm_tsn_r50", "tsn_r50.mm_k400_8f"),
        ("mm_tsm_r50", "tsm_r50.mm_k400_8f"),
        ("mm_tanet_r50", "tanet_r50.mm_k400_dense_8f"),
        ("mm_slowfast_r50_8x8", "slowfast_r50.mm_k400"),
        ("mm_r2plus1d_r34_8x8", "r2plus1d_r34.mm_k400_8x8"),
        ("tsm_official_r50", "tsm_r50.mit_ssv2_8f"),
    ],
)
def test_a_tag_gives_the_logits_of_the_original_code(
    golden: str, name: str, goldens: Path, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With made-up weights under the original key names: the real ones cannot be had in a test."""
    fill = golden_fill(goldens)
    facts = json.loads((goldens / f"{golden}.json").read_text())
    path = tmp_path / "checkpoint.pth"
    torch.save({"state_dict": fill.fill_keys(facts["keys"], facts["fill_gain"])}, path)
    arch, tag = name.split(".")
    record = videozoo.get_pretrained_cfg(name)
    record.sha256_prefix = None
    monkeypatch.setitem(registry._CFGS[arch], tag, record)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    place_weights(path, name)
    model = videozoo.create_model(name, pretrained=True).eval()
    assert model.pretrained_cfg["tag"] == tag
    with torch.no_grad():
        logits = model(fill.make_input(facts["frames"], facts["size"]))
    assert (logits - torch.tensor(facts["logits_all"])).abs().max() <= facts["suggested_atol"]


def test_an_unknown_hash_and_a_non_commercial_license_are_said(
    cfg: VideoCfg, published: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place_weights(published.path, NAME, tmp_path / "known")
    assert not caplog.messages
    cfg.sha256_prefix, cfg.license, cfg.origin_url = None, "CC-BY-NC-4.0", "https://example.com/zoo"
    place_weights(published.path, NAME, tmp_path / "unknown")
    hash_line, license_line = caplog.messages
    assert f"{NAME}: its owners list no hash" in hash_line
    assert "CC-BY-NC-4.0, excludes commercial use (https://example.com/zoo)" in license_line


@pytest.fixture
def foreign(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A repository of the Hub in transformers' form, and its record, registered as a tag."""
    model = videozoo.create_model("videomae_s", num_classes=3)
    with torch.no_grad():
        for parameter in model.parameters():  # one number per tensor; the hub's file stays in memory
            parameter.fill_(0.01)
    state = {}
    for key, value in model.state_dict().items():
        name = re.sub(r"^fc\.", "head.", key.removeprefix("backbone."))
        state[name] = value.clone()
    data = save(state)
    hub.put("lab/videomae", {"model.safetensors": data, "README.md": b"no config of ours"})
    record = VideoCfg(
        url=f"{hub.url}/lab/videomae/resolve/main/model.safetensors",
        hf_hub_id="lab/videomae",
        architecture="videomae_s",
        tag="here_set",
        num_classes=3,
        num_frames=16,
        license="CC-BY-NC-4.0",
        origin_url="https://example.org/lab",
        classifier="fc",
    )
    monkeypatch.setitem(registry._CFGS["videomae_s"], "here_set", record)
    return SimpleNamespace(name="videomae_s.here_set", cfg=record, data=data)


def test_a_repository_of_another_library_is_converted(
    foreign: SimpleNamespace, hub: FakeHub, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.WARNING):
        folder = weights_folder(foreign.name, foreign.cfg)
    (line,) = (record.message for record in caplog.records)  # the Hub lists the hash, so nothing is said of it
    assert "excludes commercial use" in line
    assert folder == cache_folder(foreign.name)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "origin.json"]
    hub.requests.clear()
    model = videozoo.create_model(foreign.name, pretrained=True, num_classes=5)
    assert not hub.requests
    assert bool((model.get_parameter("backbone.fc_norm.weight") == 0.01).all())
    shutil.rmtree(folder)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # the Hub's own cache has the file
    assert weights_folder(foreign.name, foreign.cfg) == folder


def test_a_repository_that_cannot_be_had_says_where_its_file_belongs(
    foreign: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign.cfg.hf_hub_id += "@refs/pr/1"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"offline .*not in the cache.*videozoo convert FILE --model") as caught:
        weights_folder(foreign.name, foreign.cfg)
    folder = re.findall(r"into the folder (\S+snapshots/refs/pr/1)", str(caught.value))[0]
    Path(folder).mkdir(parents=True)
    (Path(folder) / "model.safetensors").write_bytes(foreign.data)
    assert weights_folder(foreign.name, foreign.cfg).is_dir()


def test_a_repository_starts_a_backbone(foreign: SimpleNamespace) -> None:
    model = videozoo.create_model("videomae_s", num_classes=2, backbone_weights="hf-hub:lab/videomae")
    assert bool((model.get_parameter("backbone.blocks.11.attn.v_bias") == 0.01).all())
    assert not bool((model.get_parameter("fc.weight") == 0.01).any())
