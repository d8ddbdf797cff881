"""HTML of a result: all foreign text is escaped, all pictures are embedded."""

import base64
import html
import io
from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from videozoo.demo.inference import VideoResult
from videozoo.text import gmacs_text

__all__ = ["escape", "render_error", "render_hint", "render_result"]

SIDE = 224  # pixels of the longer side of a shown frame


def escape(text: str) -> str:
    """Return the text for HTML that no template takes for a placeholder either."""
    return html.escape(text).translate({ord(sign): f"&#{ord(sign)};" for sign in "${}`"})


def render_hint() -> str:
    """Return the placeholder shown before the first result."""
    return (
        '<div class="vz vz-hint"><p>Drop a video, record a clip, or take a generated one.</p>'
        "<p>Then here: the likeliest classes, the frames that the model saw and Grad-CAM heat map in them.</p></div>"
    )


def render_error(message: str) -> str:
    """Return a message where the answer would be."""
    return f'<div class="vz vz-error" role="alert"><b>No answer.</b> {escape(message)}</div>'


def render_result(result: VideoResult) -> str:
    """Bars of the best classes, the moving overlay, cost and latency, and the filmstrip."""
    moving = ""
    if result.overlays is not None:
        moving = (
            f'<figure class="vz-moving"><img src="{_moving(result.overlays)}" alt="the class map, moving">'
            "<figcaption>Grad-CAM heat map</figcaption></figure>"
        )
    return (
        f'<div class="vz"><div class="vz-top"><div class="vz-bars">{_bars(result)}</div>{moving}</div>'
        f"{_facts(result)}{_film(result)}</div>"
    )


def _bars(result: VideoResult) -> str:
    rows = []
    for place, (name, score) in enumerate(result.best):
        kind = "vz-bar vz-first" if place == 0 else "vz-bar"
        rows.append(
            f'<div class="{kind}"><span class="vz-name">{escape(name)}</span>'
            f'<span class="vz-score">{score:.1%}</span>'
            f'<span class="vz-track"><span style="width:{100 * score:.1f}%"></span></span></div>'
        )
    num_classes = len(result.loaded.class_names)
    note = f"Scores compare the {num_classes} classes that this model knows, also where a video shows none of them."
    return f'{"".join(rows)}<p class="vz-small">{note}</p>'


def _facts(result: VideoResult) -> str:
    loaded, cost = result.loaded, result.loaded.cost
    _, frames, height, width = cost.clip_shape
    facts = [
        ("parameters", _count(cost.params), "million" if cost.params >= 1e6 else "thousand"),
        ("cost of a view", gmacs_text(cost.macs), "GMACs"),
        ("latency", f"{1000 * result.forward_sec:.0f} ms", f"one view on {loaded.device.type}"),
        (
            "reading",
            f"{1000 * result.decode_sec:.0f} ms",
            f"of {result.num_frames} frames, {result.duration_sec:.1f} s",
        ),
        ("class map", f"{1000 * result.explain_sec:.0f} ms", "Grad-CAM, stage 2"),
        ("view", f"{frames}x{height}x{width}", f"{len(loaded.class_names)} classes"),
    ]
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}<small>{about}</small></dd></div>" for name, value, about in facts)
    return f'<dl class="vz-facts">{cells}</dl>'


def _count(params: int) -> str:
    return f"{params / 1e6:.2f}" if params >= 1e6 else f"{params / 1e3:.1f}"


def _film(result: VideoResult) -> str:
    overlays = {} if result.overlays is None else dict(zip(result.mapped, result.overlays, strict=True))
    cells = []
    for place, (frame, index, moment) in enumerate(zip(result.frames, result.indices, result.times_sec, strict=True)):
        pictures = f'<img src="{_still(frame)}" alt="frame {index}">'
        if place in overlays:
            pictures += f'<img src="{_still(overlays[place])}" alt="class map of frame {index}">'
        cells.append(
            f"<figure><figcaption><b>{moment:.2f} s</b> <span>frame {index}</span></figcaption>{pictures}</figure>"
        )
    title = f"The {len(cells)} frames that {escape(result.loaded.title)} saw"
    if overlays:
        about = (
            f"<span>Below each frame: the Grad-CAM heat map for <b>{escape(result.best[0][0])}</b></span> "
            '<span class="vz-scale">none <i></i> most of the clip</span>'
        )
    else:
        about = "There are no class maps of this model."
    return f'<h3>{title}</h3><p class="vz-about">{about}</p><div class="vz-film">{"".join(cells)}</div>'


def _still(frame: Tensor) -> str:
    out = io.BytesIO()
    _picture(frame).save(out, "jpeg", quality=85)
    return _data("jpeg", out)


def _moving(frames: Sequence[Tensor] | Tensor) -> str:
    first, *rest = [_picture(frame) for frame in frames]
    out = io.BytesIO()
    first.save(out, "webp", save_all=True, append_images=rest, duration=250, loop=0, quality=85)
    return _data("webp", out)


def _picture(frame: Tensor) -> Image.Image:
    picture = Image.fromarray(frame.numpy())
    picture.thumbnail((SIDE, SIDE))
    return picture


def _data(kind: str, out: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"
