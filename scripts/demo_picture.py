"""Draw docs/demo.png: the page of ``videozoo demo`` in a browser, with a generated clip.

``python scripts/demo_picture.py [FILE]`` (needs gradio, playwright and a Chromium)
"""

import argparse
import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from videozoo.data.motions import write_motions
from videozoo.demo.server import serve

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "demo.png"
CLIP = "val/falling/scene_003.mp4"
WIDTH, HEIGHT = 1400, 860


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", nargs="?", type=Path, default=PICTURE)
    picture = parser.parse_args().picture
    with tempfile.TemporaryDirectory() as folder, serve(port=0, device="cpu") as url, sync_playwright() as playwright:
        root = write_motions(Path(folder), clips_per_class=1, val_clips_per_class=4, size=240)
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(url)
        drop(page, root / CLIP)
        shot = Image.open(io.BytesIO(page.screenshot()))
        browser.close()
    shot.convert("RGB").point(lambda value: value & 0xF8 | value >> 5).save(picture, optimize=True)  # 5 bits a color
    print(f"{picture}: {shot.width}x{shot.height}, {picture.stat().st_size} bytes")


def drop(page: Page, file: Path) -> None:
    """Upload a file and wait for the prediction."""
    page.set_input_files("#vz-video input[type=file]", str(file))
    page.wait_for_selector(".vz-film")
    page.wait_for_timeout(1500)  # for the first frames of the video and of the animation


if __name__ == "__main__":
    main()
