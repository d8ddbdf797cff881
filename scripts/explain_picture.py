"""Draw docs/explain.png: Grad-CAM heat maps of the two bundled models on a generated clip.

``python scripts/explain_picture.py [FILE]``
"""

import argparse
import tempfile
from pathlib import Path

from PIL import Image

from videozoo.cli import run_command
from videozoo.data.motions import write_motions

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "explain.png"
CLIP = "val/moving_apart/scene_001.mp4"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", nargs="?", type=Path, default=PICTURE)
    picture = parser.parse_args().picture
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_motions(root, clips_per_class=1, val_clips_per_class=2, size=96)
        flags = ["--model", "test_dnr_tsn", "--compare", "test_arc_tsm", "--show", "cam", "--device", "cpu"]
        run_command(["explain", *flags, str(root / CLIP), "--output", str(root / "out")])
        with Image.open(root / "out" / "cam.png") as drawn:
            size = drawn.size
            drawn.convert("RGB").save(picture, optimize=True)
    print(f"{picture}: {size[0]}x{size[1]}, {picture.stat().st_size} bytes")


if __name__ == "__main__":
    main()
