"""UniFormer on clips, the authors' code."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, Rules, compose, rename_all

__all__ = ["convert", "convert_uniformer", "matches"]

SOURCE = "UniFormer authors"
_DEPTHS = {(3, 4, 8, 3): "small", (5, 8, 20, 7): "base"}
_NORMALIZED_BY = {"mean": (0.45, 0.45, 0.45), "std": (0.225, 0.225, 0.225)}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys and shapes are those of the authors' UniFormer for clips, not of that for images."""
    weight = state.get("patch_embed1.proj.weight")
    return weight is not None and weight.ndim == 5 and "blocks1.0.pos_embed.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    The number of frames cannot be read from the keys. 16 is assumed.

    Raises:
        ConvertError: a key has no place (split attention), or a variant that is not registered.
    """
    return convert_uniformer(state, "", "head", SOURCE)


def convert_uniformer(state: Mapping[str, Tensor], prefix: str, head: str, source: str) -> Converted:
    """Convert a checkpoint with the authors' keys for the backbone.

    Args:
        state: the state dict.
        prefix: pattern of what stands before the keys of the backbone.
        head: pattern of the classifier.
        source: name for errors.
    Raises:
        ConvertError: a key has no place, or a variant that is not registered.
    """
    part = r"pos_embed|norm[12]|conv[12]|attn(?:\.qkv|\.proj)?|mlp\.fc[12]"
    rules: Rules = [
        (rf"{prefix}(patch_embed\d\.(?:proj|norm)|norm|blocks\d\.\d+\.(?:{part}))", r"backbone.\1"),
        (head, "fc"),
    ]
    new, dropped = rename_all(state, rules, source)
    depths = tuple(
        len({key.split(".")[2] for key in new if key.startswith(f"backbone.blocks{i}.")}) for i in range(1, 5)
    )
    kernels = [new[f"backbone.patch_embed{i}.proj.weight"].shape[2] for i in range(1, 5)]
    if depths not in _DEPTHS or kernels != [3, 1, 1, 1]:
        raise ConvertError(
            f"{source}: UniFormer with stages of {depths} blocks and patch embeddings over {kernels} frames; known are "
            f"{list(_DEPTHS)} over [3, 1, 1, 1]."
        )
    return compose(new, dropped, f"uniformer_{_DEPTHS[depths]}", num_frames=16, cfg=_NORMALIZED_BY)
