"""Hashes of files: SHA-256, and what the Hub lists."""

import hashlib
from pathlib import Path

from huggingface_hub import ModelInfo
from huggingface_hub.utils.sha import git_hash

__all__ = ["file_hash", "file_sha256", "listed_hashes"]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_hash(path: Path, like: str) -> str | None:
    """Return a file's hash, of the kind that ``like`` is: SHA-256, or git's SHA-1, or None if it is no hash."""
    if len(like) == 64:
        return file_sha256(path)
    return git_hash(path.read_bytes()) if len(like) == 40 else None


def listed_hashes(info: ModelInfo) -> dict[str, str]:
    """Return the hashes that the Hub lists for the files of a commit: SHA-256 in large storage, else git's SHA-1."""
    return {row.rfilename: str(row.lfs.sha256 if row.lfs else row.blob_id or "") for row in info.siblings or []}
