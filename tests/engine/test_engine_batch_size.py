"""The largest batch size that fits: memory that runs out is simulated, on the CPU."""

from collections.abc import Callable

import pytest
import torch
from engine_tiny import TinyClips, TinyNet, config, tiny_net
from torch import Tensor
from torch.utils.data import default_collate

from videozoo.engine import EngineError, batch_size
from videozoo.engine.batch_size import find_batch_size, free_memory, used_memory


def make_batch(count: int) -> dict:
    return default_collate([TinyClips()[0]] * count)


class Hungry(TinyNet):
    """Has no memory for more than ``most`` clips."""

    most = 5
    error: Callable[[], Exception] = staticmethod(lambda: torch.OutOfMemoryError("out of memory"))

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) > self.most:
            raise self.error()
        return super().forward(x)


@pytest.fixture(autouse=True)
def much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size, "free_memory", lambda: 2**40)


@pytest.mark.parametrize(
    "error",
    [
        lambda: torch.OutOfMemoryError("CUDA out of memory"),
        lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_doubled_until_memory_runs_out(error: Callable[[], Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hungry, "error", staticmethod(error))
    net = Hungry()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert find_batch_size(net, config(model_ema=True), make_batch, 1000) == (4, "8 do not fit in the memory of cpu")
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_an_epoch_keeps_its_steps() -> None:
    net = tiny_net()
    sizes = [find_batch_size(net, config(), make_batch, count)[0] for count in (1, 16, 63, 64)]
    assert sizes == [1, 2, 4, 8]
    assert find_batch_size(net, config(grad_accum_steps=4), make_batch, 64) == (2, "an epoch keeps 8 steps or more")


def test_a_part_of_the_machines_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 100 bytes a clip and 1000 free, 4 clips take 400, and 8 would take more than half."""
    held = iter([0, *(100 * size for size in (1, 1, 2, 2, 4, 4, 8, 8))])
    monkeypatch.setattr(batch_size, "used_memory", lambda: next(held))
    monkeypatch.setattr(batch_size, "free_memory", lambda: 1000)
    size, why = find_batch_size(tiny_net(), config(), make_batch, 1000)
    assert (size, why) == (4, "8 would take more than half of the free memory")


def test_slow_steps_end_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size, "LONGEST_SECONDS", 0.0)
    assert find_batch_size(tiny_net(), config(), make_batch, 1000) == (1, "a step takes 0 s")


def test_no_memory_for_one_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hungry, "most", 0)
    with pytest.raises(EngineError, match=r"no memory for a training step with one clip on cpu; take smaller frames"):
        find_batch_size(Hungry(), config(), make_batch, 1000)


def test_other_errors_are_not_taken_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hungry, "error", staticmethod(lambda: ValueError("a fault")))
    with pytest.raises(ValueError, match="a fault"):
        find_batch_size(Hungry(), config(), make_batch, 1000)


def test_memory_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert used_memory() > 10 * 2**20
    monkeypatch.undo()
    free = free_memory()
    assert free > 2**20
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert free_memory() < free / 2
