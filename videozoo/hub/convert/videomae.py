"""VideoMAE, the authors' code: fine-tuned models and encoders alone."""

from collections.abc import Mapping

import torch
from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, Rules, compose, rename_all

__all__ = ["convert", "convert_videomae", "matches"]

SOURCE = "VideoMAE authors"
_RULES: Rules = [
    (r"(patch_embed\.proj|fc_norm|blocks\.\d+\.(?:norm[12]|attn|attn\.(?:qkv|proj)|mlp\.fc[12]))", r"backbone.\1"),
    (r"head", "fc"),
    (r"norm", ""),  # of the encoder before its decoder, which fine-tuning leaves out
    (r"decoder\..*|encoder_to_decoder", ""),
]
_SIZES = {(384, 12): "small", (768, 12): "base", (1024, 24): "large"}  # width and depth
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_TUBELETS = "patch_embed.proj.weight"
_QUERIES = "blocks.0.attn.q_bias"


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of a ViT on tubelets with biases of queries."""
    for start in ("", "encoder."):
        if {start + _TUBELETS, start + _QUERIES} <= set(state) and state[start + _TUBELETS].ndim == 5:
            return True
    return False


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    Raises:
        ConvertError: a key has no place, or a variant that is not registered.
    """
    return convert_videomae(state, SOURCE)


def convert_videomae(state: Mapping[str, Tensor], source: str) -> Converted:
    """Convert a checkpoint that has the authors' keys.

    An encoder without classifier becomes a model without classes, to start from. Its ``fc_norm`` is new, as in the
    authors' fine-tuning.

    Args:
        state: tensors by those keys. Of pretraining they begin with ``encoder.``, and a decoder is left out.
        source: name for errors.
    Raises:
        ConvertError: a key has no place, or a variant that is not registered.
    """
    left_out = tuple(key for key in ("mask_token", "pos_embed") if key in state)
    named = {key.removeprefix("encoder."): value for key, value in state.items() if key not in left_out}
    new, dropped = rename_all(named, _RULES, source)
    first = new.get("backbone.patch_embed.proj.weight")
    depth = len({key.split(".")[2] for key in new if key.startswith("backbone.blocks.")})
    shape = () if first is None else tuple(first.shape)
    size = _SIZES.get((shape[0], depth)) if len(shape) == 5 and shape[2:] == (2, 16, 16) else None
    if size is None:
        known = ", ".join(f"{blocks} blocks of {width}" for width, blocks in _SIZES)
        raise ConvertError(
            f"{source}: VideoMAE of {depth} blocks on tubelets {shape}; known are {known}, on tubelets "
            "(width, 3, 2, 16, 16)."
        )
    frames = _frames_of(state.get("pos_embed"), source)
    has_classes = "fc.weight" in new
    if not has_classes:
        new.setdefault("backbone.fc_norm.weight", torch.ones(shape[0]))
        new.setdefault("backbone.fc_norm.bias", torch.zeros(shape[0]))
    converted = compose(new, dropped + left_out, f"videomae_vit_{size}", num_frames=frames, cfg=_IMAGENET)
    if not has_classes:
        converted.spec["num_classes"] = 0
    return converted


def _frames_of(positions: Tensor | None, source: str) -> int:
    """Return the frames that a stored table of positions is for, at 224 pixels. 16 without a table."""
    if positions is None:
        return 16
    if positions.ndim != 3 or positions.shape[1] % 196:
        raise ConvertError(f"{source}: position embeddings {tuple(positions.shape)} are not for frames of 224 pixels.")
    first = positions[0, 0].float()  # a table of sines and cosines begins with 0, 1, 0, 1
    if (first - torch.arange(len(first)) % 2).abs().amax() > 0.01:
        raise ConvertError(f"{source}: position embeddings are learned; the model's are a table of sines and cosines.")
    return positions.shape[1] // 196 * 2
