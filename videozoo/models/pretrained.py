"""Published weights as local model folders: downloaded, converted and cached."""

import json
import logging
import re
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import torch
from huggingface_hub.utils import WeakFileLock

from videozoo.hub import WeightsError
from videozoo.hub.download import download_file
from videozoo.hub.files import CONFIG
from videozoo.hub.hashes import file_sha256
from videozoo.hub.remote import download_repo, split_repo
from videozoo.hub.write import replace_folder, save_weights
from videozoo.models.config import VideoCfg
from videozoo.models.convert import convert_file
from videozoo.models.describe import model_config
from videozoo.models.registry import get_pretrained_cfg, pretrained_name, split_name
from videozoo.text import cause, json_text

__all__ = ["cache_folder", "place_weights", "weights_folder"]

_log = logging.getLogger(__name__)
# Beside a converted checkpoint: which file it was made from, and the hashes of what was made.
_ORIGIN = "origin.json"


def weights_folder(name: str, cfg: VideoCfg, cache_dir: str | Path | None = None) -> Path:
    """Return the folder (``config.json``, ``model.safetensors``) of a name's weights, downloaded if needed.

    Only the tensors of a public checkpoint are read. They are converted and cached as such a folder.

    Args:
        name: ``arch.tag``, or an architecture for its default tag.
        cfg: its config, as ``get_pretrained_cfg`` returns it. Without a source, that of the default tag is used.
        cache_dir: folder for downloads. None: the folders of the Hub and torch.hub.
    Raises:
        WeightsError: no weights exist, or they cannot be fetched or do not fit.
    """
    if not cfg.has_weights:
        name = pretrained_name(name)
        cfg = get_pretrained_cfg(name)
    if cfg.file:
        return Path(str(cfg.file)).expanduser()
    if cfg.hf_hub_id and not cfg.url:
        repo, revision = split_repo(cfg.hf_hub_id)
        return download_repo(repo, revision, cache_dir=cache_dir).weights.parent
    folder = cache_folder(name, cache_dir)
    if not _is_whole(folder, cfg):
        _download(name, cfg, folder, cache_dir)
    return folder


def cache_folder(name: str, cache_dir: str | Path | None = None) -> Path:
    """Return the folder that caches the converted checkpoint of ``arch.tag``.

    Args:
        name: ``arch.tag``.
        cache_dir: None for torch.hub's folder (``TORCH_HOME``).
    """
    root = torch.hub.get_dir() if cache_dir is None else cache_dir
    return Path(root).expanduser() / "videozoo" / name


def _is_whole(folder: Path, cfg: VideoCfg) -> bool:
    """Return whether a cached folder is complete and was made from the file of the record."""
    if not folder.is_dir():
        return False
    try:
        origin = json.loads((folder / _ORIGIN).read_text(encoding="utf-8"))
        is_whole = all(file_sha256(folder / file) == digest for file, digest in origin["made"].items())
        prefix = cfg.sha256_prefix
        is_same = str(origin["sha256"]).startswith(prefix) if prefix else origin["url"] == cfg.url
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        is_whole = is_same = False
    if not (is_whole and is_same):
        _log.warning("%s: %s; made again", folder, "damaged" if not is_whole else "made from another file")
    return is_whole and is_same


def _download(name: str, cfg: VideoCfg, folder: Path, cache_dir: str | Path | None) -> None:
    url = str(cfg.url)
    file_name = Path(urlsplit(url).path).name
    by_hand = f"videozoo convert FILE --model {name}" + ("" if cache_dir is None else f" --output {folder}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (
            WeakFileLock(folder.parent / f".{name}.lock"),
            tempfile.TemporaryDirectory(prefix=f".{name}.", dir=folder.parent) as part,
        ):
            if folder.is_dir() and _is_whole(folder, cfg):  # another process was faster
                return
            file = Path(part) / file_name
            _log.info("%s: downloading %s", name, url)
            try:
                if cfg.hf_hub_id:
                    repo, revision = split_repo(cfg.hf_hub_id)
                    file = download_repo(repo, revision, cache_dir=cache_dir, has_config=False).weights
                else:
                    download_file(url, file, cfg.sha256_prefix)
            except WeightsError as error:
                raise WeightsError(
                    f"{error.reason}. Download {url} on a machine that is online and run `{by_hand}`, "
                    f"which writes {folder}",
                    source=name,
                    file=file_name,
                ) from error
            try:
                _convert_into(file, name, cfg, folder, is_checked=bool(cfg.hf_hub_id))
            except WeightsError as error:
                raise error.at(source=name, file=file_name) from error
    except OSError as error:
        raise WeightsError(f"the cache {folder.parent} cannot be written ({cause(error)})", source=name) from error


def place_weights(path: str | Path, name: str, folder: str | Path | None = None) -> Path:
    """Put a public checkpoint that you downloaded yourself where ``pretrained=True`` finds it.

    Args:
        path: the file.
        name: ``arch.tag`` of its record.
        folder: destination. None: the cache.
    Returns:
        the new folder.
    Raises:
        UnknownModelError: no such name or tag.
        WeightsError: the hash is not that of the record, or the file does not fit.
    """
    cfg, path = get_pretrained_cfg(name), Path(path).expanduser()
    if not cfg.url:
        raise WeightsError("has no public checkpoint to be converted; pretrained=True finds its weights", source=name)
    target = cache_folder(name) if folder is None else Path(folder).expanduser()
    _convert_into(path, name, cfg, target)
    return target


def _convert_into(path: Path, name: str, cfg: VideoCfg, folder: Path, is_checked: bool = False) -> None:
    if not path.is_file():
        raise WeightsError("no such file", source=str(path))
    digest = file_sha256(path)
    if not digest.startswith(cfg.sha256_prefix or ""):
        raise WeightsError(
            f"is not the file of {name}: its SHA-256 is {digest}, should start with {cfg.sha256_prefix}; get {cfg.url} "
            f"again, or convert another file with --model {split_name(name)[0]}",
            source=str(path),
        )
    model, _, _ = convert_file(path, name=name)
    if cfg.sha256_prefix is None and not is_checked:  # the Hub lists the hash of every file
        _log.warning("%s: its owners list no hash; its keys and shapes were checked, and only tensors were read", name)
    if cfg.license and re.search(r"(?i)\bnc\b|non-commercial", cfg.license):
        _log.warning(
            "%s: the license of these weights, %s, excludes commercial use (%s)", name, cfg.license, cfg.origin_url
        )
    origin = {"name": name, "url": cfg.url, "sha256": digest}

    def fill(new: Path) -> None:
        save_weights(model.state_dict(), new)
        (new / CONFIG).write_text(json_text(model_config(model), 2) + "\n", encoding="utf-8")
        made = {file.name: file_sha256(file) for file in sorted(new.iterdir())}
        (new / _ORIGIN).write_text(json_text({**origin, "made": made}, 2) + "\n", encoding="utf-8")

    replace_folder(folder, fill)
