"""Labeled sets of videos as clips: lists, sampling, transforms, batches.

Knows nothing of models.
"""

from videozoo.video.errors import VideoError
from videozoo.video.reader import VideoReader, count_frames, read_frames

from .batches import TrainBatch, collate_clips
from .config import DATA_DEFAULTS, resolve_data_config, sampling_options, test_size_of
from .dataset import JointDataset, VideoDataset
from .formats import DATA_FORMATS
from .list_errors import SourceError
from .normalize import ClipNormalizer
from .records import VIDEO_EXTENSIONS, VideoRecord, VideoSource, open_record
from .sample import SAMPLINGS, sample_clips
from .samplers import BalancedSampler, class_weights
from .sources import load_source
from .splits import check_splits, split_by_hash
from .transforms import TestTransform, TrainTransform, create_transform
from .views import parse_views

__all__ = [
    "DATA_DEFAULTS",
    "DATA_FORMATS",
    "SAMPLINGS",
    "VIDEO_EXTENSIONS",
    "BalancedSampler",
    "ClipNormalizer",
    "JointDataset",
    "SourceError",
    "TestTransform",
    "TrainBatch",
    "TrainTransform",
    "VideoDataset",
    "VideoError",
    "VideoReader",
    "VideoRecord",
    "VideoSource",
    "check_splits",
    "class_weights",
    "collate_clips",
    "count_frames",
    "create_transform",
    "load_source",
    "open_record",
    "parse_views",
    "read_frames",
    "resolve_data_config",
    "sample_clips",
    "sampling_options",
    "split_by_hash",
    "test_size_of",
]
