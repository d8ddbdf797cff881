"""Compare converted networks with the outputs of the original authors' code and write benchmarks/goldens.md.

``python scripts/goldens.py FOLDER``: FOLDER holds one JSON per network (key names and shapes, a fixed input, logits)
and ``fill.py``, which makes the weights from the key names.
"""

import argparse
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import torch

from videozoo.hub.convert.checkpoint import convert_checkpoint, unwrap
from videozoo.models import ModelSpec, model_from_state
from videozoo.report import count_cost

PAGE = Path(__file__).resolve().parents[1] / "benchmarks" / "goldens.md"


def compare(facts: dict[str, Any], fill: Any) -> str:
    """One row of the table."""
    state = unwrap(fill.fill_keys(facts["keys"], facts["fill_gain"]))
    converted, source = convert_checkpoint(state)
    spec = ModelSpec.from_dict(converted.spec)
    model = model_from_state(spec, dict(converted.state), source=facts["name"]).eval()
    with torch.no_grad():
        logits = model(fill.make_input(facts["frames"], facts["size"]))
    difference = (logits - torch.tensor(facts["logits_all"])).abs().max().item()
    ours = sum(p.numel() for p in model.parameters())
    unused = sum(state[key].numel() for key in converted.dropped if not re.search("running|num_batches", key))
    parts = " + ".join(type(part).__name__ for part in (spec.temporal, *spec.augmenters))
    gflops, original = count_cost(model, (3, 224, 224)).gflops, facts["flops_fvcore_G"]
    verdict = "equal" if difference <= facts["suggested_atol"] else "**differs**"
    code = f"{facts['repo'].removeprefix('https://github.com/')} @{facts['commit'][:7]}"
    size = f"{facts['frames']} x {facts['size']}"
    count = f"{ours:,}" + (f" + {unused:,} never used" if unused else "")
    print(facts["name"], f"{difference:.1e}", verdict, flush=True)
    return (
        f"| {facts['name']} | {code} | `{source}` | {spec.backbone}, {parts} | {size} | {count} | {difference:.1e} "
        f"| {facts['suggested_atol']:.1e} | {original:.3f} | {gflops:.3f} ({gflops / original - 1:+.2%}) | {verdict} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    module = importlib.util.spec_from_file_location("fill", folder / "fill.py")
    if module is None or module.loader is None:
        parser.error(f"{folder} has no fill.py")
    fill = importlib.util.module_from_spec(module)
    module.loader.exec_module(fill)
    rows = [compare(json.loads(path.read_text()), fill) for path in sorted(folder.glob("*.json"))]
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
