"""The runs of evidence.py: which model is trained on which clips, with which flags."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videozoo import ARC, DNR, TSM, TSN
from videozoo.data.motions import partner_of, write_motions

FOLDS = (1, 2, 3, 4, 5)
MODELS = ("tsn", "tsm", "msn", "arc_tsn", "arc_tsm", "arc_msn", "dnr_tsn")
SAME = "dnr_tsm"
"""The network of ``dnr_tsn``, which shifts the channels as TSM does. It is run once, to show that."""
PAIRS = (("arc_tsn", "tsn"), ("arc_tsm", "tsm"), ("arc_msn", "msn"), ("dnr_tsn", "tsn"), ("dnr_tsn", "tsm"))
"""What is compared: a model with an add-on, and one without."""
CLASSES = {"strokes": 38, "grid_words": 51, "hard_motions": 20}

COMMON = (
    "--img-size 64 --batch-size 16 --workers 1 --channels-last --amp --opt sgd --lr 0.02 --weight-decay 5e-4 "
    "--drop 0.5 --seed {split}"
)
"""Flags of all runs, tuned on the validation clips of strokes with TSM alone."""
SETS = {
    "strokes": "--epochs 8",
    "grid_words": "--epochs 3 --color-jitter 0.2 --hflip 0",
    "hard_motions": "--epochs 5 --crop-pct 1.0 --train-crop rrc --scale 0.7 1 --ratio 0.9 1.11",
}


@dataclass(frozen=True)
class Run:
    """One training.

    Args:
        study: the table that it belongs to.
        clips: a key of `SETS`.
        model: one of `MODELS`, or the name of a composition of `VARIANTS`.
        split: the fold of strokes, otherwise the number of the seed.
        flags: added to those of all runs.
    """

    study: str
    clips: str
    model: str
    split: int
    flags: str = ""

    @property
    def name(self) -> str:
        flags = re.sub(r"[^\w.-]+", "_", self.flags.replace("--", "")).strip("_")
        return "-".join(filter(None, [self.study, self.clips, self.model, str(self.split), flags]))


@dataclass(frozen=True)
class Variant:
    """A composition without a name.

    Args:
        tables: those of the papers that it belongs to.
        printed: its top-1 there, in points.
        temporal, augmenters: its parts.
        backbone: ``narrow_resnet18`` starts from random weights, others from those of ImageNet.
    """

    tables: str
    printed: float | None
    temporal: Any
    augmenters: tuple[Any, ...]
    backbone: str = "resnet18"


def _arc(tables: str, printed: float | None, **options: Any) -> Variant:
    return Variant(tables, printed, TSM(), (ARC(**options),))


def _dnr(tables: str, printed: float | None, **options: Any) -> Variant:
    return Variant(tables, printed, TSN(), (DNR(**options),))


def _narrow(temporal: Any, *augmenters: Any) -> Variant:
    return Variant("", None, temporal, augmenters, "narrow_resnet18")


PRINTED = {"arc": 47.9, "dnr": 78.39}
"""Top-1 of the papers' defaults there: on Something-Something V1 with TSM-R18, on Kinetics-200 with TSN-R50."""


VARIANTS: Mapping[str, Variant] = {
    "arc_fusion": _arc("5a", 45.3, embedding=False, attention=False),
    "arc_attention": _arc("5a", 45.9, embedding=False, fusion=False),
    "arc_embedding_fusion": _arc("5a", 46.3, attention=False),
    "arc_embedding_attention": _arc("5a", 46.7, fusion=False),
    "arc_attention_fusion": _arc("5a", 46.9, embedding=False),
    "arc_n2": _arc("5b", 46.5, num_steps=2),
    "arc_res2": _arc("5c", 43.8, stages=(1,)),
    "arc_res3": _arc("5c", 44.9, stages=(2,)),
    "arc_res4": _arc("5c", 45.9, stages=(3,)),
    "arc_res5": _arc("5c", 45.9, stages=(4,)),
    "arc_res45": _arc("5c", 47.1, stages=(3, 4)),
    "arc_times_s_gru": _arc("5d", 45.0, interaction="multiplicative", aggregation="S", attention_layer="gru"),
    "arc_times_s_fc": _arc("5d", 46.2, interaction="multiplicative", aggregation="S"),
    "arc_plus_s_gru": _arc("5d", 45.6, aggregation="S", attention_layer="gru"),
    "arc_plus_st_fc": _arc("5d", 46.5, aggregation="ST"),
    "arc_plus_t_fc": _arc("5d", 47.5, aggregation="T"),
    "arc_plus_s_fc": _arc("5d", 47.0, aggregation="S"),
    "dnr_ct1": _dnr("1a", 74.52, order="ct_bn"),
    "dnr_ct2": _dnr("1a, 1b", 75.52, order="bn_ct"),
    "dnr_cl1": _dnr("1a, 1b", 75.7, order="cl_bn"),
    "dnr_cl2": _dnr("1a", 74.5, order="bn_cl"),
    "dnr_ct1_cl2": _dnr("1a", 77.28, order="ct_cl"),
    "dnr_ct2_group1": _dnr("1b", 74.06, order="bn_ct", ct_group_frames=1),
    "dnr_ct2_group2": _dnr("1b", 74.56, order="bn_ct", ct_group_frames=2),
    "dnr_ct2_group8": _dnr("1b", 75.28, order="bn_ct", ct_group_frames=8),
    "dnr_cl1_distance2": _dnr("1b", 75.44, order="cl_bn", cl_distance=2),
    "dnr_none": _dnr("1d", 76.9, relay="none"),
    "dnr_fc": _dnr("1d", 74.5, relay="fc"),
    "dnr_se": _dnr("1d", 77.78, relay="se"),
    "dnr_keep_affine": _dnr("start", None, keep_affine=True),
    "dnr_gn": _dnr("3", 77.22, norm="gn"),
    "tsm_gn": Variant("3", None, TSM(), (), "resnet18_gn"),
    "narrow_tsm": _narrow(TSM()),
    "narrow_arc_tsm": _narrow(TSM(), ARC()),
    "narrow_dnr_tsn": _narrow(TSN(), DNR()),
}
NARROW = tuple(name for name, variant in VARIANTS.items() if variant.backbone == "narrow_resnet18")
LONG = "--opt adamw --lr 2e-3 --weight-decay 0.05 --drop 0.2 --warmup-epochs 2 --epochs 40"
"""Flags with which a narrow network from random weights learns all that it can in the time of eight epochs."""
LONG_ADDON = "--addon-lr-scale 0.1"
"""Added to them for models with an add-on, as for the bundled models."""


