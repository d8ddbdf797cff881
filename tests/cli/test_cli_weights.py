"""Published weights on the command line: listed, described, used."""

import json

import pytest

import videozoo
from videozoo.cli import main

Capture = pytest.CaptureFixture[str]


def test_list_of_weights(capsys: Capture) -> None:
    assert main(["list", "--pretrained"]) == 0
    assert capsys.readouterr().out.splitlines() == videozoo.list_pretrained()
    assert main(["list", "ssv1", "--pretrained", "--json"]) == 0
    names = json.loads(capsys.readouterr().out)
    assert "tsm_r50.mit_ssv1_8f" in names
    assert all("ssv1" in name for name in names)
    assert main(["list", "--pretrained", "nothing"]) == 2
    assert "no published weights named like 'nothing'" in capsys.readouterr().err


def test_info_of_weights(capsys: Capture) -> None:
    assert main(["info", "tsm_r50.mm_ssv2_8f"]) == 0
    out = capsys.readouterr().out
    for words in ("-be0fc26e.pth", "Apache-2.0", "2x3 views", "174: Approaching something", "top1 0.627"):
        assert words in out
    assert main(["info", "tsm_r50", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["weights"] == videozoo.list_pretrained("tsm_r50")
    assert facts["weights"][0] == "tsm_r50.mm_k400_8f"
    assert facts["has_weights"]
    assert main(["info", "tsm_r50.mm_ssv2"]) == 2
    assert "tsm_r50 has no weights with the tag 'mm_ssv2'; it has mm_ssv2_8f" in capsys.readouterr().err
