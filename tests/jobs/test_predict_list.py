"""Lists shard by shard: each file once, resumable, refused where it would mix; the list itself in little memory."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import videozoo
from videozoo import TSM, Predictor, files
from videozoo.data import SourceError
from videozoo.inference import JobError, JobResult, open_listing, predict_list
from videozoo.jobs import listing as listing_module
from videozoo.jobs import output_parts, outputs
from videozoo.jobs.listing import PathList

pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def listing(clips: list[Path], tmp_path: Path) -> Path:
    """Fourteen paths, the fourth absent and the ninth no video."""
    (tmp_path / "noise.mp4").write_bytes(b"no video at all")
    paths = [str(path) for path in clips]
    paths.insert(3, "absent.mp4")
    paths.insert(8, "noise.mp4")
    file = tmp_path / "list.txt"
    file.write_text("".join(f"{path}\n" for path in paths))
    return file


def rows_of(*files: Path) -> list[dict[str, Any]]:
    """Rows by their place in the list."""
    return sorted((row for file in files for row in pq.read_table(file).to_pylist()), key=lambda row: row["index"])


def answer(predictor: Predictor, listing: Path, output: Path, **options: Any) -> JobResult:
    return predict_list(predictor, open_listing(listing), output, **options)


def test_a_row_per_file_with_all_scores(predictor: Predictor, listing: Path, tmp_path: Path) -> None:
    result = answer(predictor, listing, tmp_path / "scores.parquet", topk=2)
    assert (result.num_videos, result.num_errors, result.num_done_before) == (14, 2, 0)
    rows = rows_of(result.path)
    names = listing.read_text().split()
    assert [row["path"] for row in rows] == [str(tmp_path / name) for name in names]
    assert [row["index"] for row in rows] == list(range(14))
    assert {row["index"]: row["error"] for row in rows if row["error"]}.keys() == {3, 8}
    assert rows[3]["error"] == "no such file or folder"
    assert rows[3]["scores"] is rows[3]["classes"] is rows[3]["class_scores"] is None
    answers = predictor([tmp_path / name for name in names])
    for row, expected in zip(rows, answers, strict=True):
        if expected.scores is not None:
            np.testing.assert_allclose(row["scores"], expected.scores, atol=1e-6)
            order = np.argsort(-expected.scores)[:2]
            assert row["classes"] == [predictor.class_names[label] for label in order]
            assert row["class_scores"] == pytest.approx(expected.scores[order].tolist(), abs=1e-6)
    about = pq.read_schema(result.path).metadata
    assert about[b"model"] == b"test_dnr_tsn.motions"
    assert json.loads(about[b"class_names"]) == list(predictor.class_names)
    assert about[b"videozoo_version"] == videozoo.__version__.encode()
    assert not (tmp_path / "scores.parquet.parts").exists()


def test_shards_have_each_file_once_and_the_same_rows(predictor: Predictor, listing: Path, tmp_path: Path) -> None:
    whole = answer(predictor, listing, tmp_path / "whole" / "scores.parquet")
    results = [answer(predictor, listing, tmp_path / "scores.parquet", num_shards=3, shard=k) for k in (2, 0, 1)]
    assert sorted(r.path.name for r in results) == [f"scores-0000{k}-of-00003.parquet" for k in range(3)]
    assert sum(r.num_videos for r in results) == 14
    together = rows_of(*(r.path for r in results))
    assert [row["index"] for row in together] == list(range(14))
    for one, other in zip(together, rows_of(whole.path), strict=True):
        assert {k: v for k, v in one.items() if "scores" not in k} == {
            k: v for k, v in other.items() if "scores" not in k
        }
        if one["scores"] is not None:
            np.testing.assert_allclose(one["scores"], other["scores"], atol=1e-6)


def test_more_shards_than_files(predictor: Predictor, clips: list[Path], tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text(f"{clips[0]}\n")
    result = answer(predictor, tmp_path / "one.txt", tmp_path / "s.parquet", num_shards=2, shard=1)
    assert (result.num_videos, rows_of(result.path)) == (0, [])
    assert answer(predictor, tmp_path / "one.txt", tmp_path / "s.parquet", num_shards=2, shard=1) == result


class _Killed(BaseException):
    pass


def _stop_after(count: int) -> Callable[[int, int], None]:
    def stop(done: int, _errors: int) -> None:
        if done >= count:
            raise _Killed

    return stop


def test_an_interrupted_shard_goes_on_after_its_last_part(
    predictor: Predictor, listing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = answer(predictor, listing, tmp_path / "whole.parquet")
    monkeypatch.setattr(output_parts, "PART_SECONDS", 0.0)
    output = tmp_path / "scores.parquet"
    with pytest.raises(_Killed):
        answer(predictor, listing, output, on_progress=_stop_after(5))
    assert not output.exists()
    # What a process leaves that dies while it writes.
    (tmp_path / "scores.parquet.parts" / ".000000000006-000000000008.safetensors.17.tmp").write_bytes(b"half")
    seen: list[int] = []
    result = answer(predictor, listing, output, on_progress=lambda done, _: seen.append(done))
    assert seen == [6, 8, 10, 12, 14]
    assert result.num_done_before == 6
    assert rows_of(output) == rows_of(whole.path)
    assert sorted(path.name for path in tmp_path.glob("*.parquet*")) == ["scores.parquet", "whole.parquet"]


def test_videos_that_changed_meanwhile_are_answered_again(
    predictor: Predictor, listing: Path, clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = [tmp_path / f"{number}.mp4" for number in range(6)]
    for path, clip in zip(mine, clips, strict=False):
        path.write_bytes(clip.read_bytes())
    mine[3].write_bytes(b"broken")
    listing.write_text("".join(f"{path}\n" for path in mine))
    monkeypatch.setattr(output_parts, "PART_SECONDS", 0.0)
    output = tmp_path / "scores.parquet"
    with pytest.raises(_Killed):
        answer(predictor, listing, output, on_progress=_stop_after(4))
    mine[0].write_bytes(clips[5].read_bytes())
    mine[3].write_bytes(clips[4].read_bytes())
    result = answer(predictor, listing, output)
    assert (result.num_errors, result.num_done_before) == (0, 2)
    fresh = rows_of(answer(predictor, listing, tmp_path / "fresh.parquet").path)
    for row, expected in zip(rows_of(output), fresh, strict=True):
        assert (row["path"], row["error"], row["classes"]) == (expected["path"], None, expected["classes"])
        np.testing.assert_allclose(row["scores"], expected["scores"], atol=1e-6)


@pytest.mark.parametrize("name", ["s.csv", "s.jsonl", "s.parquet"])
def test_a_finished_output_of_videos_that_changed_is_refused(
    name: str, predictor: Predictor, listing: Path, tmp_path: Path
) -> None:
    output = answer(predictor, listing, tmp_path / name).path
    before = output.read_bytes()
    (tmp_path / "noise.mp4").write_bytes(b"no video either")
    os.utime(tmp_path / "noise.mp4", ns=(1, 1))
    with pytest.raises(JobError, match=r"is finished, but files changed since \(.*noise.mp4\); remove it"):
        answer(predictor, listing, output)
    assert output.read_bytes() == before
    output.unlink()
    assert answer(predictor, listing, output).num_done_before == 0


def test_a_damaged_part_is_done_again(
    predictor: Predictor, listing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = answer(predictor, listing, tmp_path / "whole.parquet")
    monkeypatch.setattr(output_parts, "PART_SECONDS", 0.0)
    output = tmp_path / "scores.parquet"
    with pytest.raises(_Killed):
        answer(predictor, listing, output, on_progress=_stop_after(8))
    part = tmp_path / "scores.parquet.parts" / "000000000002-000000000004.safetensors"
    part.write_bytes(part.read_bytes()[:-9])
    assert answer(predictor, listing, output).num_done_before == 2
    assert rows_of(output) == rows_of(whole.path)


def test_a_finished_shard_stays_as_it_is(
    predictor: Predictor, listing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "scores.parquet"
    first = answer(predictor, listing, output)
    before = (output.read_bytes(), output.stat().st_mtime_ns)
    leftover = tmp_path / "scores.parquet.parts"  # of a process killed after its last rename
    leftover.mkdir()
    (leftover / "job.json").write_text("{}")
    monkeypatch.setattr(Predictor, "stream_batches", lambda *_: pytest.fail("a finished shard is not done again"))
    again = answer(predictor, listing, output)
    assert (again.num_videos, again.num_errors, again.num_done_before) == (14, first.num_errors, 14)
    assert (output.read_bytes(), output.stat().st_mtime_ns) == before
    assert not leftover.exists()


def test_a_job_of_before_models_were_named_by_their_spec_stays(
    predictor: Predictor, listing: Path, tmp_path: Path
) -> None:
    answer(predictor, listing, tmp_path / "scores.csv")
    about = tmp_path / "scores.csv.json"
    content = json.loads(about.read_text())
    assert content["finished"]["job"].pop("spec").startswith("ModelSpec(")
    about.write_text(json.dumps(content))
    assert answer(predictor, listing, tmp_path / "scores.csv").num_done_before == 14


@pytest.mark.parametrize(
    ("change", "expected", "is_finished"),
    [
        ("list", "list: ", True),
        ("weights", "weights: ", True),
        ("temporal module", "spec: ", True),
        ("list", "list: ", False),
        ("views", "videos: ", False),
        ("topk", "topk: 5, now 3", False),
    ],
)
def test_another_job_into_the_same_output_is_refused(
    change: str,
    expected: str,
    is_finished: bool,
    predictor: Predictor,
    listing: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "scores.parquet"
    monkeypatch.setattr(output_parts, "PART_SECONDS", 0.0)
    if is_finished:
        answer(predictor, listing, output)
    else:
        with pytest.raises(_Killed):
            answer(predictor, listing, output, on_progress=_stop_after(3))
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path != listing}
    options: dict[str, Any] = {}
    if change == "list":
        listing.write_text(listing.read_text() + "another.mp4\n")
    elif change == "weights":
        model = videozoo.create_model("test_dnr_tsn.motions", pretrained=True)
        model.get_classifier().bias.data[0] += 1
        predictor = Predictor(model, device="cpu", batch_size=2)
    elif change == "temporal module":  # one without weights of its own
        model = videozoo.create_model("test_dnr_tsn.motions", pretrained=True)
        model.spec = model.spec.replace(temporal=TSM())
        predictor = Predictor(model, device="cpu", batch_size=2)
    elif change == "views":
        predictor = Predictor(predictor.model, device="cpu", batch_size=2, views="2x1")
    else:
        options["topk"] = 3
    with pytest.raises(JobError, match="belongs to another run") as caught:
        answer(predictor, listing, output, **options)
    assert expected in str(caught.value)
    assert {path: path.read_bytes() for path in kept} == kept


def test_other_numbers_of_shards_do_not_mix(predictor: Predictor, listing: Path, tmp_path: Path) -> None:
    answer(predictor, listing, tmp_path / "scores.parquet", num_shards=7, shard=3)
    with pytest.raises(JobError, match="is of 7 shards, now it is 3"):
        answer(predictor, listing, tmp_path / "scores.parquet", num_shards=3, shard=0)
    with pytest.raises(JobError, match="shard 3 of 3 does not exist"):
        answer(predictor, listing, tmp_path / "scores.parquet", num_shards=3, shard=3)


def test_a_file_of_something_else_is_left_alone(predictor: Predictor, listing: Path, tmp_path: Path) -> None:
    for content in (b"my notes", b""):
        (tmp_path / "notes.parquet").write_bytes(content)
        with pytest.raises(JobError, match="exists and holds no scores"):
            answer(predictor, listing, tmp_path / "notes.parquet")
        assert (tmp_path / "notes.parquet").read_bytes() == content


def test_one_process_at_a_time(
    predictor: Predictor, listing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_try_lock", lambda _: False)
    with pytest.raises(JobError, match="another process is writing it"):
        answer(predictor, listing, tmp_path / "scores.parquet")


def test_a_full_disk_is_reported_and_what_is_done_is_kept(
    predictor: Predictor, listing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_parts, "PART_SECONDS", 0.0)
    output, real, calls = tmp_path / "scores.parquet", files.os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 4:  # job.json, two parts, then this one
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(JobError, match=r"cannot be written \(No space left on device\); what is finished is kept"):
        answer(predictor, listing, output)
    assert answer(predictor, listing, output).num_done_before == 4


def test_only_rows_of_one_part_wait_in_memory(
    predictor: Predictor, listing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_parts, "PART_ROWS", 4)
    monkeypatch.setattr(outputs, "GROUP_ROWS", 6)
    sizes: list[int] = []
    real = output_parts.Parts.add
    monkeypatch.setattr(
        output_parts.Parts, "add", lambda self, first, table: (sizes.append(len(table)), real(self, first, table))
    )
    result = answer(predictor, listing, tmp_path / "scores.parquet")
    assert sizes == [4, 4, 4, 2]
    groups = pq.ParquetFile(result.path).metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [8, 6]


# The list


def test_a_path_list_takes_what_people_write(tmp_path: Path) -> None:
    text = "\ufeffa b.mp4\r\n\r\n  sub/ü.webm\n./a b.mp4\n/abs/c.mp4\nsub//ü.webm\nlast.mp4"
    (tmp_path / "list.txt").write_bytes(text.encode())
    listing = open_listing(tmp_path / "list.txt")
    assert [record.name for record in listing] == ["a b.mp4", "sub/ü.webm", "/abs/c.mp4", "last.mp4"]
    assert [record.source for record in listing] == [f"list.txt:{n}" for n in (1, 3, 5, 7)]
    assert listing[1].path == tmp_path / "sub/ü.webm"
    assert listing[2].path == Path("/abs/c.mp4")
    assert listing.num_repeats == 2
    rooted = open_listing(tmp_path / "list.txt", data_root=tmp_path / "root")
    assert rooted[0].path == tmp_path / "root" / "a b.mp4"
    assert rooted.digest == listing.digest
    again = pickle.loads(pickle.dumps(listing))
    assert list(again) == list(listing)


def test_a_path_list_of_names_of_any_bytes_and_of_old_macs(tmp_path: Path) -> None:
    names = [b"caf\xe9.mp4", b"b.mp4", b"\xff c.mp4"]
    for name in names:
        with open(os.path.join(os.fsencode(tmp_path), name), "wb"):
            pass
    for end in (b"\n", b"\r\n", b"\r"):
        (tmp_path / "list.txt").write_bytes(end.join([names[1], names[0], b"", names[2], names[1], b""]))
        listing = open_listing(tmp_path / "list.txt")
        assert [os.fsencode(record.name) for record in listing] == [names[1], names[0], names[2]]
        assert [record.source for record in listing] == ["list.txt:1", "list.txt:2", "list.txt:4"]


def test_equal_hashes_are_no_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_module, "hash", lambda text: len(text), raising=False)
    (tmp_path / "list.txt").write_text("a.mp4\nb.mp4\na.mp4\nc.mp4\nb.mp4\ncc.mp4\n")
    listing = PathList(tmp_path / "list.txt")
    assert [record.name for record in listing] == ["a.mp4", "b.mp4", "c.mp4", "cc.mp4"]


def test_a_long_list_takes_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    number = 50_000
    with open(tmp_path / "list.txt", "w") as file:
        file.writelines(f"a/folder/of/some/depth/video_{i:09d}_of_many.mp4\n" for i in range(number))
    tracemalloc.start()
    listing = PathList(tmp_path / "list.txt")
    kept, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(listing) == number
    assert listing[number - 1].name == f"a/folder/of/some/depth/video_{number - 1:09d}_of_many.mp4"
    assert kept / number < 24


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "nothing is listed"),
        (b"\n \n", "nothing is listed"),
        (b"a.mp4\n\xff\xfe.mp4\n", "list.txt:2: not UTF-8"),
        (b"a\0.mp4\n", "zero bytes"),
    ],
)
def test_a_path_list_that_is_none(content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(SourceError, match=expected):
        open_listing(tmp_path / "list.txt")


def test_labelled_videos_are_lists_too(clips: list[Path], tmp_path: Path) -> None:
    (tmp_path / "labeled.txt").write_text("".join(f"{path} {path.parent.name}\n" for path in clips))
    (tmp_path / "labeled.csv").write_text("path,label\n" + "".join(f"{p},{p.parent.name}\n" for p in clips))
    folder = clips[0].parents[1]
    for data, count in ((tmp_path / "labeled.txt", 12), (tmp_path / "labeled.csv", 12), (folder, 6)):
        listing = open_listing(data)
        assert len(listing) == count
        assert all(record.label >= 0 for record in listing)
    with pytest.raises(SourceError, match="no such file"):
        open_listing(tmp_path / "nowhere.txt")
    (tmp_path / "several.csv").write_text("path,labels\na.mp4,eight|nine\nb.mp4,eight\n")
    assert [record.name for record in open_listing(tmp_path / "several.csv")] == ["a.mp4", "b.mp4"]
    (tmp_path / "twice.csv").write_text("path,label\na.mp4,eight\na.mp4,nine\n")
    with pytest.raises(SourceError, match="with another label"):
        open_listing(tmp_path / "twice.csv")
