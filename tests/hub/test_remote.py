"""Tests of the real Hub client against a fake hub with faults.

Every case ends with a look at the cache: whatever lies there is what its name says.
"""

import hashlib
import json
import logging
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_hub import TOKEN, FakeHub, Fault
from huggingface_hub import constants
from safetensors.torch import load_file, save

from videozoo.hub import RemoteFolder, WeightsError, download_repo, retry

REPO = "lab/net"
CONFIG = {"architecture": "", "num_classes": 4}


def files(seed: int = 0, size: int = 50_000) -> dict[str, bytes]:
    """A repository's files; the seed is in both, so that a mixture shows."""
    weights = save({"w": torch.full((size,), float(seed)), "seed": torch.tensor(seed)})
    return {"config.json": json.dumps({**CONFIG, "seed": seed}).encode(), "model.safetensors": weights}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with one repository, where the client of this process will look."""
    with FakeHub() as hub:
        hub.patch(monkeypatch, tmp_path / "home")
        monkeypatch.setattr(retry, "DELAYS", (0.0, 0.0))
        hub.put(REPO, files())
        yield hub


@pytest.fixture
def cache(hub: FakeHub) -> Iterator[Path]:
    """The client's cache, checked in the end."""
    path = Path(constants.HF_HUB_CACHE)
    yield path
    check_cache(path)


def check_cache(cache: Path) -> None:
    """Every blob is what its name says, nothing is half-made, and no name leads nowhere."""
    for path in cache.glob("models--*/**/*"):
        if path.is_symlink():
            assert path.exists(), f"{path} leads nowhere"
        elif path.is_file() and path.parent.name == "blobs":
            data = path.read_bytes()
            sums = hashlib.sha256(data).hexdigest(), hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            assert path.name in sums, f"{path} is damaged"
        assert not path.name.endswith((".incomplete", ".tmp"))


def seed_of(found: RemoteFolder) -> tuple[int, int]:
    """The seeds in config and weights."""
    state = load_file(found.weights)
    assert torch.equal(state["w"], torch.full_like(state["w"], float(state["seed"])))
    return found.config["seed"], int(state["seed"])


def fails(match: str, **where: Any) -> WeightsError:
    """The error of a download, which tells everything that is known."""
    with pytest.raises(WeightsError, match=match) as caught:
        download_repo(REPO)
    assert caught.value.repository == REPO
    for name, value in where.items():
        assert getattr(caught.value, name) == value
        assert str(value) in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def test_config_and_weights_come_from_one_commit(hub: FakeHub, cache: Path) -> None:
    found = download_repo(REPO)
    assert found == RemoteFolder(REPO, hub.repos[REPO].refs["main"], {**CONFIG, "seed": 0}, found.weights)
    assert seed_of(found) == (0, 0)
    assert found.weights.parent.parent.parent.parent == cache
    assert (found.weights.parent / "config.json").is_file()


def test_a_second_load_asks_for_the_commit_only(hub: FakeHub, cache: Path) -> None:
    download_repo(REPO)
    hub.requests.clear()
    assert seed_of(download_repo(REPO)) == (0, 0)
    assert [r.path for r in hub.asked(REPO)] == [f"/api/models/{REPO}/revision/main"]


def test_a_push_between_config_and_weights_does_not_mix_commits(hub: FakeHub, cache: Path) -> None:
    first = hub.repos[REPO].refs["main"]
    hub.faults.append(Fault(r"resolve/.*model\.safetensors", "call", lambda: hub.put(REPO, files(1)), method="HEAD"))
    found = download_repo(REPO)
    assert hub.repos[REPO].refs["main"] != first
    assert (seed_of(found), found.revision) == ((0, 0), first)
    assert seed_of(download_repo(REPO)) == (1, 1)


def test_revisions_are_branches_and_commits(hub: FakeHub, cache: Path) -> None:
    first = hub.repos[REPO].refs["main"]
    second = hub.put(REPO, files(1), ref="refs/pr/1")
    assert seed_of(download_repo(REPO, "refs/pr/1")) == (1, 1)
    assert seed_of(download_repo(REPO, second)) == (1, 1)
    assert seed_of(download_repo(REPO, first)) == (0, 0)
    hub.requests.clear()
    assert seed_of(download_repo(REPO, first)) == (0, 0)
    assert not hub.asked(REPO)  # a commit never changes
    with pytest.raises(WeightsError, match=f"{REPO}@v9: the repository has no such revision"):
        download_repo(REPO, "v9")


