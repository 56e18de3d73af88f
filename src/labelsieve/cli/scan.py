"""`labelsieve scan`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import common
from .common import say


def command(
    data: common.Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")],
    model: common.Model = "openai/clip-vit-base-patch16",
    detector: Annotated[str, typer.Option(help="Which detector judges the labels.")] = (
        "latent-label"
    ),
    visual_tuning: Annotated[
        str, typer.Option(help="How dual-prompts adapts the image encoder: none, vpt-deep, lora, …")
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
    config: common.Config = None,
    verbose: common.Verbose = 0,
    quiet: common.Quiet = False,
) -> None:
    """Find wrong labels: issues, a robust classifier and a report."""
    images = common.read_images(
        data, image_column, label_column, class_names, split, offline=offline
    )
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
        scan(
            images,
            out,
            sieve,
            source={
                "source": str(Path(data).resolve()) if Path(data).exists() else data,
                "image_column": image_column,
                "label_column": label_column,
                "class_names": class_names and str(Path(class_names).resolve()),
                "split": split,
            },
            command=common.command_line(),
            force=force,
            finish=lambda folder, found: write_report(folder, images=found),
        )
    except KeyboardInterrupt:
        say(f"interrupted; run the same command to continue from what {out} and the cache keep")
        raise typer.Exit(130) from None
    _show(sieve, out, json)
    if fail_over is not None and _share(sieve) > fail_over:
        say(f"{_share(sieve):.2%} of the labels look wrong, over the allowed {fail_over:.2%}")
        raise typer.Exit(1)


def _detector_params(visual_tuning: str, pairs: list[str] | None) -> dict[str, Any]:
    """The arguments of the detector; one that cannot adapt the encoder says so by itself."""
    chosen = {} if visual_tuning == "none" else {"visual_tuning": visual_tuning}
    return chosen | common.parse_params(pairs)


def _share(sieve) -> float:
    judged = sieve.issues_.table["label_score"].notna().sum()
    return sieve.summary_["n_label_issues"] / max(judged, 1)


def _show(sieve, out: Path, json: bool) -> None:
    summary = sieve.summary_
    if json:
        common.print_json(summary)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    rate = summary["noise_rate"]
    low, high = rate["interval"]
    console.print(
        f"\n[bold]{summary['n_label_issues']:,} of {summary['n_images']:,} labels look wrong[/bold]"
        f"  (estimated noise rate {rate['estimate']:.1%}; {low:.1%} to {high:.1%} from sampling)"
    )
    if summary["n_unreadable"]:
        console.print(f"{summary['n_unreadable']:,} images cannot be read; see the error column")
    table = Table(title="worst first", title_justify="left", title_style="")
    for column in ("file", "given", "suggested", "score", "action"):
        table.add_column(column, justify="right" if column == "score" else "left", max_width=40)
    worst = sieve.issues_.worst(10)
    for row in worst[worst["is_label_issue"]].itertuples():
        suggested = "(no class)" if row.action == "drop" else row.suggested_label
        cells = (row.file_name, row.given_label, suggested)
        table.add_row(*(Text(str(c)) for c in cells), f"{row.label_score:.3f}", row.action)
    if table.row_count:
        console.print(table)
    console.print(Text(f"report {out / 'report.html'}\nissues {out / 'issues.csv'}"))
    console.print(Text(f"model  {out / 'model'}  (labelsieve predict {out} IMAGES -o FILE)"))
