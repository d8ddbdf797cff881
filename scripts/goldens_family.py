"""Compare converted models with further recordings of the original authors' code; write benchmarks/goldens_family.md.

``python scripts/goldens_family.py FOLDER [NAME...]``: FOLDER contains ``fill.py`` and one JSON per model in the
format of the goldens. The script reads name, repo, commit, frames, size, fill_gain, keys, params_total, logits_all and
suggested_atol. It keeps the page from its first ``## `` on.
"""

from pathlib import Path
from typing import Any

from goldens import Comparison, parse_arguments, read_recordings

PAGE = Path(__file__).resolve().parents[1] / "benchmarks" / "goldens_family.md"
HEAD = """# More converted models next to the original code

As in [goldens.md](goldens.md), weights depend on the key names only, and both models see two fixed clips. The table
compares the logits of the original code with those of our model with the converted weights. The tolerance is 30 times
the difference between float32 and float64 in the original code, or 3e-6 of its largest logit, whichever is larger.
`python scripts/goldens_family.py FOLDER` writes this page.

| model | original code | source | ours | frames x size | parameters | largest difference | tolerance | |
|---|---|---|---|---|--:|--:|--:|---|
"""


def _row(facts: dict[str, Any], found: Comparison) -> str:
    spec = found.model.spec
    is_equal = found.difference <= facts["suggested_atol"] and found.params + found.unused == facts["params_total"]
    return (
        f"| {facts['name']} | {facts['repo']} @{facts['commit'][:7]} | `{found.source}` "
        f"| {spec.backbone}, {type(spec.temporal).__name__} | {facts['frames']} x {facts['size']} | {found.count} "
        f"| {found.difference:.1e} | {facts['suggested_atol']:.1e} | {'equal' if is_equal else '**differs**'} |\n"
    )


def main() -> None:
    _, mark, notes = PAGE.read_text().partition("\n## ")
    rows = [_row(facts, found) for facts, found in read_recordings(*parse_arguments(__doc__ or "", PAGE))]
    PAGE.write_text(HEAD + "".join(rows) + mark + notes)


if __name__ == "__main__":
    main()
