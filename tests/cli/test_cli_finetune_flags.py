"""finetune: numbers out of range and flags without an effect are refused before anything starts, by their flag."""

import argparse
import os
from pathlib import Path

import pytest

from videozoo.cli import build_parser, main
from videozoo.ranges import RANGES

Capture = pytest.CaptureFixture[str]


def _numeric_flags(command: str) -> dict[str, argparse.Action]:
    (sub,) = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    actions = sub.choices[command]._actions
    return {action.dest: action for action in actions if getattr(action.type, "__name__", "") in ("int", "float")}


@pytest.mark.parametrize("command", ["finetune", "evaluate", "predict", "extract"])
def test_every_number_has_a_range(command: str) -> None:
    assert set(_numeric_flags(command)) <= RANGES.keys()


def _refused(argv: list[str], tmp_path: Path, capsys: Capture) -> str:
    """Return the error of a command that is refused before videos are looked for: there are none."""
    if argv[0] == "finetune":
        argv = [*argv, "--model", "test_arc_tsm", "--data", str(tmp_path / "none"), "--output", str(tmp_path / "run")]
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.count("videozoo: error: ") == 1
    assert "bug of videozoo" not in error
    assert not (tmp_path / "run").exists()
    return error


@pytest.mark.parametrize("name", sorted(_numeric_flags("finetune")))
def test_numbers_out_of_range(name: str, tmp_path: Path, capsys: Capture) -> None:
    flag, is_whole = f"--{name.replace('_', '-')}", _numeric_flags("finetune")[name].type.__name__ == "int"
    for value in ("-1", "1" + "0" * 30) if is_whole else ("-0.5", "nan", "inf", "1e30"):
        given = [f"{flag}={value}"] if _numeric_flags("finetune")[name].nargs != 2 else [flag, value, value]
        error = _refused(["finetune", *given], tmp_path, capsys)
        assert f"finetune: {flag} is " in error, value
        assert "; it must be " in error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--drop 1.5", "--drop is 1.5; it must be at least 0 and less than 1"),
        ("--drop-path 2", "--drop-path is 2"),
        ("--lr 0", "--lr is 0; it must be more than 0"),
        ("--batch-size 0", "--batch-size is 0; it must be at least 1"),
        ("--layer-decay 0", "--layer-decay is 0"),
        ("--layer-decay 5", "--layer-decay is 5"),
        ("--seed 18446744073709551616", "--seed is 18446744073709551616"),
        ("--sched rsqrt --warmup-epochs 0", "--warmup-epochs is 0; sched rsqrt"),
        ("--sched wsd --decay-epochs 400", "--sched wsd cannot be made with these settings"),
        ("--warmup-epochs 31", "--warmup-epochs is 31, more than the 30 epochs"),
        ("--opt adan --opt-betas 0.9 0.99", "--opt-betas has 2 numbers; adan takes 3"),
        ("--opt lion --opt-betas 0.9 0.99 0.9", "--opt-betas has 3 numbers; lion takes 2"),
        ("--lr 0.01 --min-lr 0.1", "--min-lr is 0.1, more than the learning rate of 0.01"),
        ("--opt-betas 0.9 1", "--opt-betas is 1"),
        ("--opt adamww", "--opt is 'adamww', no optimizer of timm; nearest: adamw"),
        ("--sched step", "--decay-epochs is not given; sched step needs"),
        ("--sched multistep", "--decay-milestones is not given; sched multistep needs"),
        ("--amp --amp-dtype float16 --device cpu", "--amp-dtype is float16, which needs a GPU"),
        # without an effect
        ("--amp-dtype bfloat16", "--amp-dtype has no effect here; it needs --amp"),
        ("--opt sgd --opt-betas 0.9 0.99", "--opt-betas has no effect here; it is for other optimizers than sgd"),
        ("--momentum 0.8", "--momentum has no effect here; it is for other optimizers than adamw"),
        ("--sched poly --decay-rate 0.5", "--decay-rate has no effect here; it is for --sched step or multistep"),
        ("--decay-epochs 3", "--decay-epochs has no effect here"),
        ("--decay-milestones 3", "--decay-milestones has no effect here; it is for --sched multistep"),
        ("--sched constant --min-lr 1e-5", "--min-lr has no effect here"),
        ("--warmup-epochs 0 --warmup-lr 1e-5", "--warmup-lr has no effect here; it needs --warmup-epochs"),
        ("--model-ema-decay 0.9", "--model-ema-decay has no effect here; it needs --model-ema"),
        ("--lr-base-size 64", "--lr-base-size has no effect here; it needs --lr-base"),
        ("--mixup-prob 0.5", "--mixup-prob has no effect here; it needs --mixup or --cutmix"),
        ("--mixup 1 --mixup-switch-prob 0.5", "--mixup-switch-prob has no effect here; it needs --mixup and --cutmix"),
        ("--scale 0.5 1", "--scale has no effect here; it needs --train-crop rrc"),
        ("--ratio 0.5 1", "--ratio has no effect here; it needs --train-crop rrc"),
        ("--train-crop rrc --scale 0.9 0.1", "--scale is 0.9 0.1; the first number must not be above the second"),
        ("--train-crop rrc --scale 0.5 1.5", "--scale is 1.5; it must be more than 0 and at most 1"),
        ("--train-crop rrc --ratio 2 1", "--ratio is 2 1; the first number"),
        ("--vflip 1.5", "--vflip is 1.5; it must be at least 0 and at most 1"),
        ("--opt sgd --opt-eps 1e-6", "--opt-eps has no effect here; it is for other optimizers than sgd"),
        ("--checkpoint-hist 0", "--checkpoint-hist is 0; it must be at least 1"),
        ("--head-lr-scale 0", "--head-lr-scale is 0; it must be more than 0"),
        ("--freeze-backbone --from-scratch", "--freeze-backbone needs weights to start from"),
        ("--freeze-backbone --freeze-bn", "--freeze-bn has no effect with freeze_backbone"),
        ("--freeze-backbone --layer-decay 0.7", "--layer-decay has no effect with freeze_backbone"),
        ("--remode rand", "--remode has no effect here; it needs --reprob"),
        ("--crop-pct 0.9 --test-resize 40x40", "--crop-pct has no effect here"),
        ("--pretrained --initial-checkpoint f", "--pretrained has no effect here"),
        ("--pretrained --init-from f", "--init-from has no effect here; it is for runs that do not start from the"),
        ("--init-from f --backbone-weights tv_in1k", "--backbone-weights has no effect here"),
        ("--val v --val-frac 0.1", "--val-frac has no effect here"),
        ("--val v --val-group x", "--val-group has no effect here; it is for runs without --val and --val-split"),
    ],
)
def test_flags_are_refused(flags: str, message: str, tmp_path: Path, capsys: Capture) -> None:
    assert message in _refused(["finetune", *flags.split()], tmp_path, capsys)


