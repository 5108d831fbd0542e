"""The options of a run: three entrances, one declaration."""

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

import measurebench
from measurebench.attacks.pgd import PGD
from measurebench.cli.app import run_command_line
from measurebench.core.config import PGD_STEP_FRACTION, PGD_STEPS, RunConfig
from measurebench.core.errors import BadInputError
from measurebench.core.option_fields import options_of
from measurebench.core.specs import Normalization
from measurebench.core.threat import ThreatModel
from measurebench.core.toml import to_toml
from measurebench.engine import runner
from measurebench.engine.options import RunOptions
from measurebench.measures.context import MeasureSettings

OPTIONS = RunOptions(dataset="digits")
OWN = ThreatModel.parse("L2", "0.5")
HALF = Normalization((0.5,), (0.25,))

# For every option a value other than its default: for Python, as written in TOML, on the command line, and as kept.
VALUES: dict[str, tuple[Any, Any, list[str] | None, Any]] = {
    "dataset": ("cifar10", "cifar10", ["cifar10"], "cifar10"),
    "data_dir": ("/images", "/images", ["/images"], Path("/images")),
    "classes": (7, 7, ["7"], 7),
    "measures": (
        ["average_ce", "path_norm"],
        ["average_ce", "path_norm"],
        ["average_ce, path_norm"],
        "average_ce,path_norm",
    ),
    "attacks": ("pgd", ["pgd"], ["pgd"], "pgd"),
    "adversarial": (Path("a.npz"), ["a.npz"], ["a.npz"], (Path("a.npz"),)),
    "save_adversarial": (True, True, [], True),
    "norm": ("linf", "linf", ["LINF"], "Linf"),
    "radius": (0.05, 0.05, ["0.05"], "0.05"),
    "train_examples": (7, 7, ["7"], 7),
    "test_examples": (7, 7, ["7"], 7),
    "examples_file": ("rows.txt", "rows.txt", ["rows.txt"], Path("rows.txt")),
    "autoattack_examples": (7, 7, ["7"], 7),
    "autoattack_train_examples": (7, 7, ["7"], 7),
    "split": ("both", "both", ["both"], "both"),
    "pgd_steps": (20, 20, ["20"], 20),
    "device": ("cpu", "cpu", ["cpu"], "cpu"),
    "precision": ("fast", "fast", ["fast"], "fast"),
    "batch_size": (8, 8, ["8"], 8),
    "workers": (1, 1, ["1"], 1),
    "executor": ("ray", "ray", ["ray"], "ray"),
    "address": ("auto", "auto", ["auto"], "auto"),
    "gpus_per_worker": (0.5, 0.5, ["0.5"], 0.5),
    "seed": (-3, -3, ["-3"], -3),
    "shard": ("1/2", "1/2", ["1/2"], "1/2"),
    "shared": (True, True, [], True),
    "tracker": ("mlflow", "mlflow", ["mlflow"], "mlflow"),
    "architecture": ("cnn-small", "cnn-small", ["cnn-small"], "cnn-small"),
    "normalization": (
        {"mean": [0.5], "std": [0.25]},
        {"mean": [0.5], "std": [0.25]},
        ["{ mean = [0.5], std = [0.25] }"],
        HALF,
    ),
    "weights": ("model_ema", "model_ema", ["model_ema"], "model_ema"),
    "measure_settings": ({"local_lip": {"steps": 3}}, {"local_lip": {"steps": 3}}, None, {"local_lip": {"steps": 3}}),
    "allow_pickle": (True, True, [], True),
    "trust_code": (True, None, [], True),  # a file cannot vouch for itself
    "offline": (True, True, [], True),
    "retry_failed": (True, True, [], True),
}


@pytest.fixture
def arrived(monkeypatch: pytest.MonkeyPatch) -> list[RunOptions]:
    """Return the list to which each run adds the options that reach the engine."""
    seen: list[RunOptions] = []

    def note(models: object, options: RunOptions, out: Path, **_more: object) -> runner.RunSummary:
        seen.append(options)
        return runner.RunSummary(Path(out))

    monkeypatch.setattr(runner, "run", note)
    return seen


def on_the_command_line(*arguments: str) -> int:
    return run_command_line(["run", "digits:*", "--out", "out", *arguments])


def test_every_option_has_a_value_to_try() -> None:
    assert list(VALUES) == [item.name for item in fields(RunOptions)] == list(options_of(RunOptions))


