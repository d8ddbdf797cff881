"""An evaluation whose process may not have more memory: smaller chunks, the same scores."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, torch
from torch import nn
from videozoo import batched_forward
from videozoo.engine import evaluate

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv3d(3, 64, 3, padding=1), nn.Linear(64, 3)
    def forward(self, x):
        return self.head(self.conv(x).relu().mean(dim=(2, 3, 4)))

torch.manual_seed(0)
net, said = Net(), []
batched_forward._log.warning = lambda text, *args: said.append(text % args)
batches = [{"video": torch.randn(2, 16, 3, 8, 64, 64), "label": torch.tensor([0, 1]), "index": torch.arange(2)}]
wanted = evaluate(net, batches, class_names="abc", device="cpu", max_clips=1)
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 120 * 2**20  # a chunk of 32 needs 270 MB for its maps alone
resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
scores = evaluate(net, batches, class_names="abc", device="cpu").scores
torch.testing.assert_close(scores, wanted.scores)
assert said and said[0].startswith("out of memory: from here on 16 views"), said
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_memory_that_really_runs_out() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
