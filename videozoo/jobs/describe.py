"""Keys that describe a job's rows, so that two jobs are never mixed."""

import hashlib
import json
from typing import Any

import torch
from torch import nn

from videozoo.probabilities import is_multi_label
from videozoo.version import __version__

from .listing import Listing
from .prediction import AnswersVideos

JOB_FORMAT = 2


def describe_network(predictor: AnswersVideos) -> dict[str, str]:
    """Return what a file says of where its rows come from."""
    source = predictor.source
    return {"model": source if isinstance(source, str) else type(source).__name__, "videozoo_version": __version__}


def describe_job(listing: Listing, num_shards: int, shard: int, **details: Any) -> dict[str, Any]:
    """Return what the rows of a shard depend on, as JSON holds it.

    ``details`` are the job's own.
    """
    about = {"format": JOB_FORMAT, "list": listing.digest, "num_shards": num_shards, "shard": shard, **details}
    plain: dict[str, Any] = json.loads(json.dumps(about))
    return plain


def describe_answers(predictor: AnswersVideos) -> dict[str, Any]:
    """Return what a predictor's answers depend on."""
    return {
        "weights": digest_weights(predictor.model),
        "spec": str(getattr(predictor.model, "spec", "")),  # temporal modules without weights are in it alone
        "class_names": list(predictor.class_names),
        "videos": predictor.config,
        "amp": predictor.amp,
        **describe_kind(predictor.model),
    }


def describe_kind(model: nn.Module) -> dict[str, Any]:
    """Return what a job keeps of a multi-label model beside its weights.

    Nothing of another one.
    """
    return {"multi_label": True} if is_multi_label(model) else {}


def digest_weights(model: nn.Module) -> str:
    """SHA-256 over names, shapes, kinds and values of all weights and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(flat.shape)} {flat.dtype}\n".encode())
        digest.update(flat.flatten().view(torch.uint8).numpy() if flat.numel() else b"")
    return digest.hexdigest()
