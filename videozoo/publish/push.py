"""Publish on the Hugging Face Hub in one commit."""

import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from videozoo.hub import WeightsError, retry
from videozoo.hub.hashes import file_hash, listed_hashes
from videozoo.hub.remote import ask_info, open_hub
from videozoo.hub.repository import LOGIN, check_repo_name, is_reference
from videozoo.hub.retry import describe
from videozoo.models import Ensemble, VideoNet
from videozoo.publish.folder import prepare_folder
from videozoo.publish.run_source import find_source

__all__ = ["Pushed", "publish_folder", "push_to_hub"]

_MADE_BY_HUB = {".gitattributes"}
_NO_BRANCH = re.compile(r"-.*|refs/.*|[0-9a-f]{40}|.*(\.|\.lock)|.*@.*")  # names that no branch can have


@dataclass(frozen=True)
class Pushed:
    """Result of a push.

    Args:
        repo: ``organization/name``.
        commit: the commit with the files; None if nothing was sent.
        is_new: whether this push made the commit; False if the files were there already.
        url: of the commit or, if nothing was sent, of the repository.
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
    """Publish a model with its config and a card on the Hugging Face Hub, in one commit or not at all.

    Args:
        model: a model of videozoo with its weights. Class names, data set and license are taken from
            ``model.pretrained_cfg``.
        repo: ``organization/name``. It is created if it does not exist.
        run: the run folder that trained the model, for the card.
        private: create a private repository. A public repository that exists is refused.
        revision: a branch to publish on. It is created if it does not exist.
        dry_run: prepare and check everything, send nothing.
    Returns:
        the commit, its address and the sizes of the files.
    Raises:
        TypeError: not a model of videozoo.
        WeightsError: the model cannot be published as it is, or the Hub refuses or cannot be reached. The message says
            what is left there.
    Example:
        >>> import videozoo
        >>> model = videozoo.create_model("test_arc_tsm.motions", pretrained=True)
        >>> pushed = videozoo.push_to_hub(model, "me/motions", dry_run=True)
        >>> sorted(pushed.files)
        ['README.md', 'config.json', 'model.safetensors']
    """
    if not isinstance(model, VideoNet | Ensemble):
        raise TypeError(
            f"push_to_hub: got {type(model).__name__}; need a model of videozoo (if it is wrapped, pass model.module)."
        )
    check_repo_name(repo)
    if revision is not None and (not is_reference(revision) or _NO_BRANCH.fullmatch(revision)):
        raise WeightsError(f"{revision!r} is not a valid name of a branch", source=repo)
    if not dry_run and not get_token():
        raise WeightsError(f"no token: {LOGIN}; the token needs write access", source=repo)
    source = find_source(run) if run is not None else None
    with tempfile.TemporaryDirectory(prefix="videozoo-push-") as temporary:
        folder = Path(temporary) / "model"
        prepare_folder(folder, model, source, repo, revision or "")
        if dry_run:
            return Pushed(repo, None, False, f"{constants.ENDPOINT}/{repo}", _sizes(sorted(folder.iterdir())))
        return publish_folder(folder, repo, private=private, revision=revision)


def publish_folder(folder: Path, repo: str, *, private: bool = False, revision: str | None = None) -> Pushed:
    """Send a prepared folder in one commit, unless the Hub has the same files already.

    Args:
        folder: made by :func:`~videozoo.publish.folder.prepare_folder`.
        repo, private, revision: as in :func:`push_to_hub`.
    Raises:
        WeightsError: the Hub refuses or cannot be reached. The message reports what is left there.
    """
    files = sorted(folder.iterdir())
    commit, is_new = _Remote(repo, revision or constants.DEFAULT_REVISION).publish(files, private)
    url = f"{constants.ENDPOINT}/{repo}/commit/{commit}"
    return Pushed(repo, commit, is_new, url, _sizes(files))


def _sizes(files: Sequence[Path]) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in files}


class _Remote:
    """Branch of a repository of the Hub, with a record of what this push has created there."""

    def __init__(self, repo: str, branch: str) -> None:
        self.repo, self.branch = repo, branch
        self.api = open_hub()
        self.has_begun = False
        self.made = ""  # "repository" or "branch NAME"
        self.start: str | None = None  # the first commit of what was created

    def publish(self, files: Sequence[Path], private: bool) -> tuple[str, bool]:
        """Send the files; return the commit that has them and whether it is new."""
        try:
            main, head = self._find(private)
            if _holds(head, files):
                return str(head.sha), False
            self.has_begun = True
            parent = head.sha if head is not None else self._make(main, private)
            done = self.api.create_commit(
                self.repo,
                [CommitOperationAdd(path_in_repo=path.name, path_or_fileobj=path) for path in files],
                commit_message="Publish with videozoo",
                revision=self.branch,
                parent_commit=parent,
            )
            return str(done.oid), True
        except WeightsError:
            raise
        except BaseException as error:  # also Ctrl-C must leave nothing incomplete
            return self._give_up(error, files), True

    def _find(self, private: bool = False) -> tuple[Any, Any]:
        """Return the main branch and this branch; None for one that does not exist."""
        try:
            main = ask_info(self.api, self.repo, constants.DEFAULT_REVISION)
        except RepositoryNotFoundError:
            return None, None
        if private and not main.private:
            raise WeightsError(
                "exists already and is public; make it private in its settings first, or choose another name",
                source=self.repo,
            )
        try:
            return main, main if self.branch == constants.DEFAULT_REVISION else ask_info(
                self.api, self.repo, self.branch
            )
        except RevisionNotFoundError:
            return main, None

    def _make(self, main: Any, private: bool) -> str:
        """Create the repository and the branch if they are missing; return the commit of the branch."""
        if main is None:
            try:
                self.api.create_repo(self.repo, private=private or None)
                self.made = "repository"
            except HfHubHTTPError as error:
                if error.response.status_code != 409:  # somebody else was faster
                    raise
            main, head = self._find(private)
            if self.made and _names(main) <= _MADE_BY_HUB:
                self.start = main.sha
            if head is not None:
                return str(head.sha)
        self.api.create_branch(self.repo, branch=self.branch, revision=main.sha)
        self.made, self.start = self.made or f"branch {self.branch}", main.sha
        return str(main.sha)

    def _give_up(self, error: BaseException, files: Sequence[Path]) -> str:
        """Undo after a failure what this push created, and raise an error that reports what is left.

        If the commit was made and only the answer was lost, return its id instead.
        """
        left = "nothing was changed there"
        if self.has_begun:
            try:
                main, head = self._find()
                for delay in retry.DELAYS:  # the Hub may still be working on it
                    if not (isinstance(error, Exception) and retry.is_passing(error)) or _holds(head, files):
                        break
                    time.sleep(delay)
                    main, head = self._find()
                if _holds(head, files):
                    return str(head.sha)
                left = self._take_back(main, head)
            except Exception as trouble:
                left = f"the state of the repository is unknown ({describe(trouble)}); push again to complete it"
        if not isinstance(error, Exception):
            raise error
        raise WeightsError(
            f"not published: {self._reason(error)}; {left}", source=self.repo, revision=self.branch
        ) from error

    def _take_back(self, main: Any, head: Any) -> str:
        """Remove what this push created, unless others have added to it; return what is left in words."""
        is_repo = self.made == "repository"
        if not self.made:
            is_empty = (
                main is not None and _names(main) <= _MADE_BY_HUB
            )  # perhaps created by this push, with the answer lost
            return "an empty repository is left; push again to fill it" if is_empty else "nothing was changed there"
        branches = self.api.list_repo_refs(self.repo).branches if is_repo else []
        commits = {branch.target_commit for branch in branches} if is_repo else {head and head.sha}
        if commits != {self.start}:
            return f"the new {self.made} is in use by others and was not removed"
        if is_repo:
            self.api.delete_repo(self.repo)
        else:
            self.api.delete_branch(self.repo, branch=self.branch)
        return f"the new {self.made} was removed again"

    def _reason(self, error: Exception) -> str:
        owner = self.repo.partition("/")[0]
        while isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
            error = error.__cause__  # the client wraps what happened to an upload
        if not isinstance(error, HfHubHTTPError):
            # The Hub's complaints about a card are a ValueError of several lines.
            return " ".join(str(error).split()) if isinstance(error, ValueError) else describe(error)
        status = error.response.status_code
        if status == 401 or (status == 404 and self.has_begun):
            return f"the token is not valid or may not write to {owner}: {LOGIN}"
        if status == 403:
            return f"the token may not write to {owner}: it needs the role write, and {owner} you as a member"
        if status == 412:
            return "somebody else has published there in the meantime; look at the repository and push again"
        return describe(error)


def _names(branch: Any) -> set[str]:
    return {row.rfilename for row in branch.siblings or []}


def _holds(branch: Any, files: Sequence[Path]) -> bool:
    """Return whether a branch exists and has these files unchanged; other files are ignored."""
    listed = {} if branch is None else listed_hashes(branch)
    return all(path.name in listed and file_hash(path, listed[path.name]) == listed[path.name] for path in files)
