"""Predictor: open files, bytes and frames in memory give the answer of the file; what is wrong costs itself."""

import gzip
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from videozoo import Prediction, Predictor
from videozoo.data import VideoReader
from videozoo.inference import Extractor

MODEL = "test_dnr_tsn.motions"


@pytest.fixture
def frames(clips: list[Path]) -> torch.Tensor:
    with VideoReader(clips[0]) as reader:
        return reader.read(range(reader.num_frames))


def test_every_form_of_a_video_has_the_answer_of_its_file(
    clips: list[Path], predictor: Predictor, frames: torch.Tensor, tmp_path: Path
) -> None:
    expected, data = predictor(clips[0]), clips[0].read_bytes()
    array = frames.permute(0, 2, 3, 1).contiguous().numpy()
    packed = tmp_path / "x.gz"
    packed.write_bytes(gzip.compress(data))
    with open(clips[0], "rb") as file, gzip.open(packed) as unpacked, tempfile.TemporaryFile() as unnamed:
        file.seek(3)  # it is read from its beginning all the same
        unnamed.write(data)
        forms: dict[str, Any] = {
            "open file": file,
            "file in memory": io.BytesIO(data),
            "compressed file": unpacked,
            "file without a name": unnamed,
            "bytes": data,
            "bytearray": bytearray(data),
            "array": array,
            "tensor": frames,
            "pictures": [Image.fromarray(image) for image in array],
            "arrays": tuple(array),
        }
        for name, form in forms.items():
            answer = predictor(form)
            assert isinstance(answer, Prediction), name
            assert answer.error is None, name
            np.testing.assert_array_equal(answer.scores, expected.scores, name)
    assert [predictor(form).path for form in (data, array)] == ["<bytes>", "<frames>"]
    by_level = [Extractor(MODEL, device="cpu")(form).scores for form in (clips[0], array)]
    np.testing.assert_array_equal(*by_level)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_list_of_all_kinds(workers: int, clips: list[Path], predictor: Predictor, frames: torch.Tensor) -> None:
    closed = open(clips[0], "rb")  # noqa: SIM115
    closed.close()
    image = Image.fromarray(frames[0].permute(1, 2, 0).numpy())
    asked = [frames, clips[0], b"no video", frames.float(), clips[0].read_bytes(), closed, list(frames), image]
    answers = Predictor(MODEL, device="cpu", batch_size=3, workers=workers)(asked)
    assert [answer.ok for answer in answers] == [True, True, False, False, True, False, True, False]
    for place in (0, 1, 4, 6):
        np.testing.assert_allclose(answers[place].scores, predictor(clips[0]).scores, atol=1e-6)
    assert "frames are float32" in (answers[3].error or "")
    assert "the open file cannot be read" in (answers[5].error or "")
    assert "give a list of pictures" in (answers[7].error or "")


def test_arrays_of_paths_and_of_bytes_are_lists(clips: list[Path], predictor: Predictor) -> None:
    for array in (np.array([str(path) for path in clips[:2]]), np.array([clips[0].read_bytes()] * 2, object)):
        assert [answer.ok for answer in predictor(array)] == [True, True]
    with open(clips[0], encoding="latin-1") as file:
        assert "open it with mode 'rb'" in (predictor(io.StringIO(file.read())).error or "")


@pytest.mark.parametrize("asked", [3, None, [None], ["a.mp4", 3.5]])
def test_unsupported_inputs_are_refused(asked: Any, predictor: Predictor) -> None:
    with pytest.raises(TypeError, match=r"Predictor: got .*; give a path, an open file, bytes, uint8 frames"):
        predictor(asked)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("", "the path is empty"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8, device="meta"), "a tensor without plain values"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8).to_sparse(), "a tensor without plain values"),
    ],
)
def test_what_has_no_content_costs_itself(asked: Any, said: str, clips: list[Path], predictor: Predictor) -> None:
    assert said in str(predictor(asked).error)
    wrong, right = predictor([asked, clips[0]])
    assert (wrong.ok, right.ok) == (False, True)
