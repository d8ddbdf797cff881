"""Settings of each documentation page: its files, its changes, its expected outputs."""

import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from helpers import REPO

import videozoo


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
        needs: what lies in the page's folder before: name on the page -> what it is (a method of ``docs_world.World``).
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
    done.has("runs/mine/best/model.safetensors", "measured/results.json", "features.npy")
    done.has("mine.onnx", "pictures/cam.png")
    assert done.names["logits"].shape == (2, 10)
    assert len(re.findall(r"^\w+_(?:go|back) \d+\.\d%$", done.said, re.M)) == 3, "the answer of the six lines"


def _models(done: Done) -> None:
    assert done.names["logits"].shape == (2, 10)
    assert done.names["names"][0] == "layer2.0.conv1"
    assert "## Model\n" in done.said, "the card"


def _predict(done: Done) -> None:
    done.has("scores.csv.json", "parts-windows.csv", "seen.mp4", "again.mp4")
    assert len((done.folder / "scores.csv").read_text().splitlines()) == 1 + 12
    assert len((done.folder / "scores.jsonl").read_text().splitlines()) == 12
    assert done.names["windows"].scores.shape[1] == 6


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
    assert done.names["logits"].shape == (1, 10)  # of the last block


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


def _architecture(done: Done) -> None:
    assert {"tsm", "arc"} <= set(done.names["model"].sites)


def _choose(done: Done) -> None:
    assert "tsm_r50.mm_k400_8f" in done.said


def _evaluate(done: Done) -> None:
    done.has("measured/arc/videos.csv", "measured/again/groups", "pictures/three.png")


def _finetune(done: Done) -> None:
    done.has("checked/report.csv", "runs/tsm/curves.png", "runs/tsm/confusion.png", "pictures/cam.png")
    assert len(done.names["model"].pretrained_cfg["label_names"]) == 6


def _python(done: Done) -> None:
    done.has("runs/mine/best", "runs/own/model.safetensors", "runs/fit/best")
    assert len(done.names["result"].labels) == len(done.names["val"].records)
    assert done.names["measured"].num_views == 2


def _quickstart(done: Done) -> None:
    done.has("pictures/cam.png")
    answers = [line.split() for line in done.said.splitlines() if line.startswith("motions/") and " " in line]
    assert {name: Path(path).parent.name for path, name, _ in answers} == {"rising": "rising", "falling": "falling"}
    assert done.names["logits"].shape == (2, 10)


def _reproduce(done: Done) -> None:
    done.has("runs/arc_ssv1/best", "runs/tsm_ssv1/best", "measured/arc/results.json", "runs/dnr_ssv1/best")


def _deploy(done: Done) -> None:
    done.has("mine.onnx", "mine.pt2", "runs/live/best")
    assert done.names["logits"].shape == (1, 6)


# Blocks marked "not run", by page.
NOT_RUN = {
    "README.md": 1,
    "docs/data.md": 1,
    "docs/demo.md": 3,
    "docs/export.md": 1,
    "docs/guides/choose.md": 1,
    "docs/guides/finetune.md": 1,
    "docs/guides/module.md": 1,
    "docs/guides/quickstart.md": 1,
    "docs/guides/reproduce.md": 2,
    "docs/guides/deploy.md": 1,
    "docs/models.md": 3,
    "docs/predict.md": 1,
    "docs/scale.md": 2,
    "docs/systems.md": 1,
    "docs/training.md": 2,
}

_RUNS = ("mine", "r50_8f", "r50_16f")

SETTINGS: dict[str, Setting] = {
    "README.md": Setting(
        _readme,
        needs={"videos": "videos", "more_videos": "other_videos", "clip.mp4": "clip", "list.txt": "paths"}
        | {"base": "base"},
        replace={"seresnet50": "seresnet18"},
        names=lambda: {"clips": torch.zeros(2, 3, 8, 32, 32)},
        packages=("onnx", "onnxruntime", "onnxscript"),
    ),
    "docs/architecture.md": Setting(_architecture),
    "docs/data.md": Setting(_data, needs={"kinetics.csv": "kinetics", "videos": "videos"}),
    "docs/evaluation.md": Setting(
        _evaluation,
        needs={"val.txt": "labeled", "groups.yaml": "groups", "a": "measured", "b": "measured"}
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
    "docs/guides/choose.md": Setting(_choose),
    "docs/guides/evaluate.md": Setting(
        _evaluate, needs={"val.txt": "labeled", "groups.yaml": "groups", "runs/arc": "run", "runs/tsm": "run"}
    ),
    "docs/guides/finetune.md": Setting(
        _finetune,
        needs={"videos": "videos", "more_videos": "other_videos", "clip.mp4": "clip", "base": "base"},
        # the tiny model in the place of tsm_r50 has no time shift, so that ARC on TSM cannot start from it
        replace={"--init-from runs/tsm/best": "--init-from base"},
    ),
    "docs/guides/python.md": Setting(
        _python,
        needs={"videos": "videos", "more_videos": "other_videos", "clip.mp4": "clip"},
        replace={
            "epochs=2, batch_size=8": 'epochs=1, img_size=32, num_frames=4, workers=0, device="cpu"',
            "num_workers=2": "num_workers=0",
            "resolve_data_config(model)": 'resolve_data_config(model) | {"input_size": (3, 32, 32)}',
            "epochs=2, lr=5e-4": "epochs=1, lr=5e-4",
        },
    ),
    "docs/guides/quickstart.md": Setting(_quickstart, replace={"8, 224, 224": "8, 48, 48"}),
    "docs/guides/reproduce.md": Setting(
        _reproduce,
        needs={"something-something-v1-train.csv": "something_v1", "k400": "kinetics_set"},
    ),
    "docs/guides/deploy.md": Setting(
        _deploy,
        needs={"runs/mine": "run", "videos": "videos", "clip.mp4": "clip"},
        replace={"3, 224, 224": "3, 32, 32"},
        packages=("onnx", "onnxruntime", "onnxscript"),
    ),
    "docs/models.md": Setting(
        _models,
        needs={"runs/mine": "run", "base": "base"},
        replace={'init_from="tsm_r50.mm_k400_8f"': 'init_from="local-dir:base"', "seresnet50": "seresnet18"},
        names=lambda: {"clips": torch.zeros(2, 3, 8, 32, 32)},
    ),
    "docs/predict.md": Setting(
        _predict,
        needs={"runs/mine": "run", "clip.mp4": "clip", "long.mp4": "clip", "list.txt": "paths"}
        | {"more_videos": "other_videos"},
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
        needs={
            "videos": "videos",
            "something-something-v1-train.csv": "something_v1",
            "runs/tsm": "run",
            "runs/arc": "run",
        },
    ),
}