@pytest.mark.parametrize(
    ("path", "method"),
    [("/api/models/lab", "GET"), *((p, m) for p in (r"config\.json", r"model\.safetensors") for m in ("GET", "HEAD"))],
)
@pytest.mark.parametrize(("do", "value"), [("status", 503), ("status", 500), ("reset", None)])
def test_a_passing_fault_passes(hub: FakeHub, cache: Path, path: str, method: str, do: str, value: int | None) -> None:
    hub.faults.append(Fault(path, do, value, method=method))
    assert seed_of(download_repo(REPO)) == (0, 0)
    assert hub.faults[0].times == 0


@pytest.mark.parametrize("do", ["cut", "reset_at"])
def test_a_connection_that_breaks_in_the_middle_of_a_file_is_taken_up_again(hub: FakeHub, cache: Path, do: str) -> None:
    hub.faults.append(Fault(r"model\.safetensors", do, 100_000, times=2))
    assert seed_of(download_repo(REPO)) == (0, 0)
    assert hub.faults[0].times == 0


def test_a_stalled_connection_is_left_and_the_rest_fetched(
    hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    hub.faults.append(Fault(r"model\.safetensors", "stall", 100_000))
    assert seed_of(download_repo(REPO)) == (0, 0)
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.3)
    hub.faults.append(Fault("/api/models/lab", "stall", 10))
    assert seed_of(download_repo(REPO)) == (0, 0)
    assert [fault.times for fault in hub.faults] == [0, 0]


def test_a_stalled_connection_is_reported(hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.05)
    hub.faults.append(Fault(r"model\.safetensors", "stall", 0, times=None))
    fails(r"could not be downloaded \(ReadTimeout.*\) and is not in the cache", file="model.safetensors")


def test_a_body_of_the_right_length_with_another_content_is_fetched_again(hub: FakeHub, cache: Path) -> None:
    for name in (r"model\.safetensors", r"config\.json"):
        hub.faults.append(Fault(name, "corrupt"))
    assert seed_of(download_repo(REPO)) == (0, 0)
    assert [fault.times for fault in hub.faults] == [0, 0]
    assert len(hub.asked(r"model\.safetensors", "GET")) == 2


def test_a_body_that_stays_damaged_is_refused(hub: FakeHub, cache: Path) -> None:
    hub.faults.append(Fault(r"model\.safetensors", "corrupt", times=None))
    commit = hub.repos[REPO].refs["main"]
    fails("SHA-256 is .*, the hub says .*also after a second download", revision=commit, file="model.safetensors")
    assert not list(cache.glob("models--*/snapshots/*/model.safetensors"))
    hub.faults.clear()
    assert seed_of(download_repo(REPO)) == (0, 0)


@pytest.mark.parametrize(("times", "is_fine"), [(1, True), (None, False)])
def test_a_body_of_the_wrong_length(hub: FakeHub, cache: Path, times: int | None, is_fine: bool) -> None:
    hub.faults.append(Fault(r"model\.safetensors", "short", 1000, times=times))
    if is_fine:
        assert seed_of(download_repo(REPO)) == (0, 0)
    else:
        message = r"could not be downloaded \(OSError: .*is not in the cache; put it there as .*model.safetensors$"
        fails(message, file="model.safetensors")


@pytest.mark.parametrize(
    ("path", "do", "value", "message"),
    [
        ("/api/models", "status", 503, r"the hub cannot be reached \(HTTP status 503\), and are not in the cache"),
        ("/api/models", "reset", None, r"the hub cannot be reached \(Re.*Error.*\), and are not in the cache"),
        (r"model\.safe", "status", 502, r"could not be downloaded \(HTTP status 502\) and is not in the cache"),
        (r"model\.safe", "reset_at", 900, r"could not be downloaded \(ReadError.*\) and is not in the cache"),
        (r"config\.json", "reset", None, r"could not be downloaded \(Re.*Error.*\) and is not in the cache"),
    ],
)
def test_a_persistent_fault_is_reported_after_three_tries(
    hub: FakeHub, cache: Path, path: str, do: str, value: int | None, message: str
) -> None:
    hub.faults.append(Fault(path, do, value, times=None))
    error = fails(message)
    assert str(cache) in str(error)
    assert len(hub.asked(path, "GET")) == 3
    hub.faults.clear()
    assert seed_of(download_repo(REPO)) == (0, 0)


