"""The packages of ``peers.py``, and the page of its results."""

import statistics
from dataclasses import dataclass
from typing import Any

from pages import table

GOAL = 1.2
OURS = "videozoo"
COMMANDS = {
    "predict": "predict --model {model} --input {test} --output {output}.csv",
    "finetune": "finetune --model {model} --data {train} --val {val} --output {output} --epochs 1",
}


@dataclass(frozen=True)
class Peer:
    """Another package, and the network and clips on which it is compared.

    Args:
        title: how it is used.
        packages: modules that must be there.
        network: name of the network for the page.
        frames, size: clip.
        convert: flags of ``videozoo convert`` for its weights.
    """

    title: str
    packages: tuple[str, ...]
    network: str
    frames: int
    size: int
    convert: str = ""


PEERS = {
    "torchvision": Peer("torchvision, PyAV", ("torchvision", "av"), "R(2+1)D-18", 8, 64),
    "transformers": Peer("transformers", ("transformers",), "VideoMAE-S", 8, 96, "--model videomae_s"),
    "pytorchvideo": Peer("PyTorchVideo", ("pytorchvideo",), "X3D-S", 8, 64, "--model x3d_s"),
    "mmaction2": Peer("MMAction2", ("mmaction", "mmengine", "mmcv"), "TSM-MobileNetV2", 8, 112, "--model tsm_mbv2"),
}
# Why a goal is missed, by peer and task. Written by hand after a run. Memory was measured with 80 training clips.
_KEPT = 'Freed memory is kept for the next step ("Memory on Linux" in docs/systems.md)'
_OPEN = "Not explained: both decode in two processes"
REASONS: dict[tuple[str, str], str] = {
    ("torchvision", "predict"): f"{_OPEN}. Kept memory is not the reason, it is as much without. With 4 clips a batch "
    "it is 70 MB less.",
    ("torchvision", "finetune"): f"{_KEPT}. With a limit of 8 MB it is 11 % less, and a run takes 6 % longer.",
    ("transformers", "finetune"): "Most of a step are products of matrices, which are the same in both.",
    ("pytorchvideo", "predict"): f"{_OPEN}.",
    ("pytorchvideo", "finetune"): f"{_KEPT}.",
    ("mmaction2", "predict"): "It takes one video at a time and decodes in its only process. videozoo takes 8. With "
    "4 a batch it is 866 MB, with no process for decoding 868 MB, neither slower.",
    ("mmaction2", "finetune"): f"{_KEPT}. With glibc's own limits it is 2,246 instead of 2,933 MB, and a run takes 3 % "
    "longer.",
}


def figures(row: dict[str, Any], few: int, clips: int) -> dict[str, Any]:
    """Return clips per second, seconds of the whole command and memory of both, and videozoo's ratios."""
    found: dict[str, Any] = {}
    for one, runs in row["runs"].items():
        many = statistics.median(entry["sec"] for entry in runs[str(clips)])
        start = statistics.median(entry["sec"] for entry in runs[str(few)])
        memory = max(entry["mb"] for entry in runs[str(clips)])
        found["ours" if one == OURS else "theirs"] = ((clips - few) / (many - start), many, memory)
    ours, theirs = found["ours"], found["theirs"]
    return {**found, "rate": ours[0] / theirs[0], "whole": theirs[1] / ours[1], "memory": ours[2] / theirs[2]}


def page(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    few, clips = result["few"], result["clips"]
    lines = [
        "# Next to other packages: the same clips, the same network",
        "",
        f"Predict {clips} real clips, and fine-tune one epoch on them with a validation on {result['val']} others.",
        "Both start from the same random weights and use the same size of clips, 8 a batch, 2 worker processes and",
        f"{result['threads']} threads. They take turns. Only the inference of MMAction2 takes one video at a time.",
        "",
    ]
    cells, short = [], []
    for row in result["rows"]:
        peer, found = PEERS[row["peer"]], figures(row, few, clips)
        numbers = [f"{found[one][i]:.{digits}f}" for i, digits in enumerate((1, 1, 0)) for one in ("theirs", "ours")]
        same = f"{row['same']:.0%}" if "same" in row else ""
        count = [str(row["lines"][row["peer"]]), str(row["lines"][OURS])]
        ratios = [f"{found[key]:.2f}" for key in ("rate", "whole", "memory")]
        cells.append([row["task"], peer.title, *numbers, *count, *ratios, same])
        missed = [f"{found[key]:.2f} times the rate" for key in ("rate",) if found[key] < GOAL]
        missed += [f"{found['memory']:.2f} times the memory"] if found["memory"] > 1 else []
        if missed:
            reason = REASONS.get((row["peer"], row["task"]), "")
            short.append(f"* {peer.title}, {row['task']}: {' and '.join(missed)}.{' ' * bool(reason)}{reason}")
    columns = ["clips/s", "videozoo", "seconds", "videozoo", "MB", "videozoo", "lines", "videozoo"]
    lines += table(["task", "package", *columns, "rate", "whole", "memory", "same"], cells)
    lines += [
        "",
        f"*Clips/s* leaves out the start: it is taken from the difference of runs on {clips} and {few} clips.",
        "*Seconds* are those of the whole command. *MB* is the peak of all its processes together. *Lines* are those",
        "of `benchmarks/peers/` and of videozoo's command. *Rate* and *whole* say how many times",
        "as fast videozoo is, without and with the start. *Memory* is videozoo's over the other's. *Same* is the",
        "fraction of clips with the same predicted class. transformers takes the first frames of a video, the others",
        "spread them over it.",
        "VideoMAE's table of positions is interpolated from frames of 224 pixels in videozoo and is made for the small",
        "frames in transformers, so there the classes can differ.",
        "",
        *(
            f"* {PEERS[name].title}: {PEERS[name].network}, {PEERS[name].frames} x {PEERS[name].size} x "
            f"{PEERS[name].size}"
            for name in dict.fromkeys(row["peer"] for row in result["rows"])
        ),
        *(f"* {PEERS[name].title} was skipped: {reason}" for name, reason in result["skipped"].items()),
        "",
        "videozoo's commands:",
        "",
        "```bash",
        *(
            f"videozoo {words.format(model='MODEL', test='LIST', train='TRAIN', val='VAL', output='OUTPUT')}"
            for words in COMMANDS.values()
        ),
        "```",
        "",
    ]
    if short:
        lines += [f"The goal is {GOAL} times the rate with no more memory. It is missed here:", "", *short, ""]
    versions = ", ".join(f"{name} {version}" for name, version in result["packages"].items())
    lines += [
        f"{result['machine']}. {result['versions']}, {versions}. The run took {result['minutes']:.0f} minutes.",
        "",
    ]
    return "\n".join(lines)
