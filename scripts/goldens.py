"""Compare converted networks with the outputs of the original authors' code and write benchmarks/goldens.md.

``python scripts/goldens.py FOLDER``: FOLDER holds one JSON per network (key names and shapes, a fixed input, logits)
and ``fill.py``, which makes the weights from the key names.
"""

import argparse
import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from videozoo.hub.convert.checkpoint import convert_checkpoint, unwrap
from videozoo.models import ModelSpec, VideoNet, model_from_state
from videozoo.report import count_cost

PAGE = Path(__file__).resolve().parents[1] / "benchmarks" / "goldens.md"


@dataclass(frozen=True)
class Comparison:
    """Our network with the converted weights, beside the original's recorded logits.

    Args:
        model: ours, in evaluation mode.
        source: whose checkpoint the converter took it for.
        difference: the largest between the logits.
        params: parameters of ours.
        unused: parameters of the original that it never uses.
    """

    model: VideoNet
    source: str
    difference: float
    params: int
    unused: int

    @property
    def count(self) -> str:
        """Parameters, as a cell of a table."""
        return f"{self.params:,}" + (f" + {self.unused:,} never used" if self.unused else "")


def compare(facts: dict[str, Any], fill: Any) -> Comparison:
    """Run one recording's weights and input through our network."""
    state = unwrap(fill.fill_keys(facts["keys"], facts["fill_gain"]))
    converted, source = convert_checkpoint(state)
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


def read_recordings(about: str) -> Iterator[tuple[dict[str, Any], Comparison]]:
    """Each recording of the folder on the command line, compared.

    Args:
        about: what ``--help`` says.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    module = importlib.util.spec_from_file_location("fill", folder / "fill.py")
    if module is None or module.loader is None:
        parser.error(f"{folder} has no fill.py")
    fill = importlib.util.module_from_spec(module)
    module.loader.exec_module(fill)
    for path in sorted(folder.glob("*.json")):
        facts = json.loads(path.read_text())
        found = compare(facts, fill)
        print(facts["name"], f"{found.difference:.1e} of {facts['suggested_atol']:.1e}", flush=True)
        yield facts, found


def _row(facts: dict[str, Any], found: Comparison) -> str:
    spec = found.model.spec
    parts = " + ".join(type(part).__name__ for part in (spec.temporal, *spec.augmenters))
    gmacs, original = count_cost(found.model, (3, 224, 224)).gmacs, facts["flops_fvcore_G"]
    verdict = "equal" if found.difference <= facts["suggested_atol"] else "**differs**"
    code = f"{facts['repo'].removeprefix('https://github.com/')} @{facts['commit'][:7]}"
    size = f"{facts['frames']} x {facts['size']}"
    return (
        f"| {facts['name']} | {code} | `{found.source}` | {spec.backbone}, {parts} | {size} "
        f"| {found.count} | {found.difference:.1e} | {facts['suggested_atol']:.1e} | {original:.3f} "
        f"| {gmacs:.3f} ({gmacs / original - 1:+.2%}) | {verdict} |"
    )


def main() -> None:
    rows = [_row(facts, found) for facts, found in read_recordings(__doc__ or "")]
    text = [
        "# Our networks beside the original code",
        "",
        "Each row: a network of its authors' repository (or of MMAction2) with weights that depend on the key names",
        "only, run by the original code on two fixed clips; the same weights, converted as `videozoo convert` does, in",
        "our network on the same clips. The tolerance is about 30 times the rounding noise of the original and far",
        "below the effect of any structural mistake (a shift in the wrong direction, another eps). Written by",
        "`python scripts/goldens.py FOLDER`.",
        "",
        "GFLOPs are those of one clip of 224 x 224, by fvcore: of the original code, and of ours with its temporal",
        "convolutions counted. Convolutions and norms are equal. Most classifiers see every frame there, and the mean",
        "of the frames here; DNR's scale and shift count as a norm here and as nothing there; TANet pools by a layer",
        "that counts there; MotionSqueeze correlates all pairs of positions there, and the rows in reach here.",
        "`tests/report/test_report_goldens.py` checks this operator by operator.",
        "",
        "| network | original code | source | ours | frames x size | parameters | largest difference | tolerance "
        "| GFLOPs original | GFLOPs ours | |",
        "|---|---|---|---|---|---|---|---|--:|--:|---|",
        *rows,
        "",
    ]
    PAGE.write_text("\n".join(text))


if __name__ == "__main__":
    main()
