"""Small sets of generated motions in the formats in which the public data sets come."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from PIL import Image

from videozoo.data.motions import draw_motion

MOTIONS = ("rising", "falling")
SIZE = 64


def draw(label: int, number: int, num_frames: int = 12) -> np.ndarray:
    """uint8 (T, H, W, 3), T within a quarter of ``num_frames``."""
    rng = np.random.default_rng([label, number])
    return draw_motion(MOTIONS[label % 2], size=SIZE, num_frames=num_frames, rng=rng)


def write_video(path: Path, frames: np.ndarray, codec: str = "libx264") -> None:
    """A file of 12 frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=12)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode(None))


def something_v1(root: Path, sizes: tuple[int, int]) -> list[str]:
    """Folders of frames and `id;label`; V1 has classes with left and right."""
    names = ["Pushing something from left to right", "Pushing something from right to left", "Holding something"]
    (root / "something-something-v1-labels.csv").write_text("\n".join(names) + "\n")
    number = 0
    for split, size in zip(("train", "validation"), sizes, strict=True):
        rows = []
        for index in range(size):
            number += 1
            folder = root / "20bn-something-something-v1" / str(number)
            folder.mkdir(parents=True)
            for k, image in enumerate(draw(index % 3, number), 1):
                Image.fromarray(image).save(folder / f"{k:05d}.jpg")
            rows.append(f"{number};{names[index % 3]}")
        (root / f"something-something-v1-{split}.csv").write_text("\n".join(rows) + "\n")
    lists = [str(root / f"something-something-v1-{split}.csv") for split in ("train", "validation")]
    return ["--data", lists[0], "--val", lists[1]]


def something_v2(root: Path, sizes: tuple[int, int]) -> list[str]:
    """webm files, json with templates, numbers of the classes in labels.json."""
    templates = ["Pushing [something] from left to right", "Pushing [something] from right to left"]
    names = [template.replace("[", "").replace("]", "") for template in templates]
    (root / "labels.json").write_text(json.dumps({name: str(label) for label, name in enumerate(names)}))
    number = 0
    for split, size in zip(("train", "validation"), sizes, strict=True):
        items = []
        for index in range(size):
            number += 1
            write_video(root / "20bn-something-something-v2" / f"{number}.webm", draw(index % 2, number), "libvpx-vp9")
            item = {"id": str(number), "label": "pushing a pen", "template": templates[index % 2]}
            items.append({**item, "placeholders": ["a pen"]})
        (root / f"{split}.json").write_text(json.dumps(items))
    return ["--data", str(root / "train.json"), "--val", str(root / "validation.json")]


def kinetics(root: Path, sizes: tuple[int, int]) -> list[str]:
    """One csv a split; files named by identifier and seconds."""
    number = 0
    for split, size in zip(("train", "val"), sizes, strict=True):
        with (root / f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["label", "youtube_id", "time_start", "time_end", "split"])
            for index in range(size):
                number += 1
                name = f"-id_{number:06d}"
                write_video(root / split / f"{name}_000010_000020.mp4", draw(index % 2, number))
                label = ("bowling", "playing trumpet")[index % 2]
                writer.writerow([label, name, 10, 20, {"train": "train", "val": "validate"}[split]])
    return ["--data", str(root / "train.csv"), "--val", str(root / "val.csv")]


def diving48(root: Path, sizes: tuple[int, int]) -> list[str]:
    """json with frames, the vocabulary beside it, mp4 files in rgb/."""
    vocabulary = [["Back", "15som", "05Twis", "FREE"], ["Forward", "Dive", "NoTwis", "PIKE"]]
    (root / "Diving48_vocab.json").write_text(json.dumps(vocabulary))
    number = 0
    for split, size in zip(("train", "test"), sizes, strict=True):
        items = []
        for index in range(size):
            number += 1
            name = f"_8Vy3dlHg2w_{number:05d}"
            frames = draw(index % 2, number, num_frames=18)
            write_video(root / "rgb" / f"{name}.mp4", frames)
            items.append({"vid_name": name, "label": index % 2, "start_frame": 0, "end_frame": len(frames)})
        (root / f"Diving48_V2_{split}.json").write_text(json.dumps(items))
    return ["--data", str(root / "Diving48_V2_train.json"), "--val", str(root / "Diving48_V2_test.json")]


FORMATS: dict[str, Callable[[Path, tuple[int, int]], list[str]]] = {
    "ssv1": something_v1,
    "ssv2": something_v2,
    "k400": kinetics,
    "k200": kinetics,
    "diving48": diving48,
}
