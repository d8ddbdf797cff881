"""Tests of TRN on long clips: as a whole model, saved and loaded, compiled in training."""

from pathlib import Path

import torch
from helpers import clips, randomize, small_video_net
from safetensors.torch import load_file, save_file

from videozoo.temporal import TRN


def test_32_frames_train_and_load_again(tmp_path: Path) -> None:
    net = randomize(small_video_net(TRN(hidden=4), num_segments=32)).train()
    x = clips(1, 32, 16)
    net(x.repeat(2, 1, 1, 1, 1)).square().mean().backward()
    assert all(p.grad is not None for p in net.parameters())
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    other = small_video_net(TRN(hidden=4), num_segments=32).eval()
    other.load_state_dict(load_file(tmp_path / "net.safetensors"))
    with torch.no_grad():
        assert torch.equal(other(x), net.eval()(x))


def test_compiles_as_one_graph_in_training() -> None:
    net = small_video_net(TRN(hidden=4), num_segments=4).double().train()
    x = clips(2, 4, 32).double()
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    torch.manual_seed(1)
    want = net(x)
    torch.manual_seed(1)
    torch.testing.assert_close(compiled(x), want)
