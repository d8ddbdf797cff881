"""``videozoo info``: prints the parts of a model, its cost, and its sampling and preprocessing."""

import argparse
import json
from typing import Any

from videozoo.cli.command import Command, flag, switch
from videozoo.cli.console import print_result, print_text, show_log
from videozoo.text import gmacs_text, some

COMMAND = Command(
    help="show the parts, size and cost of a model",
    description="Print the parts of a model, its parameters and operations per view, and its sampling and transforms.",
    epilog="Example: videozoo info arc_tsm_r50",
    flags=(
        flag("model", metavar="NAME", help="a name of `videozoo list`, a folder such as RUN/best, or hf-hub:ORG/NAME"),
        switch("--json", help="print a JSON object"),
    ),
)


def run(args: argparse.Namespace) -> int:
    """Build the model and print its facts."""
    show_log()
    facts = _gather(args.model)
    if args.json:
        print_text(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        _say_facts(facts)
    return 0


def _gather(name: str) -> dict[str, Any]:
    import videozoo
    from videozoo.data import resolve_data_config
    from videozoo.models.load import brings_weights
    from videozoo.probabilities import is_multi_label
    from videozoo.report import count_cost

    model = videozoo.create_model(name, pretrained=False)
    cost = count_cost(model)
    spec = model.spec.to_dict()
    shown = ("backbone", "temporal", "augmenters")
    if "members" in spec:
        parts = {"members": [{key: member[key] for key in (*shown, "num_frames")} for member in spec["members"]]}
    else:
        parts = {key: spec[key] for key in shown}
    cfg = resolve_data_config(model)
    return {
        "name": name,
        **parts,
        "is_3d": getattr(model, "is_3d", False),
        "num_classes": model.num_classes,
        "class_names": list(model.pretrained_cfg.get("label_names") or ()),
        "multi_label": is_multi_label(model),
        "num_features": model.num_features,
        "params": cost.params,
        "macs": cost.macs,
        "macs_by_operator": cost.by_operator,
        "macs_by_module": cost.by_module,
        "sites": {part: list(names) for part, names in model.sites.items()},
        "has_weights": brings_weights(name) or name in videozoo.list_models(pretrained=True),
        "weights": videozoo.list_pretrained(name) if videozoo.is_model(name) else [],
        **_published(name),
        "videos": {key: list(value) if isinstance(value, tuple) else value for key, value in cfg.items()},
        "metrics": model.pretrained_cfg.get("metrics"),
    }


def _published(name: str) -> dict[str, Any]:
    """Return the rows of the record of ``arch.tag``."""
    import videozoo

    if not (videozoo.is_model(name) and "." in name):
        return {}
    cfg = videozoo.get_pretrained_cfg(name)
    keys = ("url", "file", "hf_hub_id", "sha256_prefix", "license", "origin_url", "dataset", "description")
    return {key: getattr(cfg, key) for key in keys if getattr(cfg, key) is not None}


def _say_facts(facts: dict[str, Any]) -> None:
    videos = facts["videos"]
    size = "x".join(str(side) for side in videos["input_size"][1:])
    names = facts["class_names"]
    shown = f": {some(names, 6)}" if names else ""
    sampling = videos["frame_sampling"] + (f", stride {videos['frame_stride']}" * (videos["frame_sampling"] == "dense"))
    if videos["frames_per_segment"] > 1:
        sampling += f", {videos['frames_per_segment']} in a row"
    rows = [
        ("name", facts["name"]),
        *[row for network in facts.get("members", [facts]) for row in _part_rows(network)],
        *[("changed", f"{len(sites)} places for {part}") for part, sites in facts["sites"].items() if sites],
        ("parameters", f"{facts['params']:,}"),
        ("cost", f"{gmacs_text(facts['macs'])} GMACs for one view"),
        ("clip", f"{videos['num_frames']} frames of {size}, sampling: {sampling}"),
        ("test", f"{videos['test_num_clips']}x{videos['test_num_crops']} views (clips x crops)"),
        ("classes", f"{facts['num_classes']}{', several a video' * facts['multi_label']}{shown}"),
        *_weights_rows(facts),
    ]
    if facts["metrics"]:
        title = "published" if facts.get("url") else "measured"
        rows.append((title, ", ".join(f"{key} {_number(value)}" for key, value in facts["metrics"].items())))
    for name, value in rows:
        print_result(f"{name:<12}{value}")


def _weights_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rows on the location of a tag's weights, or on an architecture's weights, the default first."""
    source = facts.get("url") or facts.get("hf_hub_id") or ("in this package" if "file" in facts else None)
    if source:
        kept = ("dataset", "license", "description")
        names = {"license": "license", "description": "about"}
        return [("weights", source), *((names.get(key, key), facts[key]) for key in kept if key in facts)]
    if facts["weights"]:
        return [("weights", ", ".join(facts["weights"]))]
    return [("weights", "yes" if facts["has_weights"] else "none published; see finetune --backbone-weights")]


def _part_rows(network: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the parts of a model, or of a member of an ensemble with the frames that it gets."""
    frames = f", {network['num_frames']} frames" if "num_frames" in network else ""
    return [
        ("backbone", network["backbone"] + frames),
        *([] if network.get("is_3d") else [("temporal", _part(network["temporal"]))]),
        *[("augmenter", _part(part)) for part in network["augmenters"]],
    ]


def _part(part: dict[str, Any]) -> str:
    options = ", ".join(f"{key}={value}" for key, value in part.items() if key != "name")
    return f"{part['name']}({options})"


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
