"""Tests of cards: their content, their metadata for the Hub, and text of the user that could break them."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard

import videozoo
from videozoo import ARC, DNR, TSM, TSN, WeightsError
from videozoo.engine import CheckpointError, RunRecord, read_run, save_checkpoint, write_results
from videozoo.models import model_config
from videozoo.publish import Source, find_source, prepare_folder, render_card
from videozoo.publish.metadata import accuracies, escape, license_fields
from videozoo.report import count_cost

NASTY = [
    "a|b",
    "--- \n---\nlicense: mit",
    "<img src=x onerror=1>",
    "`code` *bold* [x](y)",
    "# head",
    "ü \u2028 \x00 漢",
]


def make(names: list[str], **options: Any) -> Any:
    net = videozoo.compose("tiny_resnet", TSM(), [ARC()], num_classes=len(names), num_frames=4, **options)
    net.pretrained_cfg |= {"label_names": names, "input_size": (3, 32, 32)}
    return net.eval()


def record(names: list[str], confusion: torch.Tensor | None = None, **results: Any) -> Source:
    rows = {"top1": 0.5, "top5": 1.0, "mean_class": 0.25, "num_views": 1, "num_labelled": 8, "class_names": names}
    rows |= {"per_class": [1.0, *[0.5] * (len(names) - 2), None]}
    return Source(Path("nowhere"), RunRecord({**rows, **results}, confusion=confusion))


def sections(card: str) -> dict[str, str]:
    """Bodies by heading."""
    parts = re.split(r"^## (.+)$", card, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def cells(body: str) -> list[list[str]]:
    """The table rows of a section, split at the bars that are not escaped."""
    lines = [line for line in body.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_card_shows_the_model() -> None:
    net = make(["left", "right", "up"])
    cost = count_cost(net)
    card = render_card(net, repo="lab/net")
    body = sections(card)
    rows = dict(row[:2] for row in cells(body["Model"]) if len(row) == 2)
    assert rows["backbone"] == "`tiny_resnet` of videozoo"
    assert rows["temporal module"] == r"TSM(shift\_div=8, shift\_shortcut=False)"
    assert rows["add-on"].startswith(r"ARC(num\_steps=4")
    assert rows["parameters"] == f"{cost.params:,}"
    assert rows["cost of one view"] == f"{cost.macs / 1e9:.2f} GMACs"
    assert 'create_model("hf-hub:lab/net", pretrained=True)' in body["Use"]
    assert "Temporal Shift Module" in body["References"]
    assert "Adaptive Recursive Circle" in body["References"]
    assert "Unknown" in body["License"]
    assert [row[1] for row in cells(body["Classes"])[2:]] == ["left", "right", "up"]
    assert "No accuracy is recorded" in body["Evaluation"]
    assert "1 x 1 views" in body["Evaluation"]


def test_metadata_is_valid_for_the_hub() -> None:
    net = make(["a", "b", "c", "d", "e", "f"])
    net.pretrained_cfg |= {"license": "Apache-2.0", "dataset": "Something-Something V1"}
    card = ModelCard(render_card(net, record(list("abcdef")), repo="lab/net"))
    data = card.data.to_dict()
    assert data["library_name"] == "videozoo"
    assert data["pipeline_tag"] == "video-classification"
    assert data["license"] == "apache-2.0"
    assert data["datasets"] == ["something-something-v1"]
    assert {"videozoo", "arc", "tsm"} <= set(data["tags"])
    results = {r.metric_name: r.metric_value for r in card.data.eval_results}
    assert results == {"top-1 accuracy": 50.0, "top-5 accuracy": 100.0, "mean-class accuracy": 25.0}
    assert {r.dataset_name for r in card.data.eval_results} == {"Something-Something V1"}
    assert card.data.model_name == "lab/net"


def test_no_text_of_the_user_breaks_a_card() -> None:
    net = make(NASTY)
    net.pretrained_cfg |= {"license": "My: own\n---\nlicense", "dataset": "x: [\n---\n'", "train_recipe": "a | b\n# c"}
    confusion = torch.eye(len(NASTY), dtype=torch.int64)
    card = render_card(net, record(NASTY, confusion), repo="lab/net")
    head, body = re.fullmatch(r"---\n(.*?)\n---\n(.*)", card, re.DOTALL).groups()  # type: ignore[union-attr]
    data = yaml.safe_load(head)
    assert (data["license"], data["license_name"]) == ("other", "my-own-license")
    assert data["model-index"][0]["results"][0]["dataset"]["name"] == "x: [ --- '"
    assert list(sections(body)) == [
        *("Use", "Model", "Data", "Training", "Evaluation", "Classes", "License", "References"),
    ]
    assert [len(row) for row in cells(sections(body)["Classes"])] == [3] * (len(NASTY) + 2)
    assert {len(row) for row in cells(sections(body)["Evaluation"])} == {2, len(NASTY) + 1}
    assert "<img" not in body
    assert "\n---\n" not in body
    assert "\n# head" not in body
    assert ModelCard(card).data.library_name == "videozoo"


def test_escape_keeps_what_is_shown() -> None:
    assert escape("plain words") == "plain words"
    assert escape("a|b\n<c>") == r"a\|b &lt;c&gt;"
    assert escape("turn_left & `x`") == r"turn\_left &amp; \`x\`"
    assert escape("a\\|b") == r"a\\\|b"


def test_the_confusion_of_few_classes_is_a_table() -> None:
    confusion = torch.tensor([[2, 1], [0, 3]])
    body = sections(render_card(make(["x", "y"]), record(["x", "y"], confusion)))["Evaluation"]
    assert ["**x**", "2", "1"] in cells(body)
    assert ["**y**", "0", "3"] in cells(body)
    assert "top-5" not in body


def test_many_classes_list_the_worst_confusions() -> None:
    names = [f"class {i}" for i in range(30)]
    confusion = 10 * torch.eye(30, dtype=torch.int64)
    confusion[3] = torch.nn.functional.one_hot(torch.tensor(7), 30) * 4  # all four predicted as 7
    confusion[5, 6] = 10
    body = sections(render_card(make(names), record(names, confusion)))["Evaluation"]
    rows = cells(body)
    start = rows.index(["true class", "predicted class", "videos"])
    assert rows[start + 2 :] == [["class 3", "class 7", "4 of 4"], ["class 5", "class 6", "10 of 20"]]
    clean = render_card(make(names), record(names, 10 * torch.eye(30, dtype=torch.int64)))
    assert "No video was misclassified" in clean


def test_accuracies_are_percentages_of_what_was_measured() -> None:
    measured = {"top1": 0.12345, "top5": 0.5, "mean_class": None, "epoch": 3}
    assert accuracies(measured, 10) == {"top-1 accuracy": 12.35, "top-5 accuracy": 50.0}
    assert accuracies(measured, 5) == {"top-1 accuracy": 12.35}
    assert accuracies({"top1": 72.83}, 400) == {"top-1 accuracy": 72.83}  # as published
    assert accuracies({"top1": float("nan")}, 10) == {}


def test_licenses() -> None:
    assert license_fields("MIT") == {"license": "mit"}
    assert license_fields("CC-BY-NC-4.0") == {"license": "cc-by-nc-4.0"}
    assert license_fields("for research only") == {"license": "other", "license_name": "for-research-only"}
    assert license_fields(None) == license_fields(" ") == {"license": "unknown"}


def test_dnr_and_other_backbones_have_their_papers() -> None:
    net = videozoo.compose("regnetx_002", TSN(), [DNR()], num_classes=2, num_frames=2)
    net.pretrained_cfg |= {"input_size": (3, 32, 32)}
    body = sections(render_card(net))
    assert ["backbone", "`regnetx_002` of timm"] in cells(body["Model"])
    references = body["References"]
    assert references.count("@") == 3
    assert all(word in references for word in ("Dynamic Normalization and Relay", "Temporal Segment", "Design Spaces"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder as finetune leaves it, of a small model, with paths in its settings."""
    net, names = make(["x", "y"]), ["x", "y"]
    metrics = {"top1": 0.5, "top5": 1.0, "mean_class": 0.25, "epoch": 2}
    config = model_config(net, names)
    config["pretrained_cfg"] |= {"metrics": metrics}
    state = {"config": {"epochs": 3, "opt": "sgd", "lr": 0.01}, "best_confusion": torch.tensor([[1, 1], [0, 2]])}
    save_checkpoint(tmp_path / "run" / "best", net.state_dict(), config)
    save_checkpoint(tmp_path / "run" / "last", net.state_dict(), config, state)
    results = {**metrics, "num_views": 1, "num_labelled": 4, "class_names": names, "per_class": [0.5, 1.0]}
    results |= {"num_correct": 2, "top1_interval": [0.15, 0.85], "chance": 0.5, "epochs": 3, "eval_metric": "top1"}
    results["num_train_videos"] = 1200
    write_results(tmp_path / "run" / "results.json", results)
    flags = {"model": "tsm_r18", "batch_size": 8, "data": str(tmp_path), "backbone_weights": str(tmp_path / "b.pth")}
    (tmp_path / "run" / "args.json").write_text(json.dumps({"settings": flags}))
    (tmp_path / "run" / "confusion.png").write_bytes(b"a picture")
    return tmp_path / "run"


