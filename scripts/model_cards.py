"""Write ``model_cards/`` (a page per method and an index) and ``videozoo/report/zoo_costs.json``.

    python scripts/model_cards.py

The content comes from the registry, from the models (built on the meta device) and from the tables in ``benchmarks/``.
Run ``scripts/results.py`` before, and run this script again after any of them changed.
"""

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
from card_families import EXAMPLES, FAMILIES, INTROS, TESTING, TITLES
from card_tables import RIGHT, goldens_section, order4_section, papers_section, read_results, weights_table

import videozoo
from videozoo.augment import AUGMENTERS
from videozoo.data import resolve_data_config
from videozoo.models import Ensemble, list_pretrained
from videozoo.publish.citations import papers_of
from videozoo.report import count_cost
from videozoo.surgery import stage_modules
from videozoo.temporal import TEMPORAL
from videozoo.text import gmacs_text, markdown_table

REPO = Path(__file__).resolve().parents[1]
CARDS = REPO / "model_cards"
COSTS = REPO / "videozoo" / "report" / "zoo_costs.json"


def main() -> None:
    pages = make_pages(videozoo.list_models())
    for old in CARDS.glob("*.md"):
        old.unlink()
    for name, text in pages.items():
        (CARDS / name).write_text(text, encoding="utf-8")
    COSTS.write_text(costs_text(videozoo.list_models()), encoding="utf-8")
    print(f"{len(pages)} pages in {CARDS}")


def make_pages(names: Sequence[str]) -> dict[str, str]:
    """Return the pages of the methods of these architectures by file name; ``README.md`` is the index."""
    methods: dict[str, list[str]] = {}
    for name in names:
        methods.setdefault(method_of(name), []).append(name)
    order = [*TEMPORAL, *AUGMENTERS, *FAMILIES, TESTING]
    methods = dict(sorted(methods.items(), key=lambda item: order.index(item[0])))
    return {f"{method}.md": _page(method, own) for method, own in methods.items()} | {"README.md": _index(methods)}


