"""``measurebench agreement``: compares AutoAttack's verdicts with pyautoattack's on the user's own model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from measurebench.cli.declared import ONE_RADIUS, takes
from measurebench.cli.printing import say, say_json

if TYPE_CHECKING:
    from measurebench.checks.agreement import Agreement

__all__ = ["agreement"]


@takes(
    *("dataset", "data_dir", "norm", "radius", "architecture", "normalization", "seed", "device"),
    *("allow_pickle", "trust_code", "offline"),
    shown=ONE_RADIUS,
    dataset="the model's own",
)
def agreement(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="One model: digits:ID, robustbench:Linf/ID, DIR#ID, or a checkpoint.")
    ],
    examples: Annotated[int, typer.Option(min=1, metavar="N", help="Test images to attack.")] = 64,
    stock_seeds: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Number of seeds to run pyautoattack with; with 2 or more, it is also compared with itself.",
        ),
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write both verdicts on each image to a .csv, .parquet or .json file."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one object.")] = False,
    **given: Any,
) -> int:
    """Attack the same test images with our AutoAttack and with pyautoattack, and print how often their verdicts agree.

    Both run with the settings of AutoAttack's standard version. They draw different random numbers, so single verdicts
    may differ, as they do between two seeds of pyautoattack.
    """
    from measurebench.checks.agreement import check_name, compare_with_stock, write_images

    if out is not None:
        check_name(out)  # better now than after the attacks
    found = compare_with_stock(model, examples=examples, stock_seeds=stock_seeds, **given)
    if out is not None:
        write_images(found, out)
    if as_json:
        say_json(found.to_json())
    else:
        _print(found)
    return 0


def _print(found: "Agreement") -> None:
    say(f"{found.model}, {found.threat}: {found.correct} of {found.n} test images are classified correctly")
    say(f"{'':<26}{'pyautoattack: robust':>22}{'broken':>10}")
    say(f"{'AutoAttack: robust':<26}{found.both:>22}{found.only_ours:>10}")
    say(f"{'AutoAttack: broken':<26}{found.only_stock:>22}{found.neither:>10}")
    say(f"McNemar's exact test, two-sided: p = {found.p:.3g}")
    if found.differing:
        say(f"Verdicts differ on test images {', '.join(map(str, found.differing))}")
    for further, differing in enumerate(found.between_seeds, 1):
        say(f"pyautoattack's own verdicts with seeds {found.seed} and {found.seed + further}: {differing} differ")
    say(f"AutoAttack took {found.seconds_ours:.1f} s, pyautoattack {found.seconds_stock:.1f} s")
