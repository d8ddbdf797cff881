"""Weights of a registered name as a local folder in our layout; foreign checkpoints become one."""

from pathlib import Path

from videozoo.hub import WeightsError
from videozoo.models.config import VideoCfg
from videozoo.models.registry import get_pretrained_cfg, pretrained_name

__all__ = ["weights_folder"]


def weights_folder(name: str, cfg: VideoCfg, cache_dir: str | Path | None = None) -> Path:
    """The folder (``config.json``, ``model.safetensors``) with the weights of a registered name, fetched if need be.

    Args:
        name: ``arch.tag``, or an architecture for its default tag.
        cfg: its config, as ``get_pretrained_cfg`` gives it; without a source, that of the default tag.
        cache_dir: where downloads are kept; None for the default.
    Raises:
        WeightsError: no weights exist, or they cannot be had or do not fit.
    """
    if not cfg.has_weights:
        name = pretrained_name(name)
        cfg = get_pretrained_cfg(name)
    if cfg.file:
        return Path(str(cfg.file))
    raise WeightsError("cannot be fetched yet", source=name)
