"""Prints what an analysis found."""

from typing import TYPE_CHECKING, Any

from measurebench.cli.printing import say, say_table

if TYPE_CHECKING:
    from measurebench.stats.analysis import Analysis

__all__ = ["tell", "tell_audit", "tell_claims"]


def tell_claims(judged: Any) -> None:
    """Print each claim with its verdict."""
    for row in judged.to_dict("records"):
        of = f" ({row['measure']})" if row["measure"] else ""
        edge = f"; on the edge, where another seed may decide otherwise: {row['edge']}" if row["edge"] else ""
        say(f"Claim, {row['verdict']}: {row['claim']}{of}: {row['found']}{edge}")


def tell_audit(analysis: "Analysis") -> None:
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
            "measure should move."
        )


def _share(value: float) -> str:
    return f"{value:.0%}" if value == value else "-"


def tell(analysis: "Analysis") -> None:
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
            f"{row['measure']} ({_first(row['share_first'], told[row['measure']], analysis.n_models)})"
            f"{_unless_holding(told[row['measure']])}"
            for row in first.to_dict("records")
        ]
        lines.append(f"May have the largest |tau| (share of resamples in which it is first): {', '.join(shown)}")
    return lines


def _first(share: float, judged: Any, n_models: int) -> str:
    """Return a share in percent, and of a measure that not all models have, how many have it."""
    n = int(judged["n_models"])
    return f"{share:.0%}" + (f", on {n:,} of {n_models:,} models" if n < n_models else "")


def _unless_holding(judged: Any) -> str:
    """Return the words of a verdict by which a measure does not hold, so that a large tau alone is not called best."""
    from measurebench.stats.judging.best import holds
    from measurebench.stats.judging.verdict import row_words

    return "" if holds(judged["verdict"]) else f", which {row_words(judged)}"


def _reliability(analysis: "Analysis") -> list[str]:
    """Return one line on how much of the target's variance is no sampling error, over all models and by defense.

    Models share images, so that more of it may be none, and what falls below 0 says as little as 0. What is no error of
    a model's own is told besides: what models share may also be sampling error, and be predicted for all that.
    """
    rows = analysis.levels[analysis.levels["axis"].isin(_axes(analysis))].to_dict("records")
    told = [word for row in rows if (word := _bound(row["level"], row["reliability"], row["reliability_held_out"]))]
    return (
        [f"Share of the target's variance that is no sampling error (an estimated lower bound): {', '.join(told)}"]
        if told
        else []
    )


def _bound(level: str, reliability: float, held_out: float) -> str:
    """Return a level with its lower bound, and that of what is no error of a model's own where it is larger.

    Nothing where the sampling error is unknown.

    >>> _bound("", 0.668, 0.884), _bound("AT", -0.1, float("nan")), _bound("", float("nan"), 0.884)
    ("all models 0.67 (0.88 is no error of a model's own)", 'AT 0.00', '')
    """
    if reliability != reliability:
        return ""
    least = max(0.0, reliability)
    own = f" ({held_out:.2f} is no error of a model's own)" if held_out > least else ""
    return f"{level or 'all models'} {least:.2f}{own}"


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
