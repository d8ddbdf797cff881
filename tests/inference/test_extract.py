"""Features: right at every layer, alike in all formats, resumable."""

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from helpers import clips as random_clips
from helpers import randomize
from safetensors.numpy import load_file
from small_backbones import SMALL

from videozoo import DNR, TSM, TSN, Ensemble, compose, create_model
from videozoo.cli import main
from videozoo.inference import Extractor, JobError, extract_list, open_listing
from videozoo.inference.extract import FeatureNet
from videozoo.jobs import output_parts, outputs
from videozoo.surgery import stage_modules
from videozoo.temporal import TDN, TANet

MODEL = "test_dnr_tsn.motions"


@pytest.fixture
def extractor() -> Extractor:
    return Extractor(MODEL, device="cpu", batch_size=2)


@pytest.fixture
def listed(clips: list[Path], tmp_path: Path) -> Path:
    """Five readable videos with labels, and a broken one in between."""
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    paths = [*clips[:2], tmp_path / "broken.mp4", *clips[2:5]]
    rows = [f"{path},{label}" for label, path in enumerate(paths)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]))
    return tmp_path / "list.csv"


def test_what_the_classifier_takes() -> None:
    model = randomize(compose("tiny_resnet", TSM(), num_classes=4, num_frames=3)).eval()
    x = random_clips(2, 3, size=32)
    with torch.no_grad():
        frames = FeatureNet(model, level="frame")(x)
        assert frames.shape == (2, 3, model.head_hidden_size)
        torch.testing.assert_close(FeatureNet(model)(x), frames.mean(1))
        torch.testing.assert_close(model.fc(FeatureNet(model)(x)), model(x))


@pytest.mark.parametrize(
    ("parts", "frames"), [((TSM(), ()), 3), ((TSN(), (DNR(ct_group_frames=2),)), 3), ((TSN(), ()), 1)]
)
def test_a_stage_is_pooled_over_space(parts: Any, frames: int) -> None:
    model = randomize(compose("tiny_resnet", *parts, num_classes=4, num_frames=frames)).eval()
    x = random_clips(2, frames, size=32)
    row = next(i for i, row in enumerate(model.feature_info) if row["module"].endswith("layer2"))
    with torch.no_grad():
        (maps,) = model.forward_intermediates(x, [row], intermediates_only=True)
        expected = maps.mean((3, 4)).transpose(1, 2)
        for layer in ("stage2", "layer2", "backbone.layer2"):
            torch.testing.assert_close(FeatureNet(model, layer, "frame")(x), expected)
        torch.testing.assert_close(FeatureNet(model, "stage2")(x), expected.mean(1))
    assert not any(module._forward_hooks for module in model.modules())


def test_models_of_other_kinds() -> None:
    r3d = create_model("slowonly_r50", num_classes=2, num_frames=4).eval()
    tdn = compose("resnet18", TDN(), num_classes=2, num_frames=10).eval()
    pair = Ensemble([compose("tiny_resnet", num_classes=2, num_frames=n) for n in (2, 4)]).eval()
    with torch.no_grad():
        x = random_clips(1, 4, size=32)
        assert FeatureNet(r3d)(x).shape == (1, 2048)
        assert FeatureNet(r3d, "stage1", "frame")(x).shape == (1, 4, 256)
        assert FeatureNet(tdn, "stage3", "frame")(random_clips(1, 10, size=32)).shape == (1, 2, 256)
        assert FeatureNet(pair)(x).shape == (1, 96)


TRANSFORMERS = ("videomae_vit_small", "vivit_base_16x2", "timesformer_base", "mvit_v2_small", "hiera_base_16x224")