def damage(path: Path) -> None:
    """Another byte in a file."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("by_commit", [False, True])
def test_a_damaged_blob_of_the_cache_heals(hub: FakeHub, cache: Path, name: str, by_commit: bool) -> None:
    found = download_repo(REPO)
    damage(found.weights.with_name(name))
    again = download_repo(REPO, found.revision if by_commit else None)
    assert seed_of(again) == (0, 0)
    assert len(hub.asked(rf"{name}", "GET")) == 2


def test_a_cache_without_links_heals_and_serves_offline(
    hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", True)
    found = download_repo(REPO)
    assert not found.weights.is_symlink()
    damage(found.weights)
    assert seed_of(download_repo(REPO)) == (0, 0)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert download_repo(REPO) == found


def test_a_damaged_blob_under_another_commit_heals_too(hub: FakeHub, cache: Path) -> None:
    found = download_repo(REPO)
    damage(found.weights.resolve())
    hub.put(REPO, {**files(), "README.md": b"hello"})
    assert seed_of(download_repo(REPO)) == (0, 0)


def test_a_damaged_blob_that_cannot_be_fetched_again_does_not_stay(hub: FakeHub, cache: Path) -> None:
    found = download_repo(REPO)
    damage(found.weights)
    hub.faults.append(Fault(r"model\.safetensors", "status", 500, times=None))
    fails(r"could not be downloaded \(HTTP status 500\) and is not in the cache")
    assert not found.weights.exists()


@pytest.fixture
def deaf() -> Iterator[socket.socket]:
    """A socket that has a port and listens to nobody."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken


def offline(monkeypatch: pytest.MonkeyPatch, how: str, deaf: socket.socket) -> None:
    """No network: by the variable, or because nobody answers."""
    if how == "variable":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    else:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/{revision}/{filename}")


