"""What a scan expects of its list, in sentences."""

from __future__ import annotations

from typing import Any


def promises(summary: dict[str, Any]) -> list[str]:
    """Sentences about the budget and the self-check of a scan.

    Parameters
    ----------
    summary : dict
        The content of summary.json.
    """
    lines = []
    budget = summary.get("budget")
    if budget and budget["errors"] is not None:
        low, high = budget["interval"] or (None, None)
        between = "" if low is None else f" ({low * budget['n']:,.0f} to {high * budget['n']:,.0f})"
        lines.append(
            f"the first {budget['n']:,} of the list (first.csv) should hold about "
            f"{budget['errors']:,.0f} wrong labels{between}, {budget['recall']:.0%} of all"
        )
    elif budget:
        lines.append(f"first.csv lists the {budget['n']:,} worst; this detector cannot say more")
    check = summary.get("self_check")
    if check:
        low, high = check["interval"]
        lines.append(
            f"self-check: of {check['n_flipped']:,} labels flipped on purpose, "
            f"{check['n_found']:,} were flagged ({check['recall']:.0%}; {low:.0%} to {high:.0%}); "
            "errors that people make are harder to find"
        )
    return lines
