"""``videozoo explain``: draws Grad-CAM heat maps and internals of a model for a video."""

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.choices import is_onnx
from videozoo.cli.command import Command, flag
from videozoo.cli.console import CommandError, print_result, print_status, show_log
from videozoo.cli.flags import DEVICE, MAX_FRAMES, MODEL
from videozoo.jobs.output_folders import hold_output, refuse_file

if TYPE_CHECKING:
    from videozoo.explain import FilmRow, ReadClip

KINDS = ("cam", "states", "attention", "norms", "motion", "kernels", "occlusion", "rollout")
MAPS = ("cam", "occlusion", "rollout")
OF_CLASSES = ("cam", "occlusion")  # a roll-out is the same for every class
STAGE = "res3"


COMMAND = Command(
    help="draw Grad-CAM heat maps and what ARC, DNR and other modules compute",
    description="Write figures of one clip (center crop) to --output. cam.png, .mp4 and .gif: Grad-CAM heat maps of a "
    "class. ARC: states.png (input states of a layer) and attention.png (backward attention of all layers). DNR: "
    "norms.png (scales and shifts over time and depth). MSN: motion.png. TANet: kernels.png. ONNX files, or --show "
    "occlusion: occlusion.png, .mp4 and .gif (where a gray patch lowers the probability of the class). --show rollout: "
    "rollout.png, .mp4 and .gif (which patches reach the answer of a transformer through its attention).",
    epilog="Examples: videozoo explain --model run/best clip.mp4 --output pictures ; "
    "videozoo explain --model arc/best --compare tsm/best --class 3 clip.mp4 --output pictures",
    flags=(
        flag("file", metavar="FILE", help="video file or folder of frames"),
        MODEL,
        flag("--compare", metavar="NAME", help="second model, whose heat maps are drawn beside"),
        flag("--output", required=True, metavar="DIR", help="folder for the figures"),
        flag(
            "--class",
            dest="class_name",
            metavar="CLASS",
            help="name or number of the class to explain; default: what each model predicts",
        ),
        flag(
            "--stage",
            metavar="STAGE",
            help=f"stage of the Grad-CAM features: 1 to 4, or res2 to res5; default: {STAGE}",
        ),
        flag(
            "--layer",
            metavar="NAME",
            help="ARC layer whose states are drawn, named as in info --json; default: that of the paper",
        ),
        flag(
            "--show",
            metavar="KIND,...",
            help=f"figures to draw: {', '.join(KINDS)}; default: all that the model "
            "has, except occlusion, which needs up to 201 forward passes, and rollout",
        ),
        DEVICE,
        MAX_FRAMES,
    ),
)


def run(args: argparse.Namespace) -> int:
    """Explain one file."""
    kinds = _wanted_kinds(args.show)
    output = Path(args.output)
    refuse_file(output)
    show_log()
    explained = Explained(args.model, args)
    kinds = explained.check_kinds(kinds)
    of_maps = {"--compare": (args.compare, MAPS), "--class": (args.class_name, OF_CLASSES)}
    for name in (name for name, (value, maps) in of_maps.items() if value is not None and not set(maps) & set(kinds)):
        raise CommandError(f"explain: {name} is about class maps, which --show leaves out; add cam or occlusion.")
    if args.stage is not None and "cam" not in kinds:
        raise CommandError("explain: --stage is about Grad-CAM, which is not drawn here; add cam to --show.")
    other = Explained(args.compare, args) if args.compare else None
    if other is not None:
        other.check_kinds(tuple(kind for kind in kinds if kind in MAPS), as_model=False)
    with hold_output(output, "pictures"):
        written = explained.write(kinds, output, other)
    print_result(f"{'file':<12}{args.file}")
    for one in (explained, *([other] if other else [])):
        print_result(f"{'network':<12}{one.title}: {one.answer}")
    print_result(f"{'written':<12}{', '.join(written)} in {output}")
    return 0


