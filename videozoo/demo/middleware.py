"""Middleware before gradio's server: headers for the browser, and a quota for uploads."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from videozoo.demo.settings import Limits
from videozoo.demo.uploads import Uploads

__all__ = ["Policy", "Quota"]

# What the page may load: itself, and the pictures that are part of it. Spaces show the page in a frame.
POLICY = (
    "default-src 'self'; script-src 'self' blob: 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' blob: data:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self' https://huggingface.co"
)
_AROUND_A_FILE = 2**16  # what a form puts around a file


class Policy:
    """Headers that keep the browser from loading anything from elsewhere, whatever gradio's page would like."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        async def send_with_policy(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = [(b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")]
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        await self.app(scope, receive, send_with_policy)


class Quota:
    """Refuse an upload that is larger than a file may be, has no length, or does not fit with the others."""

    def __init__(self, app: Callable[..., Awaitable[None]], uploads: Uploads, limits: Limits) -> None:
        self.app, self.uploads = app, uploads
        self.most_of_one = int(limits.size_mb * 2**20) + _AROUND_A_FILE
        self.most_of_all = limits.total_mb * 2**20

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        is_upload = scope["type"] == "http" and scope["method"] == "POST" and scope["path"].endswith("/upload")
        if not is_upload:
            await self.app(scope, receive, send)
            return
        text = dict(scope["headers"]).get(b"content-length", b"")
        size = int(text) if text.isdigit() and len(text) < 16 else None
        if size is None:
            await _refuse(send, 411, "the upload must say its length")
        elif size > self.most_of_one:
            await _refuse(send, 413, "one file at a time, and no larger than the page says")
        elif not self.uploads.reserve(size, self.most_of_all):
            await _refuse(send, 507, "the page holds too many files of visitors; try again in some minutes")
        else:
            try:
                await self.app(scope, receive, send)
            finally:
                self.uploads.give_back(size)


async def _refuse(send: Any, status: int, reason: str) -> None:
    body = json.dumps({"detail": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
