"""Tests of small copies of published datasets, each read down to a clip."""

import json
from pathlib import Path

import pytest
from helpers import write
from video_fixtures import MakeFrames, MakeVideo, Shown

from videozoo.data import (
    SourceError,
    load_source,
)


def test_something_v1(tmp_path: Path, make_frames: MakeFrames, shown: Shown) -> None:
    labels = (
        "Turning something upside down\nLifting something up completely, then letting it drop down\nHolding something"
    )
    write(tmp_path / "something-something-v1-labels.csv", labels)
    path = write(
        tmp_path / "something-something-v1-train.csv",
        "100218;Turning something upside down\n24413;Lifting something up completely, then letting it drop down\n",
    )
    make_frames(tmp_path / "20bn-something-something-v1" / "100218", range(3, 8))
    make_frames(tmp_path / "20bn-something-something-v1" / "24413", range(4))
    source = load_source(path)
    assert source.data_format == "something_v1"
    # As TRN and TSM number them: in alphabetical order, whatever the order of the file.
    assert source.class_names == (
        "Holding something",
        "Lifting something up completely, then letting it drop down",
        "Turning something upside down",
    )
    assert shown(source) == [
        ("20bn-something-something-v1/100218", source.class_names[2], [3, 7]),
        ("20bn-something-something-v1/24413", source.class_names[1], [0, 3]),
    ]
    (warning,) = source.warnings
    assert "1 of 3 classes has no video: Holding something (something-something-v1-labels.csv:3)" in warning
    root = load_source(path, data_root=tmp_path / "20bn-something-something-v1")
    assert [record.name for record in root.records] == ["100218", "24413"]
    # A model whose classes are only numbered, as those that TSM's authors publish.
    numbered = load_source(path, class_names=["0", "1", "2"])
    assert [record.label for record in numbered.records] == [2, 1]
    with pytest.raises(SourceError, match=r"train\.csv:1: unknown class 'Turning something upside down'; known are x"):
        load_source(path, class_names=["x"])
    write(path, "100218;Turning something upside down\n7;Holding something\n;Holding something\n100218;\n")
    with pytest.raises(SourceError) as caught:
        load_source(path)
    assert "train.csv:2: no 7 in" in str(caught.value)
    assert "train.csv:3: ';Holding something' must be id;label" in str(caught.value)
    assert "train.csv:4: '100218;' must be id;label" in str(caught.value)


def test_ids_and_labels_may_be_separated_by_commas(tmp_path: Path, make_frames: MakeFrames) -> None:
    path = write(tmp_path / "train.csv", '5,Doing other things\n6,"Lifting, then dropping"\n7,Pushing, then pulling\n')
    for name in "567":
        make_frames(tmp_path / name, range(1))
    source = load_source(path)
    assert source.data_format == "something_v1"
    assert source.class_names == ("Doing other things", "Lifting, then dropping", "Pushing, then pulling")


def test_something_v2(tmp_path: Path, make_video: MakeVideo, shown: Shown) -> None:
    items = [
        {"id": "78687", "label": "holding potato", "template": "Holding [something]", "placeholders": ["potato"]},
        {"id": "42326", "label": "x", "template": "Putting [something] on a surface", "placeholders": ["a cup"]},
    ]
    text = "[" + ",\n".join(json.dumps(item) for item in items) + "]"
    path = write(tmp_path / "something-something-v2-train.json", text)
    labels = tmp_path / "something-something-v2-labels.json"
    write(labels, '{"Putting something on a surface":"0","Holding something":"1"}')
    for item in items:
        video = tmp_path / "20bn-something-something-v2" / f"{item['id']}.webm"
        make_video(video, 6, codec="libvpx", crf="4", b="1M", deadline="realtime")
    source = load_source(path)
    assert source.data_format == "something_v2"
    assert source.class_names == ("Putting something on a surface", "Holding something")
    assert shown(source) == [
        ("20bn-something-something-v2/78687.webm", "Holding something", [0, 5]),
        ("20bn-something-something-v2/42326.webm", "Putting something on a surface", [0, 5]),
    ]
    write(path, text.replace("surface", "table").replace('"78687"', '"1"'))
    with pytest.raises(SourceError) as caught:
        load_source(path)
    assert "train.json:1 (item 1): no 1.webm in" in str(caught.value)
    assert "train.json:2 (item 2): unknown class 'Putting something on a table'" in str(caught.value)
    write(path, '[{"id":"1420"},{"id":"3"}]')
    with pytest.raises(SourceError, match="video 1420 has no template; pass the training or validation list"):
        load_source(path)
    with pytest.raises(SourceError, match="numbers of classes, not videos; pass the list that is beside it"):
        load_source(labels)
    write(labels, '{"Putting something on a surface":"0",\n"Holding something":"1",\n"Tearing something": "2"}')
    write(path, json.dumps(items[:1]))
    (warning,) = load_source(path).warnings
    assert (
        "surface (something-something-v2-labels.json:1), Tearing something (something-something-v2-labels.json:3)"
        in warning
    )
    write(path, text)
    write(labels, '{"Putting something on a surface":"0","Holding something":"2"}')
    with pytest.raises(SourceError, match="numbers of 2 classes must be 0 to 1, each once"):
        load_source(path)
    labels.unlink()
    with pytest.raises(SourceError, match=r"the classes are numbered by labels\.json, which is not beside it"):
        load_source(path)


