"""Tests of `push_to_hub` with the real client on a local hub: one commit, or nothing and one clear error."""

import json
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_hub import TOKEN, FakeHub, Fault
from huggingface_hub import HfApi, constants

import videozoo
from videozoo import ARC, TSM, WeightsError, push_to_hub
from videozoo.hub import retry
from videozoo.publish import prepare_folder, publish_folder, push

REPO = "lab/net"
FILES = {"config.json", "model.safetensors", "README.md"}
ALWAYS = None


def make_model() -> Any:
    """Return a small model with class names and a license."""
    net = videozoo.compose("tiny_resnet", TSM(), [ARC()], num_classes=3, num_frames=4)
    net.pretrained_cfg |= {"label_names": ["left", "right", "up"], "license": "MIT", "input_size": (3, 32, 32)}
    return net.eval()


@pytest.fixture
def model() -> Any:
    return make_model()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a second prepared folder of the model, with other weights."""
    root = tmp_path_factory.mktemp("prepared")
    net = make_model()
    prepare_folder(root / "first", net, None, REPO)
    torch.nn.init.ones_(net.fc.weight)
    prepare_folder(root / "second", net, None, REPO)
    return root / "first", root / "second"


@pytest.fixture
def folder(folders: tuple[Path, Path]) -> Path:
    return folders[0]


@pytest.fixture
def changed(folders: tuple[Path, Path]) -> Path:
    return folders[1]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub without repositories, and a token that may write to ``lab``."""
    with FakeHub() as hub:
        hub.patch(monkeypatch, tmp_path / "home", TOKEN)
        monkeypatch.setattr(retry, "DELAYS", (0.0, 0.0))
        yield hub


def writes(hub: FakeHub) -> list[str]:
    """Methods and paths of all requests that may change something."""
    return [f"{r.method} {r.path}" for r in hub.requests if r.method not in ("GET", "HEAD")]


def names(hub: FakeHub, branch: str = "main") -> set[str]:
    return set(hub.repos[REPO].head(branch)) - {".gitattributes"}


