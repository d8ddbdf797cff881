"""Published weights on the command line: listed, described, used."""

import json

import pytest

import videozoo
from videozoo.cli import main

Capture = pytest.CaptureFixture[str]


def test_list_of_weights(capsys: Capture) -> None:
    assert main(["list", "--pretrained"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == videozoo.list_pretrained()
    assert main(["list", "ssv1", "--pretrained", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    cfg = videozoo.get_pretrained_cfg("tsm_r50.mit_ssv1_8f")
    assert rows["tsm_r50.mit_ssv1_8f"].items() >= {"dataset": cfg.dataset, "frames": 8}.items()
    assert rows["tsm_r50.mit_ssv1_8f"]["top1"] == pytest.approx(cfg.metrics["top1"])
    assert all("ssv1" in name for name in rows)
    assert main(["list", "--pretrained", "nothing"]) == 2
    assert "no published weights named like 'nothing'" in capsys.readouterr().err


def test_weights_within_limits_in_order(capsys: Capture) -> None:
    argv = ["list", "tsm", "--pretrained", "--data-set", "k400", "--max-gmacs", "40", "--sort", "top1"]
    assert main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    wanted = videozoo.list_pretrained("*tsm*", data_set="k400", max_gmacs=40, sort="top1")
    assert [line.split()[0] for line in lines] == wanted
    assert "Kinetics-400  69.50   3.27" in lines[-1]
    assert main(["list", "--sort", "gmacs", "--max-params", "3", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["macs"] for row in rows] == sorted(row["macs"] for row in rows)
    assert max(row["params"] for row in rows) <= 3e6
    for flags, message in (
        (["--pretrained", "--data-set", "k40"], "no weights of the data set 'k40'; choose k400, k600"),
        (["--pretrained", "--max-gmacs", "0.001"], "no published weights within these limits"),
        (["--sort", "top1"], "--sort top1 is for weights; add --pretrained"),
        (["--sort", "acc"], "'top1', 'gmacs', 'params', 'mb'"),
    ):
        assert main(["list", *flags]) == 2
        assert message in capsys.readouterr().err


def test_the_head_is_for_terminals_alone(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["list", "--pretrained", "test_*"]) == 0
    head, line, _ = capsys.readouterr().out.splitlines()
    names = ["name", "data", "set", "top-1", "GMACs", "views", "clip", "params", "MB", "license"]
    assert head.split() == names
    assert line.split()[-2:] == ["0.4", "Apache-2.0"]


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
