"""Compare converted networks with further recordings of the original authors' code; write benchmarks/goldens_family.md.

``python scripts/goldens_family.py FOLDER``: FOLDER holds ``fill.py`` and one JSON per network, in the format of the
goldens; name, repo, commit, frames, size, fill_gain, keys, params_total, logits_all and suggested_atol are read. What
stands on the page from its first ``## `` on is kept.
"""

import argparse
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import torch

from videozoo.hub.convert.checkpoint import convert_checkpoint
from videozoo.models import ModelSpec, model_from_state

PAGE = Path(__file__).resolve().parents[1] / "benchmarks" / "goldens_family.md"
HEAD = """# Other networks of the sources of the goldens

As in [goldens.md](goldens.md): weights that depend on the key names only, two fixed clips, the original code's logits
beside those of our network with the converted weights. The tolerance is 30 times the difference that the original code
makes between float32 and float64, or 3e-6 of its largest logit, whichever is larger. Written by
`python scripts/goldens_family.py FOLDER`.

| network | original code | source | ours | frames x size | parameters | largest difference | tolerance | |
|---|---|---|---|---|--:|--:|--:|---|
"""


def compare(facts: dict[str, Any], fill: Any) -> str:
    """One row of the table."""
    state = fill.fill_keys(facts["keys"], facts["fill_gain"])
    converted, source = convert_checkpoint(state)
    spec = ModelSpec.from_dict(converted.spec).replace(num_frames=facts["frames"])
    model = model_from_state(spec, dict(converted.state), source=facts["name"]).eval()
    with torch.no_grad():
        logits = model(fill.make_input(facts["frames"], facts["size"]))
    difference = (logits - torch.tensor(facts["logits_all"])).abs().max().item()
    ours = sum(p.numel() for p in model.parameters())
    unused = sum(state[key].numel() for key in converted.dropped if not re.search("running|num_batches", key))
    equal = difference <= facts["suggested_atol"] and ours + unused == facts["params_total"]
    print(facts["name"], f"{difference:.1e}", equal, flush=True)
    return (
        f"| {facts['name']} | {facts['repo']} @{facts['commit'][:7]} | `{source}` "
        f"| {spec.backbone}, {type(spec.temporal).__name__} | {facts['frames']} x {facts['size']} "
        f"| {ours:,}{f' + {unused:,} never used' if unused else ''} | {difference:.1e} | {facts['suggested_atol']:.1e} "
        f"| {'equal' if equal else '**differs**'} |\n"
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
    _, mark, notes = PAGE.read_text().partition("\n## ")
    rows = [compare(json.loads(path.read_text()), fill) for path in sorted(folder.glob("*.json"))]
    PAGE.write_text(HEAD + "".join(rows) + mark + notes)


if __name__ == "__main__":
    main()