def costs_text(names: Sequence[str]) -> str:
    """Return the cost of one view of each architecture as JSON, one per line."""
    lines = []
    for name in names:
        model, cost = _build(name)
        row = {"is_3d": model.is_3d, "clip_shape": cost.clip_shape, "params": cost.params, "macs": cost.macs}
        lines.append(f"{json.dumps(name)}: {json.dumps(row)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def method_of(name: str) -> str:
    """Return the page of an architecture: its add-on if it has one, else its temporal module, or a group."""
    model = _members(_build(name)[0])[0]
    if name.startswith("test_"):
        return TESTING
    if model.spec.augmenters:
        return type(model.spec.augmenters[-1]).__name__.lower()
    backbone = model.spec.backbone
    family = next((family for family, (pattern, *_) in FAMILIES.items() if re.match(pattern, backbone)), None)
    return family or type(model.spec.temporal).__name__.lower()


@cache
def _build(name: str) -> tuple[Any, Any]:
    with torch.device("meta"):
        model = videozoo.create_model(name)
    return model, count_cost(model)


def _members(model: Any) -> list[Any]:
    return list(model.members) if isinstance(model, Ensemble) else [model]


def _part_of(method: str) -> type | None:
    return TEMPORAL.get(method) or AUGMENTERS.get(method)


def _title(method: str) -> str:
    part = _part_of(method)
    return part.__name__ if part else TITLES[method]


def _anchor(title: str) -> str:
    """Return the anchor of a heading, as Markdown renderers make it."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _page(method: str, names: Sequence[str]) -> str:
    part, example = _part_of(method), EXAMPLES.get(method, f"{method}_r50")
    example = example if example in names else names[0]
    weights = [row for row in read_results() if row["model"].partition(".")[0] in names]
    blocks = [
        f"# {_title(method)}",
        _docstring(part) if part else INTROS[method],
        f"[How it works, with a diagram](../docs/systems.md#{_anchor(_title(method))})" if method != TESTING else "",
        _use(example),
        "## Models",
        _models_table(names),
        *_structure(example),
        *_options(part),
        "## Weights",
        *([weights_table(weights)] if weights else []),
        *([] if any(row["source_url"] for row in weights) else [_no_weights(method)]),
        *papers_section(names),
        *order4_section(names),
        *goldens_section({_parts_key(name): name for name in names}),
        "## References",
        _references(names),
    ]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _docstring(part: type) -> str:
    """Return the description in a docstring, before its sections, as Markdown."""
    text = re.split(r"\n(?=(?:Args|Raises|Note|Shape|Attributes|Returns|Example)\b.*:)", inspect.getdoc(part) or "")[0]
    return _as_markdown(text.strip())


def _as_markdown(text: str) -> str:
    return re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text.replace("``", "`"))


def _use(name: str) -> str:
    tags = list_pretrained(name)
    full, more = (tags[0], "pretrained=True") if tags else (name, "num_classes=10")
    return (
        f'```python\nimport videozoo\n\nmodel = videozoo.create_model("{full}", {more})\n```\n\n'
        f"```bash\nvideozoo info {name}\nvideozoo finetune --model {name} --data videos --output runs/mine\n```"
    )


def _models_table(names: Sequence[str]) -> str:
    """Return the table of the variants: parts, clip, cost and changed layers."""
    rows = []
    for name in names:
        model, cost = _build(name)
        member = _members(model)[0]
        parts = [type(part).__name__ for part in (*member.spec.augmenters[::-1], member.spec.temporal)]
        parts = parts[:-1] if member.is_3d else parts
        text = " on ".join([*parts, f"`{member.spec.backbone}`"])
        text += f", {len(model.members)} models averaged" if isinstance(model, Ensemble) else ""
        changes = _changes(member, set(_sites(member))).replace("   ", "; ")
        rows.append([f"`{name}`", text, _clip(model, cost), *_figures(cost), str(model.head_hidden_size), changes])
    head = ("model", "parts", "clip", "params (M)", "GMACs", "features", "layers changed")
    note = "Parameters are those with the default classes (400). GMACs are billions of MACs of one view (*clip*). "
    note += "Features is the length of the vector before the classifier, as `videozoo extract` writes it."
    return markdown_table(head, rows, ["---"] * 3 + [RIGHT] * 3 + ["---"]) + f"\n\n{note}"


def _clip(model: Any, cost: Any) -> str:
    _, frames, height, width = cost.clip_shape
    per_segment = resolve_data_config(model)["frames_per_segment"]
    return f"{frames}x{height}x{width}" + (f" ({per_segment} frames per segment)" if per_segment > 1 else "")


def _figures(cost: Any) -> tuple[str, str]:
    return f"{cost.params / 1e6:.2f}", gmacs_text(cost.macs)


def _structure(name: str) -> Iterator[str]:
    """Yield a section with a line per stage: the changed layers and the shape of the output."""
    yield f"## Structure of `{name}`"
    yield "```\n" + "\n".join(_stage_lines(_members(_build(name)[0])[0])) + "\n```"


def _stage_lines(model: Any) -> list[str]:
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
    in_stages: set[str] = set()
    for number, modules in enumerate(stages, start=1):
        inside = {n for n in _sites(model) if any(n == m or n.startswith(f"{m}.") for m in modules)}
        in_stages |= inside
        lines.append((f"stage {number}", _changes(model, inside), shapes[number - len(stages) - 1]))
    others = set(_sites(model)) - in_stages
    if others:
        lines.insert(len(lines) - len(stages), ("stem", _changes(model, others), ""))
    if model.head_takes_frames:
        head = f"head of {type(model.spec.temporal).__name__} over {model.num_segments} steps"
    elif model.gives_tokens:
        has_norm = hasattr(model.backbone, "fc_norm")
        pooled = "class token" if model.backbone.num_prefix_tokens else "mean of the tokens" + ", norm" * has_norm
        head = f"{pooled}, fc"
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
    """Return a text such as ``TSM: conv1 x2   ARC: conv1 x2, conv2 x2``."""
    texts = []
    for part in (model.spec.temporal, *model.spec.augmenters):
        kind = type(part).__name__
        last = [name.rpartition(".")[2] for name in model.sites.get(kind.lower(), ()) if name in inside]
        names = Counter("blocks" if name.isdigit() else name for name in last)
        if names:
            texts.append(f"{kind}: {', '.join(f'{name} x{count}' for name, count in sorted(names.items()))}")
    return "   ".join(texts)


def _options(part: type | None) -> Iterator[str]:
    fields = dataclasses.fields(part) if part else ()  # type: ignore[arg-type]
    if not part or not fields:
        return
    about = _argument_texts(part)
    rows = [[f"`{field.name}`", f"`{field.default!r}`", about[field.name]] for field in fields]
    yield "## Options"
    yield f"For `videozoo.compose(backbone, {'temporal' if part in TEMPORAL.values() else 'augmenters'}=...)`:"
    yield markdown_table((part.__name__, "default", "meaning"), rows)


def _argument_texts(part: type) -> dict[str, str]:
    """Return the descriptions in the docstring's Args by option."""
    texts: dict[str, str] = {}
    inside, names = False, []
    for line in (inspect.getdoc(part) or "").splitlines():
        if re.fullmatch(r"\w+:", line):
            inside = line == "Args:"
        elif inside and (match := re.match(r"    (\w[\w, ]*): (.*)", line)):
            names = match[1].split(", ")
            texts |= dict.fromkeys(names, match[2])
        elif inside and names:
            texts |= {name: f"{texts[name]} {line.strip()}" for name in names}
    return {name: _as_markdown(text).replace("|", "\\|") for name, text in texts.items()}


def _no_weights(method: str) -> str:
    public = "No ARC or DNR weights of full size exist" if method in AUGMENTERS else "No weights are published yet"
    return (
        f"{public}. Start from the weights of the backbone (`backbone_weights=`) or of a base model (`init_from=`), or "
        "convert a checkpoint with `videozoo convert`."
    )


def _parts_key(name: str) -> str:
    """Return backbone and parts as the goldens tables write them."""
    spec = _members(_build(name)[0])[0].spec
    return f"{spec.backbone}, {' + '.join(type(part).__name__ for part in (spec.temporal, *spec.augmenters))}"


def _references(names: Sequence[str]) -> str:
    specs = [member.spec.to_dict() for name in names for member in _members(_build(name)[0])]
    return "\n".join(
        f"* {paper.authors.replace(' and ', ', ')}: *{paper.title}*" + (f" ({paper.where})" if paper.where else "")
        for paper in papers_of(specs)
    )


def _index(methods: dict[str, list[str]]) -> str:
    results = read_results()
    rows, models = [], []
    for method, names in methods.items():
        count = sum(row["model"].partition(".")[0] in names for row in results)
        part = _part_of(method)
        first = _docstring(part).split("\n\n")[0] if part else INTROS[method].split(". ")[0] + "."
        first = first.removeprefix(f"{_title(method)}: ")
        first = first[0].upper() + first[1:]
        rows.append([f"[{_title(method)}]({method}.md)", first.replace("\n", " "), str(len(names)), str(count or "")])
        for name in names:
            model, cost = _build(name)
            models.append([f"`{name}`", f"[{_title(method)}]({method}.md)", _clip(model, cost), *_figures(cost)])
    blocks = [
        "# Models",
        "One page per method with its models, options, cost, weights and figures in the papers. "
        "`scripts/model_cards.py` writes these pages.",
        markdown_table(("method", "description", "models", "weights"), rows, ["---", "---", RIGHT, RIGHT]),
        "## Pretrained weights",
        'Load one with `videozoo.create_model("NAME", pretrained=True)`. The same table as a file: '
        "[`benchmarks/results.csv`](../benchmarks/results.csv). No ARC or DNR weights of full size exist.",
        weights_table(results),
        "## All models",
        "Parameters are those with the default classes (400). GMACs are billions of MACs of one view (*clip*).",
        markdown_table(("model", "page", "clip", "params (M)", "GMACs"), models, ["---"] * 3 + [RIGHT] * 2),
    ]
    return "\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    main()
