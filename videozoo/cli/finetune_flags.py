"""The flags of ``videozoo finetune``: timm's names and meanings where timm has the flag."""

import argparse
import os
from collections.abc import Callable
from typing import Any

from videozoo.bounds import CHOICES
from videozoo.choices import ERASE_MODES, EVAL_METRICS, SCHEDULES, TRACKERS, TRAIN_CROPS
from videozoo.cli.flags import DEVICE_HELP, add_max_frames_flag
from videozoo.cli.recipes import recipe_names

Group = argparse._ArgumentGroup
DEFAULT_LR = 5e-4  # where neither --lr nor --lr-base is given


class _Flags:
    """Adds flags that stay absent when not given, so that a continued run knows which were; keeps their defaults."""

    def __init__(self) -> None:
        self.defaults: dict[str, Any] = {}

    def add(self, group: Group, *names: str, default: Any = None, help: str, **options: Any) -> None:
        """One flag, its default in the help; ``none`` takes back what a recipe sets, where nothing is the default."""
        shown = f" [{default}]" if default else ""
        if default is None and "nargs" not in options and "choices" not in options:
            options["type"] = _or_none(options.get("type", str))
        action = group.add_argument(*names, default=argparse.SUPPRESS, help=help + shown, **options)
        self.defaults[action.dest] = default


