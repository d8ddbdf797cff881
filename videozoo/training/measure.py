"""Models measured together on labeled videos.

Heavy imports inside.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.arguments import UsageError
from videozoo.launch import num_processes

from .run_log import note, warn
from .sizes import parse_views
from .sources import VAL_FOLDERS, Data, describe_data, find_split

if TYPE_CHECKING:
    from videozoo.data import VideoRecord
    from videozoo.engine import Scores

BATCH_SIZE, BATCH_VIEWS = 8, 64  # videos of a batch, fewer where together they have more views


# Takes the number of videos, the folder where work is kept and a title; gives a function of how many are done, broken.
JobBar = Callable[[int, Path | None, str | None], contextlib.AbstractContextManager[Callable[[int, int], None] | None]]


def no_bar(total: int, kept: Path | None, title: str | None) -> contextlib.AbstractContextManager[None]:
    """Show no progress."""
    return contextlib.nullcontext()


class Setup:
    """Models with the same classes, and the videos they are measured on.

    ``where`` is for ``load_source``.
    """

    def __init__(self, names: Sequence[str], data: Data, *, device: str, **where: Any) -> None:
        from videozoo.data import load_source
        from videozoo.engine.distributed import first_process_first
        from videozoo.inference.network import load_network

        self.names, self.data, self.device = list(names), describe_data(data), device
        folder = find_split(data, VAL_FOLDERS)
        if folder is not None:
            note(f"evaluating on {folder}")
        with first_process_first(device):  # the others then find in the cache what it downloads
            self.models: list[Any] = [load_network(name) for name in names]
        own = self._check_classes()
        where["multi_label"] = self._check_kind()
        self.source = load_source(folder or data, class_names=own, **where)
        if own is None and _are_other_numbers(self.source.class_names):
            # Where classes have no names, numbers are their indices.
            own = [str(label) for label in range(self.models[0].num_classes)]
            self.source = load_source(folder or data, class_names=own, **where)
        for text in self.source.warnings:
            warn(text)
        known = list(self.source.class_names)
        if len(known) > self.models[0].num_classes:
            raise UsageError(
                f"{self.data}: has {len(known)} classes, {names[0]} has {self.models[0].num_classes} without names; "
                "evaluate on a list of its own classes."
            )
        self.class_names = [*known, *(str(label) for label in range(len(known), self.models[0].num_classes))]

    def _check_kind(self) -> bool:
        """Return whether the models are multi-label, all or none of them."""
        from videozoo.probabilities import is_multi_label

        kinds = [is_multi_label(model) for model in self.models]
        if len(set(kinds)) > 1:
            several, one = self.names[kinds.index(True)], self.names[kinds.index(False)]
            raise UsageError(
                f"{several} gives a video several classes (multi-label) and {one} one; they cannot be averaged, "
                "evaluate each by itself."
            )
        return kinds[0]

    def _check_classes(self) -> list[str] | None:
        """Return the class names that the models agree on."""
        labels = [list(model.pretrained_cfg.get("label_names") or ()) for model in self.models]
        first, count = next((k for k, own in enumerate(labels) if own), 0), self.models[0].num_classes
        for name, model, own in zip(self.names, self.models, labels, strict=True):
            if model.num_classes != count:
                raise UsageError(
                    f"{self.names[0]} has {count} classes and {name} has {model.num_classes}; an ensemble needs the "
                    "same classes."
                )
            other = [k for k, pair in enumerate(zip(labels[first], own, strict=False)) if pair[0] != pair[1]]
            if other:
                raise UsageError(
                    f"class {other[0]} is {labels[first][other[0]]!r} for {self.names[first]} and {own[other[0]]!r} "
                    f"for {name}; an ensemble needs the same classes in the same order."
                )
        return labels[first] or None

    @contextlib.contextmanager
    def measure(
        self,
        *,
        views: str | None = None,
        is_reversed: bool = False,
        batch_size: int | None = None,
        job_bar: JobBar = no_bar,
        **options: Any,
    ) -> "Iterator[list[Scores]]":
        """Return each model's scores from one pass over the videos.

        See `evaluate_records` for the options.
        """
        from videozoo.data import resolve_data_config
        from videozoo.devices import describe_device
        from videozoo.engine import Scores, name_videos
        from videozoo.engine.device import make_accelerator
        from videozoo.jobs.evaluate import evaluate_records

        device = make_accelerator(options.get("amp", "no"), self.device).device
        note(f"{len(self.source.records)} videos, {describe_device(device, options.get('amp', 'no'))}")
        clips, crops = parse_views(views) or (None, None)
        configs = [resolve_data_config(net, test_num_clips=clips, test_num_crops=crops) for net in self.models]
        counts = [(config["test_num_clips"], config["test_num_crops"]) for config in configs]
        num_views = sum(clips * crops for clips, crops in counts)
        records, shards = self.source.records, num_processes()
        names = name_videos([name_record(record) for record in records])
        with contextlib.ExitStack() as stack:
            # Shown by the first process, of its share.
            total, title = -(-len(records) // shards), f"shard 0 of {shards}" if shards > 1 else None
            with job_bar(total, options.get("folder"), title) as show:
                results = stack.enter_context(
                    evaluate_records(
                        self.models,
                        records,
                        class_names=self.class_names,
                        views=parse_views(views),
                        is_reversed=is_reversed,
                        batch_size=batch_size or max(1, min(BATCH_SIZE, BATCH_VIEWS // num_views)),
                        device=self.device,
                        on_progress=show,
                        **options,
                    )
                )
            yield [
                Scores(
                    result,
                    names,
                    {"model": name, "data": self.data, "views": f"{clips}x{crops}", "is_reversed": is_reversed},
                )
                for result, name, (clips, crops) in zip(results, self.names, counts, strict=True)
            ]


def _are_other_numbers(names: Sequence[str]) -> bool:
    """Return whether all names are numbers, and not just the indices of the classes."""
    from videozoo.data.labels import is_index

    return all(map(is_index, names)) and list(names) != [str(label) for label in range(len(names))]


def name_record(record: "VideoRecord") -> str:
    """Return the name of a video, with its part of the file, which is the same wherever the data is stored."""
    name = record.name or str(record.path)
    for part, unit in ((record.span_sec, " s"), (record.frame_range, " frames")):
        name += f" [{part[0]:g}-{part[1]:g}{unit}]" if part else ""
    return name