@pytest.mark.parametrize("name", [*TRANSFORMERS, "swin3d_tiny", "uniformer_small"])
def test_stages_and_blocks_of_transformers(name: str) -> None:
    model = randomize(compose(SMALL[name], num_classes=4, num_frames=6)).eval()
    x = random_clips(2, 6, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.fc(FeatureNet(model)(x)), model(x))
        maps = model.forward_intermediates(x, intermediates_only=True)
        names = [row["module"] for row in model.feature_info]
        for k, stage in enumerate(stage_modules(model.backbone) or (), 1):
            expected = maps[names.index(f"backbone.{stage[-1]}")].mean((3, 4)).transpose(1, 2)
            torch.testing.assert_close(FeatureNet(model, f"stage{k}", "frame")(x), expected)
            if name in TRANSFORMERS:
                assert FeatureNet(model, stage[0], "frame")(x).shape[:2] == expected.shape[:2]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("layre2", "no layer 'layre2'; near: .*layer2"),
        ("stage9", "no layer 'stage9'; near: stage"),
        ("", "no layer ''"),
        ("layer1.0.conv2.pre.local", r"gives \(1, 16, 2\); choose one that gives a map"),
    ],
)
def test_layers_that_do_not_do(layer: str, message: str) -> None:
    model = compose("tiny_resnet", TANet(), num_classes=2, num_frames=2).eval()
    with pytest.raises(ValueError, match=message):
        FeatureNet(model, layer)(random_clips(1, 2, size=32))


def test_a_module_that_runs_often_or_never() -> None:
    model = compose("tiny_resnet", num_classes=2, num_frames=2).eval()
    model.backbone.spare = torch.nn.ReLU()
    with pytest.raises(ValueError, match="spare runs 0 times"):
        FeatureNet(model, "spare")(random_clips(1, 2, size=32))
    with pytest.raises(ValueError, match="level is 'video'"):
        FeatureNet(model, level="video")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has no layers"):
        FeatureNet(torch.nn.Linear(1, 1))


@pytest.mark.parametrize("level", ["clip", "frame"])
def test_formats_hold_the_same(listed: Path, tmp_path: Path, level: Any) -> None:
    extractor = Extractor(MODEL, device="cpu", batch_size=2, level=level)
    listing = open_listing(listed)
    for name in ("f.parquet", "f.npy", "g.safetensors"):
        result = extract_list(extractor, listing, tmp_path / name)
        assert (result.num_videos, result.num_errors) == (6, 1)
    array = np.load(tmp_path / "f.npy")
    shape = extractor.feature_shape
    assert array.shape == (6, *shape)
    assert len(shape) == (1 if level == "clip" else 2)
    assert np.isnan(array[2]).all()
    assert np.isfinite(np.delete(array, 2, 0)).all()
    np.testing.assert_array_equal(load_file(tmp_path / "g.safetensors")["features"], array)
    rows = pq.read_table(tmp_path / "f.parquet").to_pydict()
    with open(tmp_path / "f.npy.csv", newline="") as file:
        videos = list(csv.DictReader(file))
    for key in ("index", "path", "label", "error"):
        assert [row[key] for row in videos] == ["" if value is None else str(value) for value in rows[key]]
    assert rows["label"] == list(range(6))
    assert rows["path"][2].endswith("broken.mp4")
    assert [error is None for error in rows["error"]] == [k != 2 for k in range(6)]
    assert rows["features"][2] is None
    np.testing.assert_array_equal(np.array(rows["features"][0], np.float32), array[0].ravel())
    answer = extractor([rows["path"][4]])[0]
    np.testing.assert_allclose(answer.scores, array[4], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["f.parquet", "f.npy"])
def test_a_stopped_job_goes_on(listed: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_parts, "PART_ROWS", 2)
    extractor, listing = Extractor(MODEL, device="cpu", batch_size=2), open_listing(listed)
    extract_list(extractor, listing, tmp_path / f"whole_{name}")

    def stop(done: int, _: int) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_list(extractor, listing, tmp_path / name, on_progress=stop)
    assert not (tmp_path / name).exists()
    with pytest.raises(JobError, match=r"belongs to another run \(layer"):
        extract_list(Extractor(MODEL, device="cpu", layer="stage1"), listing, tmp_path / name)
    result = extract_list(extractor, listing, tmp_path / name)
    assert result.num_done_before == 4
    assert (tmp_path / name).read_bytes() == (tmp_path / f"whole_{name}").read_bytes()
    assert not (tmp_path / f"{name}.parts").exists()
    before = (tmp_path / name).stat().st_mtime_ns
    assert extract_list(extractor, listing, tmp_path / name).num_errors == 1
    (tmp_path / "broken.mp4").write_bytes(b"no video either")
    with pytest.raises(JobError, match="is finished, but files changed since"):
        extract_list(extractor, listing, tmp_path / name)
    assert (tmp_path / name).stat().st_mtime_ns == before


