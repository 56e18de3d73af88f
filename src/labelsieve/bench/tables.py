"""Plain tables and their Markdown, LaTeX and HTML."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Entry:
    """A cell of a table."""

    text: str
    bold: bool = False


@dataclass(frozen=True)
class Table:
    """A table with a title, a note and a header; the first column is text, the others numbers."""

    title: str
    header: list[str]
    rows: list[list[Entry]]
    note: str = ""


_TEX = {
    "\\": r"\textbackslash{}",
    **{mark: "\\" + mark for mark in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
}


def markdown(table: Table) -> str:
    """The table in Markdown, under a heading of the third level.

    Examples
    --------
    >>> print(markdown(Table("T", ["a", "b"], [[Entry("x|y"), Entry("1", True)]])))
    ### T
    <BLANKLINE>
    | a | b |
    |:--|--:|
    | x\\|y | **1** |
    """
    lines = [f"### {table.title}", ""]
    lines += [_markdown_row([Entry(text) for text in table.header])]
    lines += ["|:--" + "|--:" * (len(table.header) - 1) + "|"]
    lines += [_markdown_row(row) for row in table.rows]
    return "\n".join([*lines, *(["", table.note] if table.note else [])])


def _markdown_row(row: list[Entry]) -> str:
    texts = [entry.text.replace("|", "\\|") for entry in row]
    marked = [f"**{t}**" if e.bold else t for t, e in zip(texts, row, strict=True)]
    return f"| {' | '.join(marked)} |"


def latex(table: Table) -> str:
    """The table in LaTeX with the rules of booktabs.

    Examples
    --------
    >>> text = latex(Table("T", ["a", "b"], [[Entry("100%"), Entry("1", True)]]))
    >>> r"100\\% & \\textbf{1}" in text
    True
    """
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{tex(table.title)}}}"]
    lines += [rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}", r"\toprule"]
    lines += [" & ".join(map(tex, table.header)) + r" \\", r"\midrule"]
    for row in table.rows:
        texts = [rf"\textbf{{{tex(e.text)}}}" if e.bold else tex(e.text) for e in row]
        lines.append(" & ".join(texts) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\smallskip\footnotesize {tex(table.note)}"] if table.note else []
    return "\n".join([*lines, r"\end{table}"])


def tex(text: str) -> str:
    """Text with the special characters of LaTeX escaped."""
    return "".join(_TEX.get(character, character) for character in text)


def html(table: Table) -> str:
    """The table in HTML."""
    head = "".join(f"<th scope=col>{escape(text)}</th>" for text in table.header)
    body = "".join(f"<tr>{''.join(map(_html_cell, row))}</tr>\n" for row in table.rows)
    note = f"<p class=note>{escape(table.note)}</p>" if table.note else ""
    return (
        f"<h3>{escape(table.title)}</h3>\n<div class=wide><table><thead><tr>{head}</tr></thead>\n"
        f"<tbody>{body}</tbody></table></div>{note}"
    )


def _html_cell(entry: Entry) -> str:
    text = escape(entry.text)
    return f"<td>{f'<strong>{text}</strong>' if entry.bold else text}</td>"
