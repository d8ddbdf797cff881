"""``videozoo convert``: a checkpoint of another code base becomes a model folder."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.cli.console import CommandError, Parser, say

if TYPE_CHECKING:
    from videozoo.models import ModelSpec


def add_parser(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "convert",
        help="turn a published checkpoint into a model folder",
        description="Reads a checkpoint of TSM, TANet, TDN, MotionSqueeze, DNR, TEA, MMAction2, PySlowFast or "
        "torchvision, whose source it recognises from the keys, and writes config.json and model.safetensors. "
        "A pickle is opened for its tensors only; nothing in it can run.",
        epilog="Example: videozoo convert tsm_r50.pth --model tsm_r50 --output tsm_k400, then "
        "videozoo predict --model local-dir:tsm_k400 FILE",
    )
    parser.add_argument("file", metavar="FILE", help="the checkpoint (.pth, .pt, .pyth, .tar or .safetensors)")
    parser.add_argument("--from", dest="source", metavar="SOURCE", help="where it is from; default: told by the keys")
    parser.add_argument("--model", metavar="NAME", help="the architecture that it must be; default: told by the keys")
    parser.add_argument("--num-classes", type=int, metavar="N", help="classes that it must have")
    parser.add_argument("--num-frames", type=int, metavar="T", help="frames of a clip, where the keys do not tell")
    parser.add_argument("--class-names", metavar="FILE", help="class names, one a line, by index")
    parser.add_argument("--ema", action="store_true", help="take the averaged weights")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to make")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Convert, check by loading, write."""
    from videozoo.engine import save_checkpoint
    from videozoo.hub.convert.base import ConvertError
    from videozoo.hub.convert.checkpoint import convert_checkpoint, open_checkpoint, unwrap
    from videozoo.models import ModelSpec, model_config, model_from_state

    output = Path(args.output)
    if output.exists():
        raise CommandError(f"{output}: exists already; name a new folder.")
    names = _class_names(args.class_names)
    try:
        state = unwrap(open_checkpoint(Path(args.file).expanduser()), averaged=args.ema)
        converted, source = convert_checkpoint(state, args.source)
    except ConvertError as error:
        raise CommandError(f"{args.file}: {error}") from error
    spec = ModelSpec.from_dict(converted.spec)
    if args.num_frames is not None:
        spec = spec.replace(num_frames=args.num_frames)
    if args.num_classes not in (None, spec.num_classes):
        raise CommandError(f"{args.file}: has {spec.num_classes} classes, not {args.num_classes}.")
    name = _architecture(spec, args.model)
    model = model_from_state(spec, dict(converted.state), name=name, cfg=converted.cfg, source=args.file)
    save_checkpoint(output, model.state_dict(), model_config(model, names))
    if converted.dropped:
        say(f"left out, as the network never uses them: {', '.join(converted.dropped)}")
    what = name or "a composition without a name"
    say(f"{args.file}: {source}, {what}, {spec.num_classes} classes, {spec.num_frames} frames -> {output}")
    return 0


def _class_names(path: str | None) -> list[str] | None:
    if path is None:
        return None
    return [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]


def _architecture(spec: "ModelSpec", wanted: str | None) -> str:
    """The registered name of a composition, options aside; what the user wants must be one of them."""
    from videozoo.models import is_model, list_models, model_entrypoint, spec_of

    if wanted is not None and not is_model(wanted):
        model_entrypoint(wanted)  # tells the nearest names

    def kind(one: "ModelSpec") -> tuple[Any, ...]:
        # A variant of a backbone has its family's name and a suffix.
        family = one.backbone.removesuffix("_mm").removesuffix("_tv")
        return family, type(one.temporal), tuple(type(part) for part in one.augmenters)

    names = [name for name in list_models() if kind(spec_of(name)) == kind(spec)]
    if wanted is None:
        return names[0] if names else ""
    if wanted not in names:
        parts = "+".join(type(part).__name__ for part in (spec.temporal, *spec.augmenters))
        hint = f"; it is {', '.join(names)}" if names else ""
        raise CommandError(f"the checkpoint is {parts} on {spec.backbone}, not {wanted}{hint}.")
    return wanted
