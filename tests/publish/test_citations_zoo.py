"""Every part of the zoo's architectures has its paper."""

import pytest

import videozoo
from videozoo.augment import AUGMENTERS
from videozoo.models import EnsembleSpec, ModelSpec, spec_of
from videozoo.publish.citations import papers_of
from videozoo.temporal import TEMPORAL

SPECS = [spec_of(name) for name in videozoo.list_models()]
MEMBERS = [member for spec in SPECS for member in (spec.members if isinstance(spec, EnsembleSpec) else (spec,))]


@pytest.mark.parametrize("backbone", sorted({member.backbone for member in MEMBERS}))
def test_every_backbone_has_a_paper(backbone: str) -> None:
    assert papers_of([ModelSpec(backbone).to_dict()])[-1].key != "wang2016tsn"


@pytest.mark.parametrize("part", [*TEMPORAL, *AUGMENTERS])
def test_every_part_has_a_paper(part: str) -> None:
    kind = "temporal" if part in TEMPORAL else "augmenters"
    plain = {"backbone": "convnext_atto", "temporal": {"name": "none"}, "augmenters": []}
    assert len(papers_of([{**plain, kind: {"name": part} if kind == "temporal" else [{"name": part}]}])) == 1
