"""Files at plain addresses: checkpoints that others keep on their own servers."""

import logging
from pathlib import Path
from urllib.parse import urljoin

from huggingface_hub import constants
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import get_session

from videozoo.hub.files import WeightsError
from videozoo.hub.hashes import file_sha256
from videozoo.hub.retry import attempt, describe

__all__ = ["can_reach", "download_file"]

_log = logging.getLogger(__name__)


def can_reach(url: str, seconds: float = 3.0) -> bool:
    """Return whether the server of an address answers, whatever it says.

    It is asked once.

    Args:
        url: an address.
        seconds: how long to wait for the connection, and for the answer.
    """
    try:
        get_session().head(url, timeout=seconds)
    except Exception as error:  # offline, no such host, a time-out: the HTTP library's own types
        _log.debug("%s cannot be reached (%s)", url, describe(error))
        return False
    return True


def download_file(url: str, path: Path, sha256_prefix: str | None = None) -> None:
    """Fetch a file, again after resets, time-outs and 5xx, and once more where its hash is wrong.

    Args:
        url: its address.
        path: where it goes, in a folder that exists. What a failed try leaves there is the caller's to remove.
        sha256_prefix: what its SHA-256 starts with. None where nobody says.
    Raises:
        WeightsError: it cannot be had, or is not the file that it should be.
    """
    if not constants.is_offline_mode() and not can_reach(urljoin(url, "/")):
        raise WeightsError("could not be downloaded (its server cannot be reached)", source=url)
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
    # torch.hub's download_url_to_file waits without end for a stalled server and takes half a body for the whole.
    with path.open("wb") as file:
        http_get(url, file, headers={"Accept-Encoding": "identity"}, displayed_filename=path.name)
