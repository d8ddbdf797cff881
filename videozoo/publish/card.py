"""Write the card of a model: its parts, cost, training, accuracy and use."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from videozoo.data import resolve_data_config, test_size_of
from videozoo.engine.metrics import worst_confusions
from videozoo.models.config import class_names
from videozoo.nets import list_backbones
from videozoo.probabilities import is_multi_label
from videozoo.publish.citations import papers_of
from videozoo.publish.metadata import accuracies, escape, license_fields, make_metadata
from videozoo.publish.run_source import Source
from videozoo.report import count_cost
from videozoo.text import gmacs_text, markdown_table

__all__ = ["PICTURE", "render_card"]

PICTURE = "confusion.png"
_WHOLE_MATRIX_UP_TO = 12  # classes


def render_card(model: Any, source: Source | None = None, repo: str = "ORG/NAME", revision: str = "") -> str:
    """Return the README of a model's repository: the Hub's metadata, then Markdown.

    The text has no date and no path, so the same model always gives the same card.

    Args:
        model: a model of videozoo with its config.
        source: its folder and run, for recipe and measurements. None: the metrics of the config are shown.
        repo: the repository of the Hub.
        revision: a branch of the repository; empty for the main one.
    """
    cfg: dict[str, Any] = dict(getattr(model, "pretrained_cfg", {}))
    specs = _compositions(model)
    run = source.run if source else None
    results: Mapping[str, Any] = (run.results if run else cfg.get("metrics")) or {}
    parts = [name for spec in specs for name in _part_names(spec)]
    name = repo if revision in ("", "main") else f"{repo}@{revision}"
    head = make_metadata(cfg, repo, accuracies(results, model.num_classes), list(dict.fromkeys(parts)))
    sections = [
        f"# {repo.rpartition('/')[2]}",
        f"A model for video action recognition, made with videozoo: {_summary(specs)}.",
        *([escape(cfg["description"])] if cfg.get("description") else []),
        "## Use\n\n" + _use(name, model),
        "## Model\n\n" + _model(model, cfg, specs),
        "## Data\n\n" + _data(model, cfg, source, results),
        "## Training\n\n" + _training(cfg, source),
        "## Evaluation\n\n" + _evaluation(model, cfg, source, results),
        "## Classes\n\n" + _classes(model, cfg, results),
        "## License\n\n" + _license(cfg),
        "## References\n\n" + _references(specs),
    ]
    return f"---\n{head}\n---\n\n" + "\n\n".join(sections) + "\n"


def _compositions(model: Any) -> list[dict[str, Any]]:
    """Return the spec as plain data, or the specs of the members of an ensemble."""
    spec = model.spec.to_dict()
    return list(spec.get("members") or [spec])


def _part_names(spec: Mapping[str, Any]) -> list[str]:
    return [*(part["name"] for part in spec["augmenters"]), spec["temporal"]["name"]]


def _summary(specs: Sequence[Mapping[str, Any]]) -> str:
    names = [" on ".join([*(name.upper() for name in _part_names(spec)), f"`{spec['backbone']}`"]) for spec in specs]
    return names[0] if len(names) == 1 else f"an ensemble of {len(names)} models, " + ", ".join(dict.fromkeys(names))


def _use(name: str, model: Any) -> str:
    height, width = _videos(model)["input_size"][1:]
    clips = f"(B, {model.in_chans}, {model.num_frames}, {height}, {width})"
    return f"""\
```python
import videozoo

model = videozoo.create_model("hf-hub:{name}", pretrained=True).eval()
logits = model(clips)  # clips {clips} -> (B, {model.num_classes}){_multi_label_use(model)}
names = model.pretrained_cfg.get("label_names")
```

