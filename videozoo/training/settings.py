"""Settings of a training, as flags and arguments, with timm's names and meanings where timm has them."""

import argparse
import os
from collections.abc import Callable
from typing import Any

from videozoo.bounds import CHOICES
from videozoo.choices import ERASE_MODES, EVAL_METRICS, SCHEDULES, TRACKERS, TRAIN_CROPS
from videozoo.fit_config import FitConfig
from videozoo.launch import num_processes

from .recipe_files import recipe_names

# Also the words of the other commands that have these flags.
DATA_ROOT_HELP = "folder that relative paths in lists start from; default: the folder of the list"
DATA_FORMAT_HELP = "format of the list or folder, where it is not recognized; docs/data.md names all"
SPLIT_HELP = "split to read, where one file or folder holds several, such as train"
CLASS_NAMES_HELP = "text file of class names, one per line, by index; default: a classes.txt beside the list"
DEVICE_HELP = "auto (a GPU if there is one), or a device of torch: cpu, cuda:1, mps, xpu"
INDEX_CACHE_HELP = "keep the frame indexes of long videos in DIR, for later runs and all workers"
MAX_FRAMES_HELP = "most frames to decode of one video; raise it for hours-long files without an index; default: 200000"
AUTO = "auto"  # a batch size that is found by trying
DEFAULT_LR = FitConfig.lr  # where neither --lr nor --lr-base is given


class Setting:
    """Flag that is absent unless given, so that a continued run knows which were given.

    ``none`` takes back what a recipe sets, where nothing is the default.

    Args:
        default: its value where neither a flag nor a recipe gives one. It is in the help.
    """

    def __init__(self, *names: str, default: Any = None, help: str, **options: Any) -> None:
        if default is None and "nargs" not in options and "choices" not in options:
            options["type"] = _or_none(options.get("type", str))
        shown = f"; default: {default}" if default else ""
        self.name, self.default = names[-1].removeprefix("--").replace("-", "_"), default
        self._names, self._options = names, {"default": argparse.SUPPRESS, "help": help + shown, **options}

    def __call__(self, parser: argparse._ActionsContainer) -> None:
        """Add the flag to a parser."""
        parser.add_argument(*self._names, **self._options)


class Switch(Setting):
    """Setting that is off by default."""

    def __init__(self, name: str, help: str) -> None:
        super().__init__(name, default=False, help=help, action="store_true")


