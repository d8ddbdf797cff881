"""Tests of tar shards, also against the webdataset library."""

import gzip
import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from video_fixtures import MakeVideo

from videozoo.data import (
    SourceError,
    VideoDataset,
    check_splits,
    create_transform,
    load_source,
    open_record,
    split_by_hash,
)
from videozoo.data.shards import expand_braces
from videozoo.data.tar_index import read_members


def _write_tar(path: Path, members: dict[str, bytes], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def film(tmp_path: Path, make_video: MakeVideo) -> Callable[[int], bytes]:
    """Return the bytes of a video with the given number of frames."""
    return lambda num_frames: make_video(tmp_path / "films" / f"{num_frames}.mp4", num_frames).read_bytes()


def test_samples_of_several_shards(tmp_path: Path, film: Callable[[int], bytes], read_numbers: Any) -> None:
    _write_tar(tmp_path / "s" / "000000.tar", {"a.mp4": film(5), "a.cls": b"1\n", "b.cls": b"0", "b.mp4": film(6)})
    _write_tar(
        tmp_path / "s" / "000001.tar",
        {"x/c.json": b'{"label": 2, "fps": 25}', "x/c.seg.1.mp4": b"", "x/c.mp4": film(7)},
    )
    _write_tar(tmp_path / "s" / "000002.tar", {"./d.txt": b"1", "./d.MP4": film(8), "__meta__.json": b"{}"})
    pattern = str(tmp_path / "s" / "{000000..000002}.tar")
    with pytest.raises(SourceError, match=r"000001\.tar:x/c: several videos"):
        load_source(pattern)
    _write_tar(tmp_path / "s" / "000001.tar", {"x/c.json": b'{"label": 2, "fps": 25}', "x/c.mp4": film(7)})
    source = load_source(pattern)
    assert source.data_format == "shards"
    assert source.class_names == ("0", "1", "2")
    assert [(r.name, r.label, r.source) for r in source.records] == [
        ("000000.tar/a.mp4", 1, "000000.tar:a"),
        ("000000.tar/b.mp4", 0, "000000.tar:b"),
        ("000001.tar/x/c.mp4", 2, "000001.tar:x/c"),
        ("000002.tar/./d.MP4", 1, "000002.tar:d"),
    ]
    for record, num_frames in zip(source.records, (5, 6, 7, 8), strict=True):
        with open_record(record) as reader:
            assert reader.num_frames == num_frames
            assert read_numbers(reader.read([num_frames - 1, 0])) == [num_frames - 1, 0]
    dataset = VideoDataset(source.records, create_transform(input_size=(3, 32, 32)), num_frames=2)
    assert dataset[2]["video"].shape == (1, 3, 2, 32, 32)
    globbed = load_source(str(tmp_path / "s" / "*.tar"))
    assert globbed == load_source([tmp_path / "s" / f"00000{i}.tar" for i in range(3)]) == source
    train, val = split_by_hash(source, 0.5)
    assert len(train.records) + len(val.records) == 4
    assert check_splits(train, val) == []
    assert check_splits(train, source)[0].endswith(f"is also in training ({train.records[0].source})")
    (tmp_path / "s" / "classes.txt").write_text("zero\none\ntwo\n")
    assert load_source(pattern).class_names == ("zero", "one", "two")


def test_faults_are_reported_with_shard_and_key(tmp_path: Path) -> None:
    members = {
        "a.mp4": b"1", "a.cls": b"0",
        "b.mp4": b"1",
        "c.cls": b"0",
        "d.mp4": b"", "d.cls": b"0",
        "e.mp4": b"1", "e.json": b"{",
        "f.mp4": b"1", "f.json": b'{"name": 1}',
        "g.mp4": b"1", "g.cls": b"\xff",
        "h.mp4": b"1", "h.cls": b" ",
        "i.mp4": b"1", "i.cls": b"run",
        "a.txt": b"0",
    }  # fmt: skip
    _write_tar(tmp_path / "1.tar", members)
    with tarfile.open(tmp_path / "1.tar", "a") as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo("z.cls"), io.BytesIO())
    with pytest.raises(SourceError) as caught:
        load_source(str(tmp_path / "1.tar"))
    for text in (
        "1.tar:b: no label; beside .mp4 must be .cls, .json or .txt",
        "1.tar:c: no video (.cls)",
        "1.tar:e: .json is not JSON",
        "1.tar:f: .json holds no label (label or cls)",
        "1.tar:g: .cls is not text",
        "1.tar:h: .cls holds no label",
        "1.tar:i: label 'run' is a class name, the first (1.tar:a) is an index",
        "1.tar:a: comes again; the members of a sample must follow each other",
        "1.tar:z: has two members .cls",
    ):
        assert text in str(caught.value)


