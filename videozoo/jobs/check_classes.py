"""Report on classes and sizes: videos per class, uneven classes, a cheaper image size."""

from collections.abc import Mapping, Sequence

from videozoo.text import some

from .check import ClassCount, Finding

# Classes are shown whole up to this many, else the largest and the smallest of them.
SHOWN, SHOWN_ENDS = 24, 8
# Below so many videos a class is hardly learned; beyond this factor classes are uneven.
FEW, UNEVEN = 5, 10
# What models are made for unless --img-size says otherwise, and the step of the sizes that are proposed.
IMG_SIZE, STEP, SHORT_SIDE = 224, 16, 256


def class_table(parts: Mapping[str, Sequence[ClassCount]]) -> list[str]:
    """Return lines that show the videos of each class that can be read, a column for each part of the data set.

    Of long sets the largest and the smallest classes of the first part are shown.

    Args:
        parts: counts by the name of the part. The classes of the first one count.
    """
    columns = {part or "videos": {count.name: count for count in counts} for part, counts in parts.items()}
    first = next(iter(columns.values()), {})
    names = list(first)
    order = sorted(names, key=lambda name: -first[name].good)
    shown = names if len(names) <= SHOWN else [*order[:SHOWN_ENDS], *order[-SHOWN_ENDS:]]
    if not names:
        return []
    if any(count.broken for counts in columns.values() for count in counts.values()):
        every = columns.values()
        totals = {name: sum(counts[name].broken for counts in every if name in counts) for name in names}
        columns["broken"] = {name: ClassCount(name, totals[name], 0) for name in names}
    width = max(len("class"), *(len(name) for name in shown))
    wide = {column: max(len(column), 6) for column in columns}
    lines = ["  ".join([f"{'class':<{width}}", *(f"{column:>{wide[column]}}" for column in columns)])]
    for name in shown:
        cells = [f"{counts[name].good if name in counts else 0:>{wide[column]}}" for column, counts in columns.items()]
        lines.append("  ".join([f"{name:<{width}}", *cells]))
    if len(shown) < len(names):
        lines.insert(1 + SHOWN_ENDS, f"... and {len(names) - len(shown)} classes between")
    return lines


def warn_classes(counts: Sequence[ClassCount]) -> list[str]:
    """Return warnings of the classes that have few videos, and of classes of very unequal size."""
    warnings = []
    few = [f"{count.name} ({count.good})" for count in sorted(counts, key=lambda count: count.good) if count.good < FEW]
    if few:
        number = f"{len(few)} classes have" if len(few) > 1 else "1 class has"
        warnings.append(f"{number} fewer than {FEW} videos that can be read: {some(few, 6)}")
    sized = sorted((count for count in counts if count.good), key=lambda count: count.good)
    if sized and sized[-1].good >= UNEVEN * sized[0].good:
        warnings.append(
            f"uneven classes: {sized[-1].name} has {sized[-1].good} videos, {sized[0].name} {sized[0].good}; "
            "finetune has --balanced-sampling and --class-weights balanced"
        )
    return warnings


def cheaper_size(findings: Sequence[Finding]) -> list[str]:
    """Return what would cost less: a smaller image size for small frames, smaller files for large ones.

    The size is that of the short side that nine of ten videos do not exceed. GMACs go with the area.
    """
    sides = sorted(min(finding.width, finding.height) for finding in findings if not finding.error)
    if not sides:
        return []
    side = sides[int(0.9 * (len(sides) - 1))]
    size = max(side // STEP, 2) * STEP
    if size < IMG_SIZE:
        factor = (IMG_SIZE / size) ** 2
        times = f"{factor:.0f}" if factor >= 2.5 else f"{factor:.1f}"
        return [
            f"--img-size {size} (frames have short sides of {side} pixels): 1/{times} of the GMACs of {IMG_SIZE}, to "
            "which they would be enlarged"
        ]
    median = sides[len(sides) // 2]
    if median >= 2 * SHORT_SIDE:
        factor = (median / SHORT_SIDE) ** 2
        return [
            f"videozoo prepare --short-side {SHORT_SIDE}: 1/{factor:.0f} of the pixels to decode (frames have short "
            f"sides of {median}, models take {IMG_SIZE})"
        ]
    return []
