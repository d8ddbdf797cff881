"""Draw what ARC changes on one real clip: ``python benchmarks/evidence_pictures.py --data FOLDER``.

The clip is the first test clip of the first fold of strokes that ARC-TSM gets right and TSM takes for the class which
shows the same motion backwards. evidence.py has made both runs.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from evidence import CSV, read_csv
from evidence_runs import Run, partners


def predictions(folder: Path) -> dict[str, tuple[str, str]]:
    """Return label and prediction of each test clip, by its path in the data folder."""
    return {row["name"]: (row["label"], row["prediction"]) for row in read_csv(folder / "test" / "videos.csv")}


def choose_clip(ours: Path, base: Path) -> str:
    """Return the first clip that our run gets right and the base takes for its partner.

    Raises:
        SystemExit: there is none.
    """
    right, wrong = predictions(ours), predictions(base)
    partner = partners("strokes", sorted({label for label, _ in right.values()}))
    for name, (label, prediction) in right.items():
        if prediction == label and wrong[name][1] == partner[label]:
            return name
    raise SystemExit("no test clip that ARC-TSM gets right and TSM takes for its partner")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="as for evidence.py")
    parser.add_argument("--runs", type=Path, default=Path("runs/evidence"), help="as for evidence.py")
    args = parser.parse_args()
    ours, base = (args.runs / Run("models", "strokes", model, 1).name for model in ("arc_tsm", "tsm"))
    clip = args.data / "strokes" / choose_clip(ours, base)
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--model", str(ours / "last"), "--compare", str(base / "last"), "--show", "cam,states"]
        subprocess.run([sys.executable, "-m", "videozoo", "explain", *flags, "--output", folder, str(clip)], check=True)
        for name in ("cam.png", "states.png"):
            shutil.copyfile(Path(folder) / name, CSV.with_name(f"evidence_{name}"))
    print(clip.relative_to(args.data))


if __name__ == "__main__":
    main()
