"""Several processes do what one does with the same global batch, and count each video once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from processes_run import train
from safetensors.torch import load_file
from torch import Tensor

from videozoo.engine.batch_sharding import BatchShares

HERE = Path(__file__).parent
# Videos and batches a step: of 11, the last step has 3 clips; of 13, it has one clip for two processes.
SIZES = [(11, 2), (13, 1)]
NETS = [
    ("gn", {}),
    ("bn", {"freeze_bn": True}),
    ("arc", {"freeze_bn": True}),
    ("bn", {"sync_bn": True}),
    ("dnr", {"sync_bn": True}),
    ("dnr_groups", {"sync_bn": True}),
    ("dnr_3d", {"sync_bn": True}),
    ("tpn", {"freeze_bn": True}),  # with an auxiliary loss
    ("tiny", {"multi_label": True}),
]
CASES: dict[str, dict[str, Any]] = {
    f"{kind}{'_sync' if settings.get('sync_bn') else ''}_{videos}": {
        "kind": kind, "num_videos": videos, "grad_accum_steps": steps, **settings
    }
    for kind, settings in NETS
    for videos, steps in SIZES
}  # fmt: skip
# Trained in two processes, and looked at: plain batch norm, an averaged model, one video to validate on, bf16.
OTHERS: dict[str, dict[str, Any]] = {
    "plain_bn": {"kind": "bn", "num_videos": 12, "num_val": 7},
    "averaged": {"kind": "gn", "num_videos": 12, "model_ema": True, "model_ema_decay": 0.5, "clip_grad": 1.0},
    "one_video": {"kind": "gn", "num_videos": 12, "num_val": 1},
    "stopped": {"kind": "dnr", "num_videos": 11, "sync_bn": True, "opt": "adamw", "stop_after": 2},
    "not_stopped": {"kind": "dnr", "num_videos": 11, "sync_bn": True, "opt": "adamw"},
    "bf16": {"kind": "dnr", "num_videos": 12, "num_val": 7, "sync_bn": True, "amp": "bf16"},
}
SHARDED: dict[str, dict[str, Any]] = {
    "gn": {"kind": "gn", "num_videos": 11, "grad_accum_steps": 2, "clip_grad": 1.0, "weight_decay": 0.05},
    "dnr": {"kind": "dnr", "num_videos": 11, "sync_bn": True, "opt": "adamw"},
    "stopped": {"kind": "arc", "num_videos": 11, "freeze_bn": True, "opt": "adamw", "stop_after": 2},
}
FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
        "FSDP_RESHARD_AFTER_FORWARD": "true", "FSDP_CPU_RAM_EFFICIENT_LOADING": "false"}  # fmt: skip


def launch(folder: Path, cases: dict[str, dict[str, Any]], processes: int = 2, **variables: str) -> Path:
    """Train every case in several processes that torchrun starts once."""
    for name in cases:
        (folder / name).mkdir(parents=True)
    file = folder / "cases.json"
    file.write_text(json.dumps(cases))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run([*command, str(HERE / "processes_run.py"), str(file)], capture_output=True, text=True,
                          timeout=900, env={**os.environ, **variables})  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Equal in float64, but for the order of sums."""
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-9, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every case, trained in two processes with half the batch."""
    cases = {name: {**settings, "batch_size": 2} for name, settings in (CASES | OTHERS).items()}
    return launch(tmp_path_factory.mktemp("two"), cases)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_give_the_gradients_of_one(tmp_path: Path, two: Path, name: str) -> None:
    """Those of every step, and the weights, statistics and losses that follow."""
    settings = CASES[name]
    one, net, gradients = train(tmp_path, batch_size=4, **settings)
    assert {key.split(".")[0] for key in gradients} == {str(step) for step in range(1, 1 + one_steps(settings))}
    # A last clip that both processes have counts as two in the correction of the running variances, and only there.
    is_doubled = settings["num_videos"] == 13 and settings.get("sync_bn", False)
    for rank in (0, 1):
        assert_same(gradients, load_file(two / name / f"gradients{rank}.safetensors"))
        theirs = load_file(two / name / f"net{rank}.safetensors")
        ours = {key: tensor for key, tensor in net.state_dict().items() if not is_doubled or "running_var" not in key}
        assert_same(ours, {key: theirs[key] for key in ours})
        result = json.loads((two / name / f"result{rank}.json").read_text())
        assert result["loss"] == pytest.approx(one.best["loss"], rel=1e-2 if is_doubled else 1e-6)
        assert result["num_videos"] == 5


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES | OTHERS)
def test_the_first_process_alone_writes_and_both_know_the_result(two: Path, name: str) -> None:
    first, second = ((two / name / f"changes{rank}.txt").read_text() for rank in (0, 1))
    assert "os.rename" in first
    assert second == ""
    results = [json.loads((two / name / f"result{rank}.json").read_text()) for rank in (0, 1)]
    for key in results[0].keys() - {"seconds", "data_seconds", "total_seconds"}:
        assert results[0][key] == results[1][key], key
    assert results[0]["num_videos"] == (CASES | OTHERS)[name].get("num_val", 5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["averaged", "one_video"])
def test_two_processes_measure_what_one_does(tmp_path: Path, two: Path, name: str) -> None:
    """Averaged weights and clipped gradients; fewer videos than processes."""
    one, _, _ = train(tmp_path, batch_size=4, **OTHERS[name])
    result = json.loads((two / name / "result0.json").read_text())
    for key in ("loss", "top1", "top5", "mean_class", "num_videos", "num_labelled"):
        assert result[key] == pytest.approx(one.best[key], rel=1e-6)
    assert_same(load_file(tmp_path / "last/model.safetensors"), load_file(two / name / "run/last/model.safetensors"))


@pytest.mark.slow
def test_statistics_are_the_first_process_at_evaluation(two: Path) -> None:
    """Without synchronized norms each process trains with its own, and then measures with the first one's."""
    seen = [load_file(two / f"plain_bn/seen{rank}.safetensors") for rank in (0, 1)]
    means = [name.removeprefix("train.") for name in seen[0] if name.startswith("train.") and "mean" in name]
    assert len(means) > 5
    assert any(not seen[0][f"train.{name}"].equal(seen[1][f"train.{name}"]) for name in means)
    weights = load_file(two / "plain_bn/run/last/model.safetensors")
    for name in means:
        for rank in (0, 1):
            assert seen[rank][f"eval.{name}"].equal(seen[0][f"train.{name}"])
        assert weights[f"net.{name}"].equal(seen[0][f"train.{name}"])


