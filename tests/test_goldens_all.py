"""Every recording of the original authors' code, converted by its keys alone.

``tests/test_goldens.py`` and ``tests/test_goldens_3d.py`` check a few of them in more detail.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import REPO, golden_fill, load_file_as_module, shared_folder

from videozoo.hub.convert.checkpoint import convert_checkpoint, unwrap
from videozoo.models import ModelSpec, model_from_state
from videozoo.models.convert import choose_alternative

FOLDER = shared_folder("goldens")
NAMES = [] if FOLDER is None else sorted(path.stem for path in FOLDER.glob("*.json"))
MODEL_OF: dict[str, str] = load_file_as_module(REPO / "scripts" / "goldens.py").MODEL_OF


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_logits_equal_those_of_the_original(name: str, goldens: Path) -> None:
    facts: dict[str, Any] = json.loads((goldens / f"{name}.json").read_text())
    fill = golden_fill(goldens)
    state = unwrap(fill.fill_keys(facts["keys"], facts["fill_gain"]))
    converted, _ = convert_checkpoint(state)
    converted = choose_alternative(converted, MODEL_OF.get(name))
    spec = ModelSpec.from_dict(converted.spec).replace(num_frames=facts["frames"])
    model = model_from_state(spec, dict(converted.state), source=name).eval()
    unused = sum(state[key].numel() for key in converted.dropped if "running" not in key and "num_batches" not in key)
    assert sum(parameter.numel() for parameter in model.parameters()) + unused == facts["params_total"]
    with torch.no_grad():
        logits = model(fill.make_input(facts["frames"], facts["size"]))
    difference = (logits - torch.tensor(facts["logits_all"])).abs().max().item()
    assert difference <= facts["suggested_atol"]
