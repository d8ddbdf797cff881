"""What each page finds in its folder, what is made small on it alone, and what must have come out."""

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from helpers import REPO, load_file_as_module
from safetensors.torch import save_file

import videozoo
from videozoo import TSM, model_config
from videozoo.cli import main
from videozoo.data.motions import motion_classes, write_motions


class World:
    """What pages take for given; each method lays one thing at a path. What takes time is made once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.motions = write_motions(root / "motions", clips_per_class=3, val_clips_per_class=2, size=48, num_frames=8)

    def put(self, kind: str, path: Path) -> None:
        """Lay the thing of that name at ``path``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        getattr(self, kind)(path)

    def videos(self, path: Path) -> None:
        """18 generated videos of six motions, 48 pixels wide, in folders of their classes."""
        path.symlink_to(self.motions / "train")

    def other_videos(self, path: Path) -> None:
        """12 more."""
        path.symlink_to(self.motions / "val")

    def clip(self, path: Path) -> None:
        shutil.copyfile(self.motions / "val" / "moving_apart" / "scene_000.mp4", path)

    def paths(self, path: Path) -> None:
        """A list of the 12, without labels."""
        path.write_text("".join(f"{file}\n" for file in self._files()))

    def labelled(self, path: Path) -> None:
        """A list of the 12, with labels."""
        path.write_text("".join(f"{file} {file.parent.name}\n" for file in self._files()))

    def csv(self, path: Path) -> None:
        """The same as csv."""
        path.write_text("path,label\n" + "".join(f"{file},{file.parent.name}\n" for file in self._files()))

    def _files(self) -> list[Path]:
        return sorted((self.motions / "val").rglob("*.mp4"))

    def groups(self, path: Path) -> None:
        path.write_text("three:\n" + "".join(f"  - {name}\n" for name in motion_classes()[:3]))

    def kinetics(self, path: Path) -> None:
        """Two lines, and a video of the first alone."""
        path.write_text("label,youtube_id,time_start,time_end,split\nrun,here,10,20,train\njump,gone,10,20,train\n")
        self.put("clip", path.with_suffix("") / "here_000010_000020.mp4")

    def something_v1(self, path: Path) -> None:
        """The data set's lists and folders of frames, drawn."""
        formats = load_file_as_module(REPO / "tests" / "cli" / "formats_tiny.py")
        formats.something_v1(path.parent, (6, 3))

    def run(self, path: Path) -> None:
        """A run folder: one epoch of a tiny network."""
        folder = self.root / "run"
        if not folder.exists():
            flags = [
                "--epochs",
                "1",
                "--warmup-epochs",
                "0",
                "--img-size",
                "48",
                "--batch-size",
                "4",
                "--workers",
                "0",
                "--device",
                "cpu",
            ]
            argv = ["finetune", "--model", "test_arc_tsm", "--data", str(self.motions), "--output", str(folder), *flags]
            assert main(argv) == 0
        shutil.copytree(folder, path)

    def measured(self, path: Path) -> None:
        """What ``evaluate --output`` writes."""
        folder = self.root / "measured"
        if not folder.exists():
            self.put("run", self.root / "to_measure")
            argv = ["evaluate", "--model", f"local-dir:{self.root}/to_measure/best", "--output", str(folder)]
            assert main([*argv, "--data", str(self.motions / "val"), "--workers", "0", "--device", "cpu"]) == 0
        shutil.copytree(folder, path)

    def features(self, path: Path) -> None:
        """What ``extract`` makes of ``train`` or ``val``, with the weights that travel with the package."""
        folder = self.motions / path.stem
        flags = ["--workers", "0", "--device", "cpu"]
        assert (
            main(["extract", "--model", "test_dnr_tsn.motions", "--input", str(folder), "--output", str(path), *flags])
            == 0
        )

    def base(self, path: Path) -> None:
        """A model folder of TSM on a tiny backbone."""
        model = videozoo.compose("tiny_resnet", TSM(), num_classes=6)
        path.mkdir()
        (path / "config.json").write_text(json.dumps(model_config(model)))
        save_file(model.state_dict(), path / "model.safetensors")


@dataclass
class Done:
    """A page that was run: its folder, the names of its Python, and what was printed."""

    folder: Path
    names: dict[str, Any]
    said: str

    def has(self, *paths: str) -> None:
        assert [path for path in paths if not (self.folder / path).exists()] == []


@dataclass(frozen=True)
class Setting:
    """How a page is run.

    Args:
        needs: what lies in the page's folder before: name on the page -> what it is (a method of :class:`World`).
        replace: words of this page -> smaller ones; every one must stand there.
        names: names that its Python takes for given.
        check: asserts what must have come out.
        packages: extras without which it is skipped.
        around: a context in which it runs.
    """

    check: Callable[[Done], None]
    needs: dict[str, str] = field(default_factory=dict)
    replace: dict[str, str] = field(default_factory=dict)
    names: Callable[[], dict[str, Any]] = dict
    packages: tuple[str, ...] = ()
    around: Callable[[], AbstractContextManager[None]] = nullcontext


@contextmanager
def _local_ray() -> Iterator[None]:
    """Ray on two processors of this machine, without its dashboard; its workers find the package."""
    import ray

    before = os.environ.get("PYTHONPATH")
    os.environ |= {"PYTHONPATH": str(REPO), "RAY_USAGE_STATS_ENABLED": "0"}
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:  # sockets need a short path
        options = {"include_dashboard": False, "log_to_driver": False, "object_store_memory": 100 * 2**20}
        ray.init(num_cpus=2, _temp_dir=folder, **options)
        try:
            yield
        finally:
            ray.shutdown()
            del os.environ["PYTHONPATH"]
            if before is not None:
                os.environ["PYTHONPATH"] = before


