"""Write the metadata of a card, which the Hub reads, and escape text for Markdown."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData

__all__ = ["accuracies", "escape", "license_fields", "make_metadata", "plain"]

# The Hub's list of licenses (its documentation, page "Licenses"), without those of single models.
_LICENSES = (
    "apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 "
    "bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc "
    "cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 "
    "cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 "
    "cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 "
    "eupl-1.1 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl "
    "openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr unknown other"
)
_MAP = "mean average precision"
_METRICS = {"top1": "top-1 accuracy", "top5": "top-5 accuracy", "mean_class": "mean-class accuracy", "map": _MAP}
_TOP = 5  # with so few classes, top-5 is always 100 %


def plain(text: Any) -> str:
    """Return text as one line of printable characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def escape(text: Any) -> str:
    """Return text of the user escaped for Markdown, also inside a table."""
    line = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]!|~$])", r"\\\1", line)


def accuracies(results: Mapping[str, Any], num_classes: int) -> dict[str, float]:
    """Return the accuracies in percent, with two decimals, by title.

    Args:
        results: ``top1``, ``top5``, ``mean_class``, ``map`` as ratios. A value above 1 is a percentage already. None
            and values that are not finite are left out.
        num_classes: with 5 classes or fewer, top-5 is left out.
    """
    found = {}
    for key, title in _METRICS.items():
        value = results.get(key)
        if isinstance(value, int | float) and math.isfinite(value) and (key != "top5" or num_classes > _TOP):
            found[title] = round(value * 100 if value <= 1 else value, 2)
    return found


def license_fields(name: str | None) -> dict[str, str]:
    """Return the Hub's fields for a license: its identifier, or ``other`` with the name, or ``unknown``."""
    if not name or not name.strip():
        return {"license": "unknown"}
    known = name.strip().lower()
    if known in _LICENSES.split():
        return {"license": known}
    return {"license": "other", "license_name": _slug(known)}


def make_metadata(cfg: Mapping[str, Any], name: str, measured: Mapping[str, float], tags: Sequence[str]) -> str:
    """Return the YAML between the two ``---`` of a card.

    Args:
        cfg: the model's config, for license and data set.
        name: of the model.
        measured: from ``accuracies``.
        tags: in addition to those that every model of videozoo has.
    Raises:
        ValueError: the YAML is not the same when it is read back.
    """
    dataset = plain(cfg.get("dataset") or "")
    results = [
        EvalResult(
            task_type="video-classification",
            dataset_type=_slug(dataset) or "custom",
            dataset_name=dataset or "validation videos of the publisher",
            metric_type="mAP" if title == _MAP else "accuracy",
            metric_name=title,
            metric_value=value,
        )
        for title, value in measured.items()
    ]
    fields: dict[str, Any] = dict(license_fields(cfg.get("license")))
    data = ModelCardData(
        **fields,
        library_name="videozoo",
        pipeline_tag="video-classification",
        tags=["videozoo", "timm", "video-classification", "action-recognition", *tags],
        datasets=[_slug(dataset)] if _slug(dataset) else None,
        model_name=name if results else None,
        eval_results=results or None,
    )
    text = data.to_yaml()
    if yaml.safe_load(text) != data.to_dict():
        raise ValueError(f"make_metadata: the metadata of {name} are not the same when read back: {text}")
    return text


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")
