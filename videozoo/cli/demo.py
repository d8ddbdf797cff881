"""``videozoo demo``: serves a page that classifies uploaded videos."""

import argparse

from videozoo.arguments import flag_of
from videozoo.cli.command import Command, flag
from videozoo.cli.console import CommandError, Interrupted, print_result, show_log
from videozoo.cli.flags import DEVICE

COMMAND = Command(
    help="serve a web page that classifies videos and shows what the model looked at",
    description="Serve a page on this machine: choose a model, upload or record a video, and see the top classes, the "
    "sampled frames, Grad-CAM heat maps, cost and latency. A second tab lists all models. Uploads are deleted when "
    "the page is closed. Needs gradio: pip install gradio.",
    epilog="Examples: videozoo demo ; videozoo demo --model runs/mine/best --model tsm_r50.mm_k400_8f",
    flags=(
        flag(
            "--model",
            action="append",
            default=[],
            metavar="NAME",
            help="a folder such as RUN/best, hf-hub:ORG/NAME, or a name with weights; repeat it to offer several",
        ),
        flag(
            "--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen at; 0.0.0.0 admits other machines"
        ),
        flag("--port", type=int, default=7860, metavar="N", help="port to listen at; 0: any free port"),
        flag("--max-size", type=float, default=100.0, metavar="MB", help="largest file to accept"),
        flag("--max-duration", type=float, default=60.0, metavar="SEC", help="longest video to accept"),
        DEVICE,
    ),
)


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C or SIGTERM."""
    for name in ("max_size", "max_duration"):
        if not 0 < getattr(args, name) < float("inf"):
            raise CommandError(f"demo: {flag_of(name)} is {getattr(args, name):g}; it must be above 0.")
    from videozoo.extras import check_installed

    check_installed("videozoo demo", "gradio")
    from videozoo.demo import DemoError, Limits, launch

    show_log()
    try:
        launch(
            args.model,
            host=args.host,
            port=args.port,
            limits=Limits(args.max_size, args.max_duration),
            device=args.device,
            on_ready=lambda url: print_result(f"the page is at {url} (Ctrl-C ends it)"),
        )
    except DemoError as error:
        raise CommandError(str(error)) from error
    except KeyboardInterrupt as stop:
        raise Interrupted("the page is closed, what was uploaded is deleted", stop) from None
    return 0
