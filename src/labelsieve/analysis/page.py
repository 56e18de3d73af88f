"""The page of an analysis: a few sentences, the figures, the tables, in one file."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

ASSETS = Path(__file__).parent / "assets"
PAGE = "index.html"


@dataclass(frozen=True)
class Section:
    """One thing to see.

    Parameters
    ----------
    title : str
        A short heading.
    text : str
        What one sees, in plain sentences.
    figure : str, optional
        Name of a figure that was saved into the same folder.
    table : DataFrame, optional
        Shown below; its values as they are printed.
    """

    title: str
    text: str
    figure: str | None = None
    table: pd.DataFrame | None = None


def write_page(
    folder: Path, *, title: str, lead: str, sections: list[Section], facts: dict[str, Any]
) -> Path:
    """Write `index.html`, which opens from disk and asks for no other file.

    Parameters
    ----------
    folder : Path
        Holds the figures.
    title, lead : str
        Heading, and the sentences below it.
    sections : list of Section
        In reading order.
    facts : dict
        What was run: names and values for the foot of the page.
    """
    style = (ASSETS / "analysis.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("analysis.html.j2").render(
        title=title,
        lead=lead,
        policy=policy,
        style=Markup(style),
        sections=[_view(section, folder) for section in sections],
        facts=facts,
    )
    path = folder / PAGE
    path.write_bytes(html.encode("utf-8", "replace"))  # lone surrogates become "?"
    return path


def _view(section: Section, folder: Path) -> dict[str, Any]:
    """What the template shows of a section."""
    table = section.table
    return {
        "title": section.title,
        "text": section.text,
        "figure": section.figure,
        "image": None if section.figure is None else _data_url(folder / f"{section.figure}.svg"),
        "columns": [] if table is None else [str(name) for name in table.columns],
        "rows": [] if table is None else table.astype(str).to_numpy().tolist(),
    }


def _data_url(path: Path) -> str:
    encoded = base64.b64encode(path.read_bytes()).decode("ascii")
    return f"data:image/svg+xml;base64,{encoded}"
