"""The flags of ``videozoo finetune``: timm's names and meanings where timm has the flag."""

import argparse
import os
from typing import Any

Group = argparse._ArgumentGroup
SAMPLINGS = ("segment", "dense", "uniform")
SCHEDULES = ("cosine", "constant", "step", "multistep", "poly", "tanh", "wsd", "rsqrt", "none")


class _Flags:
    """Adds flags that stay absent when not given, so that a continued run knows which were; keeps their defaults."""

    def __init__(self) -> None:
        self.defaults: dict[str, Any] = {}

    def add(self, group: Group, *names: str, default: Any = None, help: str, **options: Any) -> None:
        """One flag; its default is shown in the help."""
        shown = "" if default is None or default is False else f" [{default}]"
        action = group.add_argument(*names, default=argparse.SUPPRESS, help=help + shown, **options)
        self.defaults[action.dest] = default


def add_flags(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Add every flag; gives the defaults by name."""
    flags = _Flags()
    _add_data(flags, parser.add_argument_group("videos and run"))
    _add_network(flags, parser.add_argument_group("network"))
    _add_training(flags, parser.add_argument_group("training"))
    _add_clips(flags, parser.add_argument_group("clips"))
    _add_machine(flags, parser.add_argument_group("machine"))
    return flags.defaults


def _add_data(flags: _Flags, group: Group) -> None:
    add = flags.add
    add(group, "--data", metavar="DIR_OR_LIST",
        help="folder root/CLASS/VIDEO (or one with train/ and val/ in it), list of `path label` lines, or csv with "
        "columns path,label")  # fmt: skip
    add(group, "--val", metavar="DIR_OR_LIST", help="validation videos; without it a part of --data, split by hash")
    add(group, "--val-frac", type=float, default=0.2, metavar="F", help="part of --data to validate on without --val")
    add(group, "--data-root", metavar="DIR", help="folder that paths in lists start from, instead of the list's own")
    add(group, "--class-names", metavar="FILE",
        help="class names, one a line, by index; a classes.txt beside a list is found by itself")  # fmt: skip
    add(group, "--output", metavar="RUN", help="run folder to make")
    add(group, "--resume", action="store_true", default=False,
        help="continue the run in --output; flags not given are those of the run")  # fmt: skip


def _add_network(flags: _Flags, group: Group) -> None:
    add = flags.add
    add(group, "--model", metavar="NAME",
        help="a name of `videozoo list`, local-dir:RUN/best or hf-hub:ORG/NAME for weights of your own")  # fmt: skip
    add(group, "--pretrained", action="store_true", default=False, help="start from the name's published weights")
    add(group, "--backbone-weights", metavar="TAG_OR_FILE",
        help="image weights for the backbone: a timm tag such as tv_in1k, or a .safetensors file")  # fmt: skip
    add(group, "--initial-checkpoint", metavar="FILE", help="start from this .safetensors file of the whole network")
    add(group, "--init-from", metavar="NAME",
        help="start an ARC or DNR network from its base: a name with weights, local-dir:DIR or hf-hub:ORG/NAME; "
        "frames and sampling are then the base's where no flag says otherwise")  # fmt: skip
    add(group, "--drop", type=float, metavar="P", help="dropout before the classifier")
    add(group, "--drop-path", type=float, metavar="P", help="stochastic depth of the backbone")
    add(group, "--freeze-bn", action="store_true", default=False,
        help="leave batch norm as it is: for pretrained backbones and small batches")  # fmt: skip
    add(group, "--grad-checkpointing", action="store_true", default=False, help="less memory, more time")


def _add_training(flags: _Flags, group: Group) -> None:
    add = flags.add
    add(group, "--epochs", type=int, default=30, metavar="N", help="passes over the training videos")
    add(group, "-b", "--batch-size", type=int, default=8, metavar="N", help="clips per batch (and process)")
    add(group, "--grad-accum-steps", type=int, default=1, metavar="N", help="batches per optimiser step")
    add(group, "--opt", default="adamw", metavar="NAME", help="any of timm's optimisers")
    add(group, "--lr", type=float, default=5e-4, metavar="F", help="peak learning rate; not scaled by the batch size")
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
    add(group, "--eval-metric", default="top1", choices=("top1", "mean_class"), help="what makes an epoch the best")
    add(group, "--seed", type=int, default=42, metavar="N", help="of every random draw")


def _add_clips(flags: _Flags, group: Group) -> None:
    add = flags.add
    add(group, "--num-frames", type=int, metavar="N", help="frames of a clip, instead of the network's own (8)")
    add(group, "--img-size", type=int, metavar="N", help="height and width, instead of the network's own (224)")
    add(group, "--frame-sampling", choices=SAMPLINGS, help="spread over the video, or --frame-stride apart")
    add(group, "--frame-stride", type=int, metavar="N", help="video frames from one to the next, for dense")
    add(group, "--crop-pct", type=float, metavar="F", help="side of the test crop over the short side of the frame")
    add(group, "--train-crop", default="multiscale", choices=("multiscale", "rrc"),
        help="TSN's corner crops, or a random area and aspect ratio")  # fmt: skip
    add(
        group,
        "--hflip",
        type=float,
        default=0.5,
        metavar="P",
        help="probability of mirroring; classes with left/right or clockwise in their names are minded",
    )


def _add_machine(flags: _Flags, group: Group) -> None:
    add = flags.add
    add(group, "-j", "--workers", type=int, default=min(4, os.cpu_count() or 1), metavar="N", help="decoding processes")
    add(group, "--amp", action="store_true", default=False, help="mixed precision")
    add(group, "--amp-dtype", default="bfloat16", choices=("bfloat16", "float16"), help="float16 needs a GPU")
    add(group, "--device", default="auto", choices=("auto", "cpu"), help="auto takes a GPU if there is one")
    add(group, "--log-interval", type=int, default=50, metavar="N", help="steps between progress lines")
