"""Compare converted models with the outputs of the original authors' code and write benchmarks/goldens.md.

``python scripts/goldens.py FOLDER [NAME...]``: FOLDER contains one JSON per model (key names and shapes, a fixed input,
logits) and ``fill.py``, which computes the weights from the key names. NAMEs are recordings; without any, the script
compares those that are on the page.
"""

import argparse
import importlib.util
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from videozoo.hub.convert.checkpoint import convert_checkpoint, unwrap
from videozoo.models import ModelSpec, VideoNet, build, model_from_state
from videozoo.models.convert import choose_alternative
from videozoo.report import count_cost

PAGE = Path(__file__).resolve().parents[1] / "benchmarks" / "goldens.md"
# Recordings whose keys fit another model too, with the name that `videozoo convert --model` needs.
MODEL_OF = {
    "mm_c2d_r50_8x8": "c2d_r50",
    "mm_i3d_nl_embedded_gaussian_r50_32x2": "nl_i3d_r50_embedded_gaussian_mm",
}
# Sides of the frames that a recording was counted on, where it does not say so.
SIZE_OF = {"movinet_a0_stream": 172}


@dataclass(frozen=True)
class Comparison:
    """Our model with the converted weights, compared with the recorded logits of the original.

    Args:
        model: our model in evaluation mode.
        source: code base that the converter detected.
        difference: largest difference of a logit.
        params: number of parameters of our model.
        unused: number of parameters that the original never uses.
    """

    model: VideoNet
    source: str
    difference: float
    params: int
    unused: int

    @property
    def count(self) -> str:
        """Return the parameters as a cell of a table."""
        return f"{self.params:,}" + (f" + {self.unused:,} never used" if self.unused else "")


def compare(facts: dict[str, Any], fill: Any) -> Comparison:
    """Run the weights and the input of one recording through our model."""
    state = unwrap(fill.fill_keys(facts["keys"], facts["fill_gain"]))
    converted, source = convert_checkpoint(state)
    converted = choose_alternative(converted, MODEL_OF.get(facts["name"]))
    # The number of frames cannot always be read from the keys.
    spec = ModelSpec.from_dict(converted.spec).replace(num_frames=facts["frames"])
    model = model_from_state(spec, dict(converted.state), source=facts["name"]).eval()
    with torch.no_grad():
        logits = model(fill.make_input(facts["frames"], facts["size"]))
    return Comparison(
        model=model,
        source=source,
        difference=(logits - torch.tensor(facts["logits_all"])).abs().max().item(),
        params=sum(p.numel() for p in model.parameters()),
        unused=sum(state[key].numel() for key in converted.dropped if not re.search("running|num_batches", key)),
    )


def parse_arguments(about: str, page: Path) -> tuple[Path, list[str]]:
    """Return the folder and the names of the recordings, by default those on the page."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    args = parser.parse_args()
    return args.folder, args.names or names_on(page)


def names_on(page: Path) -> list[str]:
    """Return the names of the recordings on a page."""
    return re.findall(r"^\| (\w+) \| \S+/", page.read_text(), re.MULTILINE)


def read_recordings(folder: Path, names: Sequence[str]) -> Iterator[tuple[dict[str, Any], Comparison]]:
    """Compare recordings of a folder, in the order of their names."""
    module = importlib.util.spec_from_file_location("fill", folder / "fill.py")
    if module is None or module.loader is None:
        raise SystemExit(f"{folder} has no fill.py")
    fill = importlib.util.module_from_spec(module)
    module.loader.exec_module(fill)
    for name in sorted(names):
        facts = json.loads((folder / f"{name}.json").read_text())
        found = compare(facts, fill)
        print(facts["name"], f"{found.difference:.1e} of {facts['suggested_atol']:.1e}", flush=True)
        yield facts, found


def _gmacs(model: VideoNet, facts: dict[str, Any]) -> float:
    """Return the cost of the clip that the original was counted on, which is larger than the recorded input."""
    side = SIZE_OF.get(facts["name"], facts.get("flops_size", 224))
    changes = {"num_frames": facts["flops_frames"]} | ({"img_size": side} if model.spec.img_size else {})
    with torch.device("meta"):
        return count_cost(build(model.spec.replace(**changes)), (3, side, side)).gmacs


def _row(facts: dict[str, Any], found: Comparison) -> str:
    spec = found.model.spec
    parts = " + ".join(type(part).__name__ for part in (spec.temporal, *spec.augmenters))
    gmacs, original = _gmacs(found.model, facts), facts["flops_fvcore_G"]
    verdict = "equal" if found.difference <= facts["suggested_atol"] else "**differs**"
    code = f"{facts['repo'].removeprefix('https://github.com/').partition(' ')[0]} @{facts['commit'][:7]}"
    size = f"{facts['frames']} x {facts['size']}"
    return (
        f"| {facts['name']} | {code} | `{found.source}` | {spec.backbone}, {parts} | {size} "
        f"| {found.count} | {found.difference:.1e} | {facts['suggested_atol']:.1e} | {original:.3f} "
        f"| {gmacs:.3f} ({gmacs / original - 1:+.2%}) | {verdict} |"
    )


def page_text(folder: Path, names: Sequence[str]) -> str:
    """Return the page with a row for each of these recordings."""
    rows = [_row(facts, found) for facts, found in read_recordings(folder, names)]
    text = [
        "# Converted models next to the original code",
        "",
        "Every model that videozoo converts gives the logits of the original authors' code.",
        "",
        "Each row runs a model of its authors' repository (or of MMAction2) on two fixed clips, with weights "
        "that depend",
        "on the key names only. The same weights, converted as by `videozoo convert`, run in our model on "
        "the same clips.",
        "The tolerance is about 30 times the rounding noise of the original. It is far below the effect of a "
        "structural",
        "mistake, such as a shift in the wrong direction or another eps. `python scripts/goldens.py FOLDER` "
        "writes this page.",
        "",
        "GMACs are those of one clip of 224 x 224 (MoViNet's stream: 172 x 172), counted by fvcore. Ours include",
        "the temporal convolutions. The counts of convolutions and norms are equal. These differences remain:",
        "",
        "* Most original classifiers see every frame. Ours sees the mean of the frames.",
        "* The scale and shift of DNR count as a norm here and are not counted in the original.",
        "* The original TANet pools with a layer that is counted.",
        "* The original MotionSqueeze correlates all pairs of positions. Ours correlates the rows in reach.",
        "",
        "`tests/report/test_report_goldens.py` checks this operator by operator.",
        "",
        "| model | original code | source | ours | frames x size | parameters | largest difference | tolerance "
        "| GMACs original | GMACs ours | |",
        "|---|---|---|---|---|---|---|---|--:|--:|---|",
        *rows,
        "",
    ]
    return "\n".join(text)


def main() -> None:
    PAGE.write_text(page_text(*parse_arguments(__doc__ or "", PAGE)))


if __name__ == "__main__":
    main()
