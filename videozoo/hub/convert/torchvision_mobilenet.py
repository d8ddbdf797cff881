"""torchvision's MobileNetV2 under timm's key names."""

from torch import Tensor

__all__ = ["is_torchvision_mobilenet_v2", "mobilenet_v2_to_timm"]

# Blocks per stage (t, c, n, s of the paper's Table 2); features.1 is the first block, features.18 the last convolution.
_STAGES = (1, 2, 3, 4, 3, 3, 1)
_LAST = 1 + sum(_STAGES)


def is_torchvision_mobilenet_v2(state: dict[str, Tensor]) -> bool:
    """Whether the keys are those of ``torchvision.models.mobilenet_v2``."""
    return "features.0.0.weight" in state and f"features.{_LAST}.0.weight" in state


def mobilenet_v2_to_timm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of ``torchvision.models.mobilenet_v2`` to those of timm's ``mobilenetv2_100``.

    Keys that have no counterpart are kept as they are, so that strict loading names them.
    """
    prefixes = {
        "features.0.0": "conv_stem",
        "features.0.1": "bn1",
        f"features.{_LAST}.0": "conv_head",
        f"features.{_LAST}.1": "bn2",
        "classifier.1": "classifier",
    }
    index = 1
    for stage, depth in enumerate(_STAGES):
        for block in range(depth):
            old, new = f"features.{index}.conv", f"blocks.{stage}.{block}"
            if index == 1:  # no expansion: depth-wise, then point-wise
                names = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}
            else:
                names = {"0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2", "2": "conv_pwl", "3": "bn3"}
            prefixes.update({f"{old}.{a}": f"{new}.{b}" for a, b in names.items()})
            index += 1
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        prefix, _, leaf = key.rpartition(".")
        out[f"{prefixes[prefix]}.{leaf}" if prefix in prefixes else key] = value
    return out
