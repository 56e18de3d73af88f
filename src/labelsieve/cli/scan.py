"""`labelsieve scan`: the main job."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.exceptions import InputError
from ..core.text import counted
from . import common
from .common import say

DETECTORS = "latent-label, label-match, small-loss, confident-learning, knn or dual-prompts"
READ = ("image_column", "label_column", "class_names", "split")


def command(
    data: common.Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")],
    model: common.Model = "openai/clip-vit-base-patch16",
    detector: Annotated[
        str, typer.Option(help=f"Which detector judges the labels: {DETECTORS}.")
    ] = "latent-label",
    visual_tuning: Annotated[
        str, typer.Option(help=f"How dual-prompts adapts the image encoder: {common.TUNINGS}.")
    ] = "none",
    param: common.Params = None,
    tuner: Annotated[
        str | None,
        typer.Option(
            help="Which tuner fits the robust classifier; unset, the detector's own, else coop."
        ),
    ] = None,
    image_column: common.ImageColumn = None,
    label_column: common.LabelColumn = None,
    class_names: common.ClassNames = None,
    split: common.Split = None,
    seed: common.Seed = 0,
    device: common.Device = "auto",
    dtype: common.Dtype = "auto",
    offline: common.Offline = False,
    json: common.Json = False,
    force: common.Force = False,
    fail_over: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Exit with 1 when the share of issues is over this."),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            help="CSV of accepted ids (a baseline, a former issues.csv, decisions): only other "
            "issues count; without --fail-over, one is enough to fail."
        ),
    ] = None,
    new_baseline: Annotated[
        Path | None,
        typer.Option("--write-baseline", help="Write the issues of this scan as accepted ones."),
    ] = None,
    decisions: Annotated[
        Path | None,
        typer.Option(
            help="What people decided, held fixed: .csv, .sqlite of the review, .json of Label "
            "Studio, or the folder of a reviewed scan."
        ),
    ] = None,
    engine: common.Engine = "local",
    address: common.Address = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Workers on Ray; unset, one a GPU or processor.")
    ] = None,
    fit_rows: Annotated[
        int | None,
        typer.Option(
            min=2, help="On Ray: most rows fitted at once, 200,000 if unset; above, a subset."
        ),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(help="Images you have time for: first.csv lists them, worst first."),
    ] = None,
    self_check: Annotated[
        float | None,
        typer.Option(
            help="Flip this share of the labels in a rehearsal and report how many are found."
        ),
    ] = None,
    config: common.Config = None,
    verbose: common.Verbose = 0,
    quiet: common.Quiet = False,
) -> None:
    """Find wrong labels: issues, a robust classifier and a report."""
    from ..sieve.decision_files import read_decisions
    from ..sieve.gate import (
        check_gate,
        check_replaceable,
        issue_tables,
        read_baseline,
        with_kept,
        write_baseline,
    )

    accepted = None if baseline is None else read_baseline(baseline)
    decided = None if decisions is None else read_decisions(decisions)
    if new_baseline is not None:  # before the scan, so that a mistake costs no time
        check_replaceable(new_baseline, force)
    cluster = common.read_cluster(engine, address, workers)
    if fit_rows is not None and cluster is None:
        raise InputError("--fit-rows goes with --engine ray")
    read = (image_column, label_column, class_names, split)
    images = None if cluster else common.read_images(data, *read, offline=offline)
    from ..report import write_report
    from ..sieve import LabelSieve, scan

    sieve = LabelSieve(
        model,
        detector=detector,
        detector_params=_detector_params(visual_tuning, param),
        tuner=tuner,
        device=device,
        dtype=dtype,
        offline=offline,
        random_state=seed,
    )
    try:
        written = {
            "source": {
                "source": common.lasting(data),
                "image_column": image_column,
                "label_column": label_column,
                "class_names": class_names and common.absolute(class_names),
                "split": split,
            },
            "command": common.command_line(),
            "decisions": decided,
            "budget": budget,
            "self_check": self_check,
            "force": force,
            "finish": lambda folder, found: write_report(folder, images=found),
        }
        if images is not None:
            result = scan(images, out, sieve, **written)
        else:
            from ..scale import scan_on_ray

            options = dict(zip(READ, read, strict=True)) | {"offline": offline}
            extra = {"cluster": cluster, "tell": say}
            extra |= {} if fit_rows is None else {"fit_rows": fit_rows}
            result = scan_on_ray(data, out, sieve, read=options, **written, **extra)
    except KeyboardInterrupt:
        say(f"interrupted; run the same command to continue from what {out} and the cache keep")
        raise typer.Exit(130) from None
    limit = 0.0 if fail_over is None and accepted is not None else fail_over
    # The issues in memory are all of them, unless the scan was streamed.
    gate = check_gate(issue_tables(out) if result.streamed else sieve.issues_, accepted, limit)
    if new_baseline is not None:  # before anything is printed: who reads it may have gone
        found = issue_tables(out) if result.streamed else sieve.issues_
        former = with_kept(accepted, sieve.held_)
        n = write_baseline(new_baseline, found, former, force=force)
        say(f"baseline {new_baseline}: {counted(n, 'accepted issue')}")
    _show(sieve, out, json, gate)
    if accepted is not None:
        _show_new(gate, json)
    if not gate.passed:
        what = "labels look wrong" if accepted is None else "labels are new issues"
        typer.echo(
            f"{gate.n_new:,} of {gate.n_judged:,} {what} ({gate.share:.2%}), over the allowed "
            f"{gate.limit:.2%}",
            err=True,
        )
        raise typer.Exit(1)


def _detector_params(visual_tuning: str, pairs: list[str] | None) -> dict[str, Any]:
    """The arguments of the detector; one that cannot adapt the encoder says so by itself."""
    chosen = {} if visual_tuning == "none" else {"visual_tuning": visual_tuning}
    return chosen | common.parse_params(pairs)


def _show_new(gate, json: bool) -> None:
    """List the issues that the baseline does not accept, one a line."""
    if gate.n_unknown:
        say(f"note: not in the data: {counted(gate.n_unknown, 'id')} of the baseline")
    if json:
        return
    typer.echo(f"{counted(gate.n_new, 'new issue')}, {gate.n_accepted:,} accepted")
    for row in gate.new.itertuples():
        suggested = "(no class)" if row.action == "drop" else row.suggested_label
        typer.echo(
            f"new  {_one_line(row.id)}  {_one_line(row.given_label)} -> {_one_line(suggested)}  "
            f"{row.label_score:.3f}"
        )


def _one_line(text: object) -> str:
    """Text without the control characters that would break a line or a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def _show(sieve, out: Path, json: bool, gate) -> None:
    summary = sieve.summary_
    if json:
        record = gate.record()
        common.print_json(summary if gate.limit is None else summary | {"gate": record})
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..sieve.promises import promises

    console = Console(highlight=False)
    rate = summary["noise_rate"]
    low, high = rate["interval"]
    console.print(
        f"\n[bold]{summary['n_label_issues']:,} of {gate.n_judged:,} labels look wrong[/bold]"
        f"  (estimated noise rate {rate['estimate']:.1%}; {low:.1%} to {high:.1%})",
        soft_wrap=True,
    )
    for line in promises(summary):
        console.print(Text(line), soft_wrap=True)
    if summary["n_unreadable"]:
        unreadable = counted(summary["n_unreadable"], "image")
        console.print(f"{unreadable} cannot be read; see the error column", soft_wrap=True)
    table = Table(title="worst first", title_justify="left", title_style="")
    for column in ("file", "given", "suggested", "score", "action"):
        justify = "right" if column == "score" else "left"
        # Folded, not cut: the end of a path is what tells images apart.
        table.add_column(column, justify=justify, max_width=40, overflow="fold")
    if summary["decisions"]:
        console.print(_decided(summary["decisions"]), soft_wrap=True)
    worst = sieve.issues_.worst()
    if sieve.held_ is not None:
        worst = worst[~sieve.held_.decided[worst.index]]
    for row in worst[worst["is_label_issue"]].head(10).itertuples():
        suggested = "(no class)" if row.action == "drop" else row.suggested_label
        cells = (row.file_name, row.given_label, suggested)
        table.add_row(*(Text(_one_line(c)) for c in cells), f"{row.label_score:.3f}", row.action)
    if table.row_count:
        console.print(table)
    command = f"labelsieve predict {shlex.quote(str(out))} IMAGES -o FILE"
    places = f"report {out / 'report.html'}\nissues {out / 'issues.csv'}\nmodel  {out / 'model'}"
    console.print(Text(f"{places}  ({command})"), soft_wrap=True)


def _decided(figures: dict[str, Any]) -> str:
    """What the decisions say, and what is left."""
    parts = [f"{figures[name]:,} {name}" for name in ("keep", "relabel", "drop", "unsure")]
    line = f"{figures['n']:,} decisions ({', '.join(parts)}); {figures['n_flagged_left']:,} left"
    precision = figures["expected_precision_left"]
    return line if precision is None else f"{line}, of which about {precision:.0%} should be wrong"
