"""``videozoo convert``: converts a checkpoint of another code base to a model folder."""

import argparse
from pathlib import Path

from videozoo.cli.command import Command, flag, switch
from videozoo.cli.console import CommandError, print_result

COMMAND = Command(
    help="convert a published checkpoint to a model folder",
    description="Read a checkpoint of MMAction2, PySlowFast, PyTorchVideo, torchvision or a method's authors (TSM, "
    "TDN, TPN, RubiksNet and others), and write config.json and model.safetensors. The source is recognized from the "
    "keys. If they fit several models, --model chooses. No code in a pickle is run, and only tensors are kept. With "
    "--model NAME.TAG of `videozoo list --pretrained` the file must be the published one, and goes to the cache, where "
    "NAME.TAG finds it.",
    epilog="Examples: videozoo convert tsm_r50.pth --model tsm_r50 --output tsm_k400, then "
    "videozoo predict --model local-dir:tsm_k400 FILE. "
    "Offline: videozoo convert FILE --model tsm_r50.mm_k400_8f, then "
    "videozoo predict --model tsm_r50.mm_k400_8f FILE",
    flags=(
        flag("file", metavar="FILE", help="the checkpoint (.pth, .pyth, .tar, .pkl, .ckpt, .safetensors)"),
        flag(
            "--from",
            dest="source",
            metavar="SOURCE",
            help="code base of the checkpoint; default: recognized from the keys",
        ),
        flag(
            "--model",
            metavar="NAME[.TAG]",
            help="expected model or published weights; default: recognized from the keys",
        ),
        flag("--num-classes", type=int, metavar="N", help="expected number of classes"),
        flag("--num-frames", type=int, metavar="T", help="frames per clip, where the keys do not show it"),
        flag("--class-names", metavar="FILE", help="text file of class names, one per line, by index"),
        switch("--ema", help="convert the averaged (EMA) weights"),
        flag("--output", metavar="DIR", help="folder to create; default with a TAG: the cache"),
    ),
)


def run(args: argparse.Namespace) -> int:
    """Convert a checkpoint, load the result as a check, and write it."""
    output = None if args.output is None else Path(args.output)
    if output is not None and output.exists():
        raise CommandError(f"{output}: exists already; name a new folder.")
    if "." in (args.model or ""):
        return _place(args, output)
    if output is None:
        raise CommandError(
            "--output DIR is needed; only published weights (--model NAME.TAG) have a place of their own."
        )
    return _convert(args, output)


def _place(args: argparse.Namespace, output: Path | None) -> int:
    """Return a published file, described by its record."""
    from videozoo.models.pretrained import place_weights

    flags = {
        "--from": args.source,
        "--num-classes": args.num_classes,
        "--num-frames": args.num_frames,
        "--class-names": args.class_names,
    }
    given = [flag for flag, value in flags.items() if value is not None]
    if given or args.ema:
        flag = (given or ["--ema"])[0]
        arch = args.model.partition(".")[0]
        raise CommandError(f"{flag}: {args.model} has a record that says so; leave it out, or use --model {arch}.")
    folder = place_weights(args.file, args.model, output)
    how = args.model if output is None else f"local-dir:{folder}"
    print_result(f"{args.file}: {args.model} -> {folder}")
    print_result(f"use it: videozoo predict --model {how} FILE, or videozoo.create_model({how!r}, pretrained=True)")
    return 0


def _convert(args: argparse.Namespace, output: Path) -> int:
    from videozoo.data.labels import read_names
    from videozoo.engine import save_checkpoint
    from videozoo.models import model_config
    from videozoo.models.convert import convert_file

    model, converted, source = convert_file(
        args.file,
        source=args.source,
        name=args.model,
        num_classes=args.num_classes,
        num_frames=args.num_frames,
        class_names=read_names(args.class_names).names if args.class_names is not None else None,
        averaged=args.ema,
    )
    save_checkpoint(output, model.state_dict(), model_config(model))
    if converted.dropped:
        print_result(f"left out, as the model never uses them: {', '.join(converted.dropped)}")
    what = model.pretrained_cfg.get("architecture") or "a composition without a name"
    print_result(f"{args.file}: {source}, {what}, {model.num_classes} classes, {model.num_frames} frames -> {output}")
    return 0
