"""Model repositories of the Hugging Face Hub: one commit, checked files, retries, and the cache when offline."""

# The client library is the transport. Of itself it resolves every file on its own, checks no hash and gives up at the
# first 5xx; that is what is added here. Its `verify_repo_checksums` reads all files of a snapshot, needs a network and
# one more request, and leaves a damaged file where it lies.

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from huggingface_hub import HfApi, ModelInfo, constants, try_to_load_from_cache
from huggingface_hub.errors import OfflineModeIsEnabled

from videozoo.files import write_file
from videozoo.hub.files import CONFIG, PICKLES, WEIGHTS, WeightsError, check_safetensors, how_to_convert, read_config
from videozoo.hub.hashes import file_hash, listed_hashes
from videozoo.hub.repository import COMMIT, Place, check_repo_name, is_reference, raise_refused
from videozoo.hub.retry import attempt, describe
from videozoo.version import __version__

__all__ = ["RemoteFolder", "ask_info", "download_repo", "is_cached", "open_hub", "split_repo"]

_log = logging.getLogger(__name__)
# Seconds in which asking for the commit is tried again: who is offline must hear it soon.
_PATIENCE = 5.0


@dataclass(frozen=True)
class RemoteFolder:
    """Config and weights of one commit of a repository, on this disk.

    Args:
        repo: ``organization/name``.
        revision: the commit.
        config: what ``config.json`` holds.
        weights: the ``model.safetensors``. The config lies beside it.
    """

    repo: str
    revision: str
    config: dict[str, Any]
    weights: Path


def split_repo(name: str) -> tuple[str, str | None]:
    """Return the repository and revision of ``organization/name[@revision]``."""
    repo, _, revision = name.partition("@")
    return repo, revision or None


def download_repo(
    repo: str,
    revision: str | None = None,
    *,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    has_config: bool = True,
) -> RemoteFolder:
    """Return the config and weights of a repository, both of one commit and both checked against the hub's hashes.

    Offline (or with ``HF_HUB_OFFLINE=1``) the cache is used, if it holds that revision. A damaged file, on
    its way or in the cache, is fetched once more.

    Args:
        repo: ``organization/name``.
        revision: a branch, tag or commit. None for ``main``.
        cache_dir: where files are kept. None for the client's own cache.
        token: as in huggingface_hub. None takes that of ``HF_TOKEN`` or ``hf auth login``.
        has_config: False fetches the weights alone, as of an image model. ``config`` is then empty.
    Raises:
        WeightsError: no such repository, revision or file. No access. Offline and nothing cached. Only a pickle.
            A file that is damaged or not what it should be.
    """
    cache = Path(cache_dir or constants.HF_HUB_CACHE).expanduser().resolve()
    place = Place(repo, revision or "main", cache, token, (CONFIG, WEIGHTS) if has_config else (WEIGHTS,))
    check_repo_name(repo)
    if not is_reference(place.asked):
        raise place.error(f"{place.asked!r} is not a branch, tag or commit")
    if COMMIT.fullmatch(place.asked) and (found := _from_cache(place)):  # a commit never changes
        return found
    try:
        commit, digests = _resolve(place)
    except _NoNetwork as error:
        if found := _from_cache(place):
            level = logging.INFO if constants.HF_HUB_OFFLINE else logging.WARNING
            _log.log(level, "%s: %s; using commit %s of the cache", repo, error, found.revision)
            return found
        _raise_not_cached(place, str(error))
    _check_listing(place, commit, digests)
    paths = {name: _fetch(place, commit, name, digests[name]) for name in place.files}
    found = _open(place, commit, paths)
    _remember(place, commit)
    return found


def is_cached(name: str, *, has_config: bool = True) -> bool:
    """Return whether the cache holds the files of a repository ``organization/name[@revision]``.

    Nothing is asked.

    Args:
        name: the repository.
        has_config: as in `download_repo`.
    """
    repo, revision = split_repo(name)
    files = (CONFIG, WEIGHTS) if has_config else (WEIGHTS,)
    place = Place(repo, revision or "main", Path(constants.HF_HUB_CACHE).expanduser().resolve(), None, files)
    return all(_cached(place, file) is not None for file in files)


class _NoNetwork(Exception):
    """The hub cannot be reached."""


def open_hub(token: str | bool | None = None) -> HfApi:
    """Return the client library, as which program it asks."""
    return HfApi(token=token, library_name="videozoo", library_version=__version__)


def ask_info(api: HfApi, repo: str, revision: str, patience: float = 60.0) -> ModelInfo:
    """Return the Hub's info on a revision and its files, with retries.

    Raises the client's errors.
    """
    timeout = constants.HF_HUB_ETAG_TIMEOUT
    return attempt(lambda: api.model_info(repo, revision=revision, files_metadata=True, timeout=timeout), patience)


def _resolve(place: Place) -> tuple[str, dict[str, str]]:
    """Return the commit of a revision, and the hash of each of its files."""
    try:
        info = ask_info(open_hub(place.token), place.repo, place.asked, _PATIENCE)
    except OfflineModeIsEnabled as error:
        raise _NoNetwork("offline (HF_HUB_OFFLINE is set)") from error
    except Exception as error:
        raise_refused(place, error)
        raise _NoNetwork(f"the hub cannot be reached ({describe(error)})") from error
    commit = info.sha or ""
    if not COMMIT.fullmatch(commit):
        raise place.error(f"the hub names no commit but {commit!r}; is HF_ENDPOINT={constants.ENDPOINT} a hub?")
    return commit, listed_hashes(info)


