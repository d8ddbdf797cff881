"""MkDocs hook that gives the site the layout of the repository, so that the same links work in both."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

REPO = Path(__file__).resolve().parents[1]
OUTSIDE_DOCS = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "benchmarks/*.md",
    "benchmarks/*.csv",
    "benchmarks/*.png",
    "benchmarks/*.csv",
    "model_cards/*.md",
    "videozoo/recipes/*.yaml",
    "examples/*",
    "scripts/space/*",
    "scripts/mkdocs.css",
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the pages of ``docs/`` under that name, and add the files outside it that they link to."""
    kept = [file for file in files if not Path(file.abs_src_path or "").is_relative_to(config.docs_dir)]
    paths = [
        path for pattern in ("docs/**/*.md", "docs/**/*.png", *OUTSIDE_DOCS) for path in sorted(REPO.glob(pattern))
    ]
    added = [File.generated(config, path.relative_to(REPO).as_posix(), abs_src_path=str(path)) for path in paths]
    return Files([*kept, *added])
