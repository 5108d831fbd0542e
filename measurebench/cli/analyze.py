"""``measurebench analyze``: tests how well each measure predicts robust generalization."""

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from measurebench.cli.printing import say, say_table
from measurebench.cli.table_options import Defense, Id, Measures, Settings, Target, chosen_columns, column_names
from measurebench.core.errors import BadInputError

if TYPE_CHECKING:
    from measurebench.stats import Analysis

__all__ = ["analyze"]

# New objects between searches for unreachable ones. At the default of 700 the search takes a tenth of the time; what an
# analysis leaves unreachable is little.
_OBJECTS = 200_000

_Sources = Annotated[
    list[Path],
    typer.Argument(metavar="DIR|TABLE", help="A results folder, several of them, or any table (.csv, .xlsx, ...)."),
]
_Out = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder for correlations.csv, regressions.csv and analysis.json.")
]
_Where = Annotated[
    str, typer.Option(metavar="CONDITION", help="Only models for which this holds, such as 'defense == \"AT\"'.")
]
_Radius = Annotated[str, typer.Option(metavar="R", help="Only models measured at this radius, such as 8/255.")]
_By = Annotated[
    str, typer.Option(metavar="radius", help="Analyse each radius by itself, in a folder of its own below --out.")
]
_WithoutStandard = Annotated[
    bool, typer.Option("--without-standard", help="Leave out models that were trained without an attack.")
]
_Margin = Annotated[
    float, typer.Option(metavar="TAU", help="Size up to which an association that is not shown counts as small.")
]
_Claims = Annotated[
    bool, typer.Option("--claims", help="Also test the claims of Kim et al. 2023, and write OUT/claims.csv.")
]
_Audit = Annotated[
    bool,
    typer.Option(
        "--audit",
        help="Also show how far each measure moves between models that differ in one setting and whose targets one "
        "pair cannot tell apart, and write OUT/fragility.csv.",
    ),
]
_Explain = Annotated[
    bool, typer.Option("--explain", help="Only say what each column is taken for, and how to say otherwise.")
]


def analyze(
    sources: _Sources,
    out: _Out = None,
    target: Target = "",
    measures: Measures = "",
    settings: Settings = "",
    defense: Defense = "",
    id: Id = "",
    run: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the training run.")] = "run",
    cluster: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the paper or base network.")] = "cluster",
    bootstrap: Annotated[int, typer.Option(metavar="N", help="Bootstrap samples.")] = 2000,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of bootstrap samples and permutations.")] = 0,
    where: _Where = "",
    radius: _Radius = "",
    by: _By = "",
    partial: Annotated[str, typer.Option(metavar="NAME,NAME", help="More columns to hold fixed.")] = "",
    without_standard: _WithoutStandard = False,
    model: Annotated[str, typer.Option(metavar="ID", help="Also show where this model stands among the others.")] = "",
    margin: _Margin = 0.1,
    claims: _Claims = False,
    audit: _Audit = False,
    explain: _Explain = False,
) -> int:
    """Test how well each measure predicts the target, and write correlations, regressions and the analysis to --out.

    Any table with one row per model will do, if it has a target and at least one measure. Several results folders are
    joined, as `export` joins them. For what cannot be computed the reason is given.
    """
    gc.set_threshold(_OBJECTS)
    from measurebench.stats import analyze as judge
    from measurebench.stats import write_analysis
    from measurebench.store.joining import infos_of_sources, read_sources

    table, infos = read_sources(sources), infos_of_sources(sources)
    columns = chosen_columns(target, measures, settings, defense, id) | {"run": run, "cluster": cluster}
    if explain:
        return _explain(table, columns)
    for each, folder in _parts(table, radius, by, _given(out)):
        analysis = judge(
            table,
            **columns,
            bootstrap=bootstrap,
            seed=seed,
            where=where or None,
            partial=column_names(partial),
            exclude_standard=without_standard,
            model=model or None,
            margin=margin,
            infos=infos,
            radius=each or None,
        )
        judged = _judged_claims(analysis) if claims else None
        written = write_analysis(analysis, folder, judged, audit=audit)
        _tell(analysis)
        if audit:
            _tell_audit(analysis)
        if judged is not None:
            _tell_claims(judged)
        say(f"Written: {', '.join(str(path) for path in written)}")
    return 0


def _given(out: Path | None) -> Path:
    """Return the folder to write to; raises BadInputError where none was named."""
    if out is None:
        raise BadInputError("--out", "a folder to write to", "none", "or --explain for a first look")
    return out


def _explain(table: Any, columns: dict[str, Any]) -> int:
    """Print what each column is taken for, and what was changed when the table was read."""
    from measurebench.core.columns import NOTES
    from measurebench.stats.population.explain import explain

    say(f"{len(table)} models, {len(table.columns)} columns")
    found = explain(table, **columns)
    rows = [[row.column, row.role, row.reason, row.option] for row in found]
    say_table(["column", "taken for", "why", "otherwise"], rows)
    for note in table.attrs.get(NOTES, []):
        say(f"Note: {note}")
    return 0


def _parts(table: Any, radius: str, by: str, out: Path) -> list[tuple[str, Path]]:
    """Return the radius of each analysis and its folder; an empty radius stands for the whole table."""
    from measurebench.stats.population.threats import radii_in

    if not by:
        return [(radius, out)]
    if by != "radius":
        raise BadInputError("--by", "radius", repr(by))
    if radius:
        raise BadInputError("--by radius", "no --radius beside it", repr(radius))
    if not (found := radii_in(table)):
        raise BadInputError("--by radius", "a table with a column radius", "none")
    for each in found:
        say(f"radius {each}: {out / _folder(each)}")
    return [(each, out / _folder(each)) for each in found]


