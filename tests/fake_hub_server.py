"""HTTP server of the fake hub."""

import base64
import contextlib
import hashlib
import json
import re
import socket
import struct
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["Server"]

_LARGE = (".safetensors", ".bin", ".pth", ".pt")


class Server(ThreadingHTTPServer):
    """Server of the fake hub, ``"hub"`` or ``"storage"``."""

    daemon_threads = True
    request_queue_size = 32

    def __init__(self, hub: Any, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub, self.name, self.url = hub, name, f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing when a client hangs up."""


class _Answer(Exception):
    """Response that ends a request."""

    def __init__(self, status: int, data: Any = None, **headers: str) -> None:
        super().__init__(status)
        self.status, self.data, self.headers = status, data, {k.replace("_", "-"): v for k, v in headers.items()}


def _error(status: int, code: str, message: str) -> _Answer:
    return _Answer(status, {"error": message}, X_Error_Code=code, X_Error_Message=message)


def _git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes: the second would wait for an answer to the first
    server: Any

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    @property
    def hub(self) -> Any:
        return self.server.hub

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        self.token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        path = unquote(parts.path)
        self.hub.note(self.command, path, self.token, self.server.name)
        fault = self.hub.fault_for(self.command, path)
        if fault is not None and fault.do == "call":
            fault.value()
            fault = None
        if fault is not None and fault.do == "reset":
            return self._hang_up(reset=True)
        try:
            if fault is not None and fault.do == "status":
                raise _Answer(fault.value, {"error": "made up by the test"})
            with self.hub.lock:
                self._route([unquote(p) for p in parts.path.strip("/").split("/")], parse_qs(parts.query), body)
            raise _Answer(404, {"error": f"no such address: {path}"})
        except _Answer as answer:
            if fault is not None and fault.do == "lost":
                return self._hang_up(reset=True)
            self._send(answer, fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle

    def _hang_up(self, reset: bool) -> None:
        if reset:  # RST in place of FIN
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        with contextlib.suppress(OSError):
            if not reset:
                self.connection.shutdown(socket.SHUT_RDWR)
            self.connection.close()

    def _send(self, answer: _Answer, fault: Any) -> None:
        data = answer.data if isinstance(answer.data, bytes) else json.dumps(answer.data).encode()
        status, headers, do = answer.status, dict(answer.headers), fault.do if fault else ""
        if do == "short":
            data = data[: -fault.value]
        if do == "corrupt":
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if wanted and status == 200 and int(wanted[1]) < len(data):
            start, total = int(wanted[1]), len(data)
            status, data = 206, data[start:]
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        self.send_response(status)
        for name, value in {"Content-Type": "application/octet-stream", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if do not in ("cut", "reset_at", "stall"):
            self.wfile.write(data)
            return
        self.wfile.write(data[: fault.value])
        self.wfile.flush()
        if do == "stall":
            self.hub.closing.wait(60)
        self._hang_up(reset=do == "reset_at")

    def _route(self, parts: list[str], query: dict[str, list[str]], body: bytes) -> None:
        match (self.server.name, self.command, parts):
            case ("storage", "GET" | "HEAD", [org, name, commit, *rest]):
                raise _Answer(200, self.hub.repos[f"{org}/{name}"].commits[commit]["/".join(rest)])
            case ("storage", "PUT", ["upload", oid]):
                if _sha256(body) != oid:
                    raise _Answer(400, {"error": "another sha256"})
                self.hub.uploads[oid] = body
                raise _Answer(200, {})
            case (_, "GET" | "HEAD", [org, name, "resolve", revision, *rest]):
                self._resolve(f"{org}/{name}", revision, "/".join(rest))
            case (_, "GET", ["api", "models", org, name]):
                self._info(f"{org}/{name}", "main", query)
            case (_, "GET", ["api", "models", org, name, "revision", revision]):
                self._info(f"{org}/{name}", revision, query)
            case (_, "GET", ["api", "models", org, name, "tree", revision, *_]):
                _, _, files = self._find(f"{org}/{name}", revision)
                raise _Answer(
                    200, [{"type": "file", "path": p, **_entry(d, "oid", p)} for p, d in sorted(files.items())]
                )
            case (_, "GET", ["api", "models", org, name, "refs"]):
                repo, _, _ = self._find(f"{org}/{name}", "main")
                rows = [{"name": k, "ref": f"refs/heads/{k}", "targetCommit": v} for k, v in repo.refs.items()]
                raise _Answer(200, {"branches": rows, "tags": [], "converts": []})
            case (_, "GET", ["api", "whoami-v2"]):
                if self.token not in self.hub.tokens:
                    raise _Answer(401, {"error": "Invalid credentials in Authorization header"})
                orgs = [{"name": name} for name in sorted(self.hub.tokens[self.token] - {"me"})]
                raise _Answer(200, {"type": "user", "name": "me", "orgs": orgs, "auth": {}})
            case (_, "POST" | "PUT" | "DELETE", _):
                self._write(parts, body)

    def _write(self, parts: list[str], body: bytes) -> None:
        match (self.command, parts):
            case ("POST", ["api", "validate-yaml"]):
                raise _Answer(200, {"errors": [], "warnings": []})
            case ("POST", ["api", "repos", "create"]):
                self._create(json.loads(body))
            case ("DELETE", ["api", "repos", "delete"]):
                row = json.loads(body)
                self._may_write(f"{row.get('organization') or 'me'}/{row['name']}", must_exist=True)
                del self.hub.repos[f"{row.get('organization') or 'me'}/{row['name']}"]
                raise _Answer(200, {})
            case ("POST", ["api", "models", org, name, "branch", branch]):
                repo = self._may_write(f"{org}/{name}", must_exist=True)
                if branch in repo.refs:
                    raise _Answer(409, {"error": f"Reference already exists: {branch}"})
                start = json.loads(body or b"{}").get("startingPoint") or "main"
                repo.refs[branch] = self._find(f"{org}/{name}", start)[1]
                raise _Answer(200, {})
            case ("DELETE", ["api", "models", org, name, "branch", branch]):
                del self._may_write(f"{org}/{name}", must_exist=True).refs[branch]
                raise _Answer(200, {})
            case ("POST", ["api", "models", org, name, "preupload", revision]):
                self._may_write(f"{org}/{name}", must_exist=True)
                files = self._find(f"{org}/{name}", revision)[2]
                raise _Answer(200, {"files": [_mode(row["path"], files) for row in json.loads(body)["files"]]})
            case ("POST", [org, name, "info", "lfs", "objects", "batch"]):
                self._may_write(f"{org}/{name.removesuffix('.git')}", must_exist=True)
                rows = [{"oid": row["oid"], "size": row["size"]} for row in json.loads(body)["objects"]]
                for row in rows:
                    if row["oid"] not in self.hub.uploads:
                        row["actions"] = {"upload": {"href": f"{self.hub.storage_url}/upload/{row['oid']}"}}
                raise _Answer(200, {"transfer": "basic", "objects": rows})
            case ("POST", ["api", "models", org, name, "commit", revision]):
                self._commit(f"{org}/{name}", revision, [json.loads(line) for line in body.splitlines()])

    def _find(self, name: str, revision: str) -> tuple[Any, str, dict[str, bytes]]:
        """Return repository, commit and files, or refuse as the real hub does."""
        if self.token is not None and self.token not in self.hub.tokens:
            raise _Answer(
                401, {"error": "Invalid credentials"}, X_Error_Message="Invalid credentials in Authorization header"
            )
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and name.split("/")[0] not in self.hub.tokens.get(self.token or "", ())):
            raise _error(404 if self.token else 401, "RepoNotFound", "Repository not found")
        commit = repo.refs.get(revision, revision)
        if commit not in repo.commits:
            raise _error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repo, commit, repo.commits[commit]

    def _may_write(self, name: str, must_exist: bool) -> Any:
        if self.token not in self.hub.tokens:
            raise _Answer(401, {"error": "Invalid username or password."})
        if must_exist:
            self._find(name, "main")
        if name.split("/")[0] not in self.hub.tokens[self.token]:
            raise _Answer(403, {"error": "You don't have the rights"}, X_Error_Message="You don't have the rights")
        return self.hub.repos.get(name)

    def _resolve(self, name: str, revision: str, path: str) -> None:
        _, commit, files = self._find(name, revision)
        if path not in files:
            answer = _error(404, "EntryNotFound", "Entry not found")
            answer.headers["X-Repo-Commit"] = commit
            raise answer
        data = files[path]
        if not path.endswith(_LARGE):
            raise _Answer(200, data, ETag=f'"{_git_sha1(data)}"', X_Repo_Commit=commit)
        linked = {"X_Linked_Etag": f'"{_sha256(data)}"', "X_Linked_Size": str(len(data))}
        where = f"{self.hub.storage_url}/{name}/{commit}/{path}"
        raise _Answer(302, {}, X_Repo_Commit=commit, Location=where, **linked)

    def _info(self, name: str, revision: str, query: dict[str, list[str]]) -> None:
        repo, commit, files = self._find(name, revision)
        blobs = query.get("blobs", [""])[0].lower() == "true"
        rows = [{"rfilename": p, **(_entry(d, "blobId", p) if blobs else {})} for p, d in sorted(files.items())]
        raise _Answer(200, {"id": name, "sha": commit, "private": repo.private, "siblings": rows})

    def _create(self, row: dict[str, Any]) -> None:
        name = f"{row.get('organization') or 'me'}/{row['name']}"
        self._may_write(name, must_exist=False)
        if name in self.hub.repos:
            raise _Answer(409, {"error": "You already created this model repo", "url": f"{self.hub.url}/{name}"})
        private = row.get("visibility") == "private" or bool(row.get("private"))
        self.hub.put(name, {".gitattributes": b"*.safetensors filter=lfs\n"}, private=private)
        raise _Answer(200, {"url": f"{self.hub.url}/{name}"})

    def _commit(self, name: str, revision: str, lines: list[dict[str, Any]]) -> None:
        repo = self._may_write(name, must_exist=True)
        _, head, files = self._find(name, revision)
        files = dict(files)
        message = ""
        for line in lines:
            key, value = line["key"], line["value"]
            if key == "header":
                message = value["summary"]
                if value.get("parentCommit") not in (None, head):
                    raise _Answer(412, {"error": "A commit has happened since. Please refresh and try again."})
            elif key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                if value["oid"] not in self.hub.uploads:
                    raise _Answer(400, {"error": f"{value['path']} was never uploaded"})
                files[value["path"]] = self.hub.uploads[value["oid"]]
            elif key == "deletedFile":
                del files[value["path"]]
        commit = repo.add(files, revision, message)
        raise _Answer(
            200, {"success": True, "commitOid": commit, "commitUrl": f"{self.hub.url}/{name}/commit/{commit}"}
        )


def _entry(data: bytes, oid: str, path: str) -> dict[str, Any]:
    row: dict[str, Any] = {oid: _git_sha1(data), "size": len(data)}
    if path.endswith(_LARGE):
        row["lfs"] = {"sha256": _sha256(data), "size": len(data), "pointerSize": 134, "oid": _sha256(data)}
    return row


def _mode(path: str, files: dict[str, bytes]) -> dict[str, Any]:
    large = path.endswith(_LARGE)
    old = files.get(path)
    oid = None if old is None else (_sha256(old) if large else _git_sha1(old))
    return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}
