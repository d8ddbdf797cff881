"""TRN of its authors' repository, on ResNets, BN-Inception and Inception-V3."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from videozoo.hub.convert import bninception, inception_v3, tsm
from videozoo.hub.convert.base import Converted, ConvertError, rename_all

__all__ = ["convert", "matches"]

SOURCE = "TRN authors"
_BACKBONES = (bninception, inception_v3, tsm)
_HEAD = "consensus."
_LAST = "consensus.fc_fusion_scales.0.3.weight"  # the longest scale's classifier
_RULES = [(r"consensus\.fc_fusion_scales\.(\d+)\.([13])", r"fc.scales.\1.\2")]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' multi-scale TRN."""
    return _LAST in state and any(source.matches(state) for source in _BACKBONES)


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys: below the head it is the authors' TSN.

    The number of frames is read from the head.

    Raises:
        ConvertError: a key has no place (relations with a classifier of their own, another backbone).
    """
    below = {key: value for key, value in state.items() if not key.startswith(_HEAD)}
    converted = next(source for source in _BACKBONES if source.matches(below)).convert(below)
    head, _ = rename_all({key: state[key] for key in state if key.startswith(_HEAD)}, _RULES, SOURCE)
    if "fc.weight" not in converted.state:
        raise ConvertError(f"{SOURCE}: new_fc.weight is missing, the map from a backbone's features to the relations.")
    new = {f"fc.project.{k[3:]}" if k.startswith("fc.") else k: v for k, v in converted.state.items()}
    hidden = new["fc.project.weight"].shape[0]
    spec = {
        **converted.spec,
        "temporal": {"name": "trn", "hidden": hidden},
        "num_frames": head["fc.scales.0.1.weight"].shape[1] // hidden,
        "num_classes": state[_LAST].shape[0],
    }
    return replace(converted, state={**new, **head}, spec=spec)
