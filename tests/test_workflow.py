"""Tests of the GitHub workflow."""

import yaml
from helpers import REPO


def test_the_fast_jobs_run_every_test_folder_once() -> None:
    workflow = yaml.safe_load((REPO / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))
    matrix = workflow["jobs"]["fast"]["strategy"]["matrix"]
    assert matrix["part"] == [row["part"] for row in matrix["include"]]
    folders = [path for row in matrix["include"] for path in row["paths"].split()]
    expected = {f"tests/{path.parent.name}" for path in REPO.glob("tests/*/test_*.py")} | {"tests/test_*.py"}
    assert sorted(folders) == sorted(expected)


def test_issue_forms_are_yaml() -> None:
    for path in (REPO / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        assert yaml.safe_load(path.read_text(encoding="utf-8"))
