"""``sites_by_family.json`` is what ``scripts/sites_by_family.py`` writes: sites, or clear refusals."""

import json
from typing import Any

import pytest
from helpers import REPO, load_file_as_module

SCRIPT = load_file_as_module(REPO / "scripts" / "sites_by_family.py")
TABLE: dict[str, dict[str, Any]] = json.loads((REPO / "tests" / "sites_by_family.json").read_text(encoding="utf-8"))
QUICK = ("test_resnet", "efficientformer_l1")
STARTS = ("compose: ", "insert_before: ", "insert_after: ", "append_to_stage: ", "stage ", "thread_state: ")


def test_every_family_has_an_entry_for_every_part() -> None:
    assert list(TABLE) == SCRIPT.FAMILIES
    for row in TABLE.values():
        assert set(row) == (set(SCRIPT.PARTS) if isinstance(row["tsn"], list) else {"tsn"})


def test_refusals_name_the_part_and_the_cause() -> None:
    for backbone, row in TABLE.items():
        for part, entry in row.items():
            if isinstance(entry, str):
                assert entry.startswith((part.upper(), *STARTS)), (backbone, part)
                assert len(entry) > 50, (backbone, part)
            else:
                assert entry[0] > 0 or part in ("tsn", "trn"), (backbone, part)


@pytest.mark.parametrize(
    "backbone", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SCRIPT.FAMILIES]
)
def test_the_table_equals_the_output_of_the_script(backbone: str) -> None:
    assert SCRIPT.row(backbone) == TABLE[backbone], "run python scripts/sites_by_family.py and read the difference"