@pytest.mark.parametrize("how", ["variable", "no network"])
def test_offline_with_a_warm_cache_just_works(
    hub: FakeHub,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    deaf: socket.socket,
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = download_repo(REPO)
    hub.put(REPO, files(1))
    hub.requests.clear()
    offline(monkeypatch, how, deaf)
    with caplog.at_level(logging.INFO, logger="videozoo"):
        assert download_repo(REPO) == found
    assert not hub.requests
    assert f"using commit {found.revision} of the cache" in caplog.text
    assert ("WARNING" in caplog.text) == (how == "no network")
    assert download_repo(REPO, found.revision) == found


@pytest.mark.parametrize("how", ["variable", "no network"])
@pytest.mark.parametrize("revision", [None, "v1.0"])
def test_offline_with_an_empty_cache_names_the_missing_files(
    hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch, how: str, deaf: socket.socket, revision: str | None
) -> None:
    offline(monkeypatch, how, deaf)
    reason = (
        r"offline \(HF_HUB_OFFLINE is set\)" if how == "variable" else r"the hub cannot be reached \(ConnectError.*\)"
    )
    name = revision or "main"
    folder = cache / "models--lab--net" / "snapshots" / name
    message = (
        rf"^lab/net@{name}: config.json and model.safetensors: {reason}, and are not in the cache; .*"
        rf"put them into the folder {folder}$"
    )
    with pytest.raises(WeightsError, match=message) as caught:
        download_repo(REPO, revision)
    assert (caught.value.repository, caught.value.revision) == (REPO, name)
    # and that is true
    folder.mkdir(parents=True)
    for file, data in files(3).items():
        (folder / file).write_bytes(data)
    assert seed_of(download_repo(REPO, revision)) == (3, 3)


def test_offline_with_the_weights_alone_missing_names_the_commit_and_the_one_file(
    hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = download_repo(REPO)
    data = found.weights.read_bytes()
    found.weights.resolve().unlink()
    found.weights.unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fails(
        rf"is not in the cache; .* put it into the folder {found.weights.parent}$",
        file="model.safetensors",
        revision=found.revision,
    )
    found.weights.write_bytes(data)
    assert seed_of(download_repo(REPO)) == (0, 0)


def test_offline_with_a_damaged_cache_does_not_load_it(
    hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = download_repo(REPO)
    damage(found.weights)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fails(r"is not in the cache", file="model.safetensors", revision=found.revision)
    assert not found.weights.exists()


def test_a_download_that_failed_leaves_the_older_commit_for_offline(
    hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = download_repo(REPO)
    hub.put(REPO, files(1))
    hub.faults.append(Fault(r"model\.safetensors", "status", 500, times=None))
    fails(r"could not be downloaded")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert download_repo(REPO) == first


def test_a_private_repository_needs_a_token(hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos[REPO].private = True
    fails(rf"^lab/net@main: no such repository at {hub.url}, or it is private: then log in with `hf auth login` or set")
    assert seed_of(download_repo(REPO, token=TOKEN)) == (0, 0)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    shutil.rmtree(cache)
    assert seed_of(download_repo(REPO)) == (0, 0)
    monkeypatch.setenv("HF_TOKEN", "")
    Path(constants.HF_TOKEN_PATH).write_text(TOKEN)  # what `hf auth login` leaves
    shutil.rmtree(cache)
    assert seed_of(download_repo(REPO)) == (0, 0)
    assert {r.token for r in hub.requests if r.server == "storage"} == {None}
    hub.tokens["hf_stranger"] = {"elsewhere"}
    with pytest.raises(WeightsError, match=r"no such repository at .*, or your token has no access to it"):
        download_repo(REPO, token="hf_stranger")


def test_a_wrong_token_is_reported(hub: FakeHub, cache: Path) -> None:
    with pytest.raises(WeightsError, match=r"the hub refuses access \(HTTP status 401\); log in") as caught:
        download_repo(REPO, token="hf_wrong")
    assert "hf_wrong" not in str(caught.value)


def test_a_refusal_is_not_covered_by_the_cache(hub: FakeHub, cache: Path) -> None:
    download_repo(REPO)
    hub.repos[REPO].private = True
    fails("no such repository")


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "best.pth", "a.tar"])
def test_only_a_pickle_is_not_loaded(hub: FakeHub, cache: Path, pickle: str) -> None:
    commit = hub.put(REPO, {"config.json": files()["config.json"], pickle: b"\x80"})
    error = fails(
        rf"not in the repository, which holds .*{pickle}.*never loaded; .*`videozoo convert {pickle} --output DIR`",
        revision=commit,
        file="model.safetensors",
    )
    assert "local-dir:DIR" in str(error)
    assert not hub.asked(pickle)


@pytest.mark.parametrize(
    ("change", "file", "message"),
    [
        ({"config.json": None}, "config.json", "not in the repository, which holds model.safetensors"),
        ({"model.safetensors": None}, "model.safetensors", "not in the repository, which holds config.json"),
        ({"config.json": b"{"}, "config.json", "not a JSON file"),
        ({"config.json": b"[]"}, "config.json", "has no 'architecture'"),
        ({"config.json": b"{}"}, "config.json", "has no 'architecture'"),
        ({"model.safetensors": files()["model.safetensors"][:-9]}, "model.safetensors", "not a readable safetensors"),
        ({"model.safetensors": files()["model.safetensors"][:9]}, "model.safetensors", "not a readable safetensors"),
        ({"model.safetensors": b"\x80\x04N."}, "model.safetensors", "not a readable safetensors"),
    ],
)
def test_broken_repositories_are_reported_and_not_cached(
    hub: FakeHub, cache: Path, change: dict[str, bytes | None], file: str, message: str
) -> None:
    rows = {name: data for name, data in {**files(), **change}.items() if data is not None}
    commit = hub.put(REPO, rows)
    fails(message, file=file, revision=commit)
    assert not list(cache.glob(f"models--*/snapshots/*/{file}"))


@pytest.mark.parametrize(
    "name", ["net", "a/b/c", "../lab/net", "lab/../net", "/etc/passwd", "lab/net.git", "lab--x/net", "", "lab/"]
)
def test_an_invalid_name_sends_no_request(hub: FakeHub, cache: Path, name: str) -> None:
    with pytest.raises(WeightsError, match="not a repository's name; need organization/name"):
        download_repo(name)
    assert not hub.requests


@pytest.mark.parametrize("revision", ["../../x", "a..b", "/etc", "a b", "a\\b", "a//b", "a/"])
def test_a_revision_never_escapes_the_cache(hub: FakeHub, cache: Path, revision: str) -> None:
    with pytest.raises(WeightsError, match="is not a branch, tag or commit"):
        download_repo(REPO, revision)
    assert not hub.requests


def test_a_hub_that_names_no_commit_is_no_hub(hub: FakeHub, cache: Path) -> None:
    hub.repos[REPO].commits["../../../evil"] = files()
    hub.repos[REPO].refs["main"] = "../../../evil"
    fails(r"the hub names no commit but '../../../evil'")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_cache_is_reported(hub: FakeHub, cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o500)
    try:
        fails("cannot be written to the cache")
    finally:
        cache.chmod(0o700)


def test_a_cache_that_is_a_file_is_reported(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match=r"config.json: cannot be written to the cache .*file"):
        download_repo(REPO, cache_dir=tmp_path / "file")


def test_several_at_once(hub: FakeHub, cache: Path) -> None:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(seed_of(download_repo(REPO)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(0, 0)] * 4
