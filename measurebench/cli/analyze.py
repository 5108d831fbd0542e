"""``measurebench analyze``: which measure predicts robust generalization, where, and how surely."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from measurebench.stats import Analysis

__all__ = ["analyze"]


def analyze(
    source: Annotated[
        Path, typer.Argument(metavar="DIR|TABLE", help="A results folder, or any table (.csv, .parquet, .json).")
    ],
    out: Annotated[Path, typer.Option(help="Folder for correlations.csv, regressions.csv and analysis.json.")],
    target: Annotated[str, typer.Option(help="Column to predict.")] = "robust_gap_pgd",
    measures: Annotated[str, typer.Option(help="Columns to judge, commas between; default: every measure.")] = "",
    settings: Annotated[
        str, typer.Option(help="Columns of training settings; default: setting_*, architecture and the defense.")
    ] = "",
    defense: Annotated[str, typer.Option(help="Column of the defense.")] = "defense",
    run: Annotated[str, typer.Option(help="Column of the training run that models share.")] = "run",
    cluster: Annotated[str, typer.Option(help="Column of the paper or base network that models share.")] = "cluster",
    bootstrap: Annotated[int, typer.Option(help="Bootstrap draws.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of bootstrap and permutations.")] = 0,
    where: Annotated[str, typer.Option(help="Only models for which this holds, such as 'defense == \"AT\"'.")] = "",
    partial: Annotated[str, typer.Option(help="Further columns to hold fixed, commas between.")] = "",
    without_standard: Annotated[
        bool, typer.Option("--without-standard", help="Leave out models trained without an attack.")
    ] = False,
    model: Annotated[str, typer.Option(help="Also tell where this model stands in the population.")] = "",
    claims: Annotated[
        bool, typer.Option("--claims", help="Also judge the published claims of Kim et al. 2023: OUT/claims.csv.")
    ] = False,
) -> int:
    """Judge each measure as a predictor of TARGET and write OUT/{correlations.csv,regressions.csv,analysis.json}.

    Any table with a row per model will do: a target, one measure. What cannot be computed says why.
    """
    from measurebench.stats import analyze as judge
    from measurebench.stats import write_analysis
    from measurebench.store.infos import infos_of
    from measurebench.store.tables import read_table

    analysis = judge(
        read_table(source),
        target=target,
        measures=_names(measures),
        settings=_names(settings),
        defense=defense,
        run=run,
        cluster=cluster,
        bootstrap=bootstrap,
        seed=seed,
        where=where or None,
        partial=_names(partial) or (),
        exclude_standard=without_standard,
        model=model or None,
        infos=infos_of(source),
    )
    written = write_analysis(analysis, out)
    _tell(analysis)
    if claims:
        written.append(_write_claims(analysis, out))
    typer.echo(f"Written: {', '.join(str(path) for path in written)}")
    return 0


def _write_claims(analysis: "Analysis", out: Path) -> Path:
    """Print each claim with its verdict and write them as a table."""
    from measurebench.stats import judged_claims

    judged = judged_claims(analysis)
    for row in judged.to_dict("records"):
        of = f" ({row['measure']})" if row["measure"] else ""
        typer.echo(f"Claim, {row['verdict']}: {row['claim']}{of}: {row['found']}")
    judged.to_csv(out / "claims.csv", index=False, lineterminator="\n")
    return out / "claims.csv"


def _names(text: str) -> list[str] | None:
    """Return the names in a list with commas, or None for an empty one."""
    return [name.strip() for name in text.split(",") if name.strip()] or None


def _tell(analysis: "Analysis") -> None:
    """Print filters, a sentence per measure, notes, and the standing of a model."""
    typer.echo(f"{analysis.n_models} models, {analysis.n_units} independent units; target {analysis.target}")
    for step in analysis.filters:
        if step.left_out:
            first = ", ".join(f"{name} ({why})" for name, why in step.left_out[:3])
            more = f" and {len(step.left_out) - 3} more" if len(step.left_out) > 3 else ""
            typer.echo(f"Left out, {step.name}: {len(step.left_out)} of {step.n_before}: {first}{more}")
    order = {name: k for k, name in enumerate(analysis.ranking()["measure"])}
    judged = sorted(analysis.judgements.to_dict("records"), key=lambda row: order[row["measure"]])
    for row in judged:
        typer.echo(f"- {row['sentence']}")
    for sentence in [*analysis.notes, *analysis.power["sentence"].head(1)]:
        typer.echo(f"Note: {sentence}")
    for row in analysis.standing.to_dict("records"):
        typer.echo(_stands({str(key): value for key, value in row.items()}))


def _stands(row: dict[str, float | str]) -> str:
    """Tell one line of the what-if; a part that is missing is left out."""
    words = f"{row['model_id']}: {row['measure']} = {row['value']:.6g}"
    if row["percentile"] == row["percentile"]:
        words += f", percentile {row['percentile']:.0f} of {row['n_models']} others"
    if row["predicted"] == row["predicted"]:
        words += f"; predicted {row['predicted']:.4f} [{row['predicted_low']:.4f}, {row['predicted_high']:.4f}]"
        words += f", observed {row['observed']:.4f}, residual {row['residual']:+.4f}"
    return words
