"""``videozoo stream``: current predictions while a file plays or a camera runs."""

import argparse
import contextlib
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.arguments import check_ranges
from videozoo.cli.command import Command, flag, switch
from videozoo.cli.console import CommandError, Interrupted, print_status
from videozoo.cli.flags import DEVICE, MODEL, refuse_onnx
from videozoo.cli.predict import best_rows
from videozoo.cli.stream_board import Tally, open_display

if TYPE_CHECKING:
    import torch

    from videozoo.video.live import LiveFrame


COMMAND = Command(
    help="predict frame by frame from a file, a camera or a network stream",
    description="Run the model on one frame at a time and show the current predictions. Time and memory per frame do "
    "not grow with the stream. For a camera, a live stream, or a file with --realtime, frames that arrive while the "
    "model is busy are dropped and counted. Models trained with `finetune --causal` are made for this; other models "
    "are used in their causal form.",
    epilog="Examples: videozoo stream --source clip.mp4 --model run/best ; "
    "videozoo stream --source 0 --model run/best --json ; "
    "videozoo stream --source rtsp://camera/stream --model run/best",
    flags=(
        flag(
            "--source",
            required=True,
            metavar="FILE|0|URL",
            help="video file, folder of frames, camera number, or "
            "address of a network stream (rtsp://, http://, https://, rtmp://, srt://, tcp://, udp://)",
        ),
        MODEL,
        flag(
            "--fps",
            type=float,
            default=4.0,
            metavar="F",
            help="frames per second for the model; use those of its training",
        ),
        flag("--average", type=int, metavar="N", help="frames to average over; default: the frames of a clip"),
        switch("--nearest", help="use the nearest causal form of ARC or TANet, an extension of the paper"),
        switch("--realtime", help="play a file at its own speed, and drop frames if needed"),
        flag("--topk", type=int, default=5, metavar="K", help="number of top classes"),
        switch("--json", help="print a JSON object per line and frame"),
        DEVICE,
    ),
)


def run(args: argparse.Namespace) -> int:
    """Open the model and the source, and show every prediction."""
    if not args.fps > 0 or args.fps == float("inf"):
        raise CommandError(f"stream: --fps is {args.fps}; it must be above 0.")
    check_ranges("stream", vars(args))
    from videozoo.video.live import LatestFrames, in_real_time
    from videozoo.video.network_stream import is_address, is_live, without_password

    is_camera = args.source.isascii() and args.source.isdigit()
    comes_by_itself = is_camera or (is_address(args.source) and is_live(args.source))
    if is_camera and args.realtime:
        raise CommandError("stream: --realtime is for files; a camera is always read in real time.")
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(contextlib.closing(_open(args, is_camera)))
        look, names = _open_model(args)
        frames: Any = source
        if comes_by_itself or args.realtime:
            frames = stack.enter_context(LatestFrames(source if comes_by_itself else in_real_time(source)))
        tally = Tally(without_password(args.source))
        show = open_display(args, tally, stack)
        try:
            for frame in frames:
                begin = time.perf_counter()
                scores = look(frame)
                tally.count(frame.time_sec, time.perf_counter() - begin, getattr(frames, "num_dropped", 0))
                show(_best(scores, names, args.topk))
        except KeyboardInterrupt as stop:
            raise Interrupted(str(tally), stop) from None
        finally:
            show(None)
    print_status(str(tally))
    return 0


def _open(args: argparse.Namespace, is_camera: bool) -> "Generator[LiveFrame]":
    """Return the frames. The first one is read here, so that an unreadable source raises before all else."""
    from videozoo.video.live import address_frames, camera_frames, file_frames
    from videozoo.video.network_stream import is_address

    if is_camera:
        frames = camera_frames(int(args.source), args.fps)
    elif is_address(args.source):
        frames = address_frames(args.source, args.fps)
    else:
        frames = file_frames(Path(args.source), args.fps)
    first = next(frames, None)
    if first is None:
        raise CommandError(f"{args.source}: has no frame.")
    return _join(first, frames)


def _join(first: "LiveFrame", rest: "Generator[LiveFrame]") -> "Generator[LiveFrame]":
    with contextlib.closing(rest):
        yield first
        yield from rest


def _open_model(args: argparse.Namespace) -> "tuple[Callable[[LiveFrame], torch.Tensor], tuple[str, ...]]":
    """Return a function from a frame to the current probabilities, and the class names."""
    from videozoo.data import ClipNormalizer, create_transform, resolve_data_config
    from videozoo.devices import find_device
    from videozoo.inference.network import load_network
    from videozoo.layers.time_aware import time_aware_layers
    from videozoo.models import stream as stream_of
    from videozoo.models.causal import needs_nearest
    from videozoo.probabilities import is_multi_label, probabilities

    refuse_onnx(args.model, "takes whole clips; stream with the model it is from")
    device = find_device(args.device)
    model = load_network(args.model).to(device)
    if args.nearest and not needs_nearest(model):
        raise CommandError(
            f"stream: --nearest has no effect here; {args.model} has no layers of ARC or TANet to change, or is causal "
            "already."
        )
    stream = stream_of(model, average=args.average, nearest=args.nearest)
    if not model.spec.causal and any(time_aware_layers(model.backbone)):
        print_status(
            f"{args.model} was trained with frames to come, here it sees none: train with --causal for full accuracy"
        )
    config = resolve_data_config(model, test_num_clips=1, test_num_crops=1)
    transform = create_transform(**config, normalize=False)
    normalizer = ClipNormalizer.of(config)
    is_multi = is_multi_label(model)

    def look(frame: "LiveFrame") -> "torch.Tensor":
        clip = transform(frame.image[None])[0].to(device)  # (3, 1, H, W)
        return probabilities(stream(normalizer(clip)[None, :, 0]), is_multi)[0].float().cpu()

    names = model.pretrained_cfg.get("label_names")
    return look, tuple(names or (str(label) for label in range(model.num_classes)))


def _best(scores: "torch.Tensor", names: tuple[str, ...], topk: int) -> list[dict[str, Any]]:
    from videozoo.jobs.prediction import Prediction

    return best_rows(Prediction("", scores.numpy(), class_names=names), topk)