def test_a_recipe_is_checked_by_the_same_ranges(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "own.yaml").write_text("drop: 1.5\n")
    assert "--drop is 1.5" in _refused(["finetune", "--recipe", str(tmp_path / "own.yaml")], tmp_path, capsys)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--frame-stride 2 --frame-sampling segment", "--frame-stride has no effect with segment sampling"),
        ("--data-root .", "--data-root has no effect here; it is for the paths in lists"),
        ("--val-frac 0.5", "--val-frac has no effect here"),
        ("--val-group x", "--val-group has no effect here"),
    ],
)
def test_flags_that_the_data_or_the_model_make_useless(
    flags: str, message: str, videos: Path, tmp_path: Path, capsys: Capture
) -> None:
    argv = ["finetune", "--model", "test_arc_tsm", "--data", str(videos), "--output", str(tmp_path / "run")]
    assert main([*argv, "--img-size", "32", "--device", "cpu", *flags.split()]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("index", [9, 99_999])
def test_a_mistyped_class_index(index: int, videos: Path, tmp_path: Path, capsys: Capture) -> None:
    files = [*sorted((videos / "train" / "rising").iterdir()), *sorted((videos / "train" / "falling").iterdir())]
    labels = (0, 0, 1, index)
    (tmp_path / "list.txt").write_text("".join(f"{file} {k}\n" for file, k in zip(files, labels, strict=True)))
    argv = ["finetune", "--model", "test_arc_tsm", "--data", str(tmp_path / "list.txt"), "--val-frac", "0.5"]
    assert main([*argv, "--output", str(tmp_path / "run"), "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert f"list.txt:4: class index {index} makes {index + 1} classes, of which 3 have videos" in error
    assert not (tmp_path / "run").exists()


def test_plain_sgd_without_momentum_trains(videos: Path, tmp_path: Path) -> None:
    argv = ["finetune", "--model", "test_arc_tsm", "--data", str(videos), "--output", str(tmp_path / "run")]
    flags = ["--img-size", "32", "--device", "cpu", "--workers", "0", "--epochs", "1", "--warmup-epochs", "0"]
    assert main([*argv, *flags, "--opt", "sgd", "--momentum", "0", "--sched", "constant"]) == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("-b 0", "evaluate: --batch-size is 0; it must be at least 1"),
        ("-j 100000", "evaluate: --workers is 100000; it must be at least 0 and at most 1,024"),
        ("--scores s --data-root .", "--data-root has no part in it"),
        ("--scores s --amp", "--amp has no part in it"),
    ],
)
def test_flags_of_evaluate(flags: str, message: str, tmp_path: Path, capsys: Capture) -> None:
    assert message in _refused(["evaluate", *flags.split()], tmp_path, capsys)


@pytest.mark.parametrize("command", ["predict a.mp4", "extract --input l --output o.npy"])
@pytest.mark.parametrize("flag", ["--batch-size=0", "--workers=-1", "--num-shards=0"])
def test_numbers_of_list_commands(command: str, flag: str, tmp_path: Path, capsys: Capture) -> None:
    name, value = flag.split("=")
    error = _refused([*command.split(), "--model", "m", flag], tmp_path, capsys)
    assert f"{command.split()[0]}: {name} is {value}; it must be at least" in error


@pytest.mark.parametrize("command", ["finetune --data x", "evaluate --data x", "predict x"])
def test_a_folder_for_indexes_that_is_a_file_is_refused(command: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").write_text("")
    error = _refused([*command.split(), "--model", "m", "--index-cache", str(tmp_path / "file")], tmp_path, capsys)
    assert f"--index-cache {tmp_path / 'file'}: cannot be made a folder" in error.replace("cache: ", "cache ")
    error = _refused([*command.split(), "--model", "m", "--index-cache="], tmp_path, capsys)
    assert "--index-cache is empty" in error.replace("cache: ", "cache ")


@pytest.mark.parametrize("command", ["finetune", "evaluate", "predict"])
def test_an_unknown_flag_points_to_the_help_of_its_command(command: str, tmp_path: Path, capsys: Capture) -> None:
    error = _refused([command, "--nonsense", *(["--model", "m"] if command == "predict" else [])], tmp_path, capsys)
    assert f"unrecognized arguments: --nonsense (see videozoo {command} --help)" in error


def test_a_continued_run_reads_as_many_frames(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEOZOO_MAX_FRAMES", "")
    monkeypatch.setenv("VIDEOZOO_INDEX_CACHE", "")
    argv = [
        "finetune",
        "--model",
        "test_arc_tsm",
        "--data",
        str(videos),
        "--output",
        str(tmp_path / "run"),
        "--img-size",
        "32",
    ]
    argv += ["--num-frames", "4", "--workers", "0", "--device", "cpu"]
    monkeypatch.chdir(tmp_path)
    assert main([*argv, "--epochs", "1", "--max-frames", "77", "--index-cache", "cache"]) == 0
    monkeypatch.setenv("VIDEOZOO_MAX_FRAMES", "")
    monkeypatch.setenv("VIDEOZOO_INDEX_CACHE", "")
    monkeypatch.chdir("/")
    assert main(["finetune", "--resume", "--output", str(tmp_path / "run")]) == 0
    assert os.environ["VIDEOZOO_MAX_FRAMES"] == "77"
    assert os.environ["VIDEOZOO_INDEX_CACHE"] == str(tmp_path / "cache")
    assert main(["finetune", "--resume", "--output", str(tmp_path / "run"), "--max-frames", "88"]) == 0
    assert os.environ["VIDEOZOO_MAX_FRAMES"] == "88"


@pytest.mark.parametrize(
    ("argv", "near"),
    [
        ("finetune --epoch 1", "--epochs"),
        ("finetune --batch_size=4", "--batch-size"),
        ("predict --top 1 a.mp4", "--topk"),
        ("stream --sourc a.mp4", "--source"),
    ],
)
def test_a_mistyped_flag_is_answered_by_the_nearest(argv: str, near: str, capsys: Capture) -> None:
    assert main(argv.split()) == 2
    assert f"did you mean {near}" in capsys.readouterr().err