def test_kinetics(tmp_path: Path, make_video: MakeVideo, shown: Shown) -> None:
    header = "label,youtube_id,time_start,time_end,split,is_cc\n"
    rows = '"petting animal (not cat)",-3B32lodo2M,59,69,train,0\nabseiling,Gu_l8DfpZRM,0,1,val,0\n'
    path = write(tmp_path / "k.csv", header + rows + "abseiling,ab_cdefghij,1,2,validate,1\n")
    videos = tmp_path / "videos"
    make_video(videos / "train" / "petting_animal_not_cat" / "-3B32lodo2M_000059_000069.mp4", 6)
    make_video(videos / "val" / "Gu_l8DfpZRM_000000_000001.mp4", 6)
    make_video(videos / "ab_cdefghij.mp4", 60)
    train = load_source(path, data_root=videos, split="train")
    assert train.data_format == "kinetics"
    assert shown(train) == [
        ("train/petting_animal_not_cat/-3B32lodo2M_000059_000069.mp4", "petting animal (not cat)", [0, 5])
    ]
    val = load_source(path, data_root=videos, split="val", class_names=["abseiling", "petting animal (not cat)"])
    # Of the whole film only the second from 1 s to 2 s, at 25 frames a second.
    assert shown(val) == [
        ("val/Gu_l8DfpZRM_000000_000001.mp4", "abseiling", [0, 5]),
        ("ab_cdefghij.mp4", "abseiling", [25, 49]),
    ]
    assert [record.span_sec for record in val.records] == [None, (1.0, 2.0)]
    with pytest.raises(SourceError, match=r"holds several splits: train \(1\), val \(2\); choose one with split"):
        load_source(path, data_root=videos)
    with pytest.raises(SourceError, match="has no split 'test'; it holds"):
        load_source(path, data_root=videos, split="test")
    write(path, header + "abseiling,Gu_l8DfpZRM,9,9,val,0\nabseiling,gone,0,10,val,0\n,ab_cdefghij,0,1,val,0\n")
    with pytest.raises(SourceError) as caught:
        load_source(path, data_root=videos)
    assert "k.csv:2: time_start to time_end is '9' to '9'; needs 0 <= start < end" in str(caught.value)
    assert "k.csv:3: no gone_000000_000010.mp4 and no gone.mp4 in" in str(caught.value)
    assert "k.csv:4: the label is empty" in str(caught.value)
    write(path, "youtube_id,time_start,time_end,split\nx,0,10,test\n")
    with pytest.raises(SourceError, match="must have the columns label, youtube_id, time_start and time_end"):
        load_source(path)


def test_a_kinetics_clip_in_two_classes_is_the_one_of_its_class(tmp_path: Path) -> None:
    path = write(
        tmp_path / "k.csv",
        "label,youtube_id,time_start,time_end,split\nair drumming,ab,1,2,train\nclapping,ab,1,2,train\n",
    )
    for folder in ("air_drumming", "clapping"):
        write(tmp_path / folder / "ab_000001_000002.mp4", "x")
    records = load_source(path).records
    assert [record.name for record in records] == ["air_drumming/ab_000001_000002.mp4", "clapping/ab_000001_000002.mp4"]
    (tmp_path / "clapping").rename(tmp_path / "other")
    (tmp_path / "air_drumming").rename(tmp_path / "third")
    with pytest.raises(SourceError, match=r"ab_000001_000002\.mp4 lies in several folders: other"):
        load_source(path)


def test_diving48(tmp_path: Path, make_video: MakeVideo, shown: Shown) -> None:
    items = [
        {"vid_name": "-mmq0PT-u8k_00155", "label": 1, "start_frame": 0, "end_frame": 13},
        {"vid_name": "2x00lRzlTVQ_00000", "label": 0, "start_frame": 4, "end_frame": 9},
    ]
    path = write(tmp_path / "Diving48_V2_train.json", json.dumps(items))
    vocab = write(
        tmp_path / "Diving48_vocab.json",
        '[["Back", "15som", "05Twis", "FREE"], ["Back", "15som", "15Twis", "FREE"]]',
    )
    for item in items:
        make_video(tmp_path / "rgb" / f"{item['vid_name']}.mp4", 12)
    source = load_source(path)
    assert source.data_format == "diving48"
    assert source.class_names == ("Back+15som+05Twis+FREE", "Back+15som+15Twis+FREE")
    assert shown(source) == [
        ("rgb/-mmq0PT-u8k_00155.mp4", "Back+15som+15Twis+FREE", [0, 11]),
        ("rgb/2x00lRzlTVQ_00000.mp4", "Back+15som+05Twis+FREE", [4, 8]),
    ]
    write(path, json.dumps([{**items[0], "label": 2}, {**items[1], "end_frame": True}, {"vid_name": "x", "label": 0}]))
    with pytest.raises(SourceError) as caught:
        load_source(path)
    assert "train.json:1 (item 1): -mmq0PT-u8k_00155 has label 2, must be 0 to 1" in str(caught.value)
    assert "train.json:1 (item 2): 2x00lRzlTVQ_00000 has start_frame 4 and end_frame True" in str(caught.value)
    assert "train.json:1 (item 3): no x.mp4" in str(caught.value)
    write(path, json.dumps(items[:1]))
    assert "FREE (Diving48_vocab.json:1 (item 1))" in load_source(path).warnings[0]
    write(vocab, '[["Back", "15som"],\n"FREE"]')
    with pytest.raises(SourceError, match=r"Diving48_vocab\.json:2 \(item 2\): must be a list of the words of a class"):
        load_source(path)
    vocab.unlink()
    write(path, json.dumps(items))
    assert load_source(path).class_names == ("0", "1")


