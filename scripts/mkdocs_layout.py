"""A hook of MkDocs: the site has the repository's layout, so that links between its pages are the same in both."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

REPO = Path(__file__).resolve().parents[1]
BESIDE = (
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "benchmarks/*.md",
    "benchmarks/*.png",
    "model_cards/*.md",
    "videozoo/recipes/*.yaml",
    "scripts/space/*",
    "scripts/mkdocs.css",
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the pages of ``docs/`` under that name, and beside them what they link to."""
    theirs = [file for file in files if not Path(file.abs_src_path or "").is_relative_to(config.docs_dir)]
    paths = [path for pattern in ("docs/**/*.md", "docs/**/*.png", *BESIDE) for path in sorted(REPO.glob(pattern))]
    ours = [File.generated(config, path.relative_to(REPO).as_posix(), abs_src_path=str(path)) for path in paths]
    return Files([*theirs, *ours])
