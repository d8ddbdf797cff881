"""S3D-G of the HowTo100M repository."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, compose, rename_all

__all__ = ["convert", "matches"]

SOURCE = "S3D-G of HowTo100M"
_PLAIN = {"conv1": "conv_{}", "bn1": "bn_{}"}
_SEPARABLE = {"conv1": "conv_{}.spatial", "bn1": "conv_{}.bn", "conv2": "conv_{}.temporal", "bn2": "bn_{}"}
# Theirs and ours, with the parts of a convolution.
_CONVS = [("b0", "0", _PLAIN), ("b3_b", "3", _PLAIN)]
_CONVS += [(f"b{k}_a", f"{k}a", _PLAIN) for k in (1, 2)]
_CONVS += [(f"b{k}_b", f"{k}b", _SEPARABLE) for k in (1, 2)]
_RULES = [
    (r"text_module(?:\..*)?", ""),  # the embedding of sentences
    (r"conv1\.(conv1|bn1)", r"backbone.\1"),
    *((rf"conv_2b\.{old}", f"backbone.stage1.{name.format('2b')}") for old, name in _PLAIN.items()),
    *((rf"conv_2c\.{old}", f"backbone.stage1.{name.format('2c')}") for old, name in _SEPARABLE.items()),
    (r"gating\.fc", "backbone.stage1.gate.fc"),
    *(
        (rf"mixed_({stage + 1}\w)\.conv_{theirs}\.{old}", rf"backbone.stage{stage}.inception_\1.{name.format(ours)}")
        for stage in (2, 3, 4)
        for theirs, ours, parts in _CONVS
        for old, name in parts.items()
    ),
    *(
        (rf"mixed_({stage + 1}\w)\.gating_b(\d)\.fc", rf"backbone.stage{stage}.inception_\1.gate_\2.fc")
        for stage in (2, 3, 4)
    ),
    ("fc", "fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the S3D-G of HowTo100M."""
    return "mixed_3b.gating_b0.fc.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    The published weights give an embedding of 512 numbers, not classes. The stem is read from the weights. The number
    of frames cannot be read from them: 32 is assumed for the published stem, 64 for the other. Pixels are expected
    from 0 to 1.

    Raises:
        ConvertError: a key has no place.
    """
    new, dropped = rename_all(state, _RULES, SOURCE)
    cfg = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    if new["backbone.conv1.weight"].shape[2] == 2:
        return compose(new, dropped, "s3dg_inception_v1_folded", num_frames=32, cfg=cfg)
    return compose(new, dropped, "s3dg_inception_v1", num_frames=64, cfg=cfg)
