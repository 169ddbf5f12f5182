"""Sphinx: `sphinx-build -W docs docs/_build`, with the extra `docs` installed."""

import tomllib
from pathlib import Path

metadata = tomllib.loads(Path(__file__).parent.parent.joinpath("pyproject.toml").read_text())["project"]

project = metadata["name"]
author = metadata["authors"][0]["name"]
copyright = f"2026, {author}"
version = release = metadata["version"]

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"{project} {version}"
