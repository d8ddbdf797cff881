"""Prepare and check the folder that is published, before anything is sent."""

import copy
import itertools
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from videozoo.hub import WeightsError, read_safetensors
from videozoo.hub.files import CONFIG, WEIGHTS
from videozoo.hub.write import save_weights
from videozoo.models import create_model, model_config
from videozoo.publish.card import PICTURE, render_card
from videozoo.publish.run_source import Source
from videozoo.text import cause, json_text, some

__all__ = ["CARD", "prepare_folder"]

CARD = "README.md"
LOGS = ("train.csv", "train.log")
"""Accuracies by epoch and the printed lines of a training, which are published where a model folder has them."""
# Fields that name files of this machine.
_OWN_FIELDS = ("file", "url", "source", "state_dict", "hf_hub_id", "hf_hub_filename")
_CLIP_SIDE = 64  # pixels of the clip on which both models are compared


def prepare_folder(folder: Path, model: Any, source: Source | None, repo: str, revision: str = "") -> None:
    """Write config, weights, card and picture, build the model from them again and compare.

    Args:
        folder: to be created.
        model: a model of videozoo with its config and weights.
        source: its folder and run, for the card.
        repo: the repository of the Hub.
        revision: the branch; empty for the main one.
    Raises:
        WeightsError: tensors that share memory or are not finite, a config that contains a path or cannot be written as
            JSON, results of other classes, or a model that is not the same when it is rebuilt.
    """
    config = _public_config(model, repo)
    if source and source.recipe:
        config["pretrained_cfg"]["train_recipe"] = "; ".join(f"{name} {value}" for name, value in source.recipe.items())
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    _check_tensors(state, repo)
    _check_classes(model, source, repo)
    stored = read_safetensors(source.folder / WEIGHTS) if source and source.run else {}
    _check_source(state, stored, source, repo)
    texts = {CONFIG: json_text(config, 2) + "\n"}
    texts[CARD] = render_card(model, source, repo, revision)
    picture = source.run.picture if source and source.run else None
    try:
        folder.mkdir(parents=True)
        # In the precision in which they were measured, which loading has widened.
        save_weights({name: tensor.to(stored.get(name, tensor).dtype) for name, tensor in state.items()}, folder)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        if picture is not None:
            shutil.copyfile(picture, folder / PICTURE)
        for log in [source.folder / name for name in LOGS] if source else ():
            if log.is_file():
                shutil.copyfile(log, folder / log.name)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"could not be prepared in {folder} ({cause(error)})", source=repo) from error
    _check_rebuilt(folder, model, config, state, repo)


def _public_config(model: Any, repo: str) -> dict[str, Any]:
    """Return the config as plain data, without fields about this machine."""
    config = model_config(model)
    config["pretrained_cfg"] = {k: v for k, v in config["pretrained_cfg"].items() if k not in _OWN_FIELDS}
    try:
        plain: dict[str, Any] = json.loads(json.dumps(config, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise WeightsError(f"its config cannot be written as JSON ({error})", source=repo, file=CONFIG) from error
    for name, value in _texts(plain):
        # Class names may begin with any character.
        if "label_" not in name and re.match(r"/|~|\\\\|[A-Za-z]:[\\/]", value):
            raise WeightsError(
                f"{name} is {value!r}, a path of this machine that would be published; change or remove it",
                source=repo,
                file=CONFIG,
            )
    return plain


def _texts(node: Any, name: str = "") -> list[tuple[str, str]]:
    """Return every string of a JSON tree with its name."""
    if isinstance(node, str):
        return [(name, node)]
    rows = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    return [found for key, value in rows for found in _texts(value, f"{name}.{key}".lstrip("."))]


def _check_tensors(state: Mapping[str, Tensor], repo: str) -> None:
    spans = sorted((*_span(tensor), name) for name, tensor in state.items() if tensor.numel())
    for (_, end, name), (start, _, other) in itertools.pairwise(spans):
        if start < end:
            raise WeightsError(
                f"{name} and {other} share memory, which the file cannot store; give each its own memory "
                "(tensor.clone()) before publishing",
                source=repo,
                file=WEIGHTS,
            )
    broken = [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise WeightsError(f"{len(broken)} tensors are not finite ({some(broken, 4)})", source=repo, file=WEIGHTS)


def _span(tensor: Tensor) -> tuple[int, int]:
    """Return the first and the last address of a tensor's elements."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()


def _check_classes(model: Any, source: Source | None, repo: str) -> None:
    """Check that class names and results belong to this model."""
    given = model.pretrained_cfg.get("label_names")
    if given and len(given) != model.num_classes:
        raise WeightsError(
            f"label_names has {len(given)} names for {model.num_classes} classes", source=repo, file=CONFIG
        )
    if source is None or source.run is None:
        return
    measured = list(source.run.results.get("class_names") or [])
    names = list(given or measured)
    if measured and (measured != names or len(measured) != model.num_classes):
        raise WeightsError(
            f"the run's results are of {len(measured)} classes that are not the model's {model.num_classes}",
            source=repo,
            file="results.json",
        )


def _check_source(state: Mapping[str, Tensor], stored: Mapping[str, Tensor], source: Source | None, repo: str) -> None:
    """Check that the results in the card were measured with these weights, in the precision of the file."""
    if source is None or source.run is None:
        return
    widened = {name: tensor.to(state[name].dtype) for name, tensor in stored.items() if name in state}
    if state.keys() != stored.keys() or any(not _is_same(state[name], widened[name]) for name in state):
        raise WeightsError(
            f"its weights are not those of {source.folder}, whose results the card would show; load them with "
            f"create_model('local-dir:{source.folder}', pretrained=True), or omit run",
            source=repo,
            file=WEIGHTS,
        )


def _check_rebuilt(folder: Path, model: Any, config: dict[str, Any], state: dict[str, Tensor], repo: str) -> None:
    """Read the folder back and check that config, tensors and logits are the same."""
    twin: Any = create_model(f"local-dir:{folder}", pretrained=True)
    again = _public_config(twin, repo)
    changed = sorted(key for key in {*config, *again} if config.get(key) != again.get(key))
    if changed:
        raise WeightsError(f"not the same when read back: {', '.join(changed)}", source=repo, file=CONFIG)
    loaded = twin.state_dict()
    other = [name for name in {**state, **loaded} if not _is_same(state.get(name), loaded.get(name))]
    if other:
        kinds = sorted({str(state[name].dtype) for name in other if name in state})
        raise WeightsError(
            f"{len(other)} tensors are not the same in the rebuilt model ({', '.join(sorted(other)[:4])}; "
            f"{', '.join(kinds)}); publish what create_model can build, in float32",
            source=repo,
            file=WEIGHTS,
        )
    logits, expected = (_logits(net) for net in (twin, copy.deepcopy(model).cpu()))
    if logits.shape != expected.shape or not torch.allclose(logits, expected, rtol=1e-4, atol=1e-5):
        raise WeightsError(
            "the model rebuilt from config and weights gives other logits than this one; it has a change that its spec "
            "does not contain",
            source=repo,
        )


def _is_same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and one.dtype == other.dtype and torch.equal(one, other)


@torch.no_grad()
def _logits(net: Any) -> Tensor:
    size = net.pretrained_cfg["input_size"][1:]
    generator = torch.Generator().manual_seed(0)
    shape = (1, net.in_chans, net.num_frames, *(min(int(side), _CLIP_SIDE) for side in size))
    logits: Tensor = net.eval()(torch.randn(shape, generator=generator))
    return logits
