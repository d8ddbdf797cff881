"""Write ``model_cards/``: one page per architecture of the zoo and an index; and ``videozoo/report/zoo_costs.json``.

Everything on a page is taken from the registry, from the network itself (built on the meta device, its shapes and its
cost measured) and from the tables in ``benchmarks/``; run it again after any of them changed:

    python scripts/model_cards.py [--output model_cards]
"""

import argparse
import dataclasses
import inspect
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

import videozoo
from videozoo.data import resolve_data_config
from videozoo.models import Ensemble, ModelSpec, list_pretrained, model_entrypoint, spec_of
from videozoo.publish.citations import papers_of
from videozoo.report import count_cost
from videozoo.surgery import stage_modules
from videozoo.text import markdown_table

REPO = Path(__file__).resolve().parents[1]
SYSTEMS = "../docs/systems.md"
COSTS = REPO / "videozoo" / "report" / "zoo_costs.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=REPO / "model_cards")
    args = parser.parse_args()
    pages = make_pages(videozoo.list_models())
    args.output.mkdir(exist_ok=True)
    for old in args.output.glob("*.md"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        (args.output / name).write_text(text, encoding="utf-8")
    COSTS.write_text(costs_text(videozoo.list_models()), encoding="utf-8")
    print(f"{len(pages)} pages in {args.output}")


def make_pages(names: Sequence[str]) -> dict[str, str]:
    """The pages of architectures by file name; ``README.md`` is the index."""
    tables = _Tables(REPO / "benchmarks")
    pages, rows = {}, []
    for name in names:
        model, cost = _network(name)
        pages[f"{name}.md"] = _page(name, model, cost, tables)
        rows.append(_index_row(name, model, cost, tables))
    return {**pages, "README.md": _index(rows)}


def costs_text(names: Sequence[str]) -> str:
    """What one view of each architecture costs, as JSON with a line for each."""
    lines = []
    for name in names:
        model, cost = _network(name)
        row = {"is_3d": model.is_3d, "clip_shape": cost.clip_shape, "params": cost.params, "macs": cost.macs}
        lines.append(f"{json.dumps(name)}: {json.dumps(row)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


@cache
def _network(name: str) -> tuple[Any, Any]:
    with torch.device("meta"):
        model = videozoo.create_model(name)
    return model, count_cost(model)


class _Tables:
    """Rows of the tables in ``benchmarks/`` that are about one architecture."""

    def __init__(self, folder: Path) -> None:
        self.order4 = {row["model"]: row for row in json.loads((folder / "order4.json").read_text())["rows"]}
        self.paper_lines = (folder / "paper_tables.md").read_text(encoding="utf-8").splitlines()
        self.golden_rows = [
            (path.name, _cells(line))
            for path in sorted(folder.glob("goldens*.md"))
            for line in path.read_text(encoding="utf-8").splitlines()
            if line.startswith("| ")
        ]

    def papers(self, name: str) -> Iterator[tuple[str, list[str], str]]:
        """(title of the table, cells, note or nothing) of each row about ``name``."""
        for section in "\n".join(self.paper_lines).split("\n### ")[1:]:
            title, *lines = section.splitlines()
            for cells in (_cells(line) for line in lines if line.startswith(f"| `{name}` |")):
                number = re.search(r"\((\d+)\)$", cells[-1])
                found = [line for line in lines if number and line.startswith(f"{number[1]}. ")]
                yield title.partition(":")[0], cells, found[0].partition(". ")[2] if found else ""

    def goldens(self, made_of: str) -> list[tuple[str, list[str]]]:
        """(file, cells) of the rows whose network is ``made_of``: a backbone and its parts."""
        return [(file, cells) for file, cells in self.golden_rows if made_of in cells]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _page(name: str, model: Any, cost: Any, tables: _Tables) -> str:
    blocks = [
        f"# {name}",
        _summary(name),
        _facts(model, cost),
        "## How the parts compose",
        *_pictures(model),
        f"[What each part does]({SYSTEMS})",
        "## Options",
        *_options(model),
        "## In the papers",
        _papers(name, tables),
        "## Measured here",
        _measured(name, tables),
        "## Weights",
        _weights(name),
        "## Use",
        _use(name),
        "## References",
        _references(model),
    ]
    return "\n\n".join(blocks) + "\n"


def _summary(name: str) -> str:
    return (inspect.getdoc(model_entrypoint(name)) or "").partition(";")[0] + "."


def _facts(model: Any, cost: Any) -> str:
    cfg = resolve_data_config(model)
    sampling = cfg["frame_sampling"]
    if cfg["frames_per_segment"] > 1:
        sampling += f", {cfg['frames_per_segment']} in a row"
    _, frames, height, width = cost.clip_shape
    rows = [
        ("one view", f"{frames} frames of {height} x {width}, sampling: {sampling}"),
        ("classes", f"{model.num_classes} (any with `num_classes=`)"),
        ("parameters", f"{cost.params:,}"),
        ("multiply-adds of one view", f"{cost.gmacs:.2f} G, counted as `videozoo report` does (*executed*)"),
        ("features", f"{model.num_features}"),
    ]
    return markdown_table(("", ""), rows)


def _pictures(model: Any) -> Iterator[str]:
    for member in model.members if isinstance(model, Ensemble) else [model]:
        yield "```\n" + "\n".join(_picture(member)) + "\n```"
    if isinstance(model, Ensemble):
        yield "The probabilities of the members are averaged; the output is the logarithm of that average."


def _picture(model: Any) -> list[str]:
    """A line per stage: what was changed in it, and the shape that leaves it."""
    channels, height, width = resolve_data_config(model)["input_size"]
    clip = torch.zeros(1, channels, model.num_frames, height, width, device="meta")
    with torch.no_grad():
        maps = model.eval().forward_intermediates(clip, intermediates_only=True)
    stages = stage_modules(model.backbone) or []
    shapes = [_shape(x) for x in maps]
    lines = [("clip", "", _shape(clip))]
    if not model.is_3d:
        per_segment = f" of {model.frames_per_segment} frames" if model.frames_per_segment > 1 else ""
        lines.append(("fold", "", f"{model.num_segments}B images{per_segment}"))
    placed: set[str] = set()
    for number, modules in enumerate(stages, start=1):
        inside = {n for n in _sites(model) if any(n == m or n.startswith(f"{m}.") for m in modules)}
        placed |= inside
        lines.append((f"stage {number}", _changes(model, inside), shapes[number - len(stages) - 1]))
    beside = set(_sites(model)) - placed
    if beside:
        lines.insert(len(lines) - len(stages), ("stem", _changes(model, beside), ""))
    if model.head_takes_frames:
        head = f"head of {type(model.spec.temporal).__name__} over {model.num_segments} steps"
    else:
        head = "pool, fc" if model.is_3d else f"pool, mean over {model.num_segments} steps, fc"
    lines.append(("head", head, f"(B, {model.num_classes})"))
    first, second = (max(len(line[i]) for line in lines) for i in (0, 1))
    return [f"{a:<{first}}  {b:<{second}}  {c}".rstrip() for a, b, c in lines]


def _shape(x: torch.Tensor) -> str:
    return f"(B, {', '.join(map(str, x.shape[1:]))})"


def _sites(model: Any) -> list[str]:
    return [name for names in model.sites.values() for name in names]


def _changes(model: Any, inside: set[str]) -> str:
    """Such as ``TSM: conv1 x2   ARC: conv1 x2, conv2 x2``."""
    texts = []
    for part in (model.spec.temporal, *model.spec.augmenters):
        kind = type(part).__name__
        last = [name.rpartition(".")[2] for name in model.sites.get(kind.lower(), ()) if name in inside]
        names = Counter("blocks" if name.isdigit() else name for name in last)
        if names:
            texts.append(f"{kind}: {', '.join(f'{name} x{count}' for name, count in sorted(names.items()))}")
    return "   ".join(texts)


def _options(model: Any) -> Iterator[str]:
    if isinstance(model, Ensemble):
        yield "Those of its members, through `videozoo.compose` and `videozoo.Ensemble`."
        return
    yield (
        "`create_model` takes `num_classes`, `num_frames`, `in_chans`, `drop_rate`, `drop_path_rate` and "
        "`backbone_weights`; the parts take these through `videozoo.compose`:"
    )
    for part in (model.spec.temporal, *model.spec.augmenters):
        told = _told_arguments(type(part))
        rows = [
            (f"`{field.name}`", f"`{getattr(part, field.name)!r}`", told[field.name])
            for field in dataclasses.fields(part)
        ]
        if rows:
            yield markdown_table((type(part).__name__, "here", "what it does"), rows)
    if not any(dataclasses.fields(part) for part in (model.spec.temporal, *model.spec.augmenters)):
        yield f"{type(model.spec.temporal).__name__} has none."


def _told_arguments(kind: type) -> dict[str, str]:
    """What the docstring's Args say, by option."""
    told: dict[str, str] = {}
    inside, names = False, []
    for line in (inspect.getdoc(kind) or "").splitlines():
        if re.fullmatch(r"\w+:", line):
            inside = line == "Args:"
        elif inside and (match := re.match(r"    (\w[\w, ]*): (.*)", line)):
            names = match[1].split(", ")
            told |= dict.fromkeys(names, match[2])
        elif inside and names:
            told |= {name: f"{told[name]} {line.strip()}" for name in names}
    return {name: text.replace("``", "`").replace("|", "\\|") for name, text in told.items()}


def _papers(name: str, tables: _Tables) -> str:
    found = list(tables.papers(name))
    if not found:
        return "No row of the two papers' cost tables is about this architecture."
    rows = [(title, *cells[1:-1], cells[-1].partition(" (")[0]) for title, cells, _ in found]
    head = ("table", "options", "data set (classes)", "view", "GFLOPs printed", "measured", "executed")
    head += ("params printed", "measured", "verdict")
    notes = dict.fromkeys(f"* {title}: {note}" for title, _, note in found if note)
    return "\n".join([markdown_table(head, rows), *([""] if notes else []), *notes]) + (
        "\n\n[All rows, and how they are counted](../benchmarks/paper_tables.md)"
    )


def _measured(name: str, tables: _Tables) -> str:
    texts = []
    if name in tables.order4:
        row = tables.order4[name]
        texts.append(
            f"[order4](../benchmarks/order4.md), real clips whose classes differ in the order of their frames: top-1 "
            f"{row['top1']:.1%}, and {row['reversed_top1']:.1%} on the same clips played backwards (one seed)."
        )
    spec = spec_of(name)
    if isinstance(spec, ModelSpec):
        parts = [type(part).__name__ for part in (spec.temporal, *spec.augmenters)]
        texts += [
            f"[The logits of the original code](../benchmarks/{file}) ({cells[1]}): largest difference {cells[6]} at a "
            f"tolerance of {cells[7]}."
            for file, cells in tables.goldens(f"{spec.backbone}, {' + '.join(parts)}")
        ]
    return "\n\n".join(texts) or "No accuracy of it has been measured here yet."


def _weights(name: str) -> str:
    rows = []
    for full in list_pretrained(name):
        cfg = videozoo.get_pretrained_cfg(full)
        accuracy = ", ".join(f"{key} {value:.2%}" for key, value in (cfg.metrics or {}).items())
        origin = f"[{cfg.license or 'licence not stated'}]({cfg.origin_url})" if cfg.origin_url else cfg.license or ""
        frames = f"{cfg.num_frames}, {cfg.frame_sampling}"
        rows.append((f"`{full}`", cfg.dataset or "", frames, accuracy, cfg.description or "", origin))
    if not rows:
        return (
            "None are published yet: start from the backbone's (`backbone_weights=`), or convert a checkpoint with "
            "`videozoo convert`."
        )
    return markdown_table(("name", "data set", "frames", "accuracy", "about", "licence and origin"), rows)


def _use(name: str) -> str:
    names = list_pretrained(name)
    full, more = (names[0], "pretrained=True") if names else (name, "num_classes=10")
    return (
        f'```python\nimport videozoo\n\nmodel = videozoo.create_model("{full}", {more})\n```\n\n'
        f"```bash\nvideozoo info {name}\nvideozoo finetune --model {name} --data videos --output runs/mine\n```"
    )


def _references(model: Any) -> str:
    members = model.members if isinstance(model, Ensemble) else [model]
    return "\n".join(
        f"* {paper.authors.replace(' and ', ', ')}: *{paper.title}*" + (f" ({paper.where})" if paper.where else "")
        for paper in papers_of(member.spec.to_dict() for member in members)
    )


def _index_row(name: str, model: Any, cost: Any, tables: _Tables) -> tuple[str, ...]:
    _, frames, height, width = cost.clip_shape
    return (
        f"[`{name}`]({name}.md)",
        f"{frames} x {height} x {width}",
        f"{cost.params / 1e6:.2f}",
        f"{cost.gmacs:.2f}",
        str(len(list(tables.papers(name))) or ""),
        f"{tables.order4[name]['top1']:.1%}" if name in tables.order4 else "",
        str(len(list_pretrained(name)) or ""),
    )


def _index(rows: Sequence[tuple[str, ...]]) -> str:
    head = (
        "architecture",
        "one view",
        "params, M",
        "multiply-adds, G",
        "rows in the papers",
        "order4 top-1",
        "weights",
    )
    return (
        "# The zoo\n\nOne page per architecture, written by `scripts/model_cards.py`. Classes: each one's default, "
        "400 unless its page says otherwise.\n\n" + markdown_table(head, rows) + "\n"
    )


if __name__ == "__main__":
    main()
