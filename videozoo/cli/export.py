"""``videozoo export``: exports a model to one file, which is run and compared before it is written."""

import argparse

from videozoo.choices import EXPORT_FORMATS
from videozoo.cli.command import Command, flag, switch
from videozoo.cli.console import CommandError, print_result, print_status, show_log
from videozoo.cli.flags import MAX_FRAMES, MODEL

COMMAND = Command(
    help="export a model to ONNX, torch.export or a state dict",
    description="Write one file with the model, its classes, and its sampling and transforms. The batch size is "
    "dynamic, for 3-D models also height and width. The file is first compared with the model on 1, 2 and 5 clips. "
    "Nothing is written if the logits differ.",
    epilog="Examples: videozoo export --model run/best --output mine.onnx, then "
    "videozoo predict --model mine.onnx FILE ; "
    "videozoo export --model run/best --output small.onnx --int8 --clips a.mp4 b.mp4",
    flags=(
        MODEL,
        flag(
            "--output",
            required=True,
            metavar="FILE",
            help="a new file: .onnx, .pt2 (torch-export), .safetensors (state-dict)",
        ),
        flag("--format", default="onnx", choices=tuple(EXPORT_FORMATS), help="format to write"),
        switch(
            "--fuse", help="fold batch norms into convolutions first; onnxruntime also does so when it loads a file"
        ),
        switch(
            "--int8",
            help="quantize the weights of an ONNX file to int8, a quarter of the size; prints the change on --clips",
        ),
        flag("--clips", nargs="+", metavar="FILE", help="videos to compare the predictions on; default: random clips"),
        MAX_FRAMES,
    ),
)


def run(args: argparse.Namespace) -> int:
    """Load a model, export it, and print a report."""
    if args.int8 and not args.clips:
        raise CommandError("export: --int8 changes the answers; give --clips FILE ..., videos to measure by how much.")
    if args.clips and args.format == "state-dict":
        raise CommandError("export: --clips are for formats that are run; a state-dict holds weights alone.")

    import videozoo
    from videozoo.export import export_model
    from videozoo.export.check import read_clips
    from videozoo.export.files import check_target

    show_log()
    check_target(args.output, args.format)
    model = videozoo.create_model(args.model, pretrained=True)
    clips = read_clips(model, args.clips) if args.clips else None
    report = export_model(
        model,
        args.output,
        args.format,
        fuse=args.fuse,
        int8=args.int8,
        clips=clips,
        on_step=lambda step: print_status(f"{step} ..."),
    )
    where = "the clips given" if args.clips else "random clips"
    print_result(f"{report.path}: {report.num_bytes / 1e6:.1f} MB")
    if args.format == "state-dict":
        print_result("checked: read again, the weights are the model's")
    else:
        what = "before int8, " if report.agreement else ""
        print_result(f"checked: {what}logits of {where} differ by at most {report.max_difference:.1e} of the largest")
    if report.agreement is not None:
        found = report.agreement
        print_result(
            f"int8 weights: the same best class for {found.top1:.1%} of {found.num_clips} clips; "
            f"logits differ by at most {found.max_difference:.3g}, the largest is {found.max_logit:.3g}"
        )
    if args.format == "onnx":
        print_result(f"use it: videozoo predict --model {report.path} FILE")
    return 0
