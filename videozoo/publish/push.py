"""Publishing: everything is ready before the Hub hears of it, and one commit carries it."""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import HFValidationError, validate_repo_id

from videozoo.hub import WeightsError
from videozoo.hub.retry import attempt, describe
from videozoo.models import Ensemble, VideoNet
from videozoo.publish.folder import prepare_folder
from videozoo.publish.source import find_source
from videozoo.version import __version__

__all__ = ["Pushed", "publish_folder", "push_to_hub"]

_MADE_BY_HUB = {".gitattributes"}


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Args:
        repo: ``organisation/name``.
        commit: that now holds the files; None where nothing was sent.
        is_new: whether this push made it; else the files were there already.
        url: of the commit or, where nothing was sent, of the repository.
        files: sizes in bytes by name.
    """

    repo: str
    commit: str | None
    is_new: bool
    url: str
    files: dict[str, int]


def push_to_hub(
    model: VideoNet | Ensemble,
    repo: str,
    *,
    run: str | Path | None = None,
    private: bool = False,
    revision: str | None = None,
    dry_run: bool = False,
) -> Pushed:
    """Publish a network with its config and a card on the Hugging Face Hub, in one commit or not at all.

    Args:
        model: a network of videozoo with its weights; ``model.pretrained_cfg`` tells class names, data set and licence.
        repo: ``organisation/name``; made if it is not there.
        run: the run folder that trained it, for the card.
        private: make the repository private; one that is there and public is refused.
        revision: a branch to publish on; made if it is not there.
        dry_run: prepare and check everything, send nothing.
    Raises:
        TypeError: not a network of videozoo.
        WeightsError: the network cannot be published as it is, or the Hub refuses or cannot be reached; says what is
            left there.
    """
    if not isinstance(model, VideoNet | Ensemble):
        raise TypeError(
            f"push_to_hub: got {type(model).__name__}; need a network of videozoo (of a wrapped one pass model.module)."
        )
    _check_names(repo, revision)
    if not dry_run and not get_token():
        raise WeightsError("no token: log in with `hf auth login` or set HF_TOKEN to one that may write", source=repo)
    source = find_source(run) if run is not None else None
    with tempfile.TemporaryDirectory(prefix="videozoo-push-") as temporary:
        folder = Path(temporary) / "model"
        prepare_folder(folder, model, source, repo, revision or "")
        if dry_run:
            return Pushed(repo, None, False, f"{constants.ENDPOINT}/{repo}", _sizes(sorted(folder.iterdir())))
        return publish_folder(folder, repo, private=private, revision=revision)


def publish_folder(folder: Path, repo: str, *, private: bool = False, revision: str | None = None) -> Pushed:
    """Send a prepared folder in one commit, unless the Hub holds just that.

    Args:
        folder: as :func:`~videozoo.publish.folder.prepare_folder` made it.
        repo, private, revision: as in :func:`push_to_hub`.
    Raises:
        WeightsError: the Hub refuses or cannot be reached; says what is left there.
    """
    files = sorted(folder.iterdir())
    commit, is_new = _Remote(repo, revision or constants.DEFAULT_REVISION).publish(files, private)
    url = f"{constants.ENDPOINT}/{repo}/commit/{commit}"
    return Pushed(repo, commit, is_new, url, _sizes(files))


def _sizes(files: Sequence[Path]) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in files}


def _check_names(repo: str, revision: str | None) -> None:
    try:
        validate_repo_id(repo)
        fits = repo.count("/") == 1
    except HFValidationError:
        fits = False
    if not fits:
        raise WeightsError(
            "not a repository's name; need organisation/name, letters, digits, '-', '_' and '.'", source=repo
        )
    if revision is not None and not _is_branch(revision):
        raise WeightsError(f"{revision!r} is not a branch's name", source=repo)


def _is_branch(name: str) -> bool:
    has_bad = any(not c.isprintable() or c in " ~^:?*[\\@" for c in name) or ".." in name or "//" in name
    return not (not name or has_bad or name.startswith(("/", "-", "refs/")) or name.endswith(("/", ".", ".lock")))


class _Remote:
    """One branch of a repository at the Hub, and what this push has made there."""

    def __init__(self, repo: str, branch: str) -> None:
        self.repo, self.branch = repo, branch
        self.api = HfApi(library_name="videozoo", library_version=__version__)
        self.has_begun = self.has_made_repo = self.has_made_branch = False

    def publish(self, files: Sequence[Path], private: bool) -> tuple[str, bool]:
        """Bring the files there; gives the commit that holds them, and whether it is new."""
        digests = {path.name: _digests(path) for path in files}
        try:
            is_there, head = self._find(private)
            if head is not None and self._holds(head, digests):
                return str(head.sha), False
            self.has_begun = True
            head = head if head is not None else self._make(is_there, private)
            done = self.api.create_commit(
                self.repo,
                [CommitOperationAdd(path_in_repo=path.name, path_or_fileobj=path) for path in files],
                commit_message="Publish with videozoo",
                revision=self.branch,
                parent_commit=head.sha if head is not None else None,
            )
            return str(done.oid), True
        except WeightsError:
            raise
        except BaseException as error:  # Ctrl-C too must leave nothing half-made
            return self._give_up(error, digests), True

    def _find(self, private: bool = False) -> tuple[bool, Any]:
        """Whether the repository is there, and the branch as it is; None where it is not."""
        try:
            about = attempt(lambda: self.api.model_info(self.repo))
        except RepositoryNotFoundError:
            return False, None
        if private and not about.private:
            raise WeightsError(
                "is there already, and public; make it private in its settings first, or choose another name",
                source=self.repo,
            )
        try:
            return True, attempt(lambda: self.api.model_info(self.repo, revision=self.branch, files_metadata=True))
        except RevisionNotFoundError:
            return True, None

    def _make(self, is_there: bool, private: bool) -> Any:
        """Make the repository and the branch, as far as they are missing; gives the branch, if it has a commit."""
        if not is_there:
            try:
                self.api.create_repo(self.repo, private=private or None)
                self.has_made_repo = True
            except HfHubHTTPError as error:
                if error.response.status_code != 409:  # somebody else was faster
                    raise
            _, head = self._find(private)
            if head is not None or self.branch == constants.DEFAULT_REVISION:
                return head
        self.api.create_branch(self.repo, branch=self.branch)
        self.has_made_branch = True
        return self._find()[1]

    def _holds(self, head: Any, digests: dict[str, set[str]]) -> bool:
        """Whether the branch has exactly these files, others aside."""
        found = {row.rfilename: row.lfs.sha256 if row.lfs else row.blob_id for row in head.siblings or []}
        return all(found.get(name) in digest for name, digest in digests.items())

    def _give_up(self, error: BaseException, digests: dict[str, set[str]]) -> str:
        """After a failure: look what is there, take back what this push made, and say so.

        A commit whose answer was lost is there all the same: then its id is given.
        """
        left = "nothing was changed there"
        if self.has_begun:
            try:
                _, head = self._find()
                if head is not None and self._holds(head, digests):
                    return str(head.sha)
                left = self._take_back(head) or left
            except Exception as trouble:
                left = f"what is there now could not be asked ({describe(trouble)}); push again to put it right"
        if not isinstance(error, Exception):
            raise error
        raise WeightsError(
            f"not published: {self._reason(error)}; {left}", source=self.repo, revision=self.branch
        ) from error

    def _take_back(self, head: Any) -> str:
        """Remove what this push made, if it is still as it was made; says so, or nothing."""
        is_empty = head is not None and {row.rfilename for row in head.siblings or []} <= _MADE_BY_HUB
        if self.has_made_repo and is_empty:
            self.api.delete_repo(self.repo)
            return "the repository that was made for it is removed again"
        if self.has_made_branch and not self.has_made_repo:
            self.api.delete_branch(self.repo, branch=self.branch)
            return f"the branch {self.branch} that was made for it is removed again"
        return "an empty repository is there; push again to fill it" if is_empty else ""

    def _reason(self, error: Exception) -> str:
        owner = self.repo.partition("/")[0]
        while isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
            error = error.__cause__  # the client wraps what happened to an upload
        if not isinstance(error, HfHubHTTPError):
            # What the Hub has to say about the card comes as a ValueError of several lines.
            return " ".join(str(error).split()) if isinstance(error, ValueError) else describe(error)
        status = error.response.status_code
        if status == 401 or (status == 404 and self.has_begun):
            return f"the token is not valid or may not write to {owner}: log in with `hf auth login` or set HF_TOKEN"
        if status == 403:
            return f"the token may not write to {owner}: it needs the role write, and {owner} you as a member"
        if status == 412:
            return "somebody else has published there in the meantime; look, and push again"
        return describe(error)


def _digests(path: Path) -> set[str]:
    """By what the Hub may know a file: SHA-256 in large storage, else git's SHA-1."""
    large, small = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            large.update(chunk)
            small.update(chunk)
    return {large.hexdigest(), small.hexdigest()}