def _or_none(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        return None if text == "none" else kind(text)

    convert.__name__ = kind.__name__  # argparse names it where a value does not fit
    return convert


def add_flags(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Add every flag; gives the defaults by name."""
    flags = _Flags()
    _add_data(flags, parser.add_argument_group("videos and run"))
    _add_network(flags, parser.add_argument_group("network"))
    _add_training(flags, parser.add_argument_group("training"))
    _add_classes(flags, parser.add_argument_group("uneven classes"))
    _add_clips(flags, parser.add_argument_group("clips"))
    _add_augmentation(flags, parser.add_argument_group("augmentation"))
    _add_machine(flags, parser.add_argument_group("machine"))
    return flags.defaults


def _add_data(flags: _Flags, group: Group) -> None:
    add = flags.add
    add(group, "--recipe", metavar="NAME|FILE",
        help=f"settings of a paper, any flag overrides them: {', '.join(recipe_names())}; or a yaml file")  # fmt: skip
    add(group, "--data", metavar="DIR_OR_LIST",
        help="folder root/CLASS/VIDEO (or one with train/ and val/ in it), list of `path label` lines, csv, the lists "
        "and json files of the public sets, or tar shards; see docs/data.md")  # fmt: skip
    add(group, "--data-format", metavar="NAME", help="what --data is, where that cannot be told from it")
    add(group, "--split", metavar="NAME", help="part of --data to train on, where one file lists several")
    add(group, "--val", metavar="DIR_OR_LIST", help="validation videos; without it a part of --data, split by hash")
    add(group, "--val-split", metavar="NAME", help="part of --val, or of --data, to validate on")
    add(group, "--val-frac", type=float, default=0.2, metavar="F", help="part of --data to validate on without --val")
    add(group, "--data-root", metavar="DIR", help="folder that paths in lists start from, instead of the list's own")
    add(group, "--class-names", metavar="FILE",
        help="class names, one a line, by index; a classes.txt beside a list is found by itself")  # fmt: skip
    add(group, "--max-bad-frac", type=float, default=0.01, metavar="F",
        help="fraction of the training videos that may be broken (one always may); others replace them")  # fmt: skip
    add(group, "--output", metavar="RUN", help="run folder to make")
    add(group, "--resume", action="store_true", default=False,
        help="continue the run in --output; flags not given are those of the run")  # fmt: skip
    add(group, "--checkpoint-minutes", type=float, default=10.0, metavar="N", help="between checkpoints in an epoch")
    add(group, "--log-with", action="extend", nargs="+", choices=TRACKERS, metavar="NAME",
        help=f"also tell {' or '.join(TRACKERS)}; summary.csv is always written")  # fmt: skip


def _add_network(flags: _Flags, group: Group) -> None:
    add = flags.add
    add(group, "--model", metavar="NAME",
        help="a name of `videozoo list`, local-dir:RUN/best or hf-hub:ORG/NAME for weights of your own")  # fmt: skip
    add(group, "--pretrained", action="store_true", default=False, help="start from the name's published weights")
    add(group, "--backbone-weights", metavar="TAG_OR_FILE",
        help="image weights for the backbone: a timm tag such as tv_in1k, a .safetensors file, or none")  # fmt: skip
    add(group, "--initial-checkpoint", metavar="FILE", help="start from this .safetensors file of the whole network")
    add(group, "--init-from", metavar="NAME",
        help="start an ARC or DNR network from its base: a name with weights, local-dir:DIR or hf-hub:ORG/NAME; "
        "frames and sampling are then the base's where no flag says otherwise")  # fmt: skip
    add(group, "--drop", type=float, metavar="P", help="dropout before the classifier")
    add(group, "--drop-path", type=float, metavar="P", help="stochastic depth of the backbone")
    add(group, "--causal", action="store_true", default=False,
        help="every frame sees earlier ones only, for `videozoo stream`; an extension for ARC and TANet")  # fmt: skip
    add(group, "--freeze-bn", action="store_true", default=False,
        help="leave batch norm as it is: for pretrained backbones and small batches")  # fmt: skip
    add(group, "--sync-bn", action="store_true", default=False, help="batch norm over the clips of all processes")
    add(group, "--grad-checkpointing", action="store_true", default=False, help="less memory, more time")


def _add_training(flags: _Flags, group: Group) -> None:
    add = flags.add
    add(group, "--epochs", type=int, default=30, metavar="N", help="passes over the training videos")
    add(group, "-b", "--batch-size", type=int, default=8, metavar="N", help="clips per batch (and process)")
    add(group, "--grad-accum-steps", type=int, default=1, metavar="N", help="batches per optimiser step")
    add(group, "--opt", default="adamw", metavar="NAME", help="any of timm's optimisers")
    add(group, "--lr", type=float, metavar="F", help=f"peak learning rate, as it is [{DEFAULT_LR:g}]")
    add(group, "--lr-base", type=float, metavar="F",
        help="peak learning rate for --lr-base-size clips a step, scaled in proportion; --lr wins")  # fmt: skip
    add(group, "--lr-base-size", type=int, default=256, metavar="N",
        help="clips a step that --lr-base is for (batch size x batches per step x processes)")  # fmt: skip
    add(group, "--weight-decay", type=float, default=0.05, metavar="F", help="not applied to norms and biases")
    add(group, "--momentum", type=float, default=0.9, metavar="F", help="for optimisers that have one")
    add(group, "--opt-betas", type=float, nargs="+", metavar="F", help="for optimisers that have them")
    add(group, "--layer-decay", type=float, metavar="F", help="factor of the learning rate per layer, head to stem")
    add(group, "--sched", default="cosine", choices=SCHEDULES, metavar="NAME", help=", ".join(SCHEDULES))
    add(group, "--warmup-epochs", type=float, default=1.0, metavar="N", help="linear rise at the start")
    add(group, "--warmup-lr", type=float, default=1e-6, metavar="F", help="where the rise starts")
    add(group, "--min-lr", type=float, default=0.0, metavar="F", help="where the schedule ends")
    add(group, "--decay-milestones", type=float, nargs="+", metavar="N", help="epochs of the falls of multistep")
    add(group, "--decay-epochs", type=float, metavar="N", help="epochs between the falls of step")
    add(group, "--decay-rate", type=float, default=0.1, metavar="F", help="factor of each fall")
    add(group, "--clip-grad", type=float, metavar="F", help="largest norm of the gradient")
    add(group, "--smoothing", type=float, default=0.0, metavar="F", help="label smoothing")
    add(group, "--model-ema", action="store_true", default=False, help="keep and measure a moving average of weights")
    add(group, "--model-ema-decay", type=float, default=0.9998, metavar="F", help="its decay")
    add(
        group, "--model-ema-warmup", action="store_true", default=False, help="a smaller decay at first, for short runs"
    )
    add(group, "--patience", type=int, metavar="N", help="stop after N epochs without a better one")
    add(group, "--eval-metric", default="top1", choices=EVAL_METRICS, help="what makes an epoch the best")
    add(group, "--seed", type=int, default=42, metavar="N", help="of every random draw")


def _add_classes(flags: _Flags, group: Group) -> None:
    add = flags.add
    add(group, "--class-weights", metavar="balanced|FILE",
        help="weights of the loss: by the number of videos, or a number a line in the classes' order")  # fmt: skip
    add(group, "--balanced-sampling", action="store_true", default=False, help="show every class equally often")


def _add_clips(flags: _Flags, group: Group) -> None:
    add = flags.add
    add(group, "--num-frames", type=int, metavar="N", help="frames of a clip, instead of the network's own (8)")
    add(group, "--img-size", type=int, metavar="N", help="height and width, instead of the network's own (224)")
    add(
        group,
        "--frame-sampling",
        choices=CHOICES["frame_sampling"],
        help="spread over the video, or --frame-stride apart",
    )
    add(group, "--frame-stride", type=int, metavar="N", help="video frames from one to the next, for dense")
    add(group, "--crop-pct", type=float, metavar="F", help="side of the test crop over the short side of the frame")
    add(group, "--val-views", default="1x1", metavar="CxK", help="clips x crops of each video while training")
    add(
        group,
        "--test-views",
        metavar="CxK",
        help="clips x crops that `evaluate` takes, instead of the network's own",
    )
    add(group, "--test-crop-size", type=int, metavar="N", help="test crop, where it is not --img-size")
    add(group, "--test-resize", metavar="HxW", help="size of the frames before the test crop, instead of --crop-pct")


def _add_augmentation(flags: _Flags, group: Group) -> None:
    add = flags.add
    add(group, "--train-resize", metavar="N|HxW", help="resize frames first: the short side, or exactly, as 240x320")
    add(group, "--train-crop", default="multiscale", choices=TRAIN_CROPS,
        help="TSN's corner crops, or a random area and aspect ratio")  # fmt: skip
    add(group, "--hflip", type=float, default=0.5, metavar="P",
        help="probability of mirroring; classes with left/right or clockwise in their names are minded")  # fmt: skip
    add(group, "--color-jitter", type=float, metavar="F", help="brightness, contrast, saturation within 1 -/+ F")
    add(group, "--aa", metavar="NAME", help="RandAugment as timm spells it, such as rand-m9-n2")
    add(group, "--reprob", type=float, default=0.0, metavar="P", help="probability of random erasing")
    add(
        group,
        "--remode",
        default="const",
        choices=ERASE_MODES,
        help="what erased places are filled with",
    )
    add(group, "--mixup", type=float, default=0.0, metavar="ALPHA", help="mix clips and labels; 0: off")
    add(group, "--cutmix", type=float, default=0.0, metavar="ALPHA", help="paste a part of another clip; 0: off")
    add(group, "--mixup-prob", type=float, default=1.0, metavar="P", help="of mixup or cutmix in a batch")
    add(group, "--mixup-switch-prob", type=float, default=0.5, metavar="P", help="of cutmix where both are on")


def _add_machine(flags: _Flags, group: Group) -> None:
    add = flags.add
    add_max_frames_flag(group)
    flags.defaults["max_frames"] = None  # kept with the run: a continued one reads as it did
    add(group, "-j", "--workers", type=int, default=min(4, os.cpu_count() or 1), metavar="N", help="decoding processes")
    add(group, "--amp", action="store_true", default=False, help="mixed precision")
    add(group, "--amp-dtype", default="bfloat16", choices=("bfloat16", "float16"), help="float16 needs a GPU")
    add(group, "--channels-last", action="store_true", default=False, help="memory layout that some GPUs like better")
    add(group, "--compile", action="store_true", default=False, help="torch.compile: a slow start, then faster steps")
    add(group, "--device", default="auto", metavar="NAME", help=DEVICE_HELP)
    add(group, "--log-interval", type=int, default=50, metavar="N", help="steps between progress lines")
