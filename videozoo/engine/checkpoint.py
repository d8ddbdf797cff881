"""Checkpoints: folders that are complete or absent, with safetensors and JSON only."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from videozoo.engine.errors import CheckpointError
from videozoo.files import replace_folder, write_file
from videozoo.text import cause, json_text

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
STATE_TENSORS = "train_state.safetensors"
STATE_TREE = "train_state.json"
STATE_FORMAT = 2

Tree = Any  # dicts, lists and tuples of tensors, strings, numbers, booleans and None


def save_checkpoint(
    folder: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any], train_state: Tree = None
) -> None:
    """Write ``model.safetensors`` and ``config.json``, and ``train_state.*`` if given, in place of the old files.

    Args:
        folder: the folder to write.
        weights: the state dict of the model.
        config: the content of ``config.json``, from `videozoo.model_config`.
        train_state: state of a training, for a run that is continued.
    Raises:
        CheckpointError: the disk refused. The previous files of ``folder`` are then still complete.
    Example:
        >>> from pathlib import Path
        >>> from videozoo import create_model, model_config
        >>> from videozoo.engine import save_checkpoint
        >>> model = create_model("test_arc_tsm", num_classes=2)
        >>> save_checkpoint(Path("my_model"), model.state_dict(), model_config(model, class_names=["jump", "run"]))
        >>> create_model("my_model", pretrained=True).num_classes
        2
    """

    def fill(temporary: Path) -> None:
        _save_tensors(weights, temporary / WEIGHTS)
        (temporary / CONFIG).write_text(json_text(config, 2) + "\n", encoding="utf-8")
        if train_state is not None:
            tensors, skeleton = flatten(train_state)
            _save_tensors(tensors, temporary / STATE_TENSORS)
            text = json_text({"format": STATE_FORMAT, "tree": skeleton}) + "\n"
            (temporary / STATE_TREE).write_text(text, encoding="utf-8")

    with explain_disk(folder, "; the previous checkpoint is intact" if folder.exists() else ""):
        replace_folder(folder, fill)


def load_weights(folder: Path) -> dict[str, Tensor]:
    """Read ``model.safetensors`` of a checkpoint folder onto the CPU.

    Raises:
        CheckpointError: absent or damaged.
    """
    return _load_tensors(folder / WEIGHTS)


def load_train_state(folder: Path) -> Tree:
    """Read back the ``train_state`` given to `save_checkpoint`, tensors on the CPU.

    Raises:
        CheckpointError: absent, damaged, or of a format this version does not know.
    """
    path = folder / STATE_TREE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: not readable ({cause(error)}); start a new run from the weights in it."
        ) from error
    if document.get("format") != STATE_FORMAT:
        raise CheckpointError(
            f"{path}: format {document.get('format')!r}, and this version continues format {STATE_FORMAT} only; start "
            f"a new run from the weights in {folder}."
        )
    return unflatten(document["tree"], _load_tensors(folder / STATE_TENSORS))


def flatten(tree: Tree) -> tuple[dict[str, Tensor], Any]:
    """Split a tree into its tensors, named by their path, and a JSON skeleton that refers to them.

    Raises:
        TypeError: something else than dicts, lists, tuples, tensors, strings, numbers, booleans and None.
    """
    tensors: dict[str, Tensor] = {}

    def part(node: Tree, path: str) -> Any:
        if isinstance(node, Tensor):
            tensors[path] = node
            return {"__tensor__": path}
        if node is None or isinstance(node, str | bool | int | float):
            return node
        if isinstance(node, Mapping):
            items = [(key, part(value, f"{path}.{key}".lstrip("."))) for key, value in node.items()]
            if all(isinstance(key, str) and not key.startswith("__") for key, _ in items):
                return dict(items)
            return {"__items__": [[key, value] for key, value in items]}  # keys that JSON would turn into strings
        if isinstance(node, list | tuple):
            values = [part(value, f"{path}.{number}".lstrip(".")) for number, value in enumerate(node)]
            return values if isinstance(node, list) else {"__tuple__": values}
        raise TypeError(
            f"flatten: {path} is a {type(node).__name__}; only tensors, numbers, text, dicts and lists are kept."
        )

    return tensors, part(tree, "")


def unflatten(skeleton: Any, tensors: Mapping[str, Tensor]) -> Tree:
    """Join the result of `flatten`."""
    if isinstance(skeleton, list):
        return [unflatten(value, tensors) for value in skeleton]
    if not isinstance(skeleton, dict):
        return skeleton
    if "__tensor__" in skeleton:
        return tensors[skeleton["__tensor__"]]
    if "__tuple__" in skeleton:
        return tuple(unflatten(value, tensors) for value in skeleton["__tuple__"])
    if "__items__" in skeleton:
        return {key: unflatten(value, tensors) for key, value in skeleton["__items__"]}
    return {key: unflatten(value, tensors) for key, value in skeleton.items()}


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file as `videozoo.files.write_file` does.

    Raises:
        CheckpointError: the disk refused. The old file is still in place.
    """
    with explain_disk(path):
        write_file(path, content)


@contextlib.contextmanager
def explain_disk(path: Path, kept: str = "") -> Iterator[None]:
    """Turn errors of the disk into a `CheckpointError`.

    ``kept`` goes on with what is still there.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path}: could not be written ({cause(error)}){kept}. Free space or give another output."
        ) from error


def _save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors. Those that share memory (tied weights) are copied, as the format requires."""
    seen: set[int] = set()
    whole: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        whole[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    save_file(whole, path, metadata={"format": "pt"})


def _load_tensors(path: Path) -> dict[str, Tensor]:
    try:
        # Copies: the file is soon replaced by the next checkpoint.
        return {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not readable ({cause(error)}).") from error
