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

DEVICE_HELP = "auto (a GPU if there is one), or a device of torch: cpu, cuda:1, mps, xpu"
INDEX_CACHE_HELP = "keep the indexes of videos in DIR, for later runs and all workers; for long files"
MAX_FRAMES_HELP = "frames that may be decoded for one video; raise it for hours-long files without an index [200000]"
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
        shown = f" [{default}]" if default else ""
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
        Setting("--data-format", metavar="NAME", help="what --data is, where that cannot be told from it"),
        Setting("--split", metavar="NAME", help="part of --data to train on, where one file lists several"),
        Setting("--val", metavar="DIR_OR_LIST", help="validation videos; without it a part of --data, split by hash"),
        Setting("--val-split", metavar="NAME", help="part of --val, or of --data, to validate on"),
        Setting("--val-frac", type=float, default=0.2, metavar="F", help="part of --data to validate on without --val"),
        Setting("--val-group", metavar="REGEX",
                help="keep together what it matches in the names (group 1 if it has one), such as '^([^_]+)' for the "
                "person in daria_bend.mp4: none is in training and validation both"),
        Setting("--data-root", metavar="DIR", help="folder that paths in lists start from, instead of the list's own"),
        Setting("--class-names", metavar="FILE",
                help="class names, one a line, by index; a classes.txt beside a list is found by itself"),
        Switch("--multi-label",
               help="a video may have several classes, or none: lists as `a.mp4 0 3`, csv with labels joined by |; "
               "trained by binary cross entropy, measured by mAP"),
        Setting("--max-bad-frac", type=float, default=FitConfig.max_bad_frac, metavar="F",
                help="fraction of the training videos that may be broken (one always may); others replace them"),
        Setting("--output", metavar="RUN", help="run folder to make"),
        Switch("--resume", help="continue the run in --output; flags not given are those of the run"),
        Setting("--checkpoint-hist", type=int, default=FitConfig.checkpoint_hist, metavar="N",
                help="epochs to keep: 1 is RUN/best, more are the N best ones in RUN/epoch-K"),
        Setting("--checkpoint-minutes", type=float, default=FitConfig.checkpoint_minutes, metavar="N",
                help="between checkpoints in an epoch"),
        Setting("--log-with", action="extend", nargs="+", choices=TRACKERS, metavar="NAME",
                help=f"also tell {' or '.join(TRACKERS)}; summary.csv is always written"),
    ),
    "network": (
        Setting("--model", metavar="NAME",
                help="a name of `videozoo list`, a folder such as RUN/best or hf-hub:ORG/NAME for weights of your own"),
        Switch("--from-scratch",
               help="start from random weights; by default a name starts from its published weights, an ARC or DNR "
               "name from those of its base, else its backbone from ImageNet weights (offline: what is cached)"),
        Switch("--pretrained", help="start from the name's published weights"),
        Setting("--backbone-weights", metavar="TAG_OR_FILE",
                help="image weights for the backbone: a timm tag such as tv_in1k, a .safetensors file, or none"),
        Setting("--initial-checkpoint", metavar="FILE", help="start from this .safetensors file of the whole model"),
        Setting("--init-from", metavar="NAME",
                help="start an ARC or DNR model from its base: a name with weights, a folder or hf-hub:ORG/NAME"
                "; frames and sampling are then the base's where no flag says otherwise"),
        Setting("--drop", type=float, metavar="P", help="dropout before the classifier"),
        Setting("--drop-path", type=float, metavar="P", help="stochastic depth of the backbone"),
        Switch("--causal",
                help="every frame sees earlier ones only, for `videozoo stream`; an extension for ARC and TANet"),
        Switch("--freeze-backbone",
                help="train only the classifier and what a temporal module, ARC or DNR adds to the backbone"),
        Switch("--freeze-bn", help="leave batch norm as it is: for pretrained backbones and small batches"),
        Switch("--sync-bn", help="batch norm over the clips of all processes"),
        Switch("--grad-checkpointing", help="less memory, more time"),
    ),
    "training": (
        Setting("--epochs", type=int, default=FitConfig.epochs, metavar="N", help="passes over the training videos"),
        Setting("-b", "--batch-size", type=_int_or_auto, default=8, metavar="N",
                help="clips per batch (and process); auto: the largest power of two that there is memory for"),
        Setting("--grad-accum-steps", type=int, default=FitConfig.grad_accum_steps, metavar="N",
                help="batches per optimizer step"),
        Setting("--opt", default=FitConfig.opt, metavar="NAME", help="any of timm's optimizers"),
        Setting("--lr", type=float, metavar="F", help=f"peak learning rate, as it is [{DEFAULT_LR:g}]"),
        Setting("--lr-base", type=float, metavar="F",
                help="peak learning rate for --lr-base-size clips a step, scaled in proportion; --lr wins"),
        Setting("--lr-base-size", type=int, default=256, metavar="N",
                help="clips a step that --lr-base is for (batch size x batches per step x processes)"),
        Setting("--weight-decay", type=float, default=FitConfig.weight_decay, metavar="F",
                help="not applied to norms and biases"),
        Setting("--momentum", type=float, default=FitConfig.momentum, metavar="F", help="for optimizers that have one"),
        Setting("--opt-betas", type=float, nargs="+", metavar="F", help="for optimizers that have them"),
        Setting("--opt-eps", type=float, metavar="F", help="for optimizers that have one"),
        Setting("--layer-decay", type=float, metavar="F", help="factor of the learning rate per layer, head to stem"),
        Setting("--head-lr-scale", type=float, default=FitConfig.head_lr_scale, metavar="F",
                help="factor of the classifier's learning rate; TSM's authors take 5"),
        Setting("--sched", default=FitConfig.sched, choices=SCHEDULES, metavar="NAME", help=", ".join(SCHEDULES)),
        Setting("--warmup-epochs", type=float, default=FitConfig.warmup_epochs, metavar="N",
                help="linear rise at the start"),
        Setting("--warmup-lr", type=float, default=FitConfig.warmup_lr, metavar="F", help="where the rise starts"),
        Setting("--min-lr", type=float, default=FitConfig.min_lr, metavar="F", help="where the schedule ends"),
        Setting("--decay-milestones", type=float, nargs="+", metavar="N", help="epochs of the falls of multistep"),
        Setting("--decay-epochs", type=float, metavar="N", help="epochs between the falls of step"),
        Setting("--decay-rate", type=float, default=FitConfig.decay_rate, metavar="F", help="factor of each fall"),
        Setting("--clip-grad", type=float, metavar="F", help="largest norm of the gradient"),
        Setting("--smoothing", type=float, default=FitConfig.smoothing, metavar="F", help="label smoothing"),
        Switch("--bce-loss", help="binary cross entropy for videos with one class; mixup and smoothing as in timm"),
        Setting("--bce-target-thresh", type=float, metavar="F",
                help="make targets of binary cross entropy 1 above this value and 0 elsewhere"),
        Switch("--model-ema", help="keep and measure a moving average of weights"),
        Setting("--model-ema-decay", type=float, default=FitConfig.model_ema_decay, metavar="F", help="its decay"),
        Switch("--model-ema-warmup", help="a smaller decay at first, for short runs"),
        Setting("--patience", type=int, metavar="N", help="stop after N epochs without a better one"),
        Setting("--eval-metric", choices=EVAL_METRICS,
                help="what makes an epoch the best [top1; with --multi-label map]"),
        Setting("--seed", type=int, default=FitConfig.seed, metavar="N", help="of every random draw"),
    ),
    "uneven classes": (
        Setting("--class-weights", metavar="balanced|FILE",
                help="weights of the loss: by the number of videos, or a number a line in the classes' order"),
        Switch("--balanced-sampling", help="show every class equally often"),
    ),
    "clips": (
        Setting("--num-frames", type=int, metavar="N", help="frames of a clip, instead of the model's own (8)"),
        Setting("--img-size", type=int, metavar="N", help="height and width, instead of the model's own (224)"),
        Setting("--frame-sampling", choices=CHOICES["frame_sampling"],
                help="spread over the video, or --frame-stride apart"),
        Setting("--frame-stride", type=int, metavar="N", help="video frames from one to the next, for dense"),
        Setting("--crop-pct", type=float, metavar="F", help="side of the test crop over the short side of the frame"),
        Setting("--val-views", default="1x1", metavar="CxK", help="clips x crops of each video while training"),
        Setting("--test-views", metavar="CxK",
                help="clips x crops that `evaluate` takes, instead of the model's own"),
        Setting("--test-crop-size", type=int, metavar="N", help="test crop, where it is not --img-size"),
        Setting("--test-resize", metavar="HxW", help="size of the frames before the test crop, instead of --crop-pct"),
    ),
    "augmentation": (
        Setting("--train-resize", metavar="N|HxW", help="resize frames first: the short side, or exactly, as 240x320"),
        Setting("--train-crop", default="multiscale", choices=TRAIN_CROPS,
                help="TSN's corner crops, or a random area and aspect ratio"),
        Setting("--scale", type=float, nargs=2, metavar=("MIN", "MAX"),
                help="area of rrc's crops over that of the frame [0.08 1]"),
        Setting("--ratio", type=float, nargs=2, metavar=("MIN", "MAX"),
                help="width / height of rrc's crops [0.75 1.33]"),
        Setting("--hflip", type=float, default=0.5, metavar="P",
                help="probability of mirroring; classes with left/right or clockwise in their names are minded"),
        Setting("--vflip", type=float, default=0.0, metavar="P",
                help="probability of turning upside down; classes with up/down or clockwise in their names stay"),
        Setting("--color-jitter", type=float, metavar="F", help="brightness, contrast, saturation within 1 -/+ F"),
        Setting("--aa", metavar="NAME", help="RandAugment as timm spells it, such as rand-m9-n2"),
        Setting("--reprob", type=float, default=0.0, metavar="P", help="probability of random erasing"),
        Setting("--remode", default="const", choices=ERASE_MODES,
                help="what erased places are filled with"),
        Setting("--mixup", type=float, default=0.0, metavar="ALPHA", help="mix clips and labels; 0: off"),
        Setting("--cutmix", type=float, default=0.0, metavar="ALPHA", help="paste a part of another clip; 0: off"),
        Setting("--mixup-prob", type=float, default=1.0, metavar="P", help="of mixup or cutmix in a batch"),
        Setting("--mixup-switch-prob", type=float, default=0.5, metavar="P", help="of cutmix where both are on"),
    ),
    "machine": (
        Setting("--max-frames", type=int, metavar="N", help=MAX_FRAMES_HELP),
        Setting("--index-cache", metavar="DIR", help=INDEX_CACHE_HELP),
        Setting("-j", "--workers", type=int, default=min(4, os.cpu_count() or 1), metavar="N",
                help="decoding processes"),
        Switch("--amp", help="mixed precision"),
        Setting("--amp-dtype", default="bfloat16", choices=("bfloat16", "float16"), help="float16 needs a GPU"),
        Switch("--channels-last", help="memory layout that some GPUs like better"),
        Switch("--compile", help="torch.compile: a slow start, then faster steps"),
        Setting("--device", default=FitConfig.device, metavar="NAME", help=DEVICE_HELP),
        Setting("--log-interval", type=int, default=FitConfig.log_interval, metavar="N",
                help="steps between progress lines"),
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
