"""SIGKILL at many moments: what is resumed ends as a job that was never killed, each file answered once."""

import multiprocessing
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from killed_jobs import run_with_kills

pq = pytest.importorskip("pyarrow.parquet")
MODEL = "test_dnr_tsn.motions"


def _work(listing: Path, output: Path, decoded: Path, workers: int) -> None:
    """A process' whole life: answer the list, noting each file that is asked of the reader."""
    import torch

    from videozoo.data import JointDataset
    from videozoo.inference import Predictor, open_listing, predict_list
    from videozoo.jobs import clips, output_parts

    class Noting(JointDataset):
        def __getitem__(self, index: int) -> dict[str, Any]:
            with open(decoded, "a") as file:
                file.write(f"{self.records[index].path}\n")
            return super().__getitem__(index)

    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # or the loader's workers would not know Noting
    clips.JointDataset = Noting  # type: ignore[misc]
    output_parts.PART_SECONDS = 0.0
    predict_list(Predictor(MODEL, device="cpu", batch_size=2, workers=workers), open_listing(listing), output)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "num_kills"), [(0, 14), (1, 6)])
def test_killed_at_any_moment(workers: int, num_kills: int, clips: list[Path], tmp_path: Path) -> None:
    from videozoo.inference import Predictor, open_listing, predict_list

    paths = []
    for number in range(60):
        path = tmp_path / f"{number:03d}.mp4"
        path.write_bytes(b"broken" if number % 11 == 3 else clips[number % len(clips)].read_bytes())
        paths.append(path)
    listing = tmp_path / "list.txt"
    listing.write_text("".join(f"{path.name}\n" for path in paths))
    whole = tmp_path / "whole.parquet"
    predict_list(Predictor(MODEL, device="cpu", batch_size=2), open_listing(listing), whole)

    output, decoded = tmp_path / "scores.parquet", tmp_path / "decoded.txt"
    num_killed, reached = run_with_kills(
        _work,
        *(listing, output, decoded, workers),
        decoded=decoded,
        parts=tmp_path / "scores.parquet.parts",
        preload="videozoo.inference",
        num_kills=num_kills,
        seed=workers,
    )
    assert num_killed >= 4
    rows = pq.read_table(output).to_pylist()
    assert Counter(row["path"] for row in rows) == Counter(str(path) for path in paths)
    assert rows == pq.read_table(whole).to_pylist()
    assert pq.read_schema(output).metadata == pq.read_schema(whole).metadata
    assert not (tmp_path / "scores.parquet.parts").exists()
    # What was safe was not decoded again: a kill costs at most what was in work.
    times = Counter(decoded.read_text().splitlines())
    in_work = 2 * (1 + 2 * workers)
    assert sum(times.values()) <= len(paths) + num_killed * in_work
    assert len(set(reached)) >= 3, "the kills hit different moments"
