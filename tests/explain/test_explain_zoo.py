"""Every kind of architecture can be explained at every stage."""

import re

import pytest
import torch
from helpers import calibrate, clips, one_of_each_family, randomize

import videozoo
from videozoo.explain import grad_cam
from videozoo.models.registry import spec_of
from videozoo.models.spec import EnsembleSpec

KINDS = one_of_each_family(videozoo.list_models())
SINGLE = [name for name in KINDS if not isinstance(spec_of(name), EnsembleSpec)]


@pytest.mark.slow
@pytest.mark.parametrize("name", SINGLE)
def test_every_stage_of_every_architecture_has_maps(name: str) -> None:
    model = randomize(videozoo.create_model(name, num_classes=4), 0.01).eval()
    size = 107 if "inception_v3" in name else 96 if re.search("inception|eco_", name) else 48
    x = clips(1, model.num_frames, size)
    calibrate(model, x)  # products of features (ABM) overflow otherwise
    with torch.no_grad():
        plain = model(x)
    sides = []
    for stage in (1, 2, 3, 4):
        found = grad_cam(model, x, stage=stage)
        torch.testing.assert_close(found.logits, plain, atol=1e-4, rtol=1e-4)
        assert len(found.frames) == found.maps.shape[1]
        assert set(found.frames) <= set(range(model.num_frames))
        assert found.maps.isfinite().all()
        sides.append(found.maps.shape[2])
    assert sides == sorted(sides, reverse=True)
    assert sides[0] > sides[-1] or model.gives_tokens
