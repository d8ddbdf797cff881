"""``videozoo explain``: pictures of what a network sees in a video."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.cli.command import Command, flag
from videozoo.cli.console import CommandError, say, show_log
from videozoo.cli.flags import DEVICE, MAX_FRAMES, MODEL, refuse_onnx
from videozoo.cli.outputs import hold_output, refuse_file

if TYPE_CHECKING:
    from videozoo.explain import FilmRow, ReadClip

KINDS = ("cam", "states", "attention", "norms", "motion", "kernels")
STAGE = "res3"


COMMAND = Command(
    help="pictures of what a network sees in a video",
    description="Writes into --output: cam.png, cam.mp4 and cam.gif, where each frame speaks for a class "
    "(Grad-CAM); for ARC states.png and attention.png, the evolving input states of a layer and the backward "
    "attention of all; for DNR norms.png, scales and shifts over time and depth; for MSN motion.png; for TANet "
    "kernels.png. One clip, centre crop.",
    epilog="Examples: videozoo explain --model local-dir:run/best clip.mp4 --output pictures ; "
    "videozoo explain --model local-dir:arc/best --compare local-dir:tsm/best --class 3 clip.mp4 --output pictures",
    flags=(
        flag("file", metavar="FILE", help="video file or folder of frames"),
        MODEL,
        flag("--compare", metavar="NAME", help="another network, whose class maps are drawn beside these"),
        flag("--output", required=True, metavar="DIR", help="folder for the pictures"),
        flag(
            "--class",
            dest="class_name",
            metavar="CLASS",
            help="name or number of the class to explain; default: what each network predicts",
        ),
        flag("--stage", metavar="STAGE", help=f"features of the class maps, res2 to res5; default: {STAGE}"),
        flag(
            "--layer",
            metavar="NAME",
            help="ARC layer whose states are drawn, as info --json names it; default: the paper's",
        ),
        flag("--show", metavar="KIND,...", help=f"only these of {', '.join(KINDS)}; default: all that the network has"),
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
    of_maps = {"--compare": args.compare, "--stage": args.stage, "--class": args.class_name}
    for name in (name for name, value in of_maps.items() if value is not None and "cam" not in kinds):
        raise CommandError(f"explain: {name} is about class maps, which --show leaves out; add cam.")
    other = Explained(args.compare, args) if args.compare else None
    with hold_output(output, "pictures"):
        written = explained.write(kinds, output, other)
    say(f"{'file':<12}{args.file}")
    for one in (explained, *([other] if other else [])):
        say(f"{'network':<12}{one.title}: {one.answer}")
    say(f"{'written':<12}{', '.join(written)} in {output}")
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
    """A network, the clip of the file that it sees, and what it answers."""

    def __init__(self, name: str, args: argparse.Namespace) -> None:
        from videozoo.devices import find_device
        from videozoo.engine.evaluation_folder import model_title
        from videozoo.explain import read_clip
        from videozoo.explain.cam import find_class, find_stage
        from videozoo.explain.capture import check_network
        from videozoo.inference.predictor import load_network

        refuse_onnx(name, "has no layers to look into and no gradients; explain the model that it was exported from")
        self.args = args
        self.model: Any = load_network(name)
        check_network(self.model)
        find_stage(self.model, args.stage or STAGE)  # told before anything is decoded
        self.label = None if args.class_name is None else find_class(self.model, args.class_name)
        self.title = model_title(name)
        self.clip: ReadClip = read_clip(args.file, self.model)
        device = find_device(args.device)
        self.model.to(device)
        self.video = self.clip.video.to(device)
        self.answer = ""

    def check_kinds(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """What to show: what is wanted, or else all that there is; told before anything is computed or written."""
        from videozoo.explain.kinds import check_kinds, kinds_of

        kinds = wanted or kinds_of(self.model)
        check_kinds(self.model, kinds, self.args.layer)
        return kinds

    def film_row(self) -> "tuple[FilmRow, tuple[int, ...]]":
        """Its class maps, and the frames of the file that they belong to."""
        from videozoo.explain import FilmRow, grad_cam
        from videozoo.models.config import class_names

        found = grad_cam(self.model, self.video, stage=self.args.stage or STAGE, classes=self.label)
        label = int(found.classes[0])
        scores = found.logits[0].softmax(0)
        names = class_names(self.model.pretrained_cfg, len(scores))
        best = int(scores.argmax())
        self.answer = f"{names[best]} ({float(scores[best]):.1%})"
        if label != best:
            self.answer += f", explained: {names[label]} ({float(scores[label]):.1%})"
        frames = self.clip.frames[list(found.frames)]
        row = FilmRow(self.title, f"{names[label]}, {float(scores[label]):.1%}", frames, found.maps[0])
        return row, tuple(self.clip.indices[frame] for frame in found.frames)

    def write(self, kinds: tuple[str, ...], output: Path, other: "Explained | None") -> list[str]:
        """Draw what is wanted; gives the names of the files."""
        from videozoo.explain.kinds import Shown, draw_kind

        row, indices = self.film_row()
        written = []
        if "cam" in kinds:
            written += self._write_cam(output, row, indices, other)
        names = [f"frame {index}" for index in indices]
        title = f"{self.title}: {Path(self.args.file).name}"
        shown = Shown(self.model, self.video, row.frames, names, title, self.args.layer)
        for kind in (kind for kind in kinds if kind != "cam"):
            draw_kind(kind, output / f"{kind}.png", shown)
            written.append(f"{kind}.png")
        return written

    def _write_cam(
        self, output: Path, row: "FilmRow", indices: tuple[int, ...], other: "Explained | None"
    ) -> list[str]:
        from videozoo.explain import FilmRow, animate_cam, plot_cam

        rows = [row]
        if other is not None:
            theirs, places = other.film_row()
            nearest = [min(range(len(places)), key=lambda k: abs(places[k] - index)) for index in indices]
            rows.append(FilmRow(theirs.title, theirs.subtitle, theirs.frames[nearest], theirs.maps[nearest]))
        title = f"{Path(self.args.file).name}: Grad-CAM on {self.args.stage or STAGE}"
        plot_cam(output / "cam.png", rows, [f"frame {index}" for index in indices], title)
        animate_cam(output / "cam.mp4", rows)
        animate_cam(output / "cam.gif", rows)
        return ["cam.png", "cam.mp4", "cam.gif"]
