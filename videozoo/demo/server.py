"""The page served: a folder of its own, no other host, and everything deleted at the end."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

from videozoo.demo.error_log import quiet_requests
from videozoo.demo.middleware import Policy, Quota
from videozoo.demo.models import ModelPool
from videozoo.demo.page import build_page
from videozoo.demo.settings import LIMITS, DemoError, Limits
from videozoo.demo.uploads import Uploads
from videozoo.engine import Stopped
from videozoo.extras import require

__all__ = ["launch", "serve"]

PORT = 7860
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
STYLE = Path(__file__).parent / "style.css"


def launch(
    models: Sequence[str] = (),
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    limits: Limits = LIMITS,
    device: str = "auto",
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the page until the process is stopped.

    What was uploaded is deleted then.

    Args:
        models: what it offers: ``local-dir:RUN/best``, ``hf-hub:ORG/NAME``, names with weights. On a page that only
            this machine reaches the registry's published weights are offered too. On others these alone, or where
            there are none, the tiny models of the package.
        host: address to listen at. ``0.0.0.0`` for all.
        port: 0 for any free one. None: the environment's GRADIO_SERVER_PORT, or 7860.
        limits: of visitors' videos.
        device: ``auto`` or a name of torch.
        on_ready: called with the page's address.
    Raises:
        DemoError: the server cannot listen at the address.
        MissingPackageError: gradio is not installed.
        UnknownModelError, WeightsError: a model that cannot be had.
        Stopped: SIGTERM.
    """
    with _stopping(), serve(models, host=host, port=port, limits=limits, device=device) as url:
        if on_ready is not None:
            on_ready(url)
        threading.Event().wait()


@contextmanager
def _stopping() -> Iterator[None]:
    """Raise `Stopped` at SIGTERM: Python's own handler would leave the uploads behind."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def serve(
    models: Sequence[str] = (),
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    limits: Limits = LIMITS,
    device: str = "auto",
) -> Iterator[str]:
    """As ``launch``, for as long as the context lasts.

    Gives the page's address.
    """
    # No analytics and no questions for newer versions; read by gradio when it is imported and later.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    gradio = require("gradio", "the page")
    port = _free_port(host, int(os.environ.get("GRADIO_SERVER_PORT", PORT)) if port is None else port)
    pool = ModelPool(models, has_registry=host in LOCAL_HOSTS, device=device)
    pool.get(pool.titles[0])  # raises before the page opens
    uploads = Uploads()
    page = None
    try:
        with patch.dict(os.environ, GRADIO_TEMP_DIR=str(uploads.folder)), quiet_requests():
            page = build_page(pool, uploads, limits)
            _, url, _ = page.launch(
                server_name=host,
                server_port=port,
                max_file_size=int(limits.size_mb * 2**20),
                theme=_theme(gradio),
                css_paths=STYLE,
                app_kwargs={"middleware": [(Policy, (), {}), (Quota, (uploads, limits), {})]},
                footer_links=[],
                quiet=True,
                prevent_thread_lock=True,
                share=False,
                ssr_mode=False,
                pwa=False,
                run_history=False,
                enable_monitoring=False,
                inbrowser=False,
            )
            yield str(url)
    finally:
        if page is not None:
            page.close(verbose=False)
        uploads.close()


def _theme(gradio: Any) -> Any:
    """Fonts of the system: others would be fetched."""
    return gradio.themes.Soft(
        primary_hue="teal",
        neutral_hue="slate",
        font=["system-ui", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif"],
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
    )


def _free_port(host: str, port: int) -> int:
    """Return the port itself, or a free one for 0.

    Raises:
        DemoError: it cannot be listened at.
    """
    if not 0 <= port <= 65535:
        raise DemoError(f"demo: port is {port}; it must lie between 0 and 65535.")
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            found: int = probe.getsockname()[1]
            return found
    except OSError as error:
        raise DemoError(
            f"demo: cannot listen at {host}:{port} ({error.strerror or error}); choose another port (0: any free one) "
            "or host."
        ) from error
