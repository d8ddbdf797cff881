"""A repository of the Hub as it was asked for, and the errors about it."""

import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import get_token, validate_repo_id

from videozoo.hub.files import WeightsError
from videozoo.hub.retry import is_passing
from videozoo.text import cause

__all__ = ["COMMIT", "LOGIN", "Place", "check_repo_name", "is_reference", "raise_refused"]

COMMIT = re.compile(r"[0-9a-f]{40}")
LOGIN = "log in with `hf auth login` or set HF_TOKEN"
# What git forbids in a reference, and what could lead out of a folder.
_BAD_REFERENCE = re.compile(r"[\s~^:?*\[\\\x00-\x1f\x7f]|\.\.|^/|/$|//|@\{|^$")


@dataclass(frozen=True)
class Place:
    """A repository, the revision as it was asked for, how to get at it, and the files that are wanted."""

    repo: str
    asked: str
    cache: Path
    token: str | bool | None
    files: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return self.cache / f"models--{self.repo.replace('/', '--')}"

    def error(self, reason: str, revision: str | None = None, file: str | None = None) -> WeightsError:
        return WeightsError(reason, source=self.repo, revision=revision or self.asked, file=file)


def check_repo_name(repo: str) -> None:
    """Refuse what is no name of a repository, before anything is asked.

    Raises:
        WeightsError: says what a name is.
    """
    try:
        validate_repo_id(repo)
        fits = repo.count("/") == 1
    except HFValidationError:
        fits = False
    if not fits:
        raise WeightsError(
            "not a repository's name; need organization/name, letters, digits, '-', '_' and '.'", source=repo
        )


def is_reference(name: str) -> bool:
    """Return whether git may have a branch, tag or commit of this name."""
    return not _BAD_REFERENCE.search(name)


def raise_refused(place: Place, error: Exception, commit: str | None = None, file: str | None = None) -> None:
    """The error for what the hub refuses.

    Nothing where it was not the hub that said no.
    """
    has_token = place.token is not False and bool(place.token if isinstance(place.token, str) else get_token())
    reason = None
    if isinstance(error, GatedRepoError):
        reason = f"gated: accept its terms at {constants.ENDPOINT}/{place.repo} and {LOGIN}"
    elif isinstance(error, RepositoryNotFoundError):
        private = "your token has no access to it" if has_token else f"it is private: then {LOGIN}"
        reason = f"no such repository at {constants.ENDPOINT}, or {private}"
    elif isinstance(error, RevisionNotFoundError):
        reason = "the repository has no such revision"
    elif isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
        reason = "not in the repository"
    elif isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
        reason = f"the hub refuses access (HTTP status {error.response.status_code}); {LOGIN}"
    elif isinstance(error, HFValidationError):
        reason = str(error)
    elif isinstance(error, OSError) and not is_passing(error):
        reason = f"cannot be written to the cache {place.cache} ({cause(error)})"
    if reason is not None:
        raise place.error(reason, commit, file) from error
