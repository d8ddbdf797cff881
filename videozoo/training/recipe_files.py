"""Files of the bundled recipes, by name."""

from importlib import resources


def recipe_names() -> list[str]:
    """Return the recipes of the package."""
    found = (entry.name for entry in (resources.files("videozoo") / "recipes").iterdir())
    return sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml"))


def recipe_text(name: str) -> str:
    """Return the content of a recipe of the package."""
    return (resources.files("videozoo") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
