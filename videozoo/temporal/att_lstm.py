"""Attention-guided LSTM (Att-LSTM)."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from videozoo.layers import AttentionLSTM
from videozoo.layers.options import check_count

__all__ = ["AttLSTM"]


@dataclass(frozen=True)
class AttLSTM:
    """Att-LSTM: an LSTM over the frames' feature maps that attends to one place of each, in place of the average.

    After Kanojia, Kumawat, Raman, "Attentive Spatio-Temporal Representation Learning for Diving Classification", CVPR
    Workshops 2019 (arXiv:1905.00050), which takes 64 frames of Diving48 on a ResNet-18. No code and no weights of the
    authors are public, so nothing can be compared with theirs. From the paper's summary are the backbone per frame, the
    LSTM, the attention that guides it, and that it finds the diver in the frame without being taught where. These are
    choices of videozoo: soft attention over the last feature map from the previous state (as Sharma et al., 2015,
    arXiv:1511.04119), one layer, the sizes, a state of zeros at the start, and the mean of all states before the
    classifier.

    Args:
        hidden: size of the state and of the attention, at least 1.
    Raises:
        ValueError: ``hidden`` is not a whole number, or below 1.
    Example:
        >>> from videozoo import AttLSTM, compose
        >>> model = compose("resnet18", AttLSTM(hidden=128), num_classes=48, num_frames=64)
        >>> type(model.fc).__name__
        'AttentionLSTM'
    """

    hidden: int = 512

    def __post_init__(self) -> None:
        check_count("AttLSTM", "hidden", self.hidden)

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Change nothing in the backbone and return an empty list.

        Raises:
            ValueError: the backbone has layers between the pooling and the classifier, which the head would leave out.
        """
        backbone: Any = net
        features = getattr(backbone, "num_features", None)
        if getattr(backbone, "head_hidden_size", features) != features:
            raise ValueError(
                f"AttLSTM: {type(net).__name__} has layers behind its pooling ({features} to "
                f"{backbone.head_hidden_size} channels), which a head on feature maps would leave out; use a ResNet."
            )
        return []

    def make_head(self, in_features: int, num_segments: int, num_classes: int) -> nn.Module:
        """Return the head for feature maps (B, S, in_features, H, W)."""
        return AttentionLSTM(in_features, num_segments, num_classes, self.hidden)