def _check_listing(place: Place, commit: str, digests: dict[str, str]) -> None:
    held = ", ".join(sorted(digests)[:8]) or "nothing"
    if CONFIG in place.files and CONFIG not in digests:
        raise place.error(f"not in the repository, which holds {held}; it is no model of videozoo", commit, CONFIG)
    if WEIGHTS in digests:
        return
    reason = f"not in the repository, which holds {held}"
    pickle = next((name for name in sorted(digests) if name.endswith(PICKLES)), None)
    if pickle:
        reason += f". A pickle can run code and is never loaded; download it and convert it: {how_to_convert(pickle)}"
    raise place.error(reason, commit, WEIGHTS)


def _fetch(place: Place, commit: str, name: str, digest: str) -> Path:
    """Return a checked file of the cache, downloaded where it is missing or damaged."""
    for is_second in (False, True):
        try:
            path = _download(place, commit, name, force=is_second)
        except Exception as error:
            raise_refused(place, error, commit, name)
            where = place.folder / "snapshots" / commit / name
            reason = f"could not be downloaded ({describe(error)}) and is not in the cache; put it there as {where}"
            raise place.error(reason, commit, name) from error
        found = file_hash(path, digest)
        if found in (digest, None):
            return path
        _log.warning("%s: %s of commit %s is damaged in the cache or on its way", place.repo, name, commit)
        _discard(path)
    kind = "SHA-256" if len(digest) == 64 else "git's SHA-1"
    raise place.error(f"{kind} is {found}, the hub says {digest}; also after a second download", commit, name)


def _download(place: Place, commit: str, name: str, force: bool = False) -> Path:
    def act() -> str:
        api = open_hub(place.token)
        return api.hf_hub_download(place.repo, name, revision=commit, cache_dir=place.cache, force_download=force)

    return Path(attempt(act))


def _open(place: Place, commit: str, paths: dict[str, Path]) -> RemoteFolder:
    """Return both files, looked at. One that was published broken does not stay in the cache."""
    try:
        file = CONFIG
        config = read_config(paths[CONFIG]) if CONFIG in paths else {}
        file = WEIGHTS
        check_safetensors(paths[WEIGHTS])
    except WeightsError as error:
        _discard(paths[file])
        raise error.at(source=place.repo, revision=commit, file=file) from error
    return RemoteFolder(place.repo, commit, config, paths[WEIGHTS])


def _discard(path: Path) -> None:
    """Remove a file of the cache: its name in the snapshot, and the blob behind it."""
    blob = path.parent / os.readlink(path) if path.is_symlink() else None
    path.unlink(missing_ok=True)
    if blob is not None:
        blob.unlink(missing_ok=True)


def _remember(place: Place, commit: str) -> None:
    """Record the commit of a branch or tag for offline use, once its files are here."""
    ref = place.folder / "refs" / place.asked
    try:
        if place.asked != commit and not (ref.is_file() and ref.read_text() == commit):
            ref.parent.mkdir(parents=True, exist_ok=True)
            write_file(ref, commit)
    except OSError as error:  # a cache that may only be read
        _log.info("%s cannot be written (%s)", ref, error)


def _cached(place: Place, name: str) -> Path | None:
    path = try_to_load_from_cache(place.repo, name, cache_dir=place.cache, revision=place.asked)
    if isinstance(path, str):
        return Path(path)
    by_hand = place.folder / "snapshots" / place.asked / name  # the client does not look into refs/pr/1
    return by_hand if by_hand.is_file() else None


def _from_cache(place: Place) -> RemoteFolder | None:
    """Return the cached files of a revision, checked by the hashes in their blobs' names, or None if one is missing."""
    paths = {name: _cached(place, name) for name in place.files}
    there = {name: path for name, path in paths.items() if path is not None}
    if len(there) < len(paths):
        return None
    commit = there[WEIGHTS].parent.relative_to(place.folder / "snapshots").as_posix()
    for name, path in there.items():
        # Of the link itself: what it points to may be a link into a store shared by several caches.
        digest = Path(os.readlink(path)).name if path.is_symlink() else ""
        if file_hash(path, digest) not in (digest, None):
            _log.warning("%s: %s of commit %s is damaged in the cache", place.repo, name, commit)
            _discard(path)
            return None
    return _open(place, commit, there)


def _raise_not_cached(place: Place, reason: str) -> NoReturn:
    """Say where the missing files belong. A snapshot may bear the name of a branch as well as a commit's."""
    ref = place.folder / "refs" / place.asked
    commit = ref.read_text().strip() if ref.is_file() else place.asked
    missing = [name for name in place.files if _cached(place, name) is None]
    verb, them = ("is", "it") if len(missing) == 1 else ("are", "them")
    raise place.error(
        f"{reason}, and {verb} not in the cache; get {them} from the repository where you are online and put {them} "
        f"into the folder {place.folder / 'snapshots' / commit}",
        commit,
        " and ".join(missing),
    )
