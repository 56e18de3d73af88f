"""Put the contents into the page: template, style sheet and script in one file."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from .formats import count, percent

ASSETS = Path(__file__).parent / "assets"


def render(payload: dict[str, Any], **contents: Any) -> str:
    """Render the page.

    Parameters
    ----------
    payload : dict
        What the script of the page reads, as JSON.
    **contents
        What the template shows.

    Returns
    -------
    str
        A complete HTML document that can be encoded as UTF-8 and needs no other file.
    """
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=count, percent=percent)
    style = (ASSETS / "report.css").read_text(encoding="utf-8")
    script = (ASSETS / "report.js").read_text(encoding="utf-8")
    html = environment.get_template("report.html.j2").render(
        **contents,
        policy=content_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        payload=embedded_json(payload),
    )
    return html.encode("utf-8", "replace").decode("utf-8")  # lone surrogates become "?"


def embedded_json(value: Any) -> Markup:
    """JSON that cannot end the `<script>` element that holds it, whatever the texts contain.

    Examples
    --------
    >>> print(embedded_json("</script>"))
    "\\u003c/script\\u003e"
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def content_policy(style: str, script: str) -> str:
    """A content security policy that allows this style sheet, this script, and no request."""
    return "; ".join(
        [
            "default-src 'none'",
            "img-src data:",
            f"style-src '{_digest(style)}'",
            f"script-src '{_digest(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
