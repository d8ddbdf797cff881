"""Fake model hub on 127.0.0.1 for the real huggingface_hub client, with faults on demand.

Small files are answered directly; files in large storage (weights) are a redirect to a second server, as at the real
hub, where the token must not arrive.
"""

import hashlib
import re
import threading
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fake_hub_server import Server

__all__ = ["TOKEN", "FakeHub", "Fault", "Repo", "Request"]

TOKEN = "hf_writer"


@dataclass
class Repo:
    """Repository with commits (id -> files), branches and tags (name -> id)."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)

    def add(self, files: dict[str, bytes], ref: str = "main", message: str = "") -> str:
        """Add a commit with exactly these files to a branch."""
        commit = hashlib.sha1(repr((len(self.commits), sorted(files.items()))).encode()).hexdigest()
        self.commits[commit], self.refs[ref], self.messages[commit] = dict(files), commit, message
        return commit

    def head(self, ref: str = "main") -> dict[str, bytes]:
        """Return the files of a branch."""
        return self.commits[self.refs[ref]]


@dataclass
class Fault:
    """Fault of the requests whose path matches.

    Args:
        path: a pattern searched in the unquoted path.
        do: ``"status"`` (answer ``value``), ``"reset"`` (no answer), ``"cut"``, ``"reset_at"`` and ``"stall"`` (after
            ``value`` bytes of the body), ``"short"`` (``value`` bytes fewer, and the headers say so), ``"corrupt"``
            (one byte changed), ``"lost"`` (the request is carried out, the answer never arrives), ``"call"`` (first
            call ``value``).
        value: see above.
        method: of the request.
        times: how often; None for always.
    """

    path: str
    do: str
    value: Any = None
    method: str = "GET"
    times: int | None = 1


@dataclass(frozen=True)
class Request:
    """Received request."""

    method: str
    path: str
    token: str | None
    server: str


class FakeHub:
    """Fake hub, used as a context manager.

    ``repos`` holds what is published, ``faults`` what goes wrong (in order; the first that matches acts), ``requests``
    what was asked, ``tokens`` which names each token may write to and whose private repositories it may read.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.tokens: dict[str, set[str]] = {TOKEN: {"lab", "me"}}
        self.uploads: dict[str, bytes] = {}
        self.closing = threading.Event()
        self.lock = threading.RLock()
        self._servers = [Server(self, name) for name in ("hub", "storage")]

    @property
    def url(self) -> str:
        """Return the address of the hub."""
        return self._servers[0].url

    @property
    def storage_url(self) -> str:
        """Return the address of the large storage."""
        return self._servers[1].url

    def __enter__(self) -> "FakeHub":
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.closing.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def put(self, repo: str, files: dict[str, bytes] | Path, ref: str = "main", private: bool = False) -> str:
        """Publish files (or the files of a folder) as one commit and return its id."""
        if isinstance(files, Path):
            files = {path.name: path.read_bytes() for path in files.iterdir()}
        with self.lock:
            return self.repos.setdefault(repo, Repo(private)).add(files, ref)

    def asked(self, pattern: str, method: str | None = None) -> list[Request]:
        """Return the requests whose path matches."""
        rows = [r for r in self.requests if re.search(pattern, r.path)]
        return [r for r in rows if method in (None, r.method)]

    def env(self, home: Path, token: str | None = None) -> dict[str, str]:
        """Return the environment variables for a process that uses this hub, with caches under ``home``."""
        names = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_CACHE": str(home / "hub"), "NO_PROXY": "*"}
        off = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        return {**names, **off, "HF_HUB_OFFLINE": "0", "no_proxy": "*", "HF_TOKEN": token or ""}

    def patch(self, monkeypatch: pytest.MonkeyPatch, home: Path, token: str | None = None) -> Path:
        """Let huggingface_hub in this process use this hub and return its cache folder.

        The client reads its variables when it is imported, so its constants are changed too. It waits for whole
        seconds between its own tries; here it does not.
        """
        from huggingface_hub import close_session, constants, file_download
        from huggingface_hub.utils import _http

        for name, value in self.env(home, token).items():
            monkeypatch.setenv(name, value)
        cache = home / "hub"
        template = self.url + "/{repo_id}/resolve/{revision}/{filename}"
        changed: dict[str, Any] = {"ENDPOINT": self.url, "HUGGINGFACE_CO_URL_TEMPLATE": template}
        changed |= {"HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_XET": True, "HF_HUB_OFFLINE": False}
        changed |= {"HF_TOKEN_PATH": str(home / "token"), "HF_STORED_TOKENS_PATH": str(home / "stored_tokens")}
        changed |= {"HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": True}
        changed |= {"HF_HUB_DISABLE_TELEMETRY": True}
        for name, value in changed.items():
            monkeypatch.setattr(constants, name, value)
        for module in (file_download, _http):
            monkeypatch.setattr(module, "time", types.SimpleNamespace(sleep=lambda seconds: None))
        close_session()
        return cache

    def note(self, *row: Any) -> None:
        """Record a request."""
        with self.lock:
            self.requests.append(Request(*row))

    def fault_for(self, method: str, path: str) -> Fault | None:
        """Return the fault for a request and count it as used."""
        with self.lock:
            for fault in self.faults:
                if fault.method == method and fault.times != 0 and re.search(fault.path, path):
                    fault.times = None if fault.times is None else fault.times - 1
                    return fault
        return None
