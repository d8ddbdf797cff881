"""--recipe: the papers' settings, what wins over what, what is refused; and the learning rate of a step's size."""

import json
from importlib import resources
from pathlib import Path

import pytest

from videozoo.arguments import UsageError
from videozoo.choices import FREE_ON_RESUME
from videozoo.cli import build_parser, main
from videozoo.data import parse_views
from videozoo.models.registry import is_model
from videozoo.training.fit import make_config
from videozoo.training.recipe_files import recipe_names
from videozoo.training.resolve_settings import FREE_FLAGS, describe_lr, resolve_settings
from videozoo.training.settings import DEFAULT_LR, DEFAULTS, Settings
from videozoo.training.sizes import parse_frame_size, parse_size

Capture = pytest.CaptureFixture[str]
# Figures of the papers and the authors' code that a slip of the pen in a recipe must not change.
PINNED = {
    "arc_ssv1": {"weight_decay": 5e-4, "lr_base_size": 32, "epochs": 50, "decay_milestones": [30, 40], "drop": 0.5},
    "arc_diving48": {"weight_decay": 5e-4, "lr_base_size": 8, "epochs": 30, "sched": "cosine", "num_frames": 16},
    "arc_k400": {"weight_decay": 1e-4, "lr_base_size": 64, "decay_milestones": [30, 40, 45], "train_resize": "320"},
    "dnr_k200": {"lr_base": 0.1, "weight_decay": 1e-4, "clip_grad": 40, "drop": 0.4, "frame_stride": 8},
    "dnr_k400": {"lr_base": 0.1, "epochs": 196, "warmup_epochs": 34, "frame_sampling": "dense", "test_crop_size": 256},
    "dnr_ssv1": {"epochs": 50, "clip_grad": 40, "model": "dnr_tsn_r50", "hflip": 0.5},
    "dnr_ssv2": {"epochs": 50, "clip_grad": 40, "model": "dnr_tsn_r50", "hflip": 0.5},
    "videomae_k400": {"lr_base": 5e-4, "lr_base_size": 256, "layer_decay": 0.75, "weight_decay": 0.05, "epochs": 75},
    "uniformer_k400": {"lr_base": 1e-4, "lr_base_size": 32, "weight_decay": 0.05, "epochs": 110, "drop_path": 0.1},
    "mvit_k400": {"lr_base": 1.6e-3, "lr_base_size": 512, "clip_grad": 1, "epochs": 200, "from_scratch": True},
    "swin3d_k400": {"lr_base": 1e-4, "lr_base_size": 64, "head_lr_scale": 10, "weight_decay": 0.02, "epochs": 30},
    "timesformer_k400": {"lr_base": 5e-3, "lr_base_size": 64, "weight_decay": 1e-4, "decay_milestones": [5, 10]},
}
VIEWS = {
    **{"arc_diving48": "2x1", "arc_k400": "10x3", "dnr_k200": "10x3", "dnr_k400": "10x3", "videomae_k400": "5x3"},
    **{"uniformer_k400": "4x1", "mvit_k400": "5x1", "swin3d_k400": "4x3", "timesformer_k400": "1x3"},
}
CONVOLUTIONS = ("arc", "dnr")


def _settle(tmp_path: Path, *flags: str) -> Settings:
    argv = ["finetune", "--data", "videos", "--output", str(tmp_path / "run"), *flags]
    given = vars(build_parser().parse_args(argv))
    return resolve_settings({name: value for name, value in given.items() if name in DEFAULTS})


def test_these_are_the_recipes() -> None:
    assert set(recipe_names()) == PINNED.keys()