def test_copies_are_found_but_keys_may_repeat(tmp_path: Path) -> None:
    _write_tar(tmp_path / "0.tar", {"1.mp4": b"one", "1.cls": b"0", "2.mp4": b"two", "2.cls": b"0"})
    _write_tar(tmp_path / "1.tar", {"1.mp4": b"uno", "1.cls": b"0"})
    assert len(load_source(str(tmp_path / "{0,1}.tar")).records) == 3
    _write_tar(tmp_path / "1.tar", {"2.mp4": b"two", "2.cls": b"0"})
    with pytest.raises(SourceError, match=r"1\.tar:2: is a copy of 0\.tar:2"):
        load_source(str(tmp_path / "{0,1}.tar"))


def test_shards_that_cannot_be_read(tmp_path: Path) -> None:
    whole = _write_tar(tmp_path / "0.tar", {"1.mp4": b"one" * 500, "1.cls": b"0", "2.mp4": b"two", "2.cls": b"0"})
    data = whole.read_bytes()
    zipped = tmp_path / "1.tar"
    zipped.write_bytes(gzip.compress(data))
    with pytest.raises(SourceError, match=r"1\.tar: compressed \(gzip\); unpack it"):
        load_source([whole, zipped])
    cut = tmp_path / "2.tar"
    # In a header, in a video, after a video, and where only the end mark is missing.
    end = len(data.rstrip(b"\0")) // 512 * 512 + 512
    for size in (100, 512 + 700, 2048, 2048 + 512, end):
        cut.write_bytes(data[:size])
        with pytest.raises(SourceError, match=r"2\.tar: (cut off|no tar, or damaged)"):
            load_source([whole, cut])
    cut.write_bytes(data[:2048] + b"x" * 512 + data[2560:])
    with pytest.raises(SourceError, match=r"2\.tar: damaged after 1 members, at byte 2048"):
        load_source([whole, cut])
    cut.write_bytes(b"not a tar at all" * 100)
    with pytest.raises(SourceError, match=r"2\.tar: no tar"):
        load_source([whole, cut])
    cut.write_bytes(b"")
    with pytest.raises(SourceError, match=r"2\.tar: an empty file"):
        load_source([whole, cut])
    with pytest.raises(SourceError, match=r"3\.tar: no such shard; 7 of 10 are missing"):
        load_source(str(tmp_path / "{0..9}.tar"))
    with pytest.raises(SourceError, match="a shard that is named twice"):
        load_source([whole, tmp_path / "." / "0.tar"])
    with pytest.raises(SourceError, match="no shard is named so"):
        load_source(str(tmp_path / "x*.tar"))
    with pytest.raises(SourceError, match=r"no class folders; put videos as .* for its shards pass"):
        load_source(tmp_path)
    for remote in ("https://a.b/{00..99}.tar", "s3://bucket/0.tar", "pipe:aws s3 cp s3://bucket/0.tar -"):
        with pytest.raises(SourceError, match="remote shards are not supported"):
            load_source(remote)
    with pytest.raises(SourceError, match="more than 1000000 shards"):
        load_source(str(tmp_path / "{0..9999999}.tar"))
    with tarfile.open(whole, "a") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "1.mp4"
        tar.addfile(link)
    with pytest.raises(SourceError, match=r"0\.tar:link: a link or a sparse file"):
        load_source(whole)


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_index_is_tarfile_s(tmp_path: Path, kind: int) -> None:
    """Long names, times with fractions, folders and names that are not ASCII; plain tars take the fast way."""
    rng = random.Random(0)
    for number in range(40):
        path = tmp_path / f"{number}.tar"
        with tarfile.open(path, "w", format=kind) as tar:
            for _ in range(rng.randint(1, 6)):
                folder = "".join(rng.choice(("a" * 60 + "/", "b/", "ü/", "")) for _ in range(rng.randint(0, 2)))
                info = tarfile.TarInfo(
                    folder
                    + "n" * rng.randint(1, 30 if kind == tarfile.USTAR_FORMAT else 130)
                    + rng.choice((".mp4", ".cls"))
                )
                info.size = rng.choice((0, 1, 511, 512, 513, 2000))
                info.mtime = rng.choice((0, 1.5, 1e9))
                if rng.random() < 0.2:
                    info.type, info.size = tarfile.DIRTYPE, 0
                tar.addfile(info, io.BytesIO(rng.randbytes(info.size)))
        with tarfile.open(path, "r:") as tar:
            expected = [(i.name, i.offset_data, i.size) for i in tar if i.isreg()]
        assert [tuple(member) for member in read_members(path)] == expected


