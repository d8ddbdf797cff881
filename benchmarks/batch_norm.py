"""Compare three kinds of running statistics of batch norm in the first epochs.

Running statistics are a moving average with momentum 0.1 that starts at mean 0 and variance 1. In the *even* form
step n has the weight max(1/n, 0.1), so the start has no weight. Training does not depend on running statistics, so
one training keeps both and evaluates with each. A third form computes them again from the training clips before the
last evaluation.

``python benchmarks/batch_norm.py --data FOLDER`` trains the models that have no result yet. ``FOLDER`` holds
``order4/``, ``strokes/`` and ``weights/*.safetensors``.
"""

import argparse
import itertools
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from pages import table, write, write_both
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

import videozoo
from videozoo.data import (
    ClipNormalizer,
    VideoDataset,
    collate_clips,
    create_transform,
    load_source,
    resolve_data_config,
    sampling_options,
)
from videozoo.engine import FitConfig, evaluate
from videozoo.engine.optim import make_optimizer, make_scheduler

HERE = Path(__file__).resolve().parent
SIZE, FRAMES, MOMENTUM = 64, 8, 0.1
SEEDS = (42, 43, 44)
# Stride over the training clips, batch size, epochs: 17 and 18 steps an epoch.
DATA_SETS = {"order4": (1, 8, 5), "strokes": (2, 16, 3)}
MOBILENET = "weights/mobilenetv2_imagenet_torchvision_names.safetensors"
MODELS = {"tsm_r18": None, "arc_tsm_r18": None, "tsm_mbv2": MOBILENET}
KEYS = ("top1", "loss")


class EvenStatistics:
    """Running statistics of all batch norms if step n had the weight max(1/n, momentum)."""

    def __init__(self, model: nn.Module) -> None:
        self.norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        self.even = self.read()
        self.steps = 0

    def read(self) -> list[torch.Tensor]:
        return [value.clone() for norm in self.norms for value in (norm.running_mean, norm.running_var)]

    def write(self, values: list[torch.Tensor]) -> None:
        buffers = [value for norm in self.norms for value in (norm.running_mean, norm.running_var)]
        for buffer, value in zip(buffers, values, strict=True):
            buffer.copy_(value)

    def step(self, before: list[torch.Tensor]) -> None:
        """Update after a training step; ``before`` are the norms' statistics before it."""
        self.steps += 1
        weight = max(1 / self.steps, MOMENTUM)
        for even, old, new in zip(self.even, before, self.read(), strict=True):
            even.lerp_(old + (new - old) / MOMENTUM, weight)


def loaders(model: nn.Module, train: Any, val: Any, data_set: str, seed: int) -> tuple[DataLoader, DataLoader]:
    """Return loaders of shuffled random clips and of the center clip of each validation video."""
    cfg, (part, batch_size, _) = resolve_data_config(model), DATA_SETS[data_set]
    transform = create_transform(**cfg, is_training=True, normalize=False)
    clips = VideoDataset(train.records[::part], transform, **sampling_options(cfg, is_training=True), seed=seed)
    own = torch.Generator().manual_seed(seed)
    views = VideoDataset(val.records, create_transform(**cfg, normalize=False), **sampling_options(cfg))
    options: dict[str, Any] = {"batch_size": batch_size, "collate_fn": collate_clips}
    return DataLoader(clips, shuffle=True, generator=own, **options), DataLoader(views, **options)


def measure(name: str, data_set: str, seed: int, data: Path) -> dict[str, Any]:
    """Train one model and evaluate each epoch with both statistics, the last one also with those of another pass."""
    train, val = (load_source(data / data_set / f"{part}.txt") for part in ("train", "val"))
    epochs = DATA_SETS[data_set][-1]
    torch.manual_seed(seed)
    weights = MODELS[name] and str(data / MODELS[name])
    model = videozoo.create_model(
        name, num_classes=len(train.class_names), num_frames=FRAMES, backbone_weights=weights,
        pretrained_cfg_overlay={"input_size": (3, SIZE, SIZE)},
    )  # fmt: skip
    if weights is None:  # as `videozoo finetune` does without weights
        for module in model.modules():
            if isinstance(module, _BatchNorm) and not module.weight.any():
                nn.init.ones_(module.weight)
    normalizer = ClipNormalizer.of(resolve_data_config(model))
    train_loader, val_loader = loaders(model, train, val, data_set, seed)
    config = FitConfig(epochs=epochs, lr=2e-4 if weights else FitConfig.lr)
    optimizer = make_optimizer(model, config)
    scheduler = make_scheduler(optimizer, config, len(train_loader))
    norms, row, started = EvenStatistics(model), {"moving": [], "even": []}, time.process_time()

    def evaluate_with(values: list[torch.Tensor]) -> dict[str, float]:
        own = norms.read()
        norms.write(values)
        result = evaluate(model, val_loader, class_names=train.class_names, device="cpu", prepare_batch=normalizer)
        norms.write(own)
        return {key: getattr(result, key) for key in KEYS}

    for epoch in range(epochs):
        model.train()
        for step, batch in enumerate(train_loader):
            before = norms.read()
            scheduler.step_update(epoch * len(train_loader) + step)
            functional.cross_entropy(model(normalizer(batch["video"])), batch["label"]).backward()
            optimizer.step()
            optimizer.zero_grad()
            norms.step(before)
        row["moving"].append(evaluate_with(norms.read()))
        row["even"].append(evaluate_with(norms.even))
    row["again"] = [evaluate_with(statistics_again(model, norms, train_loader, normalizer))]
    return {"model": name, "data": data_set, "seed": seed, "cpu_seconds": round(time.process_time() - started), **row}