def _readme(done: Done) -> None:
    done.has("checked/clean.csv", "runs/mine/best/model.safetensors", "measured/results.json", "features.npy")
    done.has("mine.onnx", "pictures/cam.png")
    assert done.names["logits"].shape == (2, 10)
    assert "## Network\n" in done.said, "the card"


def _scale(done: Done) -> None:
    import pyarrow.parquet as pq

    from videozoo import Predictor

    done.has("scores.parquet")
    rows = [row for file in (done.folder / "scores").glob("*.parquet") for row in pq.read_table(file).to_pylist()]
    paths = (done.folder / "paths.txt").read_text().split()
    assert Counter(row["path"] for row in rows) == Counter(paths)
    predictor = Predictor("test_arc_tsm.motions", device="cpu")
    best = {row["path"]: row["best"] for row in rows}
    for answer in predictor(paths):
        assert answer.scores is not None
        assert best[answer.path] == predictor.class_names[int(answer.scores.argmax())]


def _explain(done: Done) -> None:
    done.has("pictures/cam.png", "pictures/cam.mp4", "cam.png", "states.png")
    assert done.names["found"].maps.shape[:2] == done.names["trace"].states.shape[::2][:2] == (1, 8)
    assert "within group" in done.said


def _export(done: Done) -> None:
    lines = done.said.splitlines()
    (shape,) = [line for line in lines if line.startswith("torch.Size")]
    assert shape.startswith("torch.Size([3, 6])")
    assert lines[-1] in shape  # one of the class names


def _features(done: Done) -> None:
    assert len(done.names["y_val"]) == 12
    assert done.names["accuracy"] > 0.3, "six classes: chance is 0.17"


def _streaming(done: Done) -> None:
    assert done.names["logits"].shape == (2, 10)


def _training(done: Done) -> None:
    done.has("runs/mine/results.json", "runs/ssv1/best/model.safetensors")


def _evaluation(done: Done) -> None:
    done.has("result/scores.safetensors", "both/member_2/results.json", "again/groups")
    assert done.names["both"].result.confusion.sum() == 12


def _systems(done: Done) -> None:
    x = torch.zeros(1, 3, 8, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(done.names["fused"](x), done.names["model"](x))


def _data(done: Done) -> None:
    lines = (done.folder / "train.csv").read_text().splitlines()
    assert len(lines) == 2, "a header and the one video that is there"
    assert "here_000010_000020.mp4" in lines[1]


# Blocks marked "not run", by page.
NOT_RUN = {
    "README.md": 2,
    "docs/data.md": 1,
    "docs/demo.md": 3,
    "docs/export.md": 1,
    "docs/scale.md": 2,
    "docs/training.md": 1,
}

_RUNS = ("mine", "r50_8f", "r50_16f")

SETTINGS: dict[str, Setting] = {
    "README.md": Setting(
        _readme,
        needs={"videos": "videos", "more_videos": "other_videos", "clip.mp4": "clip", "list.txt": "paths"}
        | {"base": "base"},
        replace={'init_from="tsm_r50.mm_k400_8f"': 'init_from="local-dir:base"', "seresnet50": "seresnet18"},
        names=lambda: {"clips": torch.zeros(2, 3, 8, 32, 32)},
        packages=("onnx", "onnxruntime", "onnxscript", "pyarrow"),
    ),
    "docs/data.md": Setting(_data, needs={"kinetics.csv": "kinetics"}),
    "docs/evaluation.md": Setting(
        _evaluation,
        needs={"val.txt": "labelled", "groups.yaml": "groups", "a": "measured", "b": "measured"}
        | {f"runs/{name}": "run" for name in _RUNS},
    ),
    "docs/explain.md": Setting(
        _explain,
        needs={"clip.mp4": "clip", "groups.yaml": "groups", "runs/arc": "run", "runs/tsm": "run"}
        | {f"measured/{name}": "measured" for name in ("arc", "tsm")},
        replace={"Pouring something": "rising"},
    ),
    "docs/export.md": Setting(
        _export, needs={"runs/mine": "run", "clip.mp4": "clip"}, packages=("onnx", "onnxruntime", "onnxscript")
    ),
    "docs/features.md": Setting(
        _features,
        needs={"runs/mine": "run", "videos.csv": "csv", "train.npy": "features", "val.npy": "features"},
        packages=("pyarrow",),
    ),
    "docs/scale.md": Setting(
        _scale, needs={"paths.txt": "paths", "run": "run"}, packages=("ray.data", "pyarrow"), around=_local_ray
    ),
    "docs/streaming.md": Setting(
        _streaming,
        needs={"videos": "videos", "clip.mp4": "clip"},
        replace={"--source 0": "--source clip.mp4", "224, 224": "32, 32"},
    ),
    "docs/systems.md": Setting(
        _systems,
        names=lambda: {"videozoo": videozoo, "model": videozoo.create_model("test_arc_tsm", pretrained=True).eval()},
    ),
    "docs/training.md": Setting(
        _training,
        needs={"videos": "videos", "something-something-v1-train.csv": "something_v1"},
    ),
}
