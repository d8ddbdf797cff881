"""Flags that several commands have."""

import argparse

DEVICE_HELP = "auto (a GPU if there is one), or a device of torch: cpu, cuda:1, mps, xpu"


def add_model_flag(parser: argparse.ArgumentParser, also: str = "") -> None:
    """``--model``, required; ``also`` says what else it may be."""
    names = ["a folder such as RUN/best", "hf-hub:ORG/NAME"]
    names += ["a name with weights", f"or {also}"] if also else ["or a name with weights"]
    parser.add_argument("--model", required=True, metavar="NAME", help=", ".join(names))


def add_device_flag(parser: argparse.ArgumentParser) -> None:
    """``--device``."""
    parser.add_argument("--device", default="auto", metavar="NAME", help=DEVICE_HELP)