def _folder(radius: str) -> str:
    return f"radius-{radius.replace('/', '-')}"


def _judged_claims(analysis: "Analysis") -> Any:
    from measurebench.stats import judged_claims

    return judged_claims(analysis)


def _tell_claims(judged: Any) -> None:
    """Print each claim with its verdict."""
    for row in judged.to_dict("records"):
        of = f" ({row['measure']})" if row["measure"] else ""
        say(f"Claim, {row['verdict']}: {row['claim']}{of}: {row['found']}")


def _tell_audit(analysis: "Analysis") -> None:
    """Print the share of pairs with close targets in which each measure moves, one column for each setting.

    A column is marked where the targets of its pairs shift in one direction.
    """
    rows = analysis.fragility.to_dict("records")
    if not rows:
        say("Audit: nothing to compare: the error of the target is unknown, or no two models differ in one setting.")
        return
    axes = list(dict.fromkeys(row["axis"] for row in rows))
    pairs = {axis: max(row["n_alike"] for row in rows if row["axis"] == axis) for axis in axes}
    shares = {(row["measure"], row["axis"]): row["share"] for row in rows}
    say(
        f"Audit: share of pairs that differ in one setting alone, and whose targets one pair cannot tell apart, in which "
        f"a measure moves by more than {rows[0]['part']:g} of its interquartile range (number of pairs in brackets)"
    )
    told = [[name, *(_share(shares[name, axis]) for axis in axes)] for name in analysis.measures]
    shifted = {row["axis"]: row for row in rows if row["shift_low"] > 0 or row["shift_high"] < 0}
    say_table(["measure", *(f"{axis} ({pairs[axis]:,}){'*' * (axis in shifted)}" for axis in axes)], told)
    for axis, row in shifted.items():
        say(
            f"* {axis}: in these pairs the target changes from {row['level_from']} to {row['level_to']} by "
            f"{row['shift']:+.4f} [{row['shift_low']:+.4f}, {row['shift_high']:+.4f}] on average; to this extent a "
            "measure moves rightly."
        )


def _share(value: float) -> str:
    return f"{value:.0%}" if value == value else "-"


def _tell(analysis: "Analysis") -> None:
    """Print the filters, a sentence for each measure, notes, and where the asked-for model stands."""
    say(f"{analysis.n_models} models, {analysis.n_units} independent units; target {analysis.target}")
    for step in analysis.filters:
        if step.left_out:
            first = ", ".join(f"{name} ({why})" for name, why in step.left_out[:3])
            more = f" and {len(step.left_out) - 3} more" if len(step.left_out) > 3 else ""
            say(f"Left out, {step.name}: {len(step.left_out)} of {step.n_before}: {first}{more}")
    order = {name: k for k, name in enumerate(analysis.ranking()["measure"])}
    judged = sorted(analysis.judgements.to_dict("records"), key=lambda row: order[row["measure"]])
    for row in judged:
        say(f"- {row['sentence']}")
    for line in [*_reliability(analysis), *_controls_and_best(analysis)]:
        say(line)
    for sentence in [*analysis.notes, *analysis.power["sentence"].head(1)]:
        say(f"Note: {sentence}")
    for row in analysis.standing.to_dict("records"):
        say(_stands({str(key): value for key, value in row.items()}))


def _controls_and_best(analysis: "Analysis") -> list[str]:
    """Return one line on the negative controls, and one on which measures may be the best."""
    lines = []
    if controls := analysis.control_judgements.to_dict("records"):
        shown = [f"{row['measure'].removeprefix('control: ')} {row['tau_b']:+.2f}" for row in controls]
        lines.append(f"Negative controls, which know nothing of the networks: tau_b of {', '.join(shown)}")
    ranked = analysis.stability.sort_values("share_first", ascending=False, kind="stable")
    if len(first := ranked[ranked["may_be_best"]]):
        told = {str(row["measure"]): row for row in analysis.judgements.to_dict("records")}
        shown = [
            f"{row['measure']} ({row['share_first']:.0%}){_unless_holding(told[row['measure']])}"
            for row in first.to_dict("records")
        ]
        lines.append(f"May have the largest |tau| (share of resamples in which it is first): {', '.join(shown)}")
    return lines


def _unless_holding(judged: Any) -> str:
    """Return the words of a verdict by which a measure does not hold, so that a large tau alone is not called best."""
    from measurebench.stats.judging.best import holds
    from measurebench.stats.judging.verdict import row_words

    return "" if holds(judged["verdict"]) else f", which {row_words(judged)}"


def _reliability(analysis: "Analysis") -> list[str]:
    """Return one line on how much of the target's variance is no sampling error, over all models and by defense."""
    known = analysis.levels[analysis.levels["reliability"].notna() & analysis.levels["axis"].isin(_axes(analysis))]
    told = [f"{row['level'] or 'all models'} {row['reliability']:.2f}" for row in known.to_dict("records")]
    return [f"Share of the target's variance that is no sampling error: {', '.join(told)}"] if told else []


def _axes(analysis: "Analysis") -> tuple[str, ...]:
    return ("", analysis.defense) if analysis.defense else ("",)


def _stands(row: dict[str, float | str]) -> str:
    """Return one line on where a model stands; parts without a value are left out."""
    words = f"{row['model_id']}: {row['measure']} = {row['value']:.6g}"
    if row["percentile"] == row["percentile"]:
        words += f", percentile {row['percentile']:.0f} of {row['n_models']} others"
    if row["predicted"] == row["predicted"]:
        words += f"; predicted {row['predicted']:.4f} [{row['predicted_low']:.4f}, {row['predicted_high']:.4f}]"
        words += f", observed {row['observed']:.4f}, residual {row['residual']:+.4f}"
    return words
