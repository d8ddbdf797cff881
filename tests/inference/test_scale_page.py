"""The Ray example of docs/scale.md runs as it stands there, on this machine and without a network."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
_START = """
import ray
ray.init(
    num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False, _temp_dir={folder!r}
)
try:
    exec(compile(open({code!r}).read(), "scale.md", "exec"), globals())
finally:
    ray.shutdown()
"""


@pytest.mark.slow
def test_the_ray_example_answers_each_file_once(clips: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("ray.data")
    pq = pytest.importorskip("pyarrow.parquet")
    page = (REPO / "docs" / "scale.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- run: ray -->\n```python\n(.*?)```", page, re.DOTALL)
    assert found is not None
    (tmp_path / "example.py").write_text(found[1])
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    paths = [*map(str, clips), str(tmp_path / "broken.mp4")]
    (tmp_path / "paths.txt").write_text("".join(f"{path}\n" for path in paths))
    # Ray's sockets need a short path.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPO),
            "RAY_USAGE_STATS_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", _START.format(folder=folder, code=str(tmp_path / "example.py"))],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [row for file in (tmp_path / "scores").glob("*.parquet") for row in pq.read_table(file).to_pylist()]
    assert sorted(row["path"] for row in rows) == sorted(paths)
    best = {row["path"]: row["best"] for row in rows}
    assert [bool(row["error"]) for row in rows if row["path"] == paths[-1]] == [True]
    assert all(best[path] for path in paths[:-1])
    from videozoo import Predictor

    predictor = Predictor("test_arc_tsm.motions", device="cpu")
    for answer in predictor(clips):
        assert answer.scores is not None
        assert best[answer.path] == predictor.class_names[int(answer.scores.argmax())]
