"""Write benchmarks/results.csv (every pretrained tag with its accuracy and cost) and the table of weights in README.md.

    python scripts/results.py

Accuracies, views and sources are those of the records in ``videozoo/models``. Parameters and MACs are those of
``names.json``, so run ``scripts/write_names.py`` before. A value that is not recorded is an empty cell.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import videozoo
from videozoo.models.registry import weights_facts
from videozoo.text import csv_text, gmacs_text, markdown_table

REPO = Path(__file__).resolve().parents[1]
RESULTS = REPO / "benchmarks" / "results.csv"
README = REPO / "README.md"
BEGIN, END = "<!-- weights: scripts/results.py writes this table -->", "<!-- end of weights -->"
COLUMNS = (
    *("model", "dataset", "frames", "sampling", "views", "crop", "top1", "top5", "params", "macs", "measured_with"),
    *("license", "source", "source_url", "weights_url"),
)
README_ROWS = (
    *("slowfast_r50.mm_k400", "tanet_r50.mm_k400_dense_8f", "slowonly_r50.mm_k400_in1k_8x8"),
    *("r2plus1d_r34.mm_k400_32x2", "tsm_r50.mm_k400_16f", "tsn_r50.mm_k400_8f", "tsm_mbv2.mit_k400_dense_8f"),
    *("tsm_r50.mm_ssv2_16f", "trn_r50.mm_ssv2_8f", "tanet_r50.mm_ssv1_16f"),
)
README_HEAD = ("model", "data set", "frames", "views", "top-1", "top-5", "params (M)", "GMACs")
SHORT_NAMES = {"Kinetics-400": "K400", "Something-Something V2": "SSv2", "Something-Something V1": "SSv1"}


def main() -> None:
    rows = make_results()
    RESULTS.write_text(csv_text([COLUMNS, *(row.values() for row in rows)]), encoding="utf-8")
    README.write_text(readme_text(README.read_text(encoding="utf-8"), rows), encoding="utf-8")
    print(f"{len(rows)} rows in {RESULTS}")


def make_results() -> list[dict[str, str]]:
    """Return a row per pretrained tag, in the order of ``list_pretrained``, all values as text."""
    public = json.loads((REPO / "videozoo" / "models" / "public_weights.json").read_text(encoding="utf-8"))
    facts = weights_facts()
    return [_row(name, public, facts[name]) for name in videozoo.list_pretrained()]


def _row(name: str, public: Mapping[str, Any], cost: Mapping[str, Any]) -> dict[str, str]:
    arch, _, tag = name.partition(".")
    cfg = videozoo.get_pretrained_cfg(name)
    record = public["weights"].get(arch, {}).get(tag, {})
    crop = cfg.test_crop_size or cfg.input_size[-1]
    accuracy = {key: f"{100 * value:.2f}" for key, value in (cfg.metrics or {}).items()}
    sampling = f"dense, stride {cfg.frame_stride}" if cfg.frame_sampling == "dense" else cfg.frame_sampling
    values = (
        *(name, cfg.dataset, cfg.num_frames, sampling),
        "" if "published_with" in record else f"{cfg.test_num_clips}x{cfg.test_num_crops}",
        *(crop, accuracy.get("top1", ""), accuracy.get("top5", ""), cost["params"], cost["macs"]),
        *(record.get("published_with", ""), cfg.license or ""),
        public["sources"][record["source"]]["name"] if record else "videozoo (bundled, for testing)",
        *(cfg.origin_url or "", cfg.url or ""),
    )
    return dict(zip(COLUMNS, map(str, values), strict=True))


def read_results() -> list[dict[str, str]]:
    """Return the rows of ``benchmarks/results.csv``."""
    with RESULTS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def params_text(params: int) -> str:
    """Return parameters in millions as text."""
    return f"{params / 1e6:.1f}" if params >= 1e6 else f"{params / 1e6:.2f}"


def readme_text(text: str, rows: Sequence[Mapping[str, str]]) -> str:
    """Return README with its table of weights written again."""
    before, _, rest = text.partition(BEGIN)
    by_name = {row["model"]: row for row in rows}
    rules = ["---", "---", *["--:"] * (len(README_HEAD) - 2)]
    table = markdown_table(README_HEAD, (_readme_cells(by_name[name]) for name in README_ROWS), rules)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.partition(END)[2]}"


def _readme_cells(row: Mapping[str, str]) -> list[str]:
    views = row["views"] or "[note](model_cards/README.md#pretrained-weights)"
    figures = [row["top1"], row["top5"], params_text(int(row["params"])), gmacs_text(int(row["macs"]))]
    return [f"`{row['model']}`", SHORT_NAMES[row["dataset"]], row["frames"], views, *figures]


if __name__ == "__main__":
    main()