```bash
videozoo predict --model hf-hub:{name} clip.mp4
```"""


def _multi_label_use(model: Any) -> str:
    several = "\nprobabilities = logits.sigmoid()  # a video may have several classes, or none"
    return several if is_multi_label(model) else ""


def _videos(model: Any) -> dict[str, Any]:
    """Return the preprocessing of the config, as for 3 channels."""
    cfg = dict(model.pretrained_cfg)
    size = cfg.get("input_size") or (3, 224, 224)
    own = {"num_frames": model.num_frames, "frames_per_segment": model.frames_in_a_row}
    return resolve_data_config({**cfg, **own, "input_size": (3, *size[1:])})


def _model(model: Any, cfg: Mapping[str, Any], specs: Sequence[Mapping[str, Any]]) -> str:
    videos = _videos(model)
    cost = count_cost(model, clip_size=(model.in_chans, *videos["input_size"][1:]))
    shape = " x ".join(str(n) for n in cost.clip_shape)
    rows = [["architecture", f"`{cfg['architecture']}`" if cfg.get("architecture") else "a composition without a name"]]
    for spec in specs:
        library = "videozoo" if spec["backbone"] in list_backbones() else "timm"
        rows += [["backbone", f"`{spec['backbone']}` of {library}"], ["temporal module", _part(spec["temporal"])]]
        rows += [["add-on", _part(part)] for part in spec["augmenters"]]
    rows += [
        ["parameters", f"{cost.params:,}"],
        ["cost of one view", f"{gmacs_text(cost.macs)} GMACs"],
        ["clip (C x T x H x W)", shape],
        ["frames", _sampling(videos)],
        ["mean, std", f"{_numbers(videos['mean'])}; {_numbers(videos['std'])}"],
        ["resizing", f"{videos['interpolation']}, {_resizing(videos)}"],
    ]
    if videos.get("channel_order", "rgb") != "rgb":
        rows.append(["channels", escape(videos["channel_order"])])
    if cfg.get("decoder"):
        rows.append(["decoder", escape(cfg["decoder"])])
    return markdown_table(["", ""], rows)


def _resizing(videos: Mapping[str, Any]) -> str:
    if videos["test_resize"]:
        return "test frames of {} x {} pixels".format(*videos["test_resize"])
    return f"test crop {videos['crop_pct']:g} of the short side"


def _part(part: Mapping[str, Any]) -> str:
    options = ", ".join(f"{key}={value}" for key, value in part.items() if key != "name")
    return f"{part['name'].upper()}({escape(options)})"


def _sampling(videos: Mapping[str, Any]) -> str:
    text = f"{videos['num_frames']}, {videos['frame_sampling']} sampling"
    if videos["frame_sampling"] == "dense":
        text += f", stride {videos['frame_stride']}"
    return text + (f", {videos['frames_per_segment']} in a row" if videos["frames_per_segment"] > 1 else "")


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _data(model: Any, cfg: Mapping[str, Any], source: Source | None, results: Mapping[str, Any]) -> str:
    dataset, is_run = escape(cfg.get("dataset") or ""), bool(source and source.recipe)
    name = dataset or ("Videos of the publisher" if is_run else "Data set not recorded in the config")
    text = f"{name}, {model.num_classes} classes."
    if is_run and results.get("num_train_videos"):
        text += f" {results['num_train_videos']:,} training videos."
    if is_run and "num_labelled" in results:
        text += f" {results['num_labelled']:,} labeled validation videos."
    return text


def _training(cfg: Mapping[str, Any], source: Source | None) -> str:
    if source and source.recipe:
        rows = [[escape(name), escape(value)] for name, value in source.recipe.items()]
        return markdown_table(["setting", "value"], rows)
    recorded = [escape(cfg[key]) for key in ("train_recipe", "origin_url") if cfg.get(key)]
    return "\n\n".join(recorded) or "The config does not record how it was trained."


def _evaluation(model: Any, cfg: Mapping[str, Any], source: Source | None, results: Mapping[str, Any]) -> str:
    run = source.run if source else None
    videos = _videos(model)
    clips, crops = videos["test_num_clips"], videos["test_num_crops"]
    size = test_size_of(videos)
    views = results.get("num_views", clips * crops)
    protocol = f"{clips} x {crops} views (clips x crops)" if views == clips * crops else f"{views} views"
    text = (
        f"Protocol: {protocol} of {size[0]} x {size[1]} pixels, frames: {_sampling(videos)}. Scores are averaged over "
        "the views."
    )
    rows = [[title, f"{value:g} %"] for title, value in accuracies(results, model.num_classes).items()]
    if not rows:
        return text + "\n\nNo accuracy is recorded for these weights."
    origin = "Measured by videozoo" if run else "As recorded in the config"
    if not run and cfg.get("description"):
        origin += f" ({escape(str(cfg['description']).rstrip('.'))})"
    if "num_labelled" in results:
        origin += f", on {results['num_labelled']:,} videos"
    title = "measure" if is_multi_label(cfg) else "accuracy"
    blocks = [text, f"{origin}:", markdown_table([title, ""], rows), *_confidence(results)]
    if run is not None and run.confusion is not None:
        blocks.append(_confusion(run.confusion, _names(model, cfg)))
    if run is not None and run.picture is not None:
        blocks.append(f"![confusion matrix]({PICTURE})")
    return "\n\n".join(blocks)


def _confidence(results: Mapping[str, Any]) -> list[str]:
    """Return a paragraph with the confidence interval, chance and the choice of the epoch, as far as recorded."""
    lines = []
    if None not in (results.get("top1_interval") or [None]):
        low, high = results["top1_interval"]
        lines.append(
            f"Top-1 is {results['num_correct']:,} of {results['num_labelled']:,} videos. Its 95 % interval (Wilson) is "
            f"{100 * low:.1f} to {100 * high:.1f} %. Chance is {100 * results['chance']:.1f} %."
        )
    if "epoch" in results and "epochs" in results:
        metric = {"top1": "top-1", "mean_class": "mean-class accuracy", "map": "mAP"}.get(
            results.get("eval_metric", "")
        )
        lines.append(
            f"Epoch {results['epoch']} of {results['epochs']} was chosen{f' by {metric}' if metric else ''} on these "
            "same videos, so expect a slightly lower accuracy on others."
        )
    return [" ".join(lines)] if lines else []


def _names(model: Any, cfg: Mapping[str, Any]) -> list[str]:
    return [escape(name) for name in class_names(cfg, model.num_classes)]


def _confusion(counts: Tensor, names: Sequence[str]) -> str:
    if len(names) <= _WHOLE_MATRIX_UP_TO:
        rows = [[f"**{name}**", *map(str, row)] for name, row in zip(names, counts.tolist(), strict=True)]
        return "Confusion matrix, videos by true class (rows) and predicted class (columns):\n\n" + markdown_table(
            ["", *names], rows
        )
    rows = [[names[one.true], names[one.taken], f"{one.count} of {one.total}"] for one in worst_confusions(counts)]
    if not rows:
        return "No video was misclassified."
    return "Most frequent confusions:\n\n" + markdown_table(["true class", "predicted class", "videos"], rows)


def _classes(model: Any, cfg: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    if not cfg.get("label_names"):
        return f"{model.num_classes} classes by index. The config has no names for them."
    names = _names(model, cfg)
    accuracy = results.get("per_class") or []
    if len(accuracy) != len(names):
        return markdown_table(["index", "class"], [[str(index), name] for index, name in enumerate(names)])
    cells = ["no video" if value is None else f"{100 * value:.1f} %" for value in accuracy]
    rows = [[str(index), name, cell] for index, (name, cell) in enumerate(zip(names, cells, strict=True))]
    return markdown_table(["index", "class", "average precision" if is_multi_label(cfg) else "accuracy"], rows)


def _license(cfg: Mapping[str, Any]) -> str:
    if license_fields(cfg.get("license"))["license"] == "unknown":
        return "Unknown: the config states none. Ask the publisher before you use these weights."
    return f"{escape(cfg['license'])}."


def _references(specs: Sequence[Mapping[str, Any]]) -> str:
    papers = papers_of(specs)
    if not papers:
        return "The parts of this model have no paper of their own."
    lines = [
        f"* {paper.authors.replace(' and ', ', ')}: *{paper.title}*{f', {paper.where}' if paper.where else ''}."
        for paper in papers
    ]
    return "\n".join(lines) + "\n\n```bibtex\n" + "\n\n".join(paper.bibtex for paper in papers) + "\n```"
