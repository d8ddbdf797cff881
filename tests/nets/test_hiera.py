"""Tests of Hiera: equal to timm's own, positions for other clips, the authors' files, refusals."""

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import clips, randomize
from timm.models.hiera import Hiera as TimmHiera
from torch import Tensor

import videozoo
from videozoo import ARC, DNR, TSM
from videozoo.hub.convert.base import ConvertError
from videozoo.hub.convert.checkpoint import convert_checkpoint
from videozoo.models import ModelSpec, build
from videozoo.nets import Hiera
from videozoo.nets.hiera import HieraCfg

TINY = HieraCfg((1, 2, 2, 1), width=16, num_heads=2, frames=4, img_size=64)


def tiny() -> Any:
    """A small backbone."""
    return randomize(Hiera(TINY, num_classes=5)).eval()


def of_timm(frames: int, size: int) -> Any:
    """timm's Hiera for clips, as the authors configure it."""
    return TimmHiera(
        (frames, size, size),
        embed_dim=TINY.width,
        num_heads=TINY.num_heads,
        stages=TINY.depths,
        num_classes=5,
        q_stride=(1, 2, 2),
        mask_unit_size=(1, 8, 8),
        patch_kernel=(3, 7, 7),
        patch_stride=(2, 4, 4),
        patch_padding=(1, 3, 3),
        sep_pos_embed=True,
        norm_layer="layernorm",
    ).eval()


def test_logits_and_maps_are_those_of_timm() -> None:
    ours, theirs = tiny(), of_timm(4, 64)
    names = {r"^fc_norm\.": "head.norm.", r"^fc\.": "head.fc."}
    state = ours.state_dict()
    for old, new in names.items():
        state = {re.sub(old, new, key): value for key, value in state.items()}
    theirs.load_state_dict(state)
    x = clips(2, 4, 64)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))
        final, maps = ours.forward_intermediates(x)
        wanted = theirs.forward_intermediates(x, intermediates_only=True, output_fmt="NHWC")
        for own, his in zip(maps[1:], wanted, strict=True):
            assert torch.equal(own, his.movedim(-1, 1))
        assert torch.equal(ours.tokens_to_maps(final, (4, 64, 64)), maps[-1])
    assert ours(x).std() > 0.01


def test_other_clips_interpolate_the_positions_and_fill_the_frames() -> None:
    net = tiny()
    x = clips(1, 7, 64)[..., :40]
    with torch.no_grad():
        maps = net.forward_intermediates(x, intermediates_only=True)
        assert [tuple(y.shape[2:]) for y in maps] == [(4, 16 // k, 16 // k) for k in (1, 1, 2, 4, 8)]
        torch.testing.assert_close(net(x), net(F.pad(x, (0, 24))))
        time = F.interpolate(net.pos_embed_temporal.mT, 4, mode="linear").mT
        space = net.pos_embed_spatial.unflatten(1, (16, 16))
        embedded = net.patch_embed.proj(F.pad(x, (0, 24))) + (space[:, None] + time[:, :, None, None]).movedim(-1, 1)
        torch.testing.assert_close(maps[0], embedded)


def authors_state() -> dict[str, Tensor]:
    """The authors' keys, without values."""
    with torch.device("meta"):
        state = build(ModelSpec("hiera_base_16x224", num_classes=400, num_frames=16)).state_dict()
    names = {"backbone.fc_norm": "norm", "backbone.": "", "fc.weight": "head.projection.weight"}
    for old, new in {**names, "fc.bias": "head.projection.bias"}.items():
        state = {re.sub(rf"^{re.escape(old)}", new, key): value for key, value in state.items()}
    return state


def test_the_authors_files_are_recognized() -> None:
    state = authors_state()
    assert sum(value.numel() for value in state.values()) == 51_092_560
    converted, source = convert_checkpoint(state)
    assert (source, converted.spec["backbone"], converted.dropped) == ("hiera", "hiera_base_16x224", ())
    assert set(converted.state) == set(build(ModelSpec.from_dict(converted.spec)).state_dict())
    state = {key: value for key, value in state.items() if not key.startswith("blocks.23.")}
    with pytest.raises(
        ConvertError, match=r"Hiera of 23 blocks with tensors .*; known is Hiera-B for 16 frames of 224"
    ):
        convert_checkpoint(state)


def test_an_encoder_alone_is_a_start() -> None:
    body = {key: value for key, value in authors_state().items() if not key.startswith(("norm.", "head."))}
    rest = {"mask_token": (1, 1, 512), "decoder_pos_embed": (1, 392, 512), "encoder_norm.weight": (768,)}
    rest |= {"decoder_blocks.0.attn.qkv.weight": (1536, 512), "multi_scale_fusion_heads.0.weight": (768, 96, 1, 8, 8)}
    converted, source = convert_checkpoint({**body, **{key: torch.zeros(shape) for key, shape in rest.items()}})
    assert (source, converted.spec["num_classes"], len(converted.dropped)) == ("hiera", 0, len(rest))
    assert set(converted.state) == set(build(ModelSpec.from_dict(converted.spec)).state_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augmenters": [ARC()]}, "ARC: nothing to change in"),
        ({"augmenters": [DNR()]}, "DNR: nothing to change in"),
        ({"temporal": TSM()}, "mixes time itself; TSM is for 2-D backbones"),
        ({"causal": True}, "cannot be causal: a 3-D model looks at frames to come"),
    ],
)
def test_refusals_give_the_reason(options: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=re.escape(message)):
        videozoo.compose("hiera_base_16x224", **options)