@pytest.mark.slow
def test_bf16_in_two_processes(tmp_path: Path, two: Path) -> None:
    one, _, _ = train(tmp_path, batch_size=4, **OTHERS["bf16"])
    result = json.loads((two / "bf16/result0.json").read_text())
    assert result["loss"] == pytest.approx(one.best["loss"], rel=0.05)
    weights = [load_file(path / "last/model.safetensors") for path in (tmp_path, two / "bf16/run")]
    for name, tensor in weights[0].items():
        if "running" not in name:
            torch.testing.assert_close(
                tensor, weights[1][name], rtol=0.05, atol=0.05, msg=lambda m, n=name: f"{n}: {m}"
            )


@pytest.mark.slow
def test_a_stop_of_one_process_and_a_resume(two: Path) -> None:
    """The weights are those of the run that was not stopped, bit for bit."""
    ours, theirs = (load_file(two / name / "run/last/model.safetensors") for name in ("stopped", "not_stopped"))
    assert all(ours[name].equal(theirs[name]) for name in theirs)
    for rank in (0, 1):
        continued = load_file(two / f"stopped/gradients{rank}.safetensors")
        assert {name.split(".")[0] for name in continued} == {"1", "2", "3", "4"}  # of six


@pytest.mark.slow
def test_sharded_processes_give_the_gradients_of_one(tmp_path: Path) -> None:
    """Each holds a part of the weights (FSDP2); the checkpoints are whole, with the same keys, and can be continued."""
    cases = {name: {**settings, "batch_size": 2} for name, settings in SHARDED.items()}
    launch(tmp_path, cases, **FSDP)
    for name, settings in SHARDED.items():
        one, _, gradients = train(tmp_path / name / "one", batch_size=4, **{**settings, "stop_after": None})
        theirs = load_file(tmp_path / name / "gradients0.safetensors")
        skipped = settings.get("stop_after", 0)
        numbered = {tuple(key.split(".", 1)): tensor for key, tensor in gradients.items()}
        assert_same(
            {f"{int(step) - skipped}.{key}": t for (step, key), t in numbered.items() if int(step) > skipped}, theirs
        )
        weights = [load_file(tmp_path / name / run / "last/model.safetensors") for run in ("one", "run")]
        assert_same(*weights)
        result = json.loads((tmp_path / name / "result1.json").read_text())
        assert result["loss"] == pytest.approx(one.best["loss"], rel=1e-6)


def one_steps(settings: dict[str, Any]) -> int:
    """Optimizer steps of two epochs."""
    clips = 4 * settings["grad_accum_steps"]
    return 2 * -(-settings["num_videos"] // clips)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("videos", "batch", "processes"), [(12, 2, 2), (11, 2, 2), (13, 2, 2), (7, 1, 3), (2, 4, 3)])
def test_batches_are_sharded(videos: int, batch: int, processes: int, drop_last: bool) -> None:
    """Together the shares of a step are what one process would get, in order, and no process has a step more."""
    whole = torch.utils.data.BatchSampler(range(videos), batch, drop_last)
    shares = [BatchShares(whole, rank, processes) for rank in range(processes)]
    steps = list(zip(*shares, strict=True))
    assert all(len(share) == len(steps) for share in shares)
    expected = list(torch.utils.data.BatchSampler(range(videos), batch * processes, drop_last))
    for step, clips in zip(steps, expected, strict=True):
        assert all(step)
        together = [clip for share in step for clip in share]
        if len(clips) >= processes:
            assert together == clips
            assert max(map(len, step)) - min(map(len, step)) <= 1
        else:
            assert set(together) == set(clips)
