"""Files at plain addresses: checkpoints that others keep on their own servers."""

import hashlib
import logging
from pathlib import Path

from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.utils import get_session, hf_raise_for_status
from tqdm import tqdm

from videozoo.hub.files import WeightsError
from videozoo.hub.retry import attempt, describe

__all__ = ["download_file", "file_sha256"]

_log = logging.getLogger(__name__)
_TIMEOUT = (5.0, 30.0, 30.0, 30.0)  # seconds to connect, to wait for bytes, to send them, to get a connection


def download_file(url: str, path: Path, sha256_prefix: str | None = None) -> None:
    """Fetch a file, again after resets, time-outs and 5xx, and once more where its hash is wrong.

    Args:
        url: its address.
        path: where it goes, in a folder that exists; what a failed try leaves there is the caller's to remove.
        sha256_prefix: what its SHA-256 starts with; None where nobody says.
    Raises:
        WeightsError: it cannot be had, or is not the file that it should be.
    """
    for _ in range(2):
        try:
            attempt(lambda: _fetch(url, path))
        except OfflineModeIsEnabled as error:
            raise WeightsError("not downloaded: offline (HF_HUB_OFFLINE is set)", source=url) from error
        except Exception as error:
            raise WeightsError(f"could not be downloaded ({describe(error)})", source=url) from error
        found = file_sha256(path)
        if sha256_prefix is None or found.startswith(sha256_prefix):
            return
        _log.warning("%s: damaged on its way (SHA-256 %s...)", url, found[:12])
    raise WeightsError(
        f"SHA-256 is {found}, should start with {sha256_prefix}; also after a second download", source=url
    )


def _fetch(url: str, path: Path) -> None:
    # The hub's client knows proxies and HF_HUB_OFFLINE, and notices a body that ends too early.
    headers = {"Accept-Encoding": "identity"}
    with get_session().stream("GET", url, headers=headers, timeout=_TIMEOUT, follow_redirects=True) as response:
        hf_raise_for_status(response)
        size = int(response.headers.get("Content-Length", 0)) or None
        with path.open("wb") as file, tqdm(total=size, unit="B", unit_scale=True, desc=path.name, disable=None) as bar:
            for chunk in response.iter_bytes(1 << 20):
                file.write(chunk)
                bar.update(len(chunk))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
