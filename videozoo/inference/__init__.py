"""Classes of videos nobody has labelled: a predictor for any program, and jobs over lists too long for one machine."""

from .extract import Extractor, extract_list
from .job import JobError, JobResult, predict_list
from .listing import Listing, open_listing
from .predictor import Prediction, Predictor

__all__ = [
    "Extractor",
    "JobError",
    "JobResult",
    "Listing",
    "Prediction",
    "Predictor",
    "extract_list",
    "open_listing",
    "predict_list",
]
