"""Copies of models for inference, with norms and activations inside the convolutions."""

from copy import deepcopy
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn

from videozoo.models.ensemble import Ensemble
from videozoo.models.fuse_convs import fuse_convs
from videozoo.models.video_net import VideoNet

__all__ = ["fuse"]

Net = TypeVar("Net", bound=VideoNet | Ensemble)
# How far the fused model may be from the given one, over the largest output: rounding (TF32 on a GPU included) stays
# below, a norm folded into the wrong convolution does not.
_TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-2}
_LOW_PRECISION = 0.2


class _ForInference(nn.Module):
    def train(self, mode: bool = True) -> Self:
        if mode:
            raise RuntimeError(
                "a fused model cannot train: its batch norms are folded into its convolutions; "
                "train the model that was passed to videozoo.fuse, then fuse it again."
            )
        return super().train(False)


class _FusedVideoNet(_ForInference, VideoNet):
    pass


class _FusedEnsemble(_ForInference, Ensemble):
    pass


def fuse(model: Net) -> Net:
    """Copy a model for inference, with batch norms and activations inside the convolutions before them.

    A batch norm is folded into the weight and bias of a convolution if its input is the output of that convolution and
    nothing else reads it. A ReLU (ReLU6) behind it becomes part of the convolution. These places are found from a
    recorded forward of a random clip, operation by operation. Another forward then compares the output of the copy with
    that of the model. On a CPU, in float32, the weights are also laid out once for oneDNN, which takes their memory a
    second time.

    The norm behind an ARC layer is folded by the layer itself. DNR's norms stay: in evaluation, their statistics go
    into their scale and shift anyway. The copy computes what the model computes in evaluation, up to rounding. It is in
    evaluation mode and cannot train. Its parameters need no gradients, its input may. You can copy, pickle, compile and
    export it and move it to a device, where the plain operations run. Its weights have other keys than those of the
    model, so save the model, and fuse it again after loading.

    Args:
        model: a model in any mode. It is not changed.
    Returns:
        the copy. For an ensemble, every member is fused. A fused model is copied.
    Raises:
        TypeError: not a model of videozoo.
        RuntimeError: the outputs of copy and model differ, or the output of the model is not finite.
    Example:
        >>> import torch
        >>> from videozoo import create_model, fuse
        >>> model = create_model("test_arc_tsm.motions", pretrained=True).eval()
        >>> x = torch.randn(1, 3, 8, 48, 48)
        >>> with torch.inference_mode():
        ...     torch.testing.assert_close(fuse(model)(x), model(x), rtol=1e-3, atol=1e-3)
    """
    if not isinstance(model, VideoNet | Ensemble):
        raise TypeError(f"fuse: {type(model).__name__} is no model of videozoo (VideoNet or Ensemble).")
    with torch.inference_mode(False), torch.no_grad():
        copy = deepcopy(model)
        if isinstance(model, _ForInference):
            return copy
        copy.requires_grad_(False).eval()
        if isinstance(copy, Ensemble):
            copy.members = nn.ModuleList(fuse(member) for member in copy.members)
            copy.__class__ = _FusedEnsemble  # type: ignore[assignment]
        else:
            _fuse_checked(copy)
            copy.__class__ = _FusedVideoNet  # type: ignore[assignment]
    copy.eval()  # what is new, too
    return copy


def _fuse_checked(net: VideoNet) -> None:
    like = next(net.parameters())
    clip = _random_clip(net).to(like.device, like.dtype)
    with torch.autocast(like.device.type, enabled=False):
        before = fuse_convs(net, lambda: net(clip))
        after = net(clip)
    scale = before.abs().amax().item()
    difference = (after - before).abs().amax().item()
    tolerance = _TOLERANCE.get(like.dtype, _LOW_PRECISION)
    if not difference <= tolerance * scale < float("inf"):  # false for what is not a number, too
        raise RuntimeError(
            f"fuse: on a random clip the fused model differs by {difference:.3g} from the given one, whose largest "
            f"output is {scale:.3g}; at most {tolerance:g} of that is rounding. Use the model as it is."
        )


def _random_clip(net: VideoNet) -> Tensor:
    size: Any = net.pretrained_cfg.get("input_size", (3, 224, 224))
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, net.in_chans, net.num_frames, *size[1:], generator=generator)
