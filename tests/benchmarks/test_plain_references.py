"""Tests that the plain references of the benchmarks equal the package's models."""

import copy
from typing import Any

import pytest
import torch
from helpers import REPO, clips, gradients, load_file_as_module, randomize

import videozoo
from videozoo.augment import ArcConv2d
from videozoo.augment.dynamic_norm import DynamicNorm2d


@pytest.mark.parametrize(("file", "name", "kind"), [("arc", "arc_tsm", ArcConv2d), ("dnr", "dnr_tsn", DynamicNorm2d)])
@pytest.mark.parametrize("training", [False, True])
def test_plain_models_equal_the_package(file: str, name: str, kind: type[Any], training: bool) -> None:
    make_plain = load_file_as_module(REPO / "benchmarks" / "reference" / f"{file}.py").make_plain
    ours = randomize(videozoo.create_model(f"test_{name}", num_classes=5)).double().train(training)
    plain = make_plain(copy.deepcopy(ours))
    assert any(isinstance(module, kind) for module in ours.modules())
    assert not any(isinstance(module, kind) for module in plain.modules())
    x = clips(2, 8, 32).double()
    for net in (ours, plain):
        net(x).square().mean().backward()
    torch.testing.assert_close(plain(x), ours(x), rtol=1e-10, atol=1e-10)
    expected, found = gradients(ours), gradients(plain)
    # Shared parameters have additional names. The others keep theirs.
    torch.testing.assert_close({k: v for k, v in found.items() if k in expected}, expected, rtol=1e-9, atol=1e-9)
