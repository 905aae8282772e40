"""Templates to pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render_page(template: str, *, folder: Path | None = None, **context: Any) -> str:
    """A template, named from eval/ on, as text, everything escaped that is not Markup.

    One that lies elsewhere is named from `folder` on.
    """
    environment = Environment(
        loader=FileSystemLoader([*([folder] if folder else []), Path(__file__).parent.parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**context)
