"""The optimizer of the weights' recipe, in runs that name neither a model nor an optimizer."""

import logging
from typing import Any

import pytest

from videozoo.training.fit import make_config
from videozoo.training.paper_optimizer import suggest_optimizer, take_optimizer
from videozoo.training.recipes import OPTIMIZER, optimizer_settings
from videozoo.training.resolve_settings import resolve_settings
from videozoo.training.settings import DEFAULT_LR, DEFAULTS, Settings


def _taken(model: str, **given: Any) -> Settings:
    """Settings of a run for which ``model`` was chosen."""
    settings = resolve_settings({"data": "videos", **given})
    settings.model = model
    take_optimizer(settings)
    return settings


def _changed(settings: Settings) -> set[str]:
    return {name for name in DEFAULTS if getattr(settings, name) != DEFAULTS[name]} - {"model", "data", "eval_metric"}


@pytest.mark.parametrize("batch_size", [8, 32])
def test_only_the_optimizer_is_taken(batch_size: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "videozoo")
    settings = _taken("videomae_b.mm_k400_v2_16f", batch_size=batch_size)
    assert _changed(settings) - {"batch_size"} <= set(OPTIMIZER)
    config = make_config(settings)
    assert config.lr == pytest.approx(5e-4 * batch_size / 256)
    assert (config.layer_decay, config.weight_decay, config.opt_betas) == (0.75, 0.05, (0.9, 0.999))
    assert (config.epochs, config.warmup_epochs, settings.mixup) == (30, 1, 0)
    assert "optimizer of --recipe videomae_k400: --opt adamw --opt-betas 0.9 0.999 " in caplog.messages[-1]


def test_every_flag_wins() -> None:
    settings = _taken("videomae_s.x", lr=0.1, layer_decay=0.9)
    assert (settings.lr, settings.lr_base, settings.layer_decay, settings.weight_decay) == (0.1, None, 0.9, 0.05)
    settings = _taken("videomae_s.x", lr_base=0.1, batch_size=8)
    assert (settings.lr, settings.lr_base_size) == (pytest.approx(0.1 * 8 / 256), 256)
    assert _taken("uniformer_s.x", lr_base=0.1).lr_base_size == 256  # not the 32 of the recipe
    assert _taken("videomae_s.x", layer_decay=None).layer_decay is None
    for own in ({"opt": "sgd"}, {"freeze_backbone": True}):
        settings = _taken("videomae_s.x", **own)
        assert (settings.layer_decay, settings.lr) == (None, DEFAULT_LR)
    assert _taken("x3d_s.mm_k400_13f").lr == DEFAULT_LR


def test_a_batch_size_that_is_found_later_sets_the_rate() -> None:
    assert _taken("videomae_b.x", batch_size="auto").lr is None


@pytest.mark.parametrize("model", ["videomae_l", "uniformer_b", "swin3d_t", "mvit_v2_s", "timesformer_b"])
def test_each_family_of_transformers_has_a_recipe(model: str) -> None:
    recipe, values = optimizer_settings(model)
    assert recipe == f"{model.partition('_')[0]}_k400"
    assert {"opt", "lr_base", "lr_base_size", "weight_decay"} <= values.keys()


def test_a_named_model_gets_the_advice_alone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "videozoo")
    settings = resolve_settings({"data": "videos", "model": "swin3d_t"})
    suggest_optimizer(settings)
    assert settings.lr == DEFAULT_LR
    words = "swin3d_t: the authors train it with --opt adamw --opt-betas 0.9 0.999 --lr-base 0.0001 --lr-base-size 64 "
    assert caplog.messages == [
        f"{words}--head-lr-scale 10 --weight-decay 0.02; --recipe swin3d_k400 sets that and more"
    ]
    for quiet in ({"model": "tsm_r50"}, {"model": "swin3d_t", "lr": 1e-4}):
        suggest_optimizer(resolve_settings({"data": "videos", **quiet}))
    assert len(caplog.messages) == 1
