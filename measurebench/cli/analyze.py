"""``measurebench analyze``: tests how well each measure predicts robust generalization."""

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from measurebench.cli.analysis_words import tell, tell_audit, tell_claims
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
        tell(analysis)
        if audit:
            tell_audit(analysis)
        if judged is not None:
            tell_claims(judged)
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
