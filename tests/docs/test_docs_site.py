"""Tests that the site builds without warnings and loads nothing from other servers."""

import html.parser
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs_pages import PAGES
from helpers import REPO

CONFIG = REPO / "mkdocs.yml"


class _Fetched(html.parser.HTMLParser):
    """Parser of the addresses that a browser fetches to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        address = found.get("src") or (found.get("href") if tag == "link" else None)
        if address:
            self.addresses.append(address)


@pytest.mark.slow
@pytest.mark.extras
def test_the_site_is_built_without_a_warning_and_works_offline(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    site = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(site)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, env=environment, cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (site / "index.html").exists(), "README.md is the first page"
    missing, remote = [], []
    for page in PAGES[1:]:
        file = site / Path(page).with_suffix(".html")
        fetched = _Fetched()
        fetched.feed(file.read_text(encoding="utf-8"))
        remote += [address for address in fetched.addresses if address.startswith(("http:", "https:", "//"))]
        inside = [address.partition("#")[0].partition("?")[0] for address in fetched.addresses]
        missing += [address for address in inside if address and not (file.parent / address).exists()]
    assert remote == []
    assert missing == []


def test_links_lead_to_files_of_the_repository() -> None:
    missing = []
    for page in PAGES:
        folder = (REPO / page).parent
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", (REPO / page).read_text(encoding="utf-8")):
            if not link.startswith(("http://", "https://")) and not (folder / link).exists():
                missing.append(f"{page}: {link}")
    assert missing == []


def test_every_page_is_in_the_menu_and_every_guide_in_the_readme() -> None:
    menu = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["nav"]
    listed = [page for entry in menu for page in _pages_of(entry)]
    assert sorted(set(PAGES) - set(listed)) == []
    assert len(listed) == len(set(listed))
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    assert [page for page in PAGES if page.startswith("docs/guides/") and f"({page})" not in readme] == []


def _pages_of(entry: Any) -> list[str]:
    """Return the pages of an entry of the menu: a page, or a title with a page or with further entries."""
    if isinstance(entry, str):
        return [entry]
    if isinstance(entry, list):
        return [page for one in entry for page in _pages_of(one)]
    return [page for one in entry.values() for page in _pages_of(one)]