def test_each_output_is_written_and_found_by_its_own_name(
    listed: Path, tmp_path: Path, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # neither format needs it
    listing = open_listing(listed)
    for name in ("f.npy", "f.safetensors"):
        assert extract_list(extractor, listing, tmp_path / name).num_done_before == 0
        assert (tmp_path / name).is_file()
    np.testing.assert_array_equal(load_file(tmp_path / "f.safetensors")["features"], np.load(tmp_path / "f.npy"))
    frames = Extractor(MODEL, device="cpu", batch_size=2, level="frame")
    with pytest.raises(JobError, match=r"f.safetensors: belongs to another run"):
        extract_list(frames, listing, tmp_path / "f.safetensors")
    (tmp_path / "f.npy").unlink()
    assert extract_list(extractor, listing, tmp_path / "f.npy").num_done_before == 0
    assert extract_list(extractor, listing, tmp_path / "f.npy").num_done_before == 6
    whole = (tmp_path / "f.npy").read_bytes()
    (tmp_path / "f.npy").write_bytes(whole[:-4])
    assert extract_list(extractor, listing, tmp_path / "f.npy").num_done_before == 0
    assert (tmp_path / "f.npy").read_bytes() == whole
    (tmp_path / "f.npy.csv").unlink()
    assert extract_list(extractor, listing, tmp_path / "f.npy").num_done_before == 0
    assert (tmp_path / "f.npy.csv").exists()
    np.save(tmp_path / "other.npy", np.zeros(3))
    with pytest.raises(JobError, match="exists and holds no scores or features"):
        extract_list(extractor, listing, tmp_path / "other.npy")


def test_a_job_killed_before_its_last_file_goes_on(
    listed: Path, tmp_path: Path, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing, real = open_listing(listed), outputs.write_whole

    def write(path: Path, *args: Any, **options: Any) -> None:
        if path.suffix == ".json":
            raise KeyboardInterrupt
        real(path, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "write_whole", write)
        with pytest.raises(KeyboardInterrupt):
            extract_list(extractor, listing, tmp_path / "f.npy")
    assert extract_list(extractor, listing, tmp_path / "f.npy").num_done_before == 6
    assert np.load(tmp_path / "f.npy").shape[0] == 6
    assert not (tmp_path / "f.npy.parts").exists()


def test_shards_are_the_whole(listed: Path, tmp_path: Path, extractor: Extractor) -> None:
    listing = open_listing(listed)
    extract_list(extractor, listing, tmp_path / "f.npy")
    for shard in range(2):
        extract_list(extractor, listing, tmp_path / "s.npy", num_shards=2, shard=shard)
    whole, parts = np.load(tmp_path / "f.npy"), [np.load(tmp_path / f"s-0000{k}-of-00002.npy") for k in range(2)]
    for k in range(2):
        np.testing.assert_allclose(parts[k], whole[k::2], rtol=1e-4, atol=1e-5)


def test_the_command(listed: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flags = ["extract", "--model", MODEL, "--input", str(listed), "-j", "0", "--device", "cpu"]
    output = ["--output", str(tmp_path / "f.npy")]
    assert main([*flags, *output, "--layer", "stage3", "--level", "frame"]) == 1  # one video is broken
    assert "6 videos, 1 could not be read" in capfd.readouterr().out
    assert np.load(tmp_path / "f.npy").shape == (6, 8, 32)
    for wrong, message in (
        (["--output", "f.txt"], "must end in .parquet or .npy or .safetensors"),
        ([*output, "--layer", "stage5"], "no layer 'stage5'"),
        ([*output, "--level", "frame", "--views", "2x1"], "features of frames are of one clip"),
        ([*output, "--views", "x"], "--views is 'x'"),
        ([*output, "-b", "0"], "--batch-size is 0"),
        ([*output, "--shard", "1"], "give --num-shards and --shard both"),
        ([*output, "--layer", "stage1"], "belongs to another run"),
    ):
        assert main([*flags, *wrong]) == 2
        err = capfd.readouterr().err.splitlines()
        assert message in err[-1], err
