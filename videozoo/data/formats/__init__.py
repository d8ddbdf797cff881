"""The formats that lists of videos come in: one file each, recognized by their content."""

from collections.abc import Callable

from ..lists import ListFile, Listing
from .diving48 import read_diving48
from .frame_lists import read_frame_list, read_offset_list, read_range_list
from .kinetics import read_kinetics
from .multi_label import MULTI_LABEL_FORMATS, read_multi_label
from .path_list import read_path_list
from .something import read_something_v1, read_something_v2
from .table import read_csv, read_jsonl
from .train_test_splits import read_hmdb51, read_ucf101

READERS: dict[str, Callable[[ListFile], Listing]] = {
    "path_list": read_path_list,
    "csv": read_csv,
    "jsonl": read_jsonl,
    "frame_list": read_frame_list,
    "offset_list": read_offset_list,
    "range_list": read_range_list,
    "something_v1": read_something_v1,
    "something_v2": read_something_v2,
    "kinetics": read_kinetics,
    "diving48": read_diving48,
    "ucf101": read_ucf101,
    "hmdb51": read_hmdb51,
}
MULTI_LABEL_READERS: dict[str, Callable[[ListFile], Listing]] = dict(
    zip(MULTI_LABEL_FORMATS, (read_multi_label, read_csv, read_jsonl), strict=True)
)
# What ``data_format`` may be.
DATA_FORMATS = ("class_folders", *READERS, "shards")
# Formats whose files hold several splits.
SPLIT_FORMATS = ("kinetics", "ucf101", "hmdb51")