def _or_none(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        return None if text == "none" else kind(text)

    convert.__name__ = kind.__name__  # argparse names it where a value does not fit
    return convert


def _int_or_auto(text: str) -> int | str:
    return text if text == AUTO else int(text)


_int_or_auto.__name__ = "int"

# fmt: off
GROUPS: dict[str, tuple[Setting, ...]] = {
    "videos and run": (
        Setting("--recipe", metavar="NAME|FILE",
                help=f"settings of a paper, any flag overrides them: {', '.join(recipe_names())}; or a yaml file"),
        Setting("--data", metavar="DIR_OR_LIST",
                help="folder root/CLASS/VIDEO (or one with train/ and val/ in it), list of `path label` lines, csv, "
                "the lists and json files of the public sets, or tar shards; see docs/data.md"),
        Setting("--data-format", metavar="NAME", help=DATA_FORMAT_HELP),
        Setting("--split", metavar="NAME", help=SPLIT_HELP),
        Setting("--val", metavar="DIR_OR_LIST",
                help="validation videos; default: a fraction of --data, see --val-frac"),
        Setting("--val-split", metavar="NAME", help="split of --val, or of --data, to validate on"),
        Setting("--val-frac", type=float, default=0.2, metavar="F",
                help="fraction of --data to validate on without --val"),
        Setting("--val-group", metavar="REGEX",
                help="keep videos together whose names match it with the same text (of group 1, if it has one): all "
                "are "
                "in training or all in validation, such as '^([^_]+)' for the person in daria_bend.mp4"),
        Setting("--data-root", metavar="DIR", help=DATA_ROOT_HELP),
        Setting("--class-names", metavar="FILE",
                help=CLASS_NAMES_HELP),
        Switch("--multi-label",
               help="videos may have several classes, or none: lines such as `a.mp4 0 3`, csv with labels joined by |; "
               "trained with binary cross entropy, measured by mAP"),
        Setting("--max-bad-frac", type=float, default=FitConfig.max_bad_frac, metavar="F",
                help="largest fraction of broken training videos (one is always allowed); other videos replace them"),
        Setting("--output", metavar="RUN", help="run folder to create; default: a new one, runs/DATE-TIME-MODEL"),
        Switch("--resume", help="continue the run in --output, with its flags where none are given"),
        Setting("--checkpoint-hist", type=int, default=FitConfig.checkpoint_hist, metavar="N",
                help="best epochs to keep; 1: only RUN/best, more: also the N best ones in RUN/epoch-K"),
        Setting("--checkpoint-minutes", type=float, default=FitConfig.checkpoint_minutes, metavar="N",
                help="minutes between checkpoints within an epoch"),
        Setting("--log-with", action="extend", nargs="+", choices=TRACKERS, metavar="NAME",
                help=f"also log to {' or '.join(TRACKERS)}; summary.csv is always written"),
    ),
    "model": (
        Setting("--model", metavar="NAME",
                help="a name of `videozoo list`, or weights of your own: a folder such as RUN/best, or "
                "hf-hub:ORG/NAME; default: published weights that suit the machine, see docs/training.md"),
        Switch("--from-scratch",
               help="start from random weights; default: the name's published weights, for ARC and DNR those of the "
               "base "
               "model, else ImageNet weights of the backbone (offline: what is cached)"),
        Switch("--pretrained", help="require the published weights of --model"),
        Setting("--backbone-weights", metavar="TAG_OR_FILE",
                help="image weights of the backbone: a timm tag such as tv_in1k, a file, hf-hub:ORG/NAME, or none"),
        Setting("--initial-checkpoint", metavar="FILE", help="start from a .safetensors file of the whole model"),
        Setting("--init-from", metavar="NAME",
                help="start an ARC or DNR model from its base model: a name with weights, a folder or hf-hub:ORG/NAME; "
                "frames and sampling default to those of the base model"),
        Setting("--drop", type=float, metavar="P", help="dropout rate before the classifier"),
        Setting("--drop-path", type=float, metavar="P", help="stochastic depth rate of the backbone"),
        Switch("--causal",
                help="use past frames only, for `videozoo stream`; for ARC and TANet an extension of the paper"),
        Switch("--freeze-backbone",
                help="train only the classifier and what a temporal module, ARC or DNR adds to the backbone"),
        Switch("--freeze-bn", help="freeze all batch norms, for pretrained backbones and small batches"),
        Switch("--sync-bn", help="compute batch norm over the clips of all processes"),
        Switch("--grad-checkpointing", help="recompute activations in the backward pass: less memory, more time"),
    ),
    "training": (
        Setting("--epochs", type=int, default=FitConfig.epochs, metavar="N", help="passes over the training videos"),
        Setting("-b", "--batch-size", type=_int_or_auto, default=8, metavar="N",
                help="clips per batch and process, or auto: the largest power of two that fits in memory"),
        Setting("--grad-accum-steps", type=int, default=FitConfig.grad_accum_steps, metavar="N",
                help="batches per optimizer step"),
        Setting("--opt", default=FitConfig.opt, metavar="NAME", help="any of timm's optimizers"),
        Setting("--lr", type=float, metavar="F",
                help=f"peak learning rate, not scaled by the batch size; default: {DEFAULT_LR:g}"),
        Setting("--lr-base", type=float, metavar="F",
                help="peak learning rate for --lr-base-size clips per step, scaled linearly to yours; --lr overrides "
                "it"),
        Setting("--lr-base-size", type=int, default=256, metavar="N",
                help="clips per step that --lr-base is for (batch size x batches per step x processes)"),
        Setting("--weight-decay", type=float, default=FitConfig.weight_decay, metavar="F",
                help="weight decay, except for norms and biases"),
        Setting("--momentum", type=float, default=FitConfig.momentum, metavar="F", help="optimizer momentum"),
        Setting("--opt-betas", type=float, nargs="+", metavar="F",
                help="optimizer betas; default: the optimizer's own"),
        Setting("--opt-eps", type=float, metavar="F", help="optimizer epsilon; default: the optimizer's own"),
        Setting("--layer-decay", type=float, metavar="F",
                help="learning rate factor per layer, from the head to the stem"),
        Setting("--head-lr-scale", type=float, default=FitConfig.head_lr_scale, metavar="F",
                help="learning rate factor of the classifier; 5 in the TSM paper's code"),
        Setting("--addon-lr-scale", type=float, metavar="F",
                help="learning rate factor of what ARC, DNR or TPN added to the model; default: 0.02 for ARC if "
                     "--opt has betas, as adamw has, else 1"),
        Setting("--sched", default=FitConfig.sched, choices=SCHEDULES, metavar="NAME",
                help=f"learning rate schedule: {', '.join(SCHEDULES)}"),
        Setting("--warmup-epochs", type=float, default=FitConfig.warmup_epochs, metavar="N",
                help="epochs of linear warm-up"),
        Setting("--warmup-lr", type=float, default=FitConfig.warmup_lr, metavar="F",
                help="learning rate at the start of the warm-up"),
        Setting("--min-lr", type=float, default=FitConfig.min_lr, metavar="F",
                help="learning rate at the end of the schedule"),
        Setting("--decay-milestones", type=float, nargs="+", metavar="N",
                help="epochs at which --sched multistep decays"),
        Setting("--decay-epochs", type=float, metavar="N", help="epochs between the decays of --sched step"),
        Setting("--decay-rate", type=float, default=FitConfig.decay_rate, metavar="F", help="factor of each decay"),
        Setting("--clip-grad", type=float, metavar="F", help="clip the gradient to this norm"),
        Setting("--smoothing", type=float, default=FitConfig.smoothing, metavar="F", help="label smoothing"),
        Switch("--bce-loss", help="binary cross entropy for videos with one class; mixup and smoothing as in timm"),
        Setting("--bce-target-thresh", type=float, metavar="F",
                help="set targets of --bce-loss to 1 above this value, else to 0"),
        Switch("--model-ema", help="keep a moving average of the weights, and evaluate it"),
        Setting("--model-ema-decay", type=float, default=FitConfig.model_ema_decay, metavar="F",
                help="decay of the moving average"),
        Switch("--model-ema-warmup", help="start with a smaller decay, for short runs"),
        Setting("--patience", type=int, metavar="N", help="stop after N epochs without improvement"),
        Setting("--eval-metric", choices=EVAL_METRICS,
                help="metric that selects the best epoch; default: top1, map with --multi-label"),
        Setting("--seed", type=int, default=FitConfig.seed, metavar="N", help="random seed"),
    ),
    "uneven classes": (
        Setting("--class-weights", metavar="balanced|FILE",
                help="class weights of the loss: by the number of videos, or a file with a number per line, by index"),
        Switch("--balanced-sampling", help="sample every class equally often"),
    ),
    "clips": (
        Setting("--num-frames", type=int, metavar="N", help="frames per clip; default: the model's own, mostly 8"),
        Setting("--img-size", type=int, metavar="N",
                help="height and width of the input; default: the model's own, mostly 224"),
        Setting("--frame-sampling", choices=CHOICES["frame_sampling"],
                help="segment and uniform: spread over the video; dense: --frame-stride apart; default: the model's "
                "own"),
        Setting("--frame-stride", type=int, metavar="N",
                help="distance between frames of a clip with --frame-sampling dense"),
        Setting("--crop-pct", type=float, metavar="F",
                help="side of the test crop / short side of the resized frame; default: the model's own"),
        Setting("--val-views", default="1x1", metavar="CxK",
                help="clips x crops of each validation video during training"),
        Setting("--test-views", metavar="CxK",
                help="clips x crops that `evaluate` uses; default: the model's own"),
        Setting("--test-crop-size", type=int, metavar="N", help="size of the test crop; default: --img-size"),
        Setting("--test-resize", metavar="HxW", help="size of the frames before the test crop, instead of --crop-pct"),
    ),
    "augmentation": (
        Setting("--train-resize", metavar="N|HxW",
                help="resize frames before the crop: the short side, or height x width such as 240x320"),
        Setting("--train-crop", default="multiscale", choices=TRAIN_CROPS,
                help="multiscale: corner crops as in TSN; rrc: a random area and aspect ratio"),
        Setting("--scale", type=float, nargs=2, metavar=("MIN", "MAX"),
                help="range of the area of rrc crops / area of the frame; default: 0.08 1"),
        Setting("--ratio", type=float, nargs=2, metavar=("MIN", "MAX"),
                help="range of width / height of rrc crops; default: 0.75 1.33"),
        Setting("--hflip", type=float, default=0.5, metavar="P",
                help="probability of a horizontal flip; labels with left/right or clockwise in their names are "
                "swapped"),
        Setting("--vflip", type=float, default=0.0, metavar="P",
                help="probability of a vertical flip; labels with up/down or clockwise in their names are not flipped"),
        Setting("--color-jitter", type=float, metavar="F",
                help="factors of brightness, contrast and saturation, from 1 - F to 1 + F"),
        Setting("--aa", metavar="NAME", help="RandAugment in timm's notation, such as rand-m9-n2"),
        Setting("--reprob", type=float, default=0.0, metavar="P", help="probability of random erasing"),
        Setting("--remode", default="const", choices=ERASE_MODES,
                help="fill of erased areas: zeros, one random color, or a random color per pixel"),
        Setting("--mixup", type=float, default=0.0, metavar="ALPHA", help="mixup alpha; 0: off"),
        Setting("--cutmix", type=float, default=0.0, metavar="ALPHA", help="CutMix alpha; 0: off"),
        Setting("--mixup-prob", type=float, default=1.0, metavar="P", help="probability of mixup or CutMix per batch"),
        Setting("--mixup-switch-prob", type=float, default=0.5, metavar="P",
                help="probability of CutMix instead of mixup where both are on"),
    ),
    "machine": (
        Setting("--max-frames", type=int, metavar="N", help=MAX_FRAMES_HELP),
        Setting("--index-cache", metavar="DIR", help=INDEX_CACHE_HELP),
        Setting("-j", "--workers", type=int, default=min(4, os.cpu_count() or 1), metavar="N",
                help="decoding processes"),
        Switch("--amp", help="train in mixed precision"),
        Setting("--amp-dtype", default="bfloat16", choices=("bfloat16", "float16"),
                help="type of --amp; float16 needs a GPU"),
        Switch("--channels-last", help="channels-last memory layout, faster on some machines"),
        Switch("--compile", help="use torch.compile: a slow start, then faster steps"),
        Setting("--device", default=FitConfig.device, metavar="NAME", help=DEVICE_HELP),
        Setting("--log-interval", type=int, default=FitConfig.log_interval, metavar="N",
                help="steps between log lines"),
    ),
}
# fmt: on
DEFAULTS: dict[str, Any] = {setting.name: setting.default for settings in GROUPS.values() for setting in settings}


class Settings(argparse.Namespace):
    """Every setting of a training with its value.

    ``is_continued``: whether there is a run to go on with. ``start_from``: what the recipe says to start from.
    ``default_start``: the weights that were taken because no setting names any.
    ``given``: the names of those that were given.
    """

    is_continued: bool = False
    given: frozenset[str] = frozenset()
    start_from: str = ""
    default_start: str = ""

    def __getattr__(self, name: str) -> Any:  # only reached for names that are not there
        raise AttributeError(f"Settings: no setting {name!r}")

    @property
    def global_batch(self) -> int:
        """Clips per optimizer step, over all processes."""
        return int(self.batch_size * self.grad_accum_steps * num_processes())