def test_damaged_tars_give_members_inside_the_file_or_the_one_error(tmp_path: Path) -> None:
    rng = random.Random(1)
    path = tmp_path / "0.tar"
    outcomes = []
    for number in range(150):
        kind = rng.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
        members = {f"{'x' * rng.choice((1, 120))}{i}.{e}": rng.randbytes(700) for i in range(2) for e in ("mp4", "cls")}
        data = bytearray(_write_tar(path, members, format=kind).read_bytes())
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(data))
            data[at : at + rng.choice((0, 1, 1, 12, 600))] = rng.choice((b"", b"7", b"\0", b"\x80", rng.randbytes(40)))
        path.write_bytes(bytes(data))
        try:
            found = read_members(path)
            assert all(member.offset > 0 and member.offset + member.size <= len(data) for member in found), number
            outcomes.append("members")
        except SourceError:
            outcomes.append("error")
    assert min(outcomes.count("members"), outcomes.count("error")) > 5


@pytest.mark.extras
def test_braces_are_those_of_webdataset() -> None:
    braceexpand = pytest.importorskip("braceexpand").braceexpand
    for text in (
        "a",
        "{000..010}",
        "x{8..12}y",
        "{1..1}",
        "{3..1}",
        "s{0..1}/{a,b,}z{00..02}.tar",
        "{}",
        "{a}",
        "{01..100}",
    ):
        assert expand_braces(text) == list(braceexpand(text)), text


@pytest.mark.extras
def test_shards_of_webdataset_are_read(tmp_path: Path, film: Callable[[int], bytes], read_numbers: Any) -> None:
    webdataset = pytest.importorskip("webdataset")
    with webdataset.ShardWriter(str(tmp_path / "%06d.tar"), maxcount=2, verbose=0) as writer:
        for number in range(5):
            writer.write({"__key__": f"{number:08d}", "mp4": film(4 + number), "cls": number % 3, "json": {"fps": 25}})
    source = load_source(str(tmp_path / "{000000..000002}.tar"))
    assert [record.label for record in source.records] == [0, 1, 2, 0, 1]
    for number, record in enumerate(source.records):
        with open_record(record) as reader:
            assert read_numbers(reader.read([reader.num_frames - 1])) == [3 + number]


@pytest.mark.extras
def test_webdataset_reads_the_same_samples(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    members = {
        f"{folder}{i}.{e}": f"{i % 2}".encode() if e == "cls" else f"{folder}{i}".encode()
        for folder in ("", "x/")
        for i in range(3)
        for e in ("mp4", "cls")
    }
    path = _write_tar(tmp_path / "0.tar", members)
    source = load_source(path)
    theirs = list(webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False))
    assert [sample["__key__"] for sample in theirs] == [record.source.partition(":")[2] for record in source.records]
    assert [int(sample["cls"]) for sample in theirs] == [record.label for record in source.records]
    data = path.read_bytes()
    parts = [record.member for record in source.records]
    assert [sample["mp4"] for sample in theirs] == [data[p[0] : p[0] + p[1]] for p in parts if p is not None]