@pytest.mark.parametrize("name", VALUES)
def test_python_file_and_command_line_take_the_same_names_and_mean_the_same(
    name: str, arrived: list[RunOptions], tmp_path: Path
) -> None:
    for_python, in_toml, words, kept = VALUES[name]
    rest = {} if name == "dataset" else {"dataset": "digits"}
    measurebench.run("digits:*", out="out", **rest | {name: for_python})
    (tmp_path / "run.toml").write_text(f"{name} = {to_toml(True if in_toml is None else in_toml)}\n")
    besides = [] if name == "dataset" else ["--dataset", "digits"]
    assert on_the_command_line("--config", str(tmp_path / "run.toml"), *besides) == (0 if in_toml is not None else 2)
    if words is not None:
        assert on_the_command_line(f"--{name.replace('_', '-')}", *words, *besides) == 0
    assert len(arrived) == 1 + (in_toml is not None) + (words is not None)
    assert all(options == arrived[0] for options in arrived)
    assert getattr(arrived[0], name) == kept
    if name != "dataset":
        assert replace(arrived[0], **{name: getattr(OPTIONS, name)}) == OPTIONS


def test_the_defaults_are_the_same_everywhere(arrived: list[RunOptions], tmp_path: Path) -> None:
    measurebench.run("digits:*", "digits", "out")
    on_the_command_line("--dataset", "digits")
    (tmp_path / "run.toml").write_text("")
    on_the_command_line("--dataset", "digits", "--config", str(tmp_path / "run.toml"))
    assert arrived == [OPTIONS] * 3
    assert OPTIONS.workers == "auto"
    shown = inspect.signature(measurebench.run).parameters
    for name, option in options_of(RunOptions).items():
        assert option.is_required or shown[name].default == option.default
        assert option.is_required or f"``{name}``" in (measurebench.run.__doc__ or "")


def test_settings_of_attacks_have_one_source_of_defaults() -> None:
    settings = MeasureSettings(OWN)
    config = RunConfig("digits", "", "", OWN)
    for steps in (settings.pgd_steps, config.pgd_steps, OPTIONS.pgd_steps, PGD().steps):
        assert steps == PGD_STEPS
    for fraction in (settings.pgd_step_fraction, config.pgd_step_fraction, PGD().step_fraction):
        assert fraction == PGD_STEP_FRACTION
    assert inspect.signature(measurebench.measure).parameters["pgd_steps"].default == PGD_STEPS


def test_the_command_line_goes_before_the_file_even_with_a_default_value(
    arrived: list[RunOptions], tmp_path: Path
) -> None:
    (tmp_path / "run.toml").write_text('seed = 5\nworkers = 3\ndataset = "cifar10"\n[measure.local_lip]\nsteps = 3\n')
    on_the_command_line("--config", str(tmp_path / "run.toml"), "--seed", "0")
    assert (arrived[0].seed, arrived[0].workers, arrived[0].dataset) == (0, 3, "cifar10")
    assert arrived[0].measure_settings == {"local_lip": {"steps": 3}}


def in_python(name: str, value: Any, _folder: Path) -> str:
    with pytest.raises(BadInputError) as caught:
        measurebench.run("digits:*", "digits", "out", **{name: value})
    return str(caught.value)


def in_a_file(name: str, value: Any, folder: Path) -> str:
    (folder / "run.toml").write_text(f"{name} = {to_toml(value)}\n")
    done = subprocess_free(["--config", str(folder / "run.toml"), "--dataset", "digits"])
    assert f"{folder / 'run.toml'}: {name}: " in done
    return done


def on_a_line(name: str, value: Any, _folder: Path) -> str:
    done = subprocess_free([f"--{name.replace('_', '-')}", str(value), "--dataset", "digits"])
    assert f"--{name.replace('_', '-')}: " in done
    return done


def subprocess_free(arguments: list[str]) -> str:
    import contextlib
    import io

    with contextlib.redirect_stderr(io.StringIO()) as told:
        assert on_the_command_line(*arguments) == 2
    assert told.getvalue().count("\n") == 1
    return told.getvalue()