@torch.no_grad()
def statistics_again(
    model: nn.Module, norms: EvenStatistics, loader: DataLoader, normalizer: Any
) -> list[torch.Tensor]:
    """Return the mean batch statistics of one more pass over the training clips, with unchanged weights."""
    own, sums, count = norms.read(), None, 0
    model.train()
    for norm in norms.norms:
        norm.momentum = 1.0  # the running statistics are then those of the last batch
    for batch in loader:
        model(normalizer(batch["video"]))
        now, count = norms.read(), count + 1
        sums = now if sums is None else [total.add_(value) for total, value in zip(sums, now, strict=True)]
    for norm in norms.norms:
        norm.momentum = MOMENTUM
    norms.write(own)
    return [total / count for total in sums]


def page(rows: list[dict[str, Any]], machine: str) -> str:
    """Return the result as Markdown."""
    cells = []
    for model in MODELS:
        for data_set, (_, _, epochs) in DATA_SETS.items():
            own = [row for row in rows if (row["model"], row["data"]) == (model, data_set)]
            for epoch in range(epochs) if own else ():
                texts = []
                for key in KEYS:
                    for form in ("moving", "even"):
                        texts.append(spread([row[form][epoch][key] for row in own]))
                    texts.append(spread([row["again"][0][key] for row in own]) if epoch == epochs - 1 else "")
                start = "ImageNet" if MODELS[model] else "scratch"
                cells.append([f"`{model}`", start, data_set, str(len(own)), str(epoch + 1), *texts])
    head = [
        "model",
        "start",
        "data",
        "seeds",
        "epoch",
        *(f"{key} {form}" for key in KEYS for form in ("moving", "even", "again")),
    ]
    return "\n".join(
        [
            "# Batch-norm statistics in the first epochs",
            "",
            "videozoo keeps batch-norm statistics as torch does. A low validation accuracy after the first epochs can",
            "come from them and goes away. The alternative *even* helps in the second epoch, raises the loss "
            "of the first and",
            "changes nothing at the end, so it was not adopted.",
            "",
            "The same weights are validated after each epoch with three kinds of running statistics:",
            "",
            "* *moving*: as in torch, with momentum 0.1 from the first step on.",
            "* *even*: step n has the weight max(1/n, 0.1).",
            "* *again*: the mean over one more pass over the training clips, after the last epoch.",
            "",
            "Cells are mean and range over the seeds. Training does not depend on these statistics.",
            "",
            *table(head, cells),
            "",
            f"{SIZE}x{SIZE}, {FRAMES} frames. order4 has 4 classes, 132 training clips in batches of 8, and "
            "66 validation clips.",
            "strokes has 38 classes, 285 training clips (every second one) in batches of 16, and 104 validation clips.",
            "",
            f"{machine}. `python benchmarks/batch_norm.py --data DATA` trains and evaluates all models.",
            "",
        ]
    )


def spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with order4/, strokes/ and weights/")
    parser.add_argument("--runs", type=Path, default=Path("runs/batch_norm"), help="folder for the results of each run")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    args = parser.parse_args()
    for seed, name, data_set in itertools.product(args.seeds, args.models, DATA_SETS):
        path = args.runs / f"{name}_{data_set}_{seed}.json"
        if not path.exists():
            write(path, json.dumps(measure(name, data_set, seed, args.data)))
            print(path.read_text(), flush=True)
    rows = [json.loads(path.read_text()) for path in sorted(args.runs.glob("*.json"))]
    machine = f"{torch.get_num_threads()} CPU thread(s), torch {torch.__version__}, Python {platform.python_version()}"
    write_both(HERE / "batch_norm.json", {"machine": machine, "rows": rows}, page(rows, machine))


if __name__ == "__main__":
    main()
