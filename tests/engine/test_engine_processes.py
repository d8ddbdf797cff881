"""Two processes do what one does with the same global batch, and count each video once."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from engine_tiny import run, tiny_net, train_loader, val_loader
from safetensors.torch import load_file

SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
import torch
torch.set_num_threads(1)
from engine_tiny import run, tiny_net, train_loader, val_loader
net = tiny_net(norm=False, seed=1)
train = train_loader(12, 2, jitter=0.0, generator=torch.Generator())
result = run(Path({output!r}), net=net, train=train, val=val_loader(9), **{settings!r})
print("TOP1", result.best["num_videos"], result.history[-1].val_loss)
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 2])
def test_two_processes_equal_one(tmp_path: Path, steps: int) -> None:
    settings = {"opt": "sgd", "model_ema": True, "model_ema_decay": 0.5, "clip_grad": 1.0}
    one = run(
        tmp_path / "one",
        net=tiny_net(norm=False, seed=1),
        train=train_loader(12, 4 * steps, jitter=0.0, generator=torch.Generator()),
        val=val_loader(9),
        **settings,
    )
    here = Path(__file__).parent
    script = tmp_path / "script.py"
    settings["grad_accum_steps"] = steps
    paths = [str(here), str(here.parents[1])]
    script.write_text(SCRIPT.format(paths=paths, output=str(tmp_path / "two"), settings=settings))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("TOP1")]
    assert len(lines) == 2
    assert lines[0] == lines[1]  # both processes know the whole result
    assert lines[0][1] == "9"
    assert float(lines[0][2]) == pytest.approx(one.history[-1].val_loss, rel=1e-4)
    first, second = (load_file(tmp_path / name / "last/model.safetensors") for name in ("one", "two"))
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=1e-6)
