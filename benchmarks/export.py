"""Measure size, time and agreement of exported files.

``python benchmarks/export.py files FOLDER NAME ...`` exports the models, which takes minutes for deep ones.
``... times FOLDER NAME ...`` measures them in turns. ``... int8`` compares int8 files of two trained models on
generated videos. ``... page`` writes the page from ``export.json``. Weights are random except for int8.
"""

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from pages import in_turns, write

import videozoo
from videozoo.data.motions import write_motions
from videozoo.export import OnnxNet, export_model
from videozoo.export.check import read_clips

HERE = Path(__file__).resolve().parent
ROUNDS = 7
KINDS = {"plain": {}, "fused": {"fuse": True}}
TRAINED = ("test_arc_tsm.motions", "test_dnr_tsn.motions")


def load() -> dict[str, Any]:
    path = HERE / "export.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"models": {}, "int8": {}}
    return found


def store(results: dict[str, Any]) -> None:
    write(HERE / "export.json", json.dumps(results, indent=1) + "\n")


def make(name: str) -> Any:
    torch.manual_seed(0)
    model = videozoo.create_model(name, num_classes=174).eval().requires_grad_(False)
    with torch.no_grad():
        for module in model.modules():
            if getattr(module, "running_var", None) is not None:
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.8, 1.2)
        # Zeros, such as those of the last norm of each branch, would hide differences.
        for parameter in model.parameters():
            parameter[parameter == 0] += 0.1 * torch.randn_like(parameter[parameter == 0])
    return model


def export_files(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        row: dict[str, Any] = {}
        for kind, options in KINDS.items():
            path = folder / f"{name}.{kind}.onnx"
            path.unlink(missing_ok=True)
            start = time.perf_counter()
            report = export_model(make(name), path, **options)
            row[kind] = {
                "mb": report.num_bytes / 1e6,
                "difference": report.max_difference,
                "export_sec": time.perf_counter() - start,
            }
            print(name, kind, row[kind], flush=True)
        results = load()
        results["models"][name] = {**results["models"].get(name, {}), **row}
        store(results)


def time_files(folder: Path, names: list[str]) -> None:
    for name in names:
        model = make(name)
        ways: dict[str, Any] = {"torch": model, "torch_fused": videozoo.fuse(model)}
        ways |= {kind: OnnxNet(folder / f"{name}.{kind}.onnx") for kind in KINDS}
        clip = torch.randn(1, 3, model.num_frames, 224, 224)
        runs = {way: partial(model, clip) for way, model in ways.items()}
        with torch.inference_mode():  # pause: the threads of the previous session still spin
            taken = in_turns(runs, ROUNDS, warm=1, pause_sec=0.2)
        results = load()
        medians = {way: 1e3 * statistics.median(rows) for way, rows in taken.items()}
        ratio = statistics.median(a / b for a, b in zip(taken["torch"], taken["fused"], strict=True))
        row = results["models"].setdefault(name, {})
        row["ms"], row["ratio"] = medians, ratio
        results["threads"] = torch.get_num_threads()
        results["versions"] = (
            f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, Python {platform.python_version()}"
        )
        store(results)
        print(name, medians, flush=True)


def measure_int8() -> None:
    """Compare int8 weights with float32 on videos that the models were not trained on."""
    results = load()
    with tempfile.TemporaryDirectory() as folder:
        videos = write_motions(Path(folder) / "m", clips_per_class=1, val_clips_per_class=16, size=48, seed=11)
        files = sorted((videos / "val").rglob("*.mp4"))
        for name in TRAINED:
            model = videozoo.create_model(name, pretrained=True)
            clips = read_clips(model, files)
            plain = export_model(model, Path(folder) / f"{name}.onnx", clips=clips)
            small = export_model(model, Path(folder) / f"{name}.int8.onnx", clips=clips, int8=True)
            assert small.agreement is not None
            results["int8"][name] = {
                **vars(small.agreement),
                "mb": plain.num_bytes / 1e6,
                "int8_mb": small.num_bytes / 1e6,
            }
            print(name, results["int8"][name], flush=True)
    store(results)


def write_page() -> None:
    results = load()
    rows = []
    for name, row in results["models"].items():
        if not {"plain", "fused"} <= row.keys():
            continue
        ways = ("torch", "torch_fused", "plain", "fused")
        times = " | ".join(f"{row['ms'][way]:.0f}" if "ms" in row else "" for way in ways)
        ratio = f"{row['ratio']:.2f}" if "ms" in row else "not measured"
        worst = max(row[kind]["difference"] for kind in KINDS)
        rows.append(
            f"| `{name}` | {row['plain']['mb']:.0f} | {row['fused']['mb']:.0f} | {times} | "
            f"{ratio} | {worst:.0e} | {row['plain']['export_sec']:.0f} |"
        )
    small = [
        f"| `{name}` | {row['num_clips']} | {row['top1']:.1%} | {row['max_difference']:.3f} | {row['max_logit']:.2f} | "
        f"{row['mb']:.2f} | {row['int8_mb']:.2f} |"
        for name, row in results["int8"].items()
    ]
    ratios = [row["ratio"] for row in results["models"].values() if "ratio" in row]
    text = f"""# Exported files: size, time, agreement

CPU only: there are no GPU figures yet. An ONNX file runs {min(ratios):.1f} to {max(ratios):.1f} times as fast
as the eager model and gives the same logits. You need not fuse before an ONNX export: onnxruntime folds the norms.

| model | MB | fused MB | torch | torch fused | ONNX | ONNX fused | ratio | difference | export |
|---|---|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}

The two ONNX files are equally fast. The fused one was timed directly after the plain one, whose threads still spun
([details](attempts.md#onnx-files)).

| column | meaning |
|---|---|
| torch | ms per clip of the eager model |
| fused | `videozoo.fuse(model)`, as a model and before the export |
| ratio | torch over the fused ONNX file, median of the rounds |
| difference | largest difference of a logit over the largest logit, the larger of both files |
| export | seconds of the plain export with its check, on one thread, while other work ran |

CPU, {results["threads"]} thread(s), {results["versions"]}, float32. One clip of 224x224
frames. Only the model is timed. The four alternatives take turns, {ROUNDS} rounds, medians. Weights are random. The
export compares random clips at batch 1, 2 and 5. `python benchmarks/export.py` measures again and writes this page.

## Weights as int8

The two small trained models of the package on generated motions that they were not trained on. Logits and classes of
the file are compared with those of the model.

| model | clips | same top-1 | largest difference of a logit | largest logit | MB | int8 MB |
|---|---|---|---|---|---|---|
{chr(10).join(small)}
"""
    write(HERE / "export.md", text)


def main() -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    what, *rest = sys.argv[1:] or ["page"]
    if what in ("files", "times"):
        (export_files if what == "files" else time_files)(Path(rest[0]), rest[1:])
    elif what == "int8":
        measure_int8()
    else:
        write_page()


if __name__ == "__main__":
    main()