def _wanted_kinds(show: str | None) -> tuple[str, ...]:
    if show is None:
        return ()
    kinds = tuple(dict.fromkeys(part.strip() for part in show.split(",")))
    for kind in kinds:
        if kind not in KINDS:
            raise CommandError(f"explain: --show has {kind!r}; choose from {', '.join(KINDS)}.")
    return kinds


class Explained:
    """Model, clip of the file, and prediction."""

    def __init__(self, name: str, args: argparse.Namespace) -> None:
        from videozoo.devices import find_device
        from videozoo.engine.evaluation_folder import model_title
        from videozoo.explain import read_clip
        from videozoo.explain.cam import find_class, find_stage
        from videozoo.explain.capture import check_model
        from videozoo.inference.network import load_network

        self.args, self.name, self.is_onnx = args, name, is_onnx(name)
        self.model: Any = load_network(name)
        if not self.is_onnx:
            check_model(self.model)
            find_stage(self.model, args.stage or STAGE)  # raises before anything is decoded
        self.label = None if args.class_name is None else find_class(self.model, args.class_name)
        self.title = model_title(name)
        self.clip: ReadClip = read_clip(args.file, self.model)
        device = find_device(args.device)
        self.model.to(device)
        self.video = self.clip.video.to(device)
        self.answer = ""

    def check_kinds(self, wanted: tuple[str, ...], *, as_model: bool = True) -> tuple[str, ...]:
        """Return the figures to draw: those requested, or all.

        Raises before anything is computed or written.
        """
        from videozoo.explain.layer_figures import check_kinds, kinds_of

        if self.is_onnx:
            self._check_onnx(wanted, "--model" if as_model else "--compare")
            return ("occlusion",)
        kinds = wanted or kinds_of(self.model)
        check_kinds(self.model, kinds, self.args.layer if as_model else None)
        return kinds

    def _check_onnx(self, wanted: tuple[str, ...], flag: str) -> None:
        given = {"--show " + kind: kind != "occlusion" for kind in wanted}
        given |= {f"--{name}": getattr(self.args, name) is not None for name in ("stage", "layer")}
        for refused in (name for name, is_given in given.items() if is_given):
            raise CommandError(
                f"explain: {refused} has no part in {flag} {self.name}: an ONNX file has no layers to look into and no "
                "gradients; take --show occlusion, or the model that it was exported from."
            )

    def film_row(self, kind: str) -> "tuple[FilmRow, tuple[int, ...]]":
        """Return the class maps and the frames of the file that they belong to."""
        from videozoo.engine.figures import short
        from videozoo.engine.fonts import number_names
        from videozoo.explain import FilmRow, attention_rollout, grad_cam, occlusion_maps
        from videozoo.models.config import class_names
        from videozoo.probabilities import is_multi_label, probabilities

        if kind == "occlusion":
            found = occlusion_maps(self.model, self.video, classes=self.label)
        elif kind == "rollout":
            found = attention_rollout(self.model, self.video)
        else:
            found = grad_cam(self.model, self.video, stage=self.args.stage or STAGE, classes=self.label)
        label = int(found.classes[0])
        scores = probabilities(found.logits[0], is_multi_label(self.model))
        names = class_names(self.model.pretrained_cfg, len(scores))
        best = int(scores.argmax())
        self.answer = f"{names[best]} ({float(scores[best]):.1%})"
        if label != best:
            self.answer += f", explained: {names[label]} ({float(scores[label]):.1%})"
        frames = self.clip.frames[list(found.frames)]
        shown = short(number_names(names)[0][label], 54)  # the figure behind it must not be cut off
        about = f"{shown}, {float(scores[label]):.1%}"
        if kind == "occlusion":
            about += f"\ndrop up to {100 * float(found.peaks[0]):.2g} points"
        elif kind == "rollout":
            about += f"\nup to {float(found.peaks[0]):.2g} times the average"
        return FilmRow(self.title, about, frames, found.maps[0]), tuple(self.clip.indices[k] for k in found.frames)

    def write(self, kinds: tuple[str, ...], output: Path, other: "Explained | None") -> list[str]:
        """Draw the requested figures.

        Returns the names of the files.
        """
        from videozoo.explain.layer_figures import Shown, draw_kind

        written, names = [], FrameNames(Path(self.args.file), self.clip.num_frames)
        for kind in (kind for kind in MAPS if kind in kinds):
            written += self._write_maps(kind, output, names, other)
        layers = [kind for kind in kinds if kind not in MAPS]
        if layers:
            row, indices = self.film_row("cam")
            title = f"{self.title}: {Path(self.args.file).name}"
            shown = Shown(self.model, self.video, row.frames, names.of(indices), title, self.args.layer)
        for kind in layers:
            draw_kind(kind, output / f"{kind}.png", shown)
            written.append(f"{kind}.png")
        return written

    def _write_maps(self, kind: str, output: Path, names: "FrameNames", other: "Explained | None") -> list[str]:
        from videozoo.explain import FilmRow, animate_cam, plot_cam

        if kind == "occlusion":
            from videozoo.explain.occlusion import count_forwards

            clips = sum(count_forwards(one.video.shape[2]) for one in (self, other) if one is not None)
            print_status(f"occlusion: {clips} clips go through the model{'s' * (other is not None)}")
        row, indices = self.film_row(kind)
        rows = [row]
        if other is not None:
            other_row, places = other.film_row(kind)
            nearest = [min(range(len(places)), key=lambda k: abs(places[k] - index)) for index in indices]
            rows.append(
                FilmRow(other_row.title, other_row.subtitle, other_row.frames[nearest], other_row.maps[nearest])
            )
        plot_cam(
            output / f"{kind}.png", rows, names.of(indices), f"{self._about_file()}\n{self._about_maps(kind, row)}"
        )
        endings = (".mp4", ".gif")
        for ending in endings:
            animate_cam(output / f"{kind}{ending}", rows)
        return [f"{kind}{ending}" for ending in (".png", *endings)]

    def _about_file(self) -> str:
        """Return the file's name, and its class if a folder above it has the name of a class."""
        from videozoo.engine.fonts import number_names
        from videozoo.names import clean_name

        path = Path(self.args.file)
        names = list(self.model.pretrained_cfg.get("label_names") or ())
        shown = dict(zip(map(clean_name, names), number_names(names)[0], strict=True))
        true = shown.get(clean_name(path.resolve().parent.name))
        return path.name if true is None else f"{path.name} (true class: {true}, by its folder)"

    def _about_maps(self, kind: str, row: "FilmRow") -> str:
        """Describe the maps."""
        from videozoo.explain.cam import find_stage
        from videozoo.surgery import stage_modules

        height, width = row.maps.shape[-2:]
        if kind == "occlusion":
            return f"occlusion: where a gray patch lowers the probability of the class ({height}x{width} patches)"
        if kind == "rollout":
            return f"attention roll-out: which patches reach the answer, of any class ({height}x{width} patches)"
        stage = find_stage(self.model, self.args.stage or STAGE)
        count = len(stage_modules(self.model.backbone) or ())
        return f"Grad-CAM: evidence for the class in the features of stage {stage} of {count} ({height}x{width})"


class FrameNames:
    """Labels of a file's frames in figures: the time in seconds and the number."""

    def __init__(self, path: Path, num_frames: int) -> None:
        from videozoo.video.errors import VideoError
        from videozoo.video.frame_times import frame_times

        self.times: list[float] = []
        if not path.is_dir():  # a folder of frames has no clock
            with contextlib.suppress(VideoError):
                self.times = frame_times(path, num_frames)

    def of(self, indices: Sequence[int]) -> list[str]:
        """Return labels of frames: ``1.24 s`` over ``frame 31``, or the number alone if the time is not known."""
        if max(indices) >= len(self.times):
            return [f"frame {index}" for index in indices]
        return [f"{self.times[index]:.2f} s\nframe {index}" for index in indices]