@pytest.mark.parametrize("name", sorted(PINNED))
def test_a_recipe_sets_what_the_paper_gives(name: str, tmp_path: Path) -> None:
    settings = _settle(tmp_path, "--recipe", name)
    for key, value in PINNED[name].items():
        assert getattr(settings, key) == value, key
    assert settings.test_views == VIEWS.get(name, "1x1")
    assert settings.val_views == "1x1"
    starts = {"arc": "tv_in1k", "videomae": "hf-hub:MCG-NJU/videomae-base"}
    assert settings.backbone_weights == starts.get(name.split("_")[0])
    assert is_model(settings.model)
    parse_views(settings.test_views)
    parse_size(settings.train_resize)
    config = make_config(settings)
    assert (settings.img_size, config.momentum) == (224, 0.9)
    if name.startswith(CONVOLUTIONS):  # timm's `sgd` has Nesterov's variant
        assert (config.opt, settings.train_crop) == ("momentum", "multiscale")
    text = (resources.files("videozoo") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("#")


def test_a_flag_wins_over_a_recipe_and_a_recipe_over_a_default(tmp_path: Path) -> None:
    plain = _settle(tmp_path, "--model", "tsm_r18")
    recipe = _settle(tmp_path, "--recipe", "arc_ssv1")
    flags = _settle(tmp_path, "--recipe", "arc_ssv1", "--epochs", "7", "--model", "tsm_r18", "--opt", "adamw")
    assert (plain.epochs, recipe.epochs, flags.epochs) == (30, 50, 7)
    assert (plain.opt, recipe.opt, flags.opt) == ("adamw", "momentum", "adamw")
    assert (recipe.model, flags.model) == ("arc_tsm_r50", "tsm_r18")
    assert flags.clip_grad == recipe.clip_grad == 20
    assert plain.seed == recipe.seed == 42


def test_another_image_size_takes_the_test_sizes_along(tmp_path: Path) -> None:
    settings = _settle(tmp_path, "--recipe", "dnr_k400", "--img-size", "112")
    assert (settings.img_size, settings.test_crop_size, settings.test_resize) == (112, 128, "128x170")
    given = _settle(tmp_path, "--recipe", "dnr_k400", "--img-size", "112", "--test-resize", "none")
    assert (given.test_crop_size, given.test_resize) == (128, None)
    assert _settle(tmp_path, "--recipe", "arc_k400", "--img-size", "112").test_crop_size is None


def test_none_takes_back_what_a_recipe_sets(tmp_path: Path) -> None:
    flags = ["--recipe", "arc_ssv1", "--backbone-weights", "none", "--clip-grad", "none", "--train-resize", "none"]
    settings = _settle(tmp_path, *flags)
    assert settings.backbone_weights is None
    assert settings.clip_grad is None
    assert settings.train_resize is None


@pytest.mark.parametrize("flags", [["--model", "local-dir:some"], ["--init-from", "tsm_r50.x"], ["--pretrained"]])
def test_whole_weights_leave_no_place_for_image_weights(flags: list[str], tmp_path: Path) -> None:
    assert _settle(tmp_path, "--recipe", "arc_ssv1", *flags).backbone_weights is None
    with pytest.raises(UsageError, match="--backbone-weights has no effect here"):
        _settle(tmp_path, "--recipe", "arc_ssv1", *flags, "--backbone-weights", "tv_in1k")


def test_the_rate_follows_the_size_of_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    flags = ["--model", "tsm_r18", "--lr-base", "0.1", "--lr-base-size", "80", "--batch-size", "4"]
    settings = _settle(tmp_path, *flags, "--grad-accum-steps", "2")
    assert settings.lr == pytest.approx(0.02)
    assert describe_lr(settings) == "lr 0.02 = 0.1 x 16 / 80"
    given = _settle(tmp_path, *flags, "--lr", "0.3")
    assert given.lr == 0.3
    assert "as given" in describe_lr(given)


def test_without_a_base_nothing_is_scaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    settings = _settle(tmp_path, "--model", "tsm_r18")
    assert settings.lr == DEFAULT_LR
    assert describe_lr(settings) == ""


def test_rates_of_flags_and_recipes(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("model: tsm_r18\nlr: 0.5\nbatch_size: 8\n")
    own = str(tmp_path / "own.yaml")
    assert _settle(tmp_path, "--recipe", own).lr == 0.5
    assert _settle(tmp_path, "--recipe", own, "--lr-base", "0.256").lr == pytest.approx(0.008)
    assert _settle(tmp_path, "--recipe", "dnr_k400").lr == pytest.approx(0.1 * 8 / 64)
    assert _settle(tmp_path, "--recipe", "dnr_k400", "--lr", "0.7").lr == 0.7


BAD_RECIPES = {
    "unknown key": ("modell: tsm_r18", "unknown key 'modell'; did you mean model?"),
    "not for recipes": ("output: x", "unknown key 'output'"),
    "choice": ("sched: linear", "argument --sched: invalid choice: 'linear'"),
    "number": ("lr: fast", "argument --lr: invalid float value: 'fast'"),
    "switch": ("freeze_bn: 1", "freeze_bn is 1; it must be true or false"),
    "value": ("epochs: true", "epochs is True; it must be a value as --epochs takes it"),
    "table": ("epochs: {a: 1}", "it must be a value as --epochs takes it"),
    "too many": ("epochs: [1, 2]", "unrecognized arguments: 2"),
    "not yaml": ("a: b: c", "not yaml"),
    "a list": ("- epochs", "a recipe has lines such as"),
    "empty": ("", "a recipe has lines such as"),
}


@pytest.mark.parametrize("case", BAD_RECIPES)
def test_a_bad_recipe_is_one_line(case: str, tmp_path: Path, capsys: Capture) -> None:
    text, expected = BAD_RECIPES[case]
    (tmp_path / "bad.yaml").write_text(text)
    argv = ["finetune", "--data", "x", "--output", str(tmp_path / "run"), "--recipe", str(tmp_path / "bad.yaml")]
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert "bad.yaml: " in error
    assert error.startswith("videozoo: error: ")
    assert len(error.splitlines()) == 1


def test_yaml_values_of_every_kind(tmp_path: Path) -> None:
    text = "model: tsm_r18\nlr: 5e-4\nfreeze_bn: true\nmodel_ema: false\nopt_betas: [0.8, 0.99]\ndrop: null\n"
    (tmp_path / "own.yaml").write_text(text + "decay_milestones: [3]\ndescription: mine\n")
    settings = _settle(tmp_path, "--recipe", str(tmp_path / "own.yaml"))
    assert settings.lr == 5e-4  # yaml 1.1 takes 5e-4 for a text
    assert settings.freeze_bn is True
    assert settings.model_ema is False
    assert settings.opt_betas == [0.8, 0.99]
    assert settings.decay_milestones == [3]
    assert settings.drop is None


def test_an_unknown_recipe_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recipe 'arc_ssv2'; did you mean arc_ssv1"):
        _settle(tmp_path, "--recipe", "arc_ssv2")
    with pytest.raises(UsageError, match=r"there are arc_diving48, .*, or give a \.yaml file"):
        _settle(tmp_path, "--recipe", "qqq")


def _store(tmp_path: Path, **settings: object) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "args.json").write_text(json.dumps({"settings": {"data": "videos", **settings}}))


def test_a_continued_run_keeps_recipe_and_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rate that the run had, on however many machines it goes on; a recipe is not read again."""
    _store(tmp_path, model="tsm_r18", recipe="gone", lr=0.02, lr_base=0.1, lr_base_size=80, epochs=3, batch_size=16)
    monkeypatch.setenv("WORLD_SIZE", "2")
    settings = _settle(tmp_path, "--resume", "--data", "elsewhere")
    assert (settings.lr, settings.recipe, settings.epochs, settings.data) == (0.02, "gone", 3, "elsewhere")
    with pytest.raises(UsageError, match="--recipe was gone, is arc_ssv1"):
        _settle(tmp_path, "--resume", "--recipe", "arc_ssv1")
    with pytest.raises(UsageError, match=r"--lr-base was 0\.1, is 0\.2"):
        _settle(tmp_path, "--resume", "--lr-base", "0.2")


def test_a_run_of_an_older_version_is_continued(tmp_path: Path) -> None:
    _store(tmp_path, model="tsm_r18", lr=5e-4, epochs=3)
    settings = _settle(tmp_path, "--resume")
    assert settings.mixup == 0
    assert settings.val_views == "1x1"
    assert settings.lr == 5e-4


def test_a_run_with_a_decoder_that_is_gone_goes_on_with_pyav(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _store(tmp_path, model="tsm_r18", lr=5e-4, decoder="torchcodec")
    with caplog.at_level("INFO", "videozoo"):
        settings = _settle(tmp_path, "--resume")
    assert not hasattr(settings, "decoder")
    assert "--decoder torchcodec, which is gone; PyAV reads its videos from now on" in caplog.text


def test_what_the_engine_lets_change_the_command_lets_change() -> None:
    assert FREE_ON_RESUME <= FREE_FLAGS


@pytest.mark.parametrize("text", ["0", "x", "240x", "240x320x3", "big", "-4"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(UsageError, match="write the short side"):
        parse_size(text)


def test_sizes() -> None:
    assert parse_frame_size("240x320") == (240, 320)
    with pytest.raises(UsageError, match="--test-resize is '256'; write height x width"):
        parse_frame_size("256")
    assert parse_size("256") == 256
    assert parse_size("240x320") == (240, 320)
    assert parse_size(None) is None
