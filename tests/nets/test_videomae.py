"""Tests of VideoMAE and ViViT: equal to transformers' models, positions, converters of each source, refusals."""

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import clips, randomize
from timm.models import group_parameters
from torch import Tensor

import videozoo
from videozoo import ARC, DNR, TSM
from videozoo.hub.convert.base import ConvertError
from videozoo.hub.convert.checkpoint import convert_checkpoint, unwrap
from videozoo.models import ModelSpec, build
from videozoo.nets import VideoMae, ViViT
from videozoo.nets.tokens import VitCfg

TINY = VitCfg(width=24, depth=2, num_heads=3, patch=8)


def small(kind: Any = VideoMae, **kwargs: Any) -> Any:
    """A small backbone."""
    return randomize(kind(TINY, **{"img_size": 32, "num_frames": 4, **kwargs})).eval()


@pytest.mark.parametrize(
    ("name", "count"),
    [("videomae_s", 22_033_936), ("videomae_b", 86_534_800), ("videomae_l", 304_270_736), ("vivit_b", 88_954_000)],
)
def test_parameters_are_those_of_the_authors(name: str, count: int) -> None:
    with torch.device("meta"):
        model = videozoo.create_model(name)
    assert sum(p.numel() for p in model.parameters()) == count


def with_numbers(net: torch.nn.Module) -> torch.nn.Module:
    """The same numbers in every model of these shapes; normal ones would take seconds to draw."""
    some = torch.randn(100_003, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        for parameter in net.parameters():
            count = parameter.numel()
            values = some.repeat(count // len(some) + 1)[:count].view(parameter.shape)
            parameter.copy_(values * (0.3 if parameter.ndim == 1 else parameter[0].numel() ** -0.5))
    return net.eval()


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("kind", ["VideoMAE", pytest.param("Vivit", marks=pytest.mark.slow)])
def test_logits_are_those_of_transformers(kind: str, version: int) -> None:
    transformers = pytest.importorskip("transformers")
    small_sizes = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
    sizes = {"num_frames": 4, "image_size": 32, **small_sizes} if kind == "VideoMAE" else {"num_frames": 2}
    theirs: Any = with_numbers(
        getattr(transformers, f"{kind}ForVideoClassification")(
            getattr(transformers, f"{kind}Config")(num_labels=7, layer_norm_eps=1e-6, **sizes)
        )
    )
    if kind == "VideoMAE":
        theirs.fc_norm.eps = 1e-6  # the authors', which their class leaves at PyTorch's
    state = theirs.state_dict() if version == 5 else names_of_version_4(theirs.state_dict())
    converted, source = convert_checkpoint(state)
    assert (source, converted.dropped) == ("transformers", ())
    spec = ModelSpec.from_dict(converted.spec)
    if kind == "VideoMAE":
        spec = spec.replace(num_frames=4, img_size=32)
    ours = build(spec).eval()
    ours.load_state_dict(converted.state)
    x = clips(2, spec.num_frames, spec.img_size or 224)
    with torch.no_grad():
        expected = theirs(x.transpose(1, 2)).logits
        torch.testing.assert_close(ours(x), expected, atol=1e-5, rtol=1e-5)
    assert expected.std() > 0.1


def names_of_version_4(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state with the keys that transformers 4 has, and files of both versions."""
    rules = (
        (r"attention\.(query|value)\.bias", lambda match: f"attention.{match[1][0]}_bias"),
        (r"vivit\.layers\.", "vivit.encoder.layer."),
        (r"attention\.q_proj", "attention.attention.query"),
        (r"attention\.k_proj", "attention.attention.key"),
        (r"attention\.v_proj", "attention.attention.value"),
        (r"attention\.o_proj", "attention.output.dense"),
        (r"mlp\.fc1", "intermediate.dense"),
        (r"mlp\.fc2", "output.dense"),
    )
    found = {}
    for key, value in state.items():
        for old, new in rules:
            key = re.sub(old, new, key)
        found[key] = value
    return found


def authors_state(backbone: str = "videomae_vit_small") -> dict[str, Tensor]:
    """A state dict with the authors' keys, without values."""
    with torch.device("meta"):
        state = build(ModelSpec(backbone, num_classes=7, num_frames=16)).state_dict()
    return {re.sub(r"^fc\.", "head.", key.removeprefix("backbone.")): value for key, value in state.items()}


def test_the_authors_files_are_recognized() -> None:
    state = authors_state()
    converted, source = convert_checkpoint(unwrap({"module": state, "epoch": 3}))
    assert (source, converted.spec["backbone"], converted.spec["num_classes"]) == ("videomae", "videomae_vit_small", 7)
    assert converted.cfg["mean"] == (0.485, 0.456, 0.406)


def test_an_encoder_alone_is_a_start() -> None:
    body = {key: value for key, value in authors_state().items() if not key.startswith(("head", "fc_norm"))}
    rest = {"mask_token": (1, 1, 192), "encoder.norm.weight": (384,), "encoder_to_decoder.weight": (192, 384)}
    rest |= {"decoder.blocks.0.attn.q_bias": (192,), "decoder.head.weight": (1536, 192)}
    state = {f"encoder.{key}": value for key, value in body.items()}
    converted, source = convert_checkpoint({**state, **{key: torch.zeros(shape) for key, shape in rest.items()}})
    assert (source, converted.spec["num_classes"]) == ("videomae", 0)
    assert len(converted.dropped) == len(rest)
    assert bool((converted.state["backbone.fc_norm.weight"] == 1).all())
    model = build(ModelSpec.from_dict(converted.spec))
    assert set(model.state_dict()) == set(converted.state)


def videomae_table() -> Tensor:
    """The table of positions of ViT-S, which MMAction2 stores."""
    return VideoMae(VitCfg(384, depth=1, num_heads=6)).pos_embed


def test_mmaction_files_are_recognized() -> None:
    rules = {"mlp.fc1": "mlp.layers.0.0", "mlp.fc2": "mlp.layers.1", "patch_embed.proj": "patch_embed.projection"}
    state = {"backbone.pos_embed": videomae_table()}
    for key, value in authors_state().items():
        for old, new in rules.items():
            key = key.replace(old, new)
        state["cls_head.fc_cls" + key[4:] if key.startswith("head") else f"backbone.{key}"] = value
    converted, source = convert_checkpoint(state)
    assert (source, converted.spec["num_frames"], converted.dropped) == ("mmaction2", 16, ("pos_embed",))
    state["backbone.pos_embed"] = torch.rand(1, 1568, 384)
    with pytest.raises(ConvertError, match="position embeddings are learned"):
        convert_checkpoint(state)


def test_another_depth_is_refused() -> None:
    state = {key: value for key, value in authors_state().items() if not key.startswith("blocks.11.")}
    with pytest.raises(ConvertError, match=r"VideoMAE of 11 blocks on tubelets \(384, 3, 2, 16, 16\); known are 12"):
        convert_checkpoint(state)


def test_any_even_number_of_frames() -> None:
    model = videozoo.compose("videomae_vit_small", num_classes=2, num_frames=4, img_size=32).eval()
    table = model.backbone.pos_embed
    model.set_num_frames(8)
    assert torch.equal(model.backbone.pos_embed[:, :8], table)
    with torch.no_grad():
        assert model(clips(1, 8, 32)).shape == (1, 2)
    with pytest.raises(ValueError, match="num_frames is 5; need a positive multiple of 2"):
        model.set_num_frames(5)
    assert not any("pos_embed" in key for key in model.state_dict())


@pytest.mark.parametrize("kind", [VideoMae, ViViT])
def test_frames_of_another_size(kind: Any) -> None:
    net = small(kind)
    prefix = net.num_prefix_tokens
    with torch.no_grad():
        for side, patches in ((24, 9), (32, 16), (39, 16), (48, 36)):
            tokens = net.forward_features(clips(1, 4, side))
            assert tokens.shape == (1, prefix + 2 * patches, 24)
        x = clips(2, 4, 32)
        final, maps = net.forward_intermediates(x, norm=True)
        torch.testing.assert_close(net.tokens_to_maps(final, (4, 32, 32)), maps[-1])
        embedded = net.patch_embed.proj(x)
        places = net.pos_embed[:, prefix:].unflatten(1, (2, 4, 4)).movedim(-1, 1)
        torch.testing.assert_close(net.forward_intermediates(x, [0])[1][0], embedded + places)


def test_embeddings_of_vivit_for_other_frames() -> None:
    net, longer, larger = small(ViViT), small(ViViT, num_frames=8), small(ViViT, img_size=64)
    for other in (longer, larger):
        state = net.state_dict()
        other.adapt_positions(state)
        other.load_state_dict(state)
        assert torch.equal(other.pos_embed[:, :1], net.pos_embed[:, :1])
    assert torch.equal(longer.pos_embed[:, 1:].unflatten(1, (4, 16))[:, ::2].flatten(1, 2), net.pos_embed[:, 1:])
    with pytest.raises(ValueError, match="change the number of frames or their size, one at a time"):
        small(ViViT, num_frames=12, img_size=48).adapt_positions(net.state_dict())
    with pytest.raises(ValueError, match="clips have 8 frames, the position embeddings are for 4"):
        net(clips(1, 8, 32))


def test_the_mean_is_normalized_after_pooling() -> None:
    net = small()
    tokens = net.forward_features(clips(1, 4, 32))
    expected = F.layer_norm(tokens.mean(1), (24,), net.fc_norm.weight, net.fc_norm.bias, 1e-6)
    torch.testing.assert_close(net.forward_head(tokens, pre_logits=True), expected)


def test_layer_decay_goes_by_blocks() -> None:
    with torch.device("meta"):
        model = videozoo.create_model("videomae_s", num_classes=3, drop_path_rate=0.1)
    layers = group_parameters(model, model.group_matcher(), reverse=True)
    assert layers["backbone.patch_embed.proj.weight"] == 0
    assert [layers[f"backbone.blocks.{k}.attn.q_bias"] for k in (0, 5, 11)] == [1, 6, 12]
    assert layers["backbone.fc_norm.weight"] == 12
    assert layers["fc.weight"] == 13
    assert model.backbone.blocks[11].drop_path1.drop_prob == pytest.approx(0.1)


@pytest.mark.parametrize("backbone", ["videomae_vit_small", "vivit_base_16x2"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augmenters": [ARC()]}, "ARC: nothing to change in"),
        ({"augmenters": [DNR()]}, "DNR: nothing to change in"),
        ({"temporal": TSM()}, "mixes time itself; TSM is for 2-D backbones"),
        ({"causal": True}, "cannot be causal: a 3-D model looks at frames to come"),
        ({"num_frames": 7}, "num_frames is 7; need a positive multiple of 2"),
        ({"img_size": 8}, "smaller than a patch"),
    ],
)
def test_refusals_give_the_reason(backbone: str, options: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=re.escape(message)):
        videozoo.compose(backbone, **options)