@pytest.mark.parametrize("part", ["", "best"])
def test_run_card_has_recipe_and_results_without_paths(run: Path, tmp_path: Path, part: str) -> None:
    source = find_source(run / part)
    assert source.folder == run / "best"
    net = videozoo.create_model(f"local-dir:{source.folder}", pretrained=True)
    prepare_folder(tmp_path / "out", net, source, "lab/net")
    assert (tmp_path / "out" / "confusion.png").read_bytes() == b"a picture"
    card = (tmp_path / "out" / "README.md").read_text()
    recipe = dict(row for row in cells(sections(card)["Training"]) if len(row) == 2)
    assert recipe["start"] == "backbone from weights of the publisher"
    assert (recipe["epochs"], recipe["optimizer"], recipe["learning rate"]) == ("3", "sgd", "0.01")
    assert recipe["best epoch"].startswith("2,")
    assert recipe["batch size"] == "8"
    evaluation = sections(card)["Evaluation"]
    assert ["**x**", "1", "1"] in cells(evaluation)
    assert "on 4 videos" in evaluation
    assert "Top-1 is 2 of 4 videos. Its 95 % interval (Wilson) is 15.0 to 85.0 %. Chance is 50.0 %." in evaluation
    assert "Epoch 2 of 3 was chosen by top-1 on these same videos" in evaluation
    assert "2 classes. 1,200 training videos. 4 labeled validation videos." in sections(card)["Data"]
    assert "(confusion.png)" in evaluation
    published = json.loads((tmp_path / "out" / "config.json").read_text())["pretrained_cfg"]
    assert "epochs 3; optimizer sgd; learning rate 0.01" in published["train_recipe"]
    for name in ("README.md", "config.json"):
        assert str(tmp_path) not in (tmp_path / "out" / name).read_text()


