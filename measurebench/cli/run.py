"""``measurebench run``: measure models on a dataset, and go on where an earlier run stopped."""

from pathlib import Path
from typing import Annotated, Any

import typer

from measurebench.cli.parse import auto_or_number, part
from measurebench.core.errors import BadInputError, near_names

__all__ = ["run"]

# Options of the command that are fields of RunOptions, by the same name and in the same form.
_AS_GIVEN = (
    *("dataset", "data_dir", "measures", "attacks", "norm", "radius", "train_examples", "test_examples"),
    *("autoattack_examples", "autoattack_train_examples", "device", "precision", "seed"),
    *("allow_pickle", "offline", "retry_failed"),
)


def run(
    context: typer.Context,
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="digits:*, robustbench:Linf/ID, a manifest, DIR#id, a file."),
    ],
    dataset: Annotated[str, typer.Option(help="digits, cifar10, cifar100 or arrays:FILE.npz.")],
    out: Annotated[Path, typer.Option(help="Results folder; an existing one is resumed.")],
    measures: Annotated[str, typer.Option(help="core, all, or ids separated by commas.")] = "core",
    attacks: Annotated[
        str, typer.Option(help="pgd, autoattack, none, or module:callable, separated by commas.")
    ] = "pgd,autoattack",
    norm: Annotated[str | None, typer.Option(help="Linf or L2. [default: the models' own]")] = None,
    radius: Annotated[
        str | None, typer.Option(help='In pixel units, such as "8/255". [default: the models\' own]')
    ] = None,
    train_examples: Annotated[int, typer.Option(help="Training images to measure on, at most.")] = 1000,
    test_examples: Annotated[int, typer.Option(help="Test images to measure on, at most.")] = 1000,
    autoattack_examples: Annotated[
        int | None, typer.Option(help="Test images for AutoAttack. [default: the test examples]")
    ] = None,
    autoattack_train_examples: Annotated[int, typer.Option(help="Training images for AutoAttack.")] = 0,
    split: Annotated[
        str, typer.Option(help="Where measures other than accuracies are taken: train, test or both.")
    ] = "train",
    data_dir: Annotated[Path | None, typer.Option(help="Folder with the dataset in its original form.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i.")] = "auto",
    precision: Annotated[str, typer.Option(help="exact (float32, no TF32) or fast (bfloat16 where it can).")] = "exact",
    batch_size: Annotated[str, typer.Option(help="auto or a number; it halves itself when memory runs out.")] = "auto",
    workers: Annotated[str, typer.Option(help="Models side by side: auto (one per core or GPU) or a number.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of every random draw.")] = 0,
    shard: Annotated[str, typer.Option(metavar="I/N", help="Measure the I-th of N parts of the models.")] = "1/1",
    config: Annotated[
        Path | None, typer.Option(help="TOML file with these options, and [measure.ID] parameters.")
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(help="For a single checkpoint: built-in name, module:callable or file.py:callable."),
    ] = None,
    normalization: Annotated[
        str | None, typer.Option(help="For a single checkpoint: none, cifar10 or imagenet.")
    ] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Load files that may run code. Only your own.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Measure again what failed before.")] = False,
) -> int:
    """Measure models: clean, PGD and AutoAttack accuracy, and every measure asked for.

    A record is on the disk after every measure; the same command goes on where the last one stopped. Exit status: 0 all
    measured, 1 some model or measure failed, 2 bad input.
    """
    values: dict[str, Any] = {name: value for name, value in locals().items() if name != "context"}
    return _measure(values, _with_config(values, config, context))


def _measure(values: dict[str, Any], settings: dict[str, dict[str, Any]]) -> int:
    """Measure what the options say and tell how it ended; returns the exit status."""
    from measurebench.cli.progress import terminal_progress
    from measurebench.engine.options import RunOptions
    from measurebench.engine.runner import run as run_models
    from measurebench.models.references import resolve

    options = RunOptions(
        **{name: values[name] for name in _AS_GIVEN},
        splits=_splits(values["split"]),
        batch_size=auto_or_number(values["batch_size"], "--batch-size"),
        measure_settings=settings,
    )
    specs = resolve(
        values["models"],
        architecture=values["architecture"],
        normalization=values["normalization"],
        dataset=options.dataset,
        allow_pickle=options.allow_pickle,
    )
    chosen, out = part(specs, values["shard"]), values["out"]
    with terminal_progress() as progress:
        summary = run_models(
            chosen, options, out, workers=auto_or_number(values["workers"], "--workers"), progress=progress
        )
    for model_id, measure, reason in summary.failures:
        typer.echo(f"measurebench: {model_id}: {measure} failed: {reason}", err=True)
    n_good = summary.n_models - len({failure[0] for failure in summary.failures})
    again = "; --retry-failed tries again what failed" if summary.failures and not options.retry_failed else ""
    typer.echo(
        f"{n_good} of {summary.n_models} models measured, {summary.n_recorded} records made,"
        f" {summary.n_resumed} found, in {summary.seconds:.0f} s: {out}{again}"
    )
    return summary.exit_status


def _with_config(values: dict[str, Any], path: Path | None, context: typer.Context) -> dict[str, dict[str, Any]]:
    """Fill options from the file where the command line left them alone, and return the measures' parameters."""
    if path is None:
        return {}
    import tomllib

    try:
        content = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadInputError(str(path), "a readable TOML file", str(error)) from None
    settings = content.pop("measure", {})
    for key, value in content.items():
        name = key.replace("-", "_")
        if name not in values or name in ("config", "models", "out"):
            known = sorted(set(values) - {"config", "models", "out"})
            raise BadInputError(f"{path}: {key}", "an option of run", repr(key), near_names(name, known))
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE":
            values[name] = _checked(f"{path}: {key}", name, value, values[name])
    if not isinstance(settings, dict) or not all(isinstance(item, dict) for item in settings.values()):
        raise BadInputError(f"{path}: measure", "tables [measure.ID] of parameters", repr(settings))
    return settings


def _checked(subject: str, name: str, value: Any, default: Any) -> Any:
    """Return a value of the file in the type of its option."""
    if name == "data_dir":
        return Path(str(value))
    kind = int if name == "autoattack_examples" else type(default)
    if kind not in (bool, int):
        return str(value)
    if type(value) is not kind:
        raise BadInputError(subject, f"a value of type {kind.__name__}", repr(value))
    return value


def _splits(name: str) -> tuple[Any, ...]:
    known = {"train": ("train",), "test": ("test",), "both": ("train", "test")}
    if name not in known:
        raise BadInputError("--split", "train, test or both", repr(name))
    return known[name]