def reason_of(act: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """The message of what must fail: one line that names the repository."""
    with pytest.raises(WeightsError) as caught:
        act(*args, **kwargs)
    message = str(caught.value)
    assert message.startswith(args[1])
    assert "\n" not in message
    return message


def test_push_is_one_commit_with_all_files(hub: FakeHub, model: Any, tmp_path: Path) -> None:
    pushed = push_to_hub(model, REPO)
    repo = hub.repos[REPO]
    assert names(hub) == FILES == set(pushed.files)
    assert len(repo.commits) == 2  # the hub's own first one, and ours
    assert (pushed.commit, pushed.is_new) == (repo.refs["main"], True)
    assert pushed.url == f"{hub.url}/{REPO}/commit/{pushed.commit}"
    assert not repo.private
    for name, size in pushed.files.items():
        assert (tmp_path / name).write_bytes(repo.head()[name]) == size
    again = videozoo.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    clip = torch.randn(2, 3, 4, 32, 32)
    assert torch.equal(again(clip), model(clip))
    assert list(again.pretrained_cfg["label_names"]) == ["left", "right", "up"]


def test_push_to_hub_twice_changes_nothing(hub: FakeHub, model: Any) -> None:
    first = push_to_hub(model, REPO, revision="v1")
    before = len(writes(hub))
    again = push_to_hub(model, REPO, revision="v1")
    assert (again.commit, again.is_new) == (first.commit, False)
    assert len(writes(hub)) == before
    assert f"hf-hub:{REPO}@v1" in hub.repos[REPO].head("v1")["README.md"].decode()


def test_pushing_the_same_again_changes_nothing(hub: FakeHub, folder: Path) -> None:
    first = publish_folder(folder, REPO)
    before = len(writes(hub))
    again = publish_folder(folder, REPO)
    assert (again.commit, again.is_new) == (first.commit, False)
    assert len(writes(hub)) == before
    # Files of others beside ours do not matter.
    commit = hub.put(REPO, {**hub.repos[REPO].head(), "notes.txt": b"by hand"})
    assert publish_folder(folder, REPO).commit == commit
    assert len(writes(hub)) == before


def test_other_weights_are_one_more_commit(hub: FakeHub, folder: Path, changed: Path) -> None:
    publish_folder(folder, REPO)
    hub.put(REPO, {**hub.repos[REPO].head(), "notes.txt": b"by hand"})
    pushed = publish_folder(changed, REPO)
    assert pushed.is_new
    assert pushed.commit == hub.repos[REPO].refs["main"]
    assert names(hub) == {*FILES, "notes.txt"}
    assert len(hub.asked(f"/{REPO}/commit/main", "POST")) == 2


FAULTS = [
    Fault("validate-yaml", "status", 503, "POST", ALWAYS),
    Fault("preupload", "status", 500, "POST", ALWAYS),
    Fault("preupload", "reset", None, "POST", ALWAYS),
    Fault("objects/batch", "status", 500, "POST", ALWAYS),
    Fault("/upload/", "status", 503, "PUT", ALWAYS),
    Fault("/upload/", "reset", None, "PUT", ALWAYS),
    Fault("/commit/", "status", 500, "POST", ALWAYS),
    Fault("/commit/", "reset", None, "POST", ALWAYS),
]


def name_of(fault: Fault) -> str:
    return f"{fault.path.strip('/').replace('/', '-')}-{fault.do}"


@pytest.mark.parametrize("fault", FAULTS, ids=name_of)
def test_a_failure_leaves_no_new_repository(hub: FakeHub, folder: Path, fault: Fault) -> None:
    hub.faults.append(fault)
    message = reason_of(publish_folder, folder, REPO)
    assert "not published: " in message
    assert "HTTP status 50" in message if fault.do == "status" else "Error" in message
    assert message.endswith("the new repository was removed again")
    assert not hub.repos
    hub.faults.clear()
    assert publish_folder(folder, REPO).is_new
    assert names(hub) == FILES


@pytest.mark.parametrize("fault", FAULTS[1::3] + FAULTS[-1:], ids=name_of)
def test_a_failure_leaves_a_repository_as_it_was(hub: FakeHub, folder: Path, changed: Path, fault: Fault) -> None:
    publish_folder(folder, REPO)
    before = dict(hub.repos[REPO].refs), len(hub.repos[REPO].commits)
    hub.faults.append(fault)
    assert reason_of(publish_folder, changed, REPO).endswith("nothing was changed there")
    assert (dict(hub.repos[REPO].refs), len(hub.repos[REPO].commits)) == before
    assert not hub.asked("", "DELETE")


def test_existing_empty_repository_is_not_removed(hub: FakeHub, folder: Path) -> None:
    hub.put(REPO, {".gitattributes": b"*.safetensors filter=lfs\n"})
    hub.faults.append(Fault("/commit/", "status", 500, "POST"))
    assert "not published" in reason_of(publish_folder, folder, REPO)
    assert REPO in hub.repos
    assert not hub.asked("", "DELETE")


def test_commit_with_a_lost_answer_counts(hub: FakeHub, folder: Path) -> None:
    hub.faults.append(Fault("/commit/", "lost", None, "POST"))
    pushed = publish_folder(folder, REPO)
    assert pushed.commit == hub.repos[REPO].refs["main"]
    assert names(hub) == FILES


def test_late_commit_counts(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.faults.append(Fault("/commit/", "reset", None, "POST"))
    late = types.SimpleNamespace(sleep=lambda seconds: hub.put(REPO, folder))
    monkeypatch.setattr(push, "time", late)
    pushed = publish_folder(folder, REPO)
    assert pushed.commit == hub.repos[REPO].refs["main"]
    assert names(hub) == FILES
    assert not hub.asked("", "DELETE")


def test_empty_repository_after_a_lost_answer_is_reported(hub: FakeHub, folder: Path) -> None:
    hub.faults.append(Fault("repos/create", "lost", None, "POST"))
    assert reason_of(publish_folder, folder, REPO).endswith("an empty repository is left; push again to fill it")
    assert publish_folder(folder, REPO).is_new
    assert names(hub) == FILES


def test_failed_cleanup_is_reported(hub: FakeHub, folder: Path) -> None:
    hub.faults += [Fault("/commit/", "status", 500, "POST"), Fault("repos/delete", "status", 500, "DELETE", ALWAYS)]
    message = reason_of(publish_folder, folder, REPO)
    assert "HTTP status 500; the state of the repository is unknown" in message
    assert "push again to complete it" in message
    assert publish_folder(folder, REPO).is_new


@pytest.mark.parametrize("branch", [None, "v2"])
def test_what_others_put_into_a_new_repository_stays(hub: FakeHub, folder: Path, branch: str | None) -> None:
    """A file comes in between the making of the repository and our commit, which fails."""
    theirs = {"theirs.txt": b"1"}
    hub.faults += [
        Fault("validate-yaml", "call", lambda: hub.put(REPO, theirs), "POST"),
        Fault("/commit/", "status", 500, "POST"),
    ]
    message = reason_of(publish_folder, folder, REPO, revision=branch)
    assert message.endswith("the new repository is in use by others and was not removed")
    assert hub.repos[REPO].head() == theirs
    assert not hub.asked("", "DELETE")


def test_what_others_put_into_a_new_branch_stays(hub: FakeHub, folder: Path, changed: Path) -> None:
    publish_folder(folder, REPO)
    hub.faults += [
        Fault("validate-yaml", "call", lambda: hub.put(REPO, {"theirs.txt": b"1"}, ref="v2"), "POST"),
        Fault("/commit/", "status", 500, "POST"),
    ]
    message = reason_of(publish_folder, changed, REPO, revision="v2")
    assert message.endswith("the new branch v2 is in use by others and was not removed")
    assert names(hub, "v2") == {"theirs.txt"}
    assert names(hub) == FILES


def test_concurrent_push_of_another_user_wins(hub: FakeHub, folder: Path, changed: Path) -> None:
    publish_folder(folder, REPO)
    theirs = {"config.json": b"{}"}
    hub.faults.append(Fault("preupload", "call", lambda: hub.put(REPO, theirs), "POST"))
    message = reason_of(publish_folder, changed, REPO)
    assert "somebody else has published there in the meantime" in message
    assert hub.repos[REPO].head() == theirs


def test_ctrl_c_leaves_nothing(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(HfApi, "create_commit", stop)
    with pytest.raises(KeyboardInterrupt):
        publish_folder(folder, REPO)
    assert not hub.repos


def test_missing_token_sends_no_request(
    hub: FakeHub, model: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.patch(monkeypatch, tmp_path / "other", None)
    assert "no token: log in with `hf auth login` or set HF_TOKEN" in reason_of(push_to_hub, model, REPO)
    assert not hub.requests


def test_a_wrong_token(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub.patch(monkeypatch, tmp_path / "other", "hf_wrong")
    message = reason_of(publish_folder, folder, REPO)
    assert "the token is not valid or may not write to lab" in message
    assert message.endswith("nothing was changed there")
    assert not hub.repos


@pytest.mark.parametrize("is_there", [False, True])
def test_a_token_without_rights(
    hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_there: bool
) -> None:
    if is_there:
        hub.put(REPO, {"config.json": b"{}"})
    hub.tokens["hf_guest"] = {"guest"}
    hub.patch(monkeypatch, tmp_path / "other", "hf_guest")
    message = reason_of(publish_folder, folder, REPO)
    assert "the token may not write to lab: it needs the role write" in message
    assert message.endswith("nothing was changed there")
    assert set(hub.repos) == ({REPO} if is_there else set())


def test_a_new_repository_with_a_branch_alone(hub: FakeHub, folder: Path) -> None:
    hub.faults.append(Fault("/commit/", "reset", None, "POST"))
    message = reason_of(publish_folder, folder, REPO, revision="v2")
    assert message.endswith("the new repository was removed again")
    assert not hub.repos


def test_private(hub: FakeHub, folder: Path) -> None:
    pushed = publish_folder(folder, REPO, private=True)
    assert hub.repos[REPO].private
    assert publish_folder(folder, REPO, private=True).commit == pushed.commit
    assert publish_folder(folder, REPO).commit == pushed.commit
    assert hub.repos[REPO].private


def test_private_push_to_a_public_repository_is_refused(hub: FakeHub, folder: Path) -> None:
    hub.put(REPO, {"notes.txt": b"1"})
    assert "exists already and is public" in reason_of(publish_folder, folder, REPO, private=True)
    assert not writes(hub)


def test_a_branch_is_made_and_main_stays(hub: FakeHub, folder: Path) -> None:
    pushed = publish_folder(folder, REPO, revision="v2")
    assert names(hub, "v2") == FILES
    assert names(hub) == set()
    assert pushed.commit == hub.repos[REPO].refs["v2"]
    assert not publish_folder(folder, REPO, revision="v2").is_new
    assert publish_folder(folder, REPO).is_new
    assert names(hub) == FILES


def test_a_failure_removes_the_branch_that_was_made(hub: FakeHub, folder: Path, changed: Path) -> None:
    publish_folder(folder, REPO)
    refs = dict(hub.repos[REPO].refs)
    hub.faults.append(Fault("/commit/", "status", 500, "POST"))
    message = reason_of(publish_folder, changed, REPO, revision="v2")
    assert message.endswith("the new branch v2 was removed again")
    assert hub.repos[REPO].refs == refs
    publish_folder(changed, REPO, revision="v2")
    before = dict(hub.repos[REPO].refs)
    hub.faults.append(Fault("/commit/", "status", 500, "POST"))
    assert reason_of(publish_folder, folder, REPO, revision="v2").endswith("nothing was changed there")
    assert hub.repos[REPO].refs == before


def test_dry_run_sends_nothing_and_needs_no_token(
    hub: FakeHub, model: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.patch(monkeypatch, tmp_path / "other", None)
    pushed = push_to_hub(model, REPO, dry_run=True)
    assert pushed.commit is None
    assert set(pushed.files) == FILES
    assert not hub.requests


def test_only_models_of_videozoo() -> None:
    with pytest.raises(TypeError, match=r"got Linear; need a model of videozoo .*model\.module"):
        push_to_hub(torch.nn.Linear(2, 2), REPO)  # type: ignore[arg-type]


@pytest.mark.parametrize("repo", ["net", "a/b/c", "lab/..", "lab/net name", "../x", "", "lab/net.git"])
def test_bad_names_are_refused_before_any_request(hub: FakeHub, model: Any, repo: str) -> None:
    assert "not a repository's name" in reason_of(push_to_hub, model, repo)
    assert not hub.requests


@pytest.mark.parametrize("branch", ["", "a b", "../main", "a..b", "-x", "refs/pr/1", "x/", "a\n", 40 * "a"])
def test_bad_branches_are_refused_before_any_request(hub: FakeHub, model: Any, branch: str) -> None:
    assert "is not a valid name of a branch" in reason_of(push_to_hub, model, REPO, revision=branch)
    assert not hub.requests


def test_offline(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    message = reason_of(publish_folder, folder, REPO)
    assert "offline" in message.lower()
    assert not hub.requests


def test_unreachable_hub(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.faults.append(Fault("", "reset", None, "GET", ALWAYS))
    message = reason_of(publish_folder, folder, REPO)
    assert message.endswith("nothing was changed there")
    assert not writes(hub)


def shared(net: Any) -> None:
    net.backbone.layer2[0].conv2.weight = net.backbone.layer1[0].conv2.weight


def part_of_another(net: Any) -> None:
    net.fc.bias.data = net.fc.weight.data[0, :3]


def not_finite(net: Any) -> None:
    net.fc.weight.data[0, 0] = float("nan")


def half(net: Any) -> None:
    net.half()


def changed_after_building(net: Any) -> None:
    net.backbone.act1 = torch.nn.Tanh()


def path_in_config(net: Any) -> None:
    net.pretrained_cfg["dataset"] = "/home/somebody/videos"


def nan_in_config(net: Any) -> None:
    net.pretrained_cfg["metrics"] = {"top1": float("nan")}


def other_names(net: Any) -> None:
    net.pretrained_cfg["custom"] = object()


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (shared, "backbone.layer1.0.conv2.weight and backbone.layer2.0.conv2.weight share memory"),
        (part_of_another, "fc.bias and fc.weight share memory"),
        (not_finite, "1 tensors are not finite (fc.weight)"),
        (half, "float16"),
        (changed_after_building, "gives other logits"),
        (path_in_config, "pretrained_cfg.dataset is '/home/somebody/videos', a path of this machine"),
        (nan_in_config, "cannot be written as JSON"),
        (other_names, "cannot be written as JSON"),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_model_that_reads_back_differently_is_refused(hub: FakeHub, model: Any, spoil: Any, text: str) -> None:
    spoil(model)
    assert text in reason_of(push_to_hub, model, REPO)
    assert not hub.requests


def test_prepared_folder_has_no_local_paths_and_model_is_unchanged(tmp_path: Path, model: Any) -> None:
    model.pretrained_cfg |= {"file": "/home/somebody/net", "source": "local-dir"}
    model.fc.weight.data = torch.randn(model.fc.weight.shape[1], 3).t()  # not contiguous: published whole
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    prepare_folder(tmp_path / "folder", model, None, REPO)
    config = json.loads((tmp_path / "folder" / "config.json").read_text())
    assert not {"file", "source"} & config["pretrained_cfg"].keys()
    assert config["spec"]["augmenters"][0]["name"] == "arc"
    assert config["pretrained_cfg"]["license"] == "MIT"
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