def test_ucf101(tmp_path: Path, make_video: MakeVideo, shown: Shown) -> None:
    lists = tmp_path / "ucfTrainTestlist"
    write(lists / "classInd.txt", "1 ApplyEyeMakeup\r\n2 HandstandPushups\r\n")
    apply, stand = "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi", "HandstandPushups/v_HandStandPushups_g01_c01.avi"
    train = write(lists / "trainlist01.txt", f"{apply} 1\r\n")
    write(lists / "testlist01.txt", f"{stand}\r\n")
    videos = tmp_path / "UCF-101"
    for name in (apply, stand):
        make_video(videos / name, 6)
    first = load_source(lists, data_root=videos, split="train1")
    assert first.data_format == "ucf101"
    assert shown(first) == [(apply, "ApplyEyeMakeup", [0, 5])]
    assert shown(load_source(lists / "testlist01.txt", data_root=videos)) == [(stand, "HandstandPushups", [0, 5])]
    assert load_source(train, data_root=videos).records == first.records
    with pytest.raises(SourceError, match="no split was chosen; choose train1, test1"):
        load_source(lists, data_root=videos)
    with pytest.raises(SourceError, match=r"trainlist03\.txt: no such file"):
        load_source(lists, data_root=videos, split="train3")
    with pytest.raises(SourceError, match="is one split; give the folder"):
        load_source(train, data_root=videos, split="train1")
    write(train, f"{apply} 2\n{apply}\nOther/x.avi 1\n")
    with pytest.raises(SourceError) as caught:
        load_source(train, data_root=videos)
    assert f"trainlist01.txt:1: '{apply}' is listed as class 2, but ApplyEyeMakeup is 1" in str(caught.value)
    assert "trainlist01.txt:3: 'Other/x.avi' must be Class/video, with a class of classInd.txt" in str(caught.value)
    (lists / "classInd.txt").unlink()
    with pytest.raises(SourceError, match=r"\(ucf101\), counting classes from 1, or any list \(path_list\)\?"):
        load_source(train, data_root=videos)


def test_hmdb51(tmp_path: Path, make_video: MakeVideo, shown: Shown) -> None:
    lists, videos = tmp_path / "testTrainMulti_7030_splits", tmp_path / "videos"
    names = [f"April_09_brush_hair_u_nm_np1_ba_goo_{i}.avi" for i in range(3)]
    write(lists / "brush_hair_test_split1.txt", "".join(f"{name} {i} \n" for i, name in enumerate(names)))
    write(lists / "cartwheel_test_split1.txt", "(Rad)#2_cartwheel_f_cm_np1_ba_bad_8.avi 1 \n")
    for number, name in enumerate(names):
        make_video(videos / "brush_hair" / name, 6 + number)
    make_video(videos / "cartwheel" / "(Rad)#2_cartwheel_f_cm_np1_ba_bad_8.avi", 5)
    train = load_source(lists, data_root=videos, split="train1")
    assert train.data_format == "hmdb51"
    assert shown(train) == [
        (f"brush_hair/{names[1]}", "brush_hair", [0, 6]),
        ("cartwheel/(Rad)#2_cartwheel_f_cm_np1_ba_bad_8.avi", "cartwheel", [0, 4]),
    ]
    test = load_source(lists, data_root=videos, split="test1")
    assert shown(test) == [(f"brush_hair/{names[2]}", "brush_hair", [0, 7])]
    assert test.class_names == train.class_names
    assert "cartwheel (cartwheel_test_split1.txt)" in test.warnings[0]
    with pytest.raises(SourceError, match=r"no files CLASS_test_split2\.txt"):
        load_source(lists, data_root=videos, split="train2")
    with pytest.raises(SourceError, match=r"one class of HMDB51's splits \(hmdb51\), or any list \(path_list\)"):
        load_source(lists / "cartwheel_test_split1.txt")
    as_list = load_source(lists / "cartwheel_test_split1.txt", data_root=videos / "cartwheel", data_format="path_list")
    assert [record.label for record in as_list.records] == [1]
