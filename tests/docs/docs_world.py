"""Files that the documentation pages need: generated videos, lists, runs."""

import json
import shutil
from pathlib import Path
from types import ModuleType

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

    def labeled(self, path: Path) -> None:
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

    def kinetics_set(self, path: Path) -> None:
        """train.csv, val.csv and their videos, drawn."""
        path.mkdir()
        self._formats().kinetics(path, (6, 3))

    def something_v1(self, path: Path) -> None:
        """The data set's lists and folders of frames, drawn."""
        self._formats().something_v1(path.parent, (6, 3))

    def _formats(self) -> ModuleType:
        return load_file_as_module(REPO / "tests" / "cli" / "formats_tiny.py")

    def run(self, path: Path) -> None:
        """A run folder: one epoch of a tiny model."""
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
