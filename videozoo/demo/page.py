"""The page itself: what is on it, and what happens when something is dropped, chosen or closed."""

import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from videozoo.data import VideoError
from videozoo.data.motions import motion_classes, write_example_video
from videozoo.demo import zoo_table
from videozoo.demo.inference import classify_video
from videozoo.demo.models import ModelPool
from videozoo.demo.render import escape, render_error, render_hint, render_result
from videozoo.demo.settings import LIMITS, Limits
from videozoo.demo.uploads import Uploads
from videozoo.extras import require
from videozoo.models import UnknownModelError, WeightsError
from videozoo.report import zoo_rows

__all__ = ["build_page"]

log = logging.getLogger("videozoo")

MOST_WAITING = 16


def build_page(pool: ModelPool, uploads: Uploads, limits: Limits = LIMITS) -> Any:
    """Return the page as gradio's Blocks.

    ``launch`` serves it.

    Args:
        models: what it offers.
        uploads: where visitors' files are. gradio's cache must be its folder.
        limits: of visitors' videos.
    Raises:
        MissingPackageError: gradio is not installed.
    """
    gr: Any = require("gradio", "the page")

    def close_page(request: gr.Request) -> None:
        uploads.release(str(request.session_hash))

    with gr.Blocks(title="videozoo", analytics_enabled=False, fill_width=True) as page:
        gr.HTML(
            '<header class="vz-head"><h1>videozoo</h1><p>What does a video model see, when, and at what cost?</p>'
            "</header>"
        )
        with gr.Tab("Try a model"):
            _add_trial(gr, pool, uploads, limits)
        with gr.Tab("The zoo"):
            _add_zoo(gr)
        page.unload(close_page)
    page.queue(max_size=MOST_WAITING)
    return page


def _add_trial(gr: Any, pool: ModelPool, uploads: Uploads, limits: Limits) -> None:
    with gr.Row():
        with gr.Column(scale=1, min_width=320):
            choice = gr.Dropdown(pool.titles, value=pool.titles[0], label="Model", filterable=True, elem_id="vz-model")
            video = gr.Video(
                label="Video", sources=["upload", "webcam"], height=280, elem_id="vz-video", autoplay=True, loop=True
            )
            _refuse_addresses(gr, video)
            generate = gr.Button("Take a generated clip", elem_id="vz-generate")
            gr.HTML(
                f'<p class="vz-small">At most {limits.size_mb:g} MB and {limits.duration_sec:g} s. What you drop or '
                "record is deleted when you replace it or close this page.</p>"
            )
        with gr.Column(scale=3, min_width=320):
            result = gr.HTML(render_hint(), elem_id="vz-result")

    def answer(title: str, path: str | None, request: gr.Request) -> str:
        return _answer(title, path, str(request.session_hash), pool, uploads, limits)

    # One at a time: a model takes all cores. A later wish of the same page replaces one that waits.
    gr.on(
        [choice.change, video.change],
        answer,
        [choice, video],
        result,
        concurrency_limit=1,
        trigger_mode="always_last",
        api_visibility="private",
        show_progress="full",
        show_progress_on=result,
    )
    generate.click(
        lambda: str(_write_generated(uploads.folder)), None, video, concurrency_limit=1, api_visibility="private"
    )


def _refuse_addresses(gr: Any, video: Any) -> None:
    """Take files only: gradio would also fetch an address that is sent in place of a file, and no option forbids it."""
    move = video.async_move_resource_to_block_cache

    async def move_file(path: Any) -> Any:
        if "://" in str(path):
            raise gr.Error("Drop a file; addresses are not fetched.", print_exception=False)
        return await move(path)

    video.async_move_resource_to_block_cache = move_file


def _answer(title: str, path: str | None, page: str, pool: ModelPool, uploads: Uploads, limits: Limits) -> str:
    """Return the HTML for a video. What is wrong with it is an answer too."""
    if path is None:
        uploads.release(page)
        return render_hint()
    try:
        uploads.claim(page, path)
        return render_result(classify_video(path, pool.get(title), limits))
    except VideoError as error:
        return render_error(f"This video cannot be read: {error.reason}.")
    except UnknownModelError as error:
        return render_error(f"{error}.")
    except WeightsError as error:
        log.warning("%s", error)
        return render_error(f"{title} cannot be loaded; the terminal that serves this page says why.")
    except Exception:  # a visitor's file must not end the page, nor show anything of the server
        log.exception("unexpected error on the page")
        return render_error("Something went wrong with this video; the terminal that serves this page says what.")


def _write_generated(folder: Path) -> Path:
    """Return a clip of a drawn motion, another one each time."""
    rng = np.random.default_rng()
    path = Path(tempfile.mkdtemp(dir=folder)) / "generated.mp4"
    return write_example_video(path, str(rng.choice(motion_classes())), seed=int(rng.integers(2**31)))


def _add_zoo(gr: Any) -> None:
    rows = zoo_rows()
    by_name = {row.name: row for row in rows}
    with gr.Row():
        text = gr.Textbox(label="Name", placeholder="arc r50", elem_id="vz-search", scale=2)
        temporal = gr.Dropdown(zoo_table.choices_of(rows, "temporal"), label="Temporal module", multiselect=True)
        augmenter = gr.Dropdown(zoo_table.choices_of(rows, "augmenter"), label="Augmenter", multiselect=True)
        top = max(row.macs // 10**10 + 1 for row in rows) * 10
        most = gr.Slider(1, top, value=top, step=1, label="Max. GMACs", buttons=[])
        with gr.Column(min_width=180):
            weights = gr.Checkbox(label="with published weights")
            papers = gr.Checkbox(label="in the papers' tables")
    count = gr.HTML(_count_text(len(rows), len(rows)))
    table = gr.Dataframe(
        [zoo_table.zoo_cells(row) for row in rows],
        headers=list(zoo_table.ZOO_HEAD),
        datatype=["str"] * 5 + ["number"] * 2 + ["str"] * 4,
        interactive=False,
        show_label=False,
        max_height=560,
        wrap=True,
        pinned_columns=1,
        column_widths=[f"{width}px" for width in zoo_table.ZOO_WIDTHS],
        elem_id="vz-zoo",
    )
    chosen = gr.HTML('<p class="vz-small">Choose a row to see all figures of the papers for it.</p>')
    details = gr.Dataframe(
        headers=list(zoo_table.PAPER_HEAD), interactive=False, show_label=False, visible=False, elem_id="vz-papers"
    )
    filters = [text, temporal, augmenter, most, weights, papers]

    def refresh(*values: Any) -> tuple[list[list[Any]], str]:
        left = zoo_table.filter_rows(rows, *values)
        return [zoo_table.zoo_cells(row) for row in left], _count_text(len(left), len(rows))

    def show(event: gr.SelectData) -> tuple[str, Any]:
        row = by_name[str(event.row_value[0])]
        cells = [zoo_table.paper_cells(paper) for paper in row.papers]
        about = f"Rows of the papers' tables that are about {row.name}: {len(cells) or 'none'}"
        return f"<h3>{escape(about)}</h3>", gr.update(value=cells, visible=bool(cells))

    changes = [part.change for part in filters]
    gr.on(changes, refresh, filters, [table, count], trigger_mode="always_last", api_visibility="private")
    table.select(show, None, [chosen, details], api_visibility="private")


def _count_text(left: int, total: int) -> str:
    return (
        f'<p class="vz-small"><b>{left}</b> of {total} models. Parameters with the default classes. GMACs are '
        "billion MACs of one view. The papers' figures are for the same number of frames, or say which. Their GFLOPs "
        "count a MAC once, as GMACs do.</p>"
    )