SGD, ADAMW = "--opt sgd --lr 0.02", "--opt adamw --lr 5e-4 --weight-decay 0.05"
RECIPES = (
    *(("arc_tsm", f"{SGD} --addon-lr-scale {factor}") for factor in (1, 0.3)),
    ("tsm", SGD),
    *(("dnr_tsn", f"{SGD} --addon-lr-scale {factor}") for factor in (1, 0.3)),
    ("tsm", ADAMW),
    *(("arc_tsm", f"{ADAMW} --addon-lr-scale {factor}") for factor in (1, 0.1, 0.02)),
    *(("dnr_tsn", f"{ADAMW} --addon-lr-scale {factor}") for factor in (1, 0.1)),
    ("tsm", "--opt sgd --lr 0.05"),
)
"""Trials of the recipe, on the first fold of strokes. Only their accuracy on its validation clips was looked at."""


EQUAL_TIME = {"arc_tsn": 6, "arc_tsm": 6, "arc_msn": 6, "dnr_tsn": 7}
"""Epochs of strokes that take about as long as eight of the base model."""
INIT_FROM = "--init-from {runs}/models-strokes-tsm-{split}/last"
STARTS = (("arc_tsm", INIT_FROM), ("arc_tsm", "--epochs 16"), ("tsm", "--epochs 16"), ("dnr_keep_affine", ""))
"""ARC from a base that was trained for eight epochs, against as many epochs in all without. DNR with trained norms."""
FEW_FOLDS = FOLDS[:3]
BATCH_MODELS = ("tsm", "tsm_gn", "dnr_tsn", "dnr_gn")
BATCHES = {1: "--batch-size 1 --lr 0.00125", 2: "--batch-size 2 --lr 0.0025", 4: "--batch-size 4 --lr 0.005"}


def all_runs() -> Iterator[Run]:
    """Yield every run, those that the others are compared with first."""
    yield from (Run("recipe", "strokes", model, 1, flags) for model, flags in RECIPES)
    for fold in FOLDS:
        yield from (Run("models", "strokes", model, fold) for model in MODELS)
    yield Run("models", "strokes", SAME, 1)
    for seed in (1, 2, 3):
        yield from (Run("models", "hard_motions", model, seed) for model in MODELS)
    yield from (Run("models", "grid_words", model, 1) for model in MODELS)
    for fold in FEW_FOLDS:
        for name in NARROW:
            yield Run("longer", "strokes", name, fold, f"{LONG} {LONG_ADDON}" if VARIANTS[name].augmenters else LONG)
    others = {*NARROW, *(model for model, _ in STARTS)}
    yield from (Run("ablations", "strokes", name, 1) for name in VARIANTS if name not in others)
    for flags in BATCHES.values():
        yield from (Run("batches", "strokes", model, 1, flags) for model in BATCH_MODELS)
    for fold in FEW_FOLDS:
        yield from (Run("starts", "strokes", model, fold, flags) for model, flags in STARTS)
        yield from (Run("equal_time", "strokes", name, fold, f"--epochs {n}") for name, n in EQUAL_TIME.items())


def write_clips(runs: Path) -> None:
    """Write the generated clips, unless they are there."""
    root = runs / "hard_motions"
    for name, seed, train, val in (("videos", 1, 60, 10), ("test_videos", 2, 1, 40)):
        if not (root / name).exists():
            write_motions(
                root / f"{name}.part", level="hard", clips_per_class=train, val_clips_per_class=val, seed=seed
            )
            (root / f"{name}.part").rename(root / name)


def lists_of(run: Run, data: Path, runs: Path) -> tuple[Path, Path, Path]:
    """Return the lists, or folders, of training, validation and test clips."""
    if run.clips == "hard_motions":
        root = runs / run.clips
        return root / "videos" / "train", root / "videos" / "val", root / "test_videos" / "val"
    prefix = f"{data / run.clips}/" + (f"fold{run.split}_" if run.clips == "strokes" else "")
    train, val, test = (Path(f"{prefix}{part}.txt") for part in ("train", "val", "test"))
    return train, val, test


def partners(clips: str, names: list[str]) -> dict[str, str]:
    """Return the class that shows the same backwards, for the classes that have one."""
    if clips == "strokes":
        halves = {"_go": "_back", "_back": "_go"}
        return {name: name.removesuffix(end) + halves[end] for name in names for end in halves if name.endswith(end)}
    found = {name: partner_of(name, "hard") for name in names} if clips == "hard_motions" else {}
    return {name: partner for name, partner in found.items() if partner != name}
