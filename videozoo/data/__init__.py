"""Videos in: exact frames, clips, transforms, labelled sources. Knows nothing of models."""

from .config import DATA_DEFAULTS, resolve_data_config
from .dataset import VideoDataset
from .decode import VideoReader, count_frames, read_frames
from .errors import VideoError
from .lists import SourceError
from .sample import SAMPLINGS, sample_clips
from .sources import VIDEO_EXTENSIONS, VideoRecord, VideoSource, load_source, split_by_hash
from .transforms import TestTransform, TrainTransform, create_transform
from .views import parse_views

__all__ = [
    "DATA_DEFAULTS",
    "SAMPLINGS",
    "VIDEO_EXTENSIONS",
    "SourceError",
    "TestTransform",
    "TrainTransform",
    "VideoDataset",
    "VideoError",
    "VideoReader",
    "VideoRecord",
    "VideoSource",
    "count_frames",
    "create_transform",
    "load_source",
    "parse_views",
    "read_frames",
    "resolve_data_config",
    "sample_clips",
    "split_by_hash",
]
