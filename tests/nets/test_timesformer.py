"""Tests of TimeSformer and of backbones on tokens: counts, embeddings, converters, and what they refuse."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from helpers import clips, randomize
from safetensors.torch import save_file
from timm.layers import Attention
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

import videozoo
from videozoo import ARC, DNR, TSM
from videozoo.explain import grad_cam
from videozoo.hub.convert.base import ConvertError
from videozoo.hub.convert.checkpoint import convert_checkpoint
from videozoo.hub.write import save_weights
from videozoo.inference.extract import FeatureNet
from videozoo.models import ModelSpec, build, model_config
from videozoo.models.registry import names_of
from videozoo.nets.timesformer import TimeSformer
from videozoo.nets.tokens import VitCfg

SMALL = {"width": 24, "depth": 4, "num_heads": 3, "patch": 8}


def small(attention: Any = "divided", **kwargs: Any) -> TimeSformer:
    """A small backbone with random embeddings."""
    net = TimeSformer(VitCfg(tubelet=1, **SMALL), attention, **{"img_size": 40, "num_frames": 4, **kwargs})
    return randomize(net).eval()  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("timesformer_b", 121_566_352),
        ("timesformer_l", 121_633_936),
        ("timesformer_hr", 122_024_080),
        ("timesformer_joint_b", 86_112_400),
        ("timesformer_space_b", 86_106_256),
    ],
)
def test_parameters_are_those_of_the_authors(name: str, count: int) -> None:
    with torch.device("meta"):
        model = videozoo.create_model(name)
    assert sum(p.numel() for p in model.parameters()) == count


def test_size_of_the_frames_follows_the_embeddings() -> None:
    with torch.device("meta"):
        for name, options, side in (
            ("timesformer_hr", {}, 448),
            ("timesformer_hr", {"pretrained_cfg_overlay": {"input_size": (3, 112, 112)}}, 112),
            ("timesformer_b", {"img_size": 96}, 96),
        ):
            assert videozoo.create_model(name, **options).pretrained_cfg["input_size"] == (3, side, side)
        model = videozoo.compose("timesformer_base", img_size=96)
    assert model.pretrained_cfg["input_size"] == (3, 96, 96)
    assert model.spec == ModelSpec.from_dict(json.loads(json.dumps(model.spec.to_dict())))
    assert "img_size" not in model.spec.replace(img_size=None).to_dict()
    assert names_of(ModelSpec("timesformer_base", num_frames=96))[0] == "timesformer_l"


def state_of(source: str, backbone: str, **spec: Any) -> dict[str, Tensor]:
    """A state dict with the keys of a source, without values."""
    with torch.device("meta"):
        state = build(ModelSpec(backbone, num_classes=7, **spec)).state_dict()
    is_divided = any("temporal_fc" in key for key in state)
    rules = {
        "timesformer": [(r"^backbone\.", "model."), (r"^fc\.", "model.head.")],
        "transformers": [
            (r"^backbone\.cls_token", "timesformer.embeddings.cls_token"),
            (r"^backbone\.pos_embed", "timesformer.embeddings.position_embeddings"),
            (r"^backbone\.time_embed", "timesformer.embeddings.time_embeddings"),
            (r"^backbone\.patch_embed\.proj", "timesformer.embeddings.patch_embeddings.projection"),
            (r"^backbone\.norm\.", "timesformer.layernorm."),
            (r"^backbone\.blocks\.", "timesformer.encoder.layer."),
            (r"\.norm1\.", ".layernorm_before."),
            (r"\.norm2\.", ".layernorm_after."),
            (r"\.temporal_norm1\.", ".temporal_layernorm."),
            (r"\.temporal_fc\.", ".temporal_dense."),
            (r"\.(temporal_)?attn\.qkv\.", r".\1attention.attention.qkv."),
            (r"\.(temporal_)?attn\.proj\.", r".\1attention.output.dense."),
            (r"\.mlp\.fc1\.", ".intermediate.dense."),
            (r"\.mlp\.fc2\.", ".output.dense."),
            (r"^fc\.", "classifier."),
        ],
        "mmaction2": [
            (r"^backbone\.patch_embed\.proj", "backbone.patch_embed.projection"),
            (r"^backbone\.blocks\.", "backbone.transformer_layers.layers."),
            (r"\.temporal_norm1\.", ".attentions.0.norm."),
            (r"\.temporal_fc\.", ".attentions.0.temporal_fc."),
            (r"\.temporal_attn\.", ".attentions.0.attn."),
            (r"(layers\.\d+)\.attn\.", rf"\1.attentions.{int(is_divided)}.attn."),
            (r"\.norm1\.", ".attentions.1.norm." if is_divided else ".norms.0."),
            (r"\.norm2\.", ".ffns.0.norm." if is_divided else ".norms.1."),
            (r"\.qkv\.", ".in_proj_"),
            (r"\.attn\.proj\.", ".attn.out_proj."),
            (r"\.mlp\.fc1\.", ".ffns.0.layers.0.0."),
            (r"\.mlp\.fc2\.", ".ffns.0.layers.1."),
            (r"^fc\.", "cls_head.fc_cls."),
        ],
    }[source]
    found = {}
    for key, value in state.items():
        for pattern, new in rules:
            key = re.sub(pattern, new, key)
        found[key] = value
    return found


@pytest.mark.parametrize("source", ["timesformer", "transformers", "mmaction2"])
@pytest.mark.parametrize(
    "spec",
    [
        {"backbone": "timesformer_base"},
        {"backbone": "timesformer_base", "num_frames": 96},
        {"backbone": "timesformer_base", "num_frames": 16, "img_size": 448},
        {"backbone": "timesformer_base_joint"},
        {"backbone": "timesformer_base_space"},
    ],
)
def test_every_source_is_recognized(source: str, spec: dict[str, Any]) -> None:
    state = state_of(source, **spec)
    if source == "timesformer" and spec["backbone"].endswith("space"):
        with pytest.raises(ConvertError, match="not any known source's"):  # the keys of any ViT
            convert_checkpoint(state)
        return
    converted, found = convert_checkpoint(state)
    assert found == source
    assert {"num_frames": 8, **spec}.items() <= converted.spec.items()
    assert ("img_size" in converted.spec) == ("img_size" in spec)
    assert set(converted.state) == set(build_state(ModelSpec.from_dict(converted.spec)))
    assert converted.cfg["mean"] == ((0.5,) * 3 if source == "mmaction2" else (0.45,) * 3)


def build_state(spec: ModelSpec) -> list[str]:
    with torch.device("meta"):
        return list(build(spec).state_dict())


def test_another_width_is_refused() -> None:
    state = {f"model.{key}": value for key, value in small().state_dict().items()}
    with pytest.raises(ConvertError, match=r"TimeSformer of 4 blocks on patches \(24, 3, 8, 8\); known is ViT-B/16"):
        convert_checkpoint(state)


def test_attention_is_that_of_pytorch() -> None:
    """MMAction2's weights are those of ``nn.MultiheadAttention``."""
    theirs, ours = nn.MultiheadAttention(24, 3, batch_first=True), Attention(24, 3, qkv_bias=True)
    nn.init.normal_(theirs.in_proj_bias)
    state = {"qkv.weight": theirs.in_proj_weight, "qkv.bias": theirs.in_proj_bias}
    state |= {"proj.weight": theirs.out_proj.weight, "proj.bias": theirs.out_proj.bias}
    ours.load_state_dict(state)
    x = torch.randn(2, 5, 24)
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0])


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["divided_space_time", "joint_space_time"])
def test_logits_are_those_of_transformers(attention: str) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.TimesformerConfig(image_size=48, num_frames=4, num_labels=7, attention_type=attention)
    theirs = transformers.TimesformerForVideoClassification(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
        converted, _ = convert_checkpoint(theirs.state_dict())
        ours = build(ModelSpec.from_dict(converted.spec)).eval()
        ours.load_state_dict(converted.state)
        x = clips(2, 4, 48)
        torch.testing.assert_close(ours(x), theirs(x.transpose(1, 2)).logits, rtol=0, atol=1e-4)


def test_without_attention_over_time_it_is_a_vit() -> None:
    image = VisionTransformer(img_size=40, patch_size=8, embed_dim=24, depth=4, num_heads=3, num_classes=0).eval()
    net = small("space")
    net.load_state_dict(net.from_image_weights(randomize(image).state_dict()))
    x = clips(2, 1, 40)
    with torch.no_grad():
        torch.testing.assert_close(net.forward_features(x), image.forward_features(x[:, :, 0]))
        # tokens of frames are averaged before the last norm
        frames = clips(2, 4, 40)
        tokens = [
            image.forward_intermediates(frames[:, :, t], 1, output_fmt="NLC", return_prefix_tokens=True)[1]
            for t in range(4)
        ]
        tokens = [torch.cat((prefix, patches), 1) for ((patches, prefix),) in tokens]
        torch.testing.assert_close(net.forward_features(frames), image.norm(torch.stack(tokens).mean(0)))


def test_attention_over_time_starts_as_that_over_space_without_effect() -> None:
    image = VisionTransformer(img_size=40, patch_size=8, embed_dim=24, depth=4, num_heads=3)
    net = TimeSformer(VitCfg(tubelet=1, **SMALL), num_frames=6, img_size=56)
    own = {key: value.clone() for key, value in net.state_dict().items()}
    net.load_state_dict(net.from_image_weights(image.state_dict()))
    for index, block in enumerate(net.blocks):
        assert torch.equal(block.temporal_attn.qkv.weight, image.blocks[index].attn.qkv.weight)
        assert torch.equal(block.temporal_norm1.weight, image.blocks[index].norm1.weight)
        assert bool(block.temporal_fc.weight.any()) == (index == 0)
    assert torch.equal(net.time_embed, own["time_embed"])
    assert net.pos_embed.shape == (1, 50, 24)


def test_an_image_models_file_starts_a_named_model(tmp_path: Path) -> None:
    with torch.device("meta"):
        state = timm.create_model("vit_base_patch16_224", num_classes=3).state_dict()
    state = {key: torch.full(value.shape, 0.01) for key, value in state.items()}
    save_file(state, tmp_path / "vit.safetensors")
    model = videozoo.create_model("timesformer_b", num_classes=2, backbone_weights=tmp_path / "vit.safetensors")
    assert bool((model.backbone.blocks[11].temporal_attn.proj.weight == 0.01).all())


def test_tokens_are_in_order_of_time_height_and_width() -> None:
    net = small("joint")
    x = clips(2, 4, 40)
    with torch.no_grad():
        embedded = net.patch_embed.proj(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (2, 4)).transpose(1, 2)
        places = net.pos_embed[:, 1:].unflatten(1, (5, 5)).permute(0, 3, 1, 2)[:, :, None]
        times = net.time_embed.transpose(1, 2)[..., None, None]
        final, maps = net.forward_intermediates(x, norm=True)
        torch.testing.assert_close(net.forward_intermediates(x, [0])[1][0], embedded + places + times)
        assert len(maps) == 1 + 4 == len(net.feature_info)
        torch.testing.assert_close(net.tokens_to_maps(final, (4, 40, 40)), maps[-1])
        assert torch.equal(net.forward_head(final), final[:, 0])


@pytest.mark.parametrize("attention", ["divided", "joint", "space"])
def test_frames_of_another_size(attention: str) -> None:
    net = small(attention)
    with torch.no_grad():
        for side, patches in ((24, 9), (40, 25), (47, 25), (56, 49)):
            tokens = net.forward_features(clips(1, 4, side))
            assert tokens.shape == (1, 1 + patches * (1 if attention == "space" else 4), 24)
            assert tokens.isfinite().all()
        with pytest.raises(
            ValueError, match=r"clips of \(T, H, W\) = \(4, 6, 6\) are smaller than a patch of \(1, 8, 8\)"
        ):
            net(clips(1, 4, 6))


@pytest.mark.slow
def test_weights_for_other_frames_are_interpolated(tmp_path: Path) -> None:
    model = randomize(videozoo.create_model("timesformer_joint_b", num_classes=2, img_size=32)).eval()
    save_weights(model.state_dict(), tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(model_config(model)))
    longer = videozoo.create_model(tmp_path, pretrained=True, num_frames=16, img_size=64).eval()
    for half in (0, 1):
        assert torch.equal(longer.backbone.time_embed[:, half::2], model.backbone.time_embed)
    assert longer.backbone.pos_embed.shape == (1, 17, 768)
    assert torch.equal(longer.backbone.pos_embed[:, :1], model.backbone.pos_embed[:, :1])
    assert torch.equal(longer.backbone.norm.weight, model.backbone.norm.weight)
    with pytest.raises(
        ValueError, match=r"TimeSformer has weights for 16 time steps, not 8; build the model with num_"
    ):
        longer.set_num_frames(8)
    with pytest.raises(ValueError, match="clips have 4 frames, the time embeddings are for 16"):
        longer.backbone(clips(1, 4, 32))


@pytest.mark.slow
def test_explanations_and_features_of_layers() -> None:
    model = randomize(videozoo.create_model("timesformer_b", num_classes=3, img_size=48)).eval()
    x = clips(2, 8, 48)
    for stage in ("res2", "res5"):
        found = grad_cam(model, x, stage=stage)
        assert found.maps.shape == (2, 8, 3, 3)
        assert found.maps.amax() == 1
    with torch.no_grad():
        assert FeatureNet(model, "stage2", "frame")(x).shape == (2, 8, 768)
        assert FeatureNet(model, "blocks.3", "clip")(x).shape == (2, 768)
        torch.testing.assert_close(model.fc(FeatureNet(model)(x)), model(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"augmenters": [ARC()]},
            "ARC: nothing to change in TimeSformer: there is no convolution in the stages from 2 on",
        ),
        ({"augmenters": [ARC(layers=("linear",))]}, "leave 'linear' out"),
        ({"augmenters": [DNR()]}, "DNR: nothing to change in TimeSformer: no module in it holds two norms"),
        ({"temporal": TSM()}, "mixes time itself; TSM is for 2-D backbones"),
        ({"causal": True}, "cannot be causal: a 3-D model looks at frames to come"),
        ({"img_size": 8}, "smaller than a patch"),
        ({"img_size": 0}, "img_size is 0; need a whole number"),
    ],
)
def test_refusals_give_the_reason(options: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=re.escape(message)):
        videozoo.compose("timesformer_base", **options)


def test_only_backbones_with_embeddings_have_a_size() -> None:
    with pytest.raises(ValueError, match="img_size is 112, but resnet18 has no position embeddings"):
        videozoo.compose("resnet18", img_size=112)