def test_model_folder_card_shows_its_config(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "best", tmp_path / "alone")
    source = find_source(tmp_path / "alone")
    assert source.run is None
    card = render_card(videozoo.create_model(f"local-dir:{source.folder}", pretrained=True), source)
    assert ["top-1 accuracy", "50 %"] in cells(sections(card)["Evaluation"])
    assert "As recorded in the config" in card
    assert "does not record how it was trained" in sections(card)["Training"]


def test_ensemble_card_lists_its_members(tmp_path: Path) -> None:
    nets = [videozoo.compose("tiny_resnet", TSM(), [part], num_classes=3, num_frames=4) for part in (ARC(), DNR())]
    ensemble = videozoo.Ensemble(nets)
    ensemble.pretrained_cfg |= {"input_size": (3, 32, 32), "description": "By us. Of 25 x 10 views.", "dataset": "Ours"}
    prepare_folder(tmp_path / "out", ensemble, None, "lab/net")
    card = (tmp_path / "out" / "README.md").read_text()
    parts = [row[1].partition("(")[0] for row in cells(sections(card)["Model"]) if row[0] == "add-on"]
    assert parts == ["ARC", "DNR"]
    assert "an ensemble of 2 models" in card
    assert "\n\nBy us. Of 25 x 10 views.\n\n## Use" in card
    assert sections(card)["Data"].strip() == "Ours, 3 classes."


@pytest.mark.parametrize("has_table", [True, False])
def test_an_evaluation_in_a_model_folder_is_shown(run: Path, tmp_path: Path, has_table: bool) -> None:
    folder = tmp_path / "alone"
    shutil.copytree(run / "best", folder)
    results = {"top1": 0.75, "num_views": 30, "num_labelled": 3, "class_names": ["x", "y"], "model": str(tmp_path)}
    counts = {} if has_table else {"confusion": [[1, 1], [0, 1]]}
    write_results(folder / "results.json", {**results, **counts})
    if has_table:
        (folder / "confusion.csv").write_text(",x,y\nx,1,1\ny,0,1\n")
    net = videozoo.create_model(folder, pretrained=True)
    prepare_folder(tmp_path / "out", net, find_source(folder), "lab/net")
    card = (tmp_path / "out" / "README.md").read_text()
    body = sections(card)["Evaluation"]
    assert "30 views" in body
    assert ["top-1 accuracy", "75 %"] in cells(body)
    assert cells(body)[-2:] == [["**x**", "1", "1"], ["**y**", "0", "1"]]
    assert str(tmp_path) not in card
    (folder / "confusion.csv").write_text(",x,z\nx,1,1\nz,0,1\n")
    write_results(folder / "results.json", results)
    with pytest.raises(WeightsError, match="do not go together"):
        find_source(folder)
    write_results(folder / "results.json", {**results, "models": [{"model": "one"}, {"model": "other"}]})
    with pytest.raises(WeightsError, match="results of an ensemble"):
        find_source(folder)
    write_results(folder / "results.json", {**results, "is_reversed": True})
    with pytest.raises(WeightsError, match="of clips played backwards"):
        find_source(folder)


