"""MoViNet of Atze00's repository, whose weights are those of the TensorFlow models."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, compose, rename_all

__all__ = ["convert", "matches"]

SOURCE = "MoViNet"
_PARTS = {"expand": "expand", "deep": "depthwise", "project": "project"}
_BLOCK = r"blocks\.(\d\.\d+)"
_CONV = r"conv_1\.conv[23]d"
_RULES = [
    (rf"conv1\.{_CONV}", "backbone.stem.conv"),
    (r"conv1\.conv_1\.norm", "backbone.stem.bn"),
    (rf"{_BLOCK}\.alpha", r"backbone.layer\1.alpha"),
    *((rf"{_BLOCK}\.{old}\.{_CONV}", rf"backbone.layer\1.{new}.conv") for old, new in _PARTS.items()),
    *((rf"{_BLOCK}\.{old}\.conv_1\.norm", rf"backbone.layer\1.{new}.bn") for old, new in _PARTS.items()),
    (rf"{_BLOCK}\.deep\.conv_2\.conv2d", r"backbone.layer\1.temporal.conv"),
    (rf"{_BLOCK}\.deep\.conv_2\.norm", r"backbone.layer\1.temporal.bn"),
    (rf"{_BLOCK}\.se\.(fc[12])\.{_CONV}", r"backbone.layer\1.se.\2"),
    (rf"{_BLOCK}\.res\.[01]\.{_CONV}", r"backbone.layer\1.shortcut.conv"),
    (rf"{_BLOCK}\.res\.[01]\.conv_1\.norm", r"backbone.layer\1.shortcut.bn"),
    (rf"conv7\.{_CONV}", "backbone.head.conv"),
    (r"conv7\.conv_1\.norm", "backbone.head.bn"),
    (rf"classifier\.0\.{_CONV}", "backbone.pooled"),
    (rf"classifier\.3\.{_CONV}", "fc"),
]
# Name and frame size, by channels of the last convolution.
_KINDS = {480: ("a0", 172), 600: ("a1", 172), 640: ("a2", 224), 744: ("a3", 256), 856: ("a4", 290), 992: ("a5", 320)}
_FIRST_GATE = "blocks.b0_l0.se.fc1.conv_1."


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of Atze00's MoViNet, for clips or for streams."""
    return any(f"{_FIRST_GATE}{conv}.weight" in state for conv in ("conv3d", "conv2d"))


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    50 frames are assumed, as in the evaluation of the smaller models.

    Raises:
        ConvertError: a key has no place, or the network is neither one of A0 to A5 nor its usual form for streams.
    """
    marked = {_mark(key): value for key, value in state.items()}
    renamed, dropped = rename_all(marked, _RULES, SOURCE)
    new = {key.removesuffix(".weight") if "alpha" in key else key: _to_3d(key, value) for key, value in renamed.items()}
    is_causal = f"{_FIRST_GATE}conv2d.weight" in state
    gate, inner = (new.get(f"backbone.layer1.0.{key}.weight") for key in ("se.fc1", "expand.conv"))
    head = new.get("backbone.head.conv.weight")
    if gate is None or inner is None or head is None or head.shape[0] not in _KINDS:
        raise ConvertError(f"{SOURCE}: none of A0 to A5: its last convolution has another width or is missing.")
    if gate.shape[1] != inner.shape[0] * (2 if is_causal else 1):
        raise ConvertError(
            f"{SOURCE}: only causal models with conv_type '2plus1d' and others with '3d' are known, as published."
        )
    name, size = _KINDS[head.shape[0]]
    cfg = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "input_size": (3, size, size)}
    backbone = f"movinet_{name}_{'causal' if is_causal else 'base'}"
    return compose(new, dropped, backbone, num_frames=50, cfg=cfg)


def _mark(key: str) -> str:
    """Number stages from 1 (``b0_l1`` becomes ``1.1``), and give a bare parameter the leaf that the rules expect."""
    parts = key.split(".")
    if len(parts) > 2 and parts[0] == "blocks" and parts[1][:1] == "b":
        stage, _, block = parts[1][1:].partition("_l")
        parts[1] = f"{int(stage) + 1}.{block}" if stage.isdecimal() else parts[1]
    return ".".join(parts) + (".weight" if parts[-1] == "alpha" else "")


def _to_3d(key: str, value: Tensor) -> Tensor:
    """Return the weight of a 2-D convolution, over space or over time, as that of a 3-D one."""
    if key in ("fc.weight", "backbone.pooled.weight"):
        return value.flatten(1)
    if value.ndim == 4:
        return value[..., None] if ".temporal." in key else value[:, :, None]
    return value
