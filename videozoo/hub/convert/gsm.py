"""GSM of its authors' repository, on BN-Inception and Inception-V3."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from videozoo.hub.convert import bninception, inception_v3
from videozoo.hub.convert.base import Converted, ConvertError, Rules, rename

__all__ = ["convert", "matches"]

SOURCE = "GSM authors"
_GATE = "base_model.gsm_"
_BACKBONES = (bninception, inception_v3)
_PLACES = {  # of the tensors of a gate, behind the convolution that it follows
    "conv3D.weight": "post.conv.weight",
    "conv3D.bias": "post.bias",
    **{f"bn.{leaf}": f"post.norm.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var")},
    "bn.num_batches_tracked": "post.norm.num_batches_tracked",
}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' GSM."""
    return any(key.startswith(_GATE) for key in state) and any(source.matches(state) for source in _BACKBONES)


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys: besides the gates it is the authors' TSN.

    Their 3-D convolution becomes a 2-D one with an output for each step in time. The number of frames cannot be read
    from the keys. 8 is assumed.

    Raises:
        ConvertError: a key has no place.
    """
    below = {key: value for key, value in state.items() if not key.startswith(_GATE)}
    source = next(source for source in _BACKBONES if source.matches(below))
    converted = source.convert(below)
    gates = {_place(key, source.RULES): value for key, value in state.items() if key.startswith(_GATE)}
    for key, value in gates.items():
        if key.endswith("post.conv.weight"):
            gates[key] = value.transpose(1, 2).flatten(0, 1)
    return replace(converted, state={**converted.state, **gates}, spec={**converted.spec, "temporal": {"name": "gsm"}})


def _place(key: str, rules: Rules) -> str:
    conv, _, leaf = key.removeprefix(_GATE).partition(".")
    own = rename(f"base_model.{conv}.weight", rules)
    if not own or leaf not in _PLACES:
        raise ConvertError(f"{SOURCE}: no place for {key}; is it another architecture?")
    return f"{own.removesuffix('weight')}{_PLACES[leaf]}"