def test_other_channels_and_no_config_of_sizes() -> None:
    net = videozoo.compose("tiny_resnet", TSN(), num_classes=2, num_frames=2, in_chans=2)
    net.pretrained_cfg |= {"input_size": (2, 32, 32)}
    body = sections(render_card(net))
    assert "(B, 2, 2, 32, 32)" in body["Use"]
    assert "2 x 2 x 32 x 32" in body["Model"]


def test_names_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    net = make(["x", "y"])
    net.pretrained_cfg["label_names"] = ["x", "y", "z"]
    with pytest.raises(WeightsError, match="label_names has 3 names for 2 classes"):
        prepare_folder(tmp_path / "out", net, None, "lab/net")


@pytest.mark.parametrize("name", ["test_arc_tsm", "test_dnr_tsn"])
def test_bundled_weights_have_a_card_with_confusion_matrix(name: str) -> None:
    source = find_source(Path(videozoo.__file__).parent / "models" / "bundled" / name)
    card = render_card(videozoo.create_model(name, pretrained=True), source)
    body = sections(card)
    assert "\n\nFor testing only" in card
    assert source.run is not None
    assert source.run.confusion is not None
    rows = [row[1:] for row in cells(body["Evaluation"]) if row[0].startswith("**")]
    assert [[int(cell) for cell in row] for row in rows] == source.run.confusion.tolist()
    hits = source.run.confusion.trace() / source.run.confusion.sum()
    assert ["top-1 accuracy", f"{round(100 * hits.item(), 2):g} %"] in cells(body["Evaluation"])


def test_incomplete_runs_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such folder; give a run of videozoo finetune or a model folder"):
        find_source(tmp_path / "nowhere")
    with pytest.raises(WeightsError, match="neither a run"):
        find_source(tmp_path)
    results = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps({**results, "epoch": 1, "top1": 0.25}))
    with pytest.raises(WeightsError, match=r"disagree \(top1 0.5 and 0.25, epoch 2 and 1\)"):
        find_source(run)
    (run / "results.json").write_text("{")
    with pytest.raises(CheckpointError, match="not readable"):
        read_run(run)


def test_results_of_other_weights_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"its weights are not those of .*best, whose results the card would show"):
        prepare_folder(tmp_path / "out", make(["x", "y"]), find_source(run), "lab/net")


def test_results_of_other_classes_are_refused(run: Path, tmp_path: Path) -> None:
    net = make(["p", "q"])
    with pytest.raises(WeightsError, match="results are of 2 classes that are not the model's 2"):
        prepare_folder(tmp_path / "out", net, find_source(run), "lab/net")


def test_recipe_has_no_path(run: Path) -> None:
    for recipe, words in (("arc_ssv1", "arc_ssv1 of videozoo"), ("/home/me/own.yaml", "a file of the publisher")):
        flags = {"model": "tsm_r18", "recipe": recipe, "mixup": 0.2, "cutmix": 0.0, "aa": None}
        (run / "args.json").write_text(json.dumps({"settings": flags}))
        recipe = find_source(run).recipe
        assert (recipe["recipe"], recipe["mixup"]) == (words, "0.2")
        assert not {"cutmix", "RandAugment"} & recipe.keys()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"model": "local-dir:/home/me/run/best"}, "weights of an earlier run"),
        ({"model": "hf-hub:lab/net@v1"}, "weights of hf-hub:lab/net@v1"),
        ({"model": "tsm_r50.mm_k400_8f", "pretrained": True}, r"weights of tsm\_r50.mm\_k400\_8f"),
        ({"model": "tsm_r18", "backbone_weights": "tv_in1k"}, r"backbone from tv\_in1k"),
        ({"model": "tsm_r18", "initial_checkpoint": "/home/me/a.safetensors"}, "a weights file of the publisher"),
        ({"model": "arc_tsm_r50", "init_from": "tsm_r50.mm_k400_8f"}, r"its base, tsm\_r50.mm\_k400\_8f"),
        ({"model": "arc_tsm_r50", "init_from": "local-dir:/home/me/x"}, "its base, weights of the publisher"),
        ({"model": "arc_tsm_r50", "init_from": "mine/x"}, "its base, weights of the publisher"),
        ({"model": "tsm_r18", "backbone_weights": "resnet.pth"}, "backbone from weights of the publisher"),
        ({"model": "tsm_r18"}, "trained from scratch"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_start_has_no_path(run: Path, flags: dict[str, Any], words: str) -> None:
    (run / "args.json").write_text(json.dumps({"settings": flags}))
    assert escape(find_source(run).recipe["start"]) == words
