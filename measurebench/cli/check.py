"""``measurebench check``: loads models, tests them, and prints what is wrong and how to fix it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from measurebench.cli.declared import ONE_RADIUS, takes
from measurebench.cli.printing import say, say_json

if TYPE_CHECKING:
    from measurebench.checks import ModelCheck

__all__ = ["check"]


@takes(
    *("dataset", "data_dir", "classes", "norm", "radius", "architecture", "normalization", "weights", "device"),
    *("allow_pickle", "trust_code", "offline"),
    shown=ONE_RADIUS,
    dataset="the model's own",
)
def check(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model, or a pattern such as digits:* for several.")],
    examples: Annotated[int, typer.Option(min=1, metavar="N", help="Test images for clean accuracy.")] = 1000,
    attack_examples: Annotated[
        int, typer.Option(min=0, metavar="N", help="Test images to attack; 0 for no attack.")
    ] = 32,
    autoattack: Annotated[
        bool, typer.Option("--autoattack", help="Also attack them with AutoAttack and show its warnings.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as one list of objects.")] = False,
    **given: Any,
) -> int:
    """Load a model, test it on images, compare its clean accuracy with the published one, and attack a few images.

    Facts and hints go to stdout, what is wrong to stderr. Exit status: 0 if nothing is wrong, 2 otherwise.
    """
    from measurebench.checks import check_models

    results = []
    for result in check_models(
        model, examples=examples, attack_examples=attack_examples, autoattack=autoattack, **given
    ):
        results.append(result)
        if not as_json:
            _print(result)
    if as_json:
        say_json([result.to_json() for result in results])
    n_wrong = sum(not result.is_sound for result in results)
    if n_wrong and as_json:
        say(f"measurebench: {n_wrong} of {len(results)} models have lines with the verdict WRONG", err=True)
    return 2 if n_wrong else 0


def _print(result: "ModelCheck") -> None:
    """Print the results for one model, each once: what is wrong goes to stderr."""
    say(result.reference)
    for line in result.lines:
        if line.verdict == "WRONG":
            say(f"measurebench: {result.reference}: {line.subject}: {line.text}", err=True)
        else:
            say(f"  {line.verdict:<4} {line.subject}: {line.text}")
