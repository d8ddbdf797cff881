"""One model becomes one file, which is run and compared before it has its name."""

import os
import tempfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from videozoo.choices import EXPORT_FORMATS
from videozoo.extras import EXTRAS, check_installed
from videozoo.files import install_file

from .check import check_equal, make_clips, run_in_batches
from .errors import ExportError
from .metadata import EXTRA_FILE, KEY, describe
from .onnx_net import OnnxNet
from .quantize import write_int8
from .trace import free_sizes, size_multiple, trace_program, translate

__all__ = ["Agreement", "ExportReport", "check_target", "export_model"]


@dataclass(frozen=True)
class Agreement:
    """Agreement of a quantized file with the model on certain clips.

    Args:
        num_clips: clips asked.
        top1: fraction of them with the same best class.
        max_difference: largest difference of a logit.
        max_logit: largest logit of the network, for comparison.
    """

    num_clips: int
    top1: float
    max_difference: float
    max_logit: float


@dataclass(frozen=True)
class ExportReport:
    """Report of an export.

    Args:
        path: the file.
        num_bytes: its size.
        max_difference: largest difference of a logit over the largest logit, between the file (its float form, where
            weights became int8) and the model.
        agreement: of int8 weights with the model. None without them.
    """

    path: Path
    num_bytes: int
    max_difference: float
    agreement: Agreement | None = None


def export_model(
    model: Any,
    path: str | os.PathLike[str],
    format: str = "onnx",
    *,
    fuse: bool = False,
    int8: bool = False,
    clips: Tensor | None = None,
    on_step: Callable[[str], None] = lambda step: None,
) -> ExportReport:
    """Export a model to one file for other programs, after the file was run and compared with the model.

    The batch size is left open, for 3-D models height and width too. Classes, sampling and preprocessing are stored in
    the file as one JSON text, which `read_description` reads. The model itself is not changed.

    Args:
        model: a model of videozoo. It is exported in evaluation mode, in float32.
        path: a new file. Its suffix must be that of the format (``choices.EXPORT_FORMATS``).
        format: ``onnx``, or ``torch-export`` (for ``torch.export.load``), or ``state-dict``, the weights alone as
            safetensors.
        fuse: fold norms into convolutions first, as ``videozoo.fuse`` does.
        int8: store the weights of an ONNX file as int8. ``clips`` are needed to measure what that costs.
        clips: normalized clips (N, 3, T, H, W) to check with, of the model's test size. None for random ones.
        on_step: called with a description of each step.
    Returns:
        size, difference and agreement.
    Raises:
        ExportError: an operation that cannot be exported, a file that differs, a missing package, or a file name that
            is taken or has another suffix.
    Example:
        >>> from videozoo import create_model
        >>> from videozoo.export import export_model
        >>> model = create_model("test_arc_tsm.motions", pretrained=True)
        >>> export_model(model, "motions.safetensors", format="state-dict").num_bytes > 400_000
        True
    """
    target = check_target(path, format)
    if int8 and format != "onnx":
        raise ExportError(f"int8 weights are for ONNX files, not for {format}.")
    if int8 and clips is None:
        raise ExportError("int8 weights change the answers: give clips, on which the loss of agreement is measured.")
    if not model.num_classes:
        raise ExportError("the model has no classifier (num_classes is 0); only models that give logits are exported.")
    net = deepcopy(model).cpu().float().eval().requires_grad_(False)
    if fuse:
        from videozoo.models.fusion import fuse as fuse_network

        on_step("folding norms into convolutions")
        net = fuse_network(net)
    text = describe(net, fused=fuse)
    clips = make_clips(net) if clips is None else clips
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that renaming stays on one disk.
    side = tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent, ignore_cleanup_errors=True)
    with side as folder, torch.inference_mode(False), torch.no_grad():
        file = Path(folder) / target.name
        agreement = None
        if format == "state-dict":
            difference = _write_state(net, file, text)
        elif format == "torch-export":
            difference = _write_program(net, file, text, clips, on_step)
        else:
            difference = _write_onnx(net, file, text, clips, on_step)
            if int8:
                agreement = _make_int8(net, file, clips, on_step)
        num_bytes = file.stat().st_size
        install_file(file, target)
    return ExportReport(target, num_bytes, difference, agreement)


def check_target(path: str | os.PathLike[str], format: str) -> Path:
    """Return the file that an export will make.

    Raises:
        ExportError: an unknown format, or a name that is taken or ends otherwise.
        MissingPackageError: packages for ONNX are missing.
    """
    target = Path(path).expanduser()
    if format not in EXPORT_FORMATS:
        raise ExportError(f"format is {format!r}; choose from {', '.join(EXPORT_FORMATS)}.")
    if target.suffix != EXPORT_FORMATS[format]:
        meant = next((name for name, suffix in EXPORT_FORMATS.items() if suffix == target.suffix), None)
        hint = "" if meant is None else f"; for {target.suffix} give --format {meant} (format={meant!r} in Python)"
        raise ExportError(
            f"{target}: the name of a file of format {format} must end in {EXPORT_FORMATS[format]}{hint}."
        )
    if target.exists():
        raise ExportError(f"{target}: exists already; name a new file.")
    if format == "onnx":
        check_installed("export to ONNX", *EXTRAS["export"])
    return target


def _write_state(net: Any, file: Path, text: str) -> float:
    state = {name: tensor.contiguous().clone() for name, tensor in net.state_dict().items()}
    save_file(state, file, metadata={"format": "pt", KEY: text})
    again = load_file(file)
    if set(again) != set(state) or any(not torch.equal(again[name], state[name]) for name in state):
        raise ExportError(f"{file.name}: read again, it holds other weights; is the disk full?")
    return 0.0


def _write_program(net: Any, file: Path, text: str, clips: Tensor, on_step: Callable[[str], None]) -> float:
    on_step("tracing")
    program = trace_program(net, clips[:1].expand(2, -1, -1, -1, -1).clone())
    torch.export.save(program, file, extra_files={EXTRA_FILE: text})
    on_step("running the file")
    again = torch.export.load(file).module()
    return check_equal(net, again, clips, size_multiple=size_multiple(net))


def _write_onnx(net: Any, file: Path, text: str, clips: Tensor, on_step: Callable[[str], None]) -> float:
    on_step("tracing")
    program = trace_program(net, clips[:1].expand(2, -1, -1, -1, -1).clone())
    on_step("translating")
    made = translate(program, free_sizes(net))
    made.model.metadata_props[KEY] = text
    made.save(file, external_data=False)
    on_step("running the file")
    return check_equal(net, OnnxNet(file), clips, size_multiple=size_multiple(net))


def _make_int8(net: Any, file: Path, clips: Tensor, on_step: Callable[[str], None]) -> Agreement:
    on_step("weights to int8")
    small = file.with_name(f"int8_{file.name}")
    write_int8(file, small)
    os.replace(small, file)
    expected, got = run_in_batches(net, clips), run_in_batches(OnnxNet(file), clips)
    return Agreement(
        num_clips=len(clips),
        top1=(expected.argmax(1) == got.argmax(1)).double().mean().item(),
        max_difference=(expected - got).abs().max().item(),
        max_logit=expected.abs().max().item(),
    )
