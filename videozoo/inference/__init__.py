"""Classes of videos nobody has labeled: a predictor for any program, and jobs over lists too long for one machine."""

from videozoo.jobs.errors import JobError
from videozoo.jobs.extract import extract_list
from videozoo.jobs.listing import Listing, open_listing
from videozoo.jobs.predict import JobResult, predict_list
from videozoo.jobs.prediction import Prediction

from .extract import Extractor
from .predictor import Predictor
from .segments import Segment, WindowScores

__all__ = [
    "Extractor",
    "JobError",
    "JobResult",
    "Listing",
    "Prediction",
    "Predictor",
    "Segment",
    "WindowScores",
    "extract_list",
    "open_listing",
    "predict_list",
]