@pytest.mark.parametrize("entrance", [in_python, in_a_file, on_a_line])
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("train_examples", "ten", "expected all or a whole number, at least 1, got 'ten'"),
        ("test_examples", 0, "expected all or a whole number, at least 1, got 0"),
        ("autoattack_train_examples", -1, "expected all or a whole number, at least 0, got -1"),
        ("seed", 1.5, "expected a whole number, got"),
        ("batch_size", "many", "expected auto or a whole number, at least 1, got 'many'"),
        ("workers", 0, "expected auto or a whole number, at least 1, got 0"),
        ("executor", "dask", "expected local or ray, got 'dask'"),
        ("address", "ray://host:10001", "expected auto, or HOST:PORT of a Ray cluster, got 'ray://host:10001'"),
        ("address", "host", "expected auto, or HOST:PORT of a Ray cluster, got 'host'"),
        ("gpus_per_worker", 0, "expected a whole number, at least 1, or a fraction between 0 and 1, got 0"),
        ("gpus_per_worker", 1.5, "expected a whole number, at least 1, or a fraction between 0 and 1, got 1.5"),
        ("precision", "exakt", "expected exact or fast, got 'exakt'; did you mean 'exact'?"),
        ("split", "validation", "expected train, test or both, got 'validation'"),
        ("device", "gpu", "expected auto, cpu, cuda or cuda:i, got 'gpu'"),
        ("norm", "L1", "expected Linf or L2, got 'L1'"),
        ("radius", "large", """expected a number or a fraction such as "8/255", got 'large'"""),
        ("shard", "5/4", "expected I/N with 1 <= I <= N, such as 1/4, got '5/4'"),
        ("normalization", "cifar", "expected none, cifar10, imagenet, or { mean = [...], std = [...] }, got 'cifar'"),
        ("normalization", "{ mean = [0.5] }", "expected none, cifar10, imagenet, or { mean = [...], std = [...] }"),
        ("normalization", "{ mean = [0.5], std = [0] }", "std: expected a list of positive numbers"),
    ],
)
def test_a_wrong_value_is_refused_in_the_same_words(
    entrance: Callable[[str, Any, Path], str], name: str, value: Any, expected: str, tmp_path: Path
) -> None:
    if "std:" in expected:
        expected = expected.removeprefix("std: ")
    assert expected in entrance(name, value, tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("train_examples", True, "all or a whole number, at least 1, got True"),
        ("train_examples", "10", "all or a whole number, at least 1, got '10'"),
        ("offline", 1, "true or false, got 1"),
        ("data_dir", 3, "a folder's path, got 3"),
        ("measures", 3, "core, all, or ids of measures, got 3"),
        ("radius", True, "a number or a fraction"),
        ("measure_settings", {"local_lip": 3}, "a table of parameters for each measure"),
    ],
)
def test_a_wrong_type_is_told_with_what_was_expected(name: str, value: Any, expected: str, tmp_path: Path) -> None:
    assert expected in in_a_file(name, value, tmp_path)
    with pytest.raises(BadInputError) as caught:
        RunOptions("digits", **{name: value})
    assert str(caught.value).startswith(f"{name}: expected {expected}")


def test_an_unknown_name_gets_the_nearest_known_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadInputError, match=r"run: train_example: .* did you mean 'train_examples'"):
        measurebench.run("digits:*", "digits", "out", train_example=10)
    (tmp_path / "run.toml").write_text("train-example = 10\n")
    assert on_the_command_line("--config", str(tmp_path / "run.toml")) == 2
    assert "train-example: expected an option of run, got 'train-example'; did you mean 'train_examples'" in (
        capsys.readouterr().err
    )
    assert on_the_command_line("--train-example", "10") == 2
    assert "--train-examples" in capsys.readouterr().err


def test_a_data_set_must_be_named_somewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert on_the_command_line() == 2
    assert "--dataset: expected the name of a data set" in capsys.readouterr().err


def test_help_names_every_option_with_its_default_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from measurebench.cli.app import run_command_line; run_command_line(['run', '--help']);"
        "import json; heavy = ('torch', 'numpy', 'pandas', 'scipy', 'altair', 'rich');"
        "print(json.dumps([name for name in heavy if name in sys.modules]), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stderr) == []
    shown = " ".join(done.stdout.split())
    for name, option in options_of(RunOptions).items():
        assert name == "measure_settings" or f"--{name.replace('_', '-')} " in shown
        assert name == "measure_settings" or option.help in shown
    assert "[default: the model's own, else 8/255]" in shown
    assert "[default: 1000]" in shown


# ---- threat models and attacks --------------------------------------------------------------------------------


def test_a_model_keeps_its_own_threat_unless_told_otherwise() -> None:
    assert OPTIONS.threat_of(OWN) == OWN
    assert str(OPTIONS.threat_of(None)) == "Linf 8/255"
    assert str(replace(OPTIONS, norm="linf", radius="4/255").threat_of(OWN)) == "Linf 4/255"
    assert str(replace(OPTIONS, radius="1").threat_of(OWN)) == "L2 1"


def test_another_norm_needs_a_radius() -> None:
    asked = replace(OPTIONS, norm="Linf")
    with pytest.raises(BadInputError, match="--norm: expected --radius beside Linf, got no radius; the model's own is"):
        asked.threat_of(OWN)
    assert str(replace(OPTIONS, norm="L2").threat_of(OWN)) == "L2 0.5"


def test_attacks_are_read_once_each() -> None:
    assert replace(OPTIONS, attacks="pgd, autoattack,pgd").attack_list == ("pgd", "autoattack")
    assert replace(OPTIONS, attacks="none").attack_list == ()


def test_all_images_is_a_number_that_no_data_set_reaches() -> None:
    options = RunOptions("digits", train_examples="all", autoattack_train_examples="all")  # type: ignore[arg-type]
    assert options.train_examples == options.autoattack_train_examples == 10**9
    with pytest.raises(BadInputError, match="test_examples: expected all or a whole number, at least 1, got 'every'"):
        RunOptions("digits", test_examples="every")  # type: ignore[arg-type]
    with pytest.raises(BadInputError, match="train_examples: expected all or a whole number, at least 1, got 0"):
        RunOptions("digits", train_examples=0)
