"""Every task of the project, and the only door to it: ``nox -l`` lists them."""

import os
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["lint", "layers", "types", "tests"]  # what a change must pass, the quickest first
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True  # a session that could not run has not passed

PYTHONS = ["3.11", "3.12", "3.13"]
LOWEST = ("--resolution", "lowest-direct")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
QUICKSTART = Path("reports/quickstart")
DIGITS_STUDY = Path("data/digits-study")
SMALL_STUDY = Path("data/cifar10-small-study")
PUBLISHED_VERDICTS = [Path("data/published-networks/verdicts.parquet"), SMALL_STUDY / "verdicts.parquet"]
SITE = Path("reports/site")


def install(
    session: nox.Session,
    *groups: str,
    to_run: bool = True,
    options: tuple[str, ...] = (),
    extras: tuple[str, ...] = (),
) -> None:
    """Install the project as a developer has it, with some of its groups of tools and its extras; ``options`` go to uv.

    What is going to run is compiled once here: uv leaves that to the first import, which costs every process
    seconds where Python may not write beside the packages.
    """
    env = {"UV_COMPILE_BYTECODE": "1"} if to_run else None
    project = f".[{','.join(extras)}]" if extras else "."
    session.install("-e", project, *(part for group in groups for part in ("--group", group)), *options, env=env)


def run_tests(session: nox.Session) -> None:
    """Run the default tests, on as many processes as the machine allows."""
    session.run("pytest", "-n", os.environ.get("MEASUREBENCH_TEST_WORKERS", "auto"), *session.posargs, env=ONE_THREAD)


def build_docs(session: nox.Session, *options: str) -> None:
    """Write docs/measures.md from the measures' own descriptions, then the site of the documentation."""
    session.run("measurebench", "measures", "--write-docs", ".")
    session.run("mkdocs", "build", "--strict", "--clean", *options, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def quickstart(session: nox.Session) -> None:
    """Measure the whole digits zoo, with the core list and AutoAttack, and write reports/quickstart/index.html."""
    install(session)
    records = str(QUICKSTART / "records")
    session.run(
        *("measurebench", "run", "digits:*", "--dataset", "digits", "--out", records),
        *("--autoattack-examples", "64", *session.posargs),
        env=ONE_THREAD,
    )
    gallery = ("--gallery", str(QUICKSTART / "gallery"), "--target", "8")
    session.run("measurebench", "attack", "digits:resnet-at-10-b64-s0-last", *gallery, env=ONE_THREAD)
    session.run("measurebench", "export", records, "--out", str(QUICKSTART / "models.csv"))
    session.run("measurebench", "analyze", records, "--out", str(QUICKSTART / "analysis"))
    session.run(
        *("measurebench", "report", records, "--analysis", str(QUICKSTART / "analysis"), "--out", str(QUICKSTART)),
        env=ONE_THREAD,
    )
    session.log(f"the page: {QUICKSTART / 'index.html'}")


@nox.session
def publish(session: nox.Session) -> None:
    """Build reports/site/, ready for any static host: documentation, the published studies, every leaderboard."""
    install(session, "docs")
    if not (QUICKSTART / "records").is_dir():
        session.error("expected the quickstart's study; run nox -s quickstart first")
    build_docs(session)  # first: the index links to what is there
    tables = [str(study / "models.parquet") for study in (DIGITS_STUDY, SMALL_STUDY)]
    studies = [str(QUICKSTART / "records"), *tables]
    pairs = [studies[0], *map(str, PUBLISHED_VERDICTS)]
    session.run(
        *("python", "-c"),
        "from measurebench.reporting import write_site;"
        f"write_site('reports/site', {studies!r}, boards='all', comparisons={[tuple(tables)]!r}, pairs={pairs!r})",
        env=ONE_THREAD,
    )
    session.log("the site: reports/site/index.html")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the default tests: CPU, offline."""
    install(session, "tests")
    run_tests(session)


@nox.session(python=PYTHONS)
def pythons(session: nox.Session) -> None:
    """Run the default tests on every supported version of Python, with the newest dependencies."""
    install(session, "tests")
    run_tests(session)


@nox.session(python=PYTHONS[0], reuse_venv=False)
def lowest(session: nox.Session) -> None:
    """Run the default tests on the oldest Python with the oldest dependencies that pyproject.toml allows."""
    install(session, "tests", options=LOWEST)
    run_tests(session)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style with ruff."""
    session.install("--group", "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy, strictly."""
    install(session, "types", to_run=False)
    session.run("mypy")


@nox.session
def layers(session: nox.Session) -> None:
    """Check with import-linter that no layer imports one above it."""
    session.install("--no-deps", "-e", ".")
    session.install("--group", "layers")
    session.run("lint-imports")


@nox.session
def browser(session: nox.Session) -> None:
    """Drive the pages in Chromium (Debian: apt-get install chromium); tests skip where there is none."""
    install(session, "tests", "browser")
    session.run("pytest", "-m", "browser", *session.posargs)


@nox.session
def adapters(session: nox.Session) -> None:
    """Run the attacks of torchattacks, foolbox and the Adversarial Robustness Toolbox beside ours.

    torchattacks asks for an old requests, and its wheel brings an old copy of robustbench. So it is installed without
    its dependencies into a folder of its own, which Python searches after the packages of the project.
    """
    install(session, "tests")
    session.install("foolbox==3.3.4", "adversarial-robustness-toolbox==1.20.1", "tqdm", "requests")
    where = session.run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", silent=True)
    packages = Path(str(where).strip())
    session.install("--no-deps", "--target", str(packages / "behind"), "torchattacks==3.5.1")
    (packages / "behind.pth").write_text("behind\n")
    session.run("pytest", "-m", "adapters", *session.posargs, env=ONE_THREAD)


@nox.session
def gpu(session: nox.Session) -> None:
    """Run the tests that need a CUDA device."""
    install(session, "tests")
    session.run("pytest", "-m", "gpu", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Fail or kill at every write, fsync, rename and unlink of every command; prints promise | attempts | failures."""
    install(session, "tests")
    session.run("python", "-m", "tests.faults", *session.posargs, env=ONE_THREAD)
    session.run("python", "-m", "tests.faults.flips", env=ONE_THREAD)


@nox.session(python=PYTHONS[-1])
def formats(session: nox.Session) -> None:
    """Check exported files with the formats' own validators, mlcroissant and every-eval-ever (from Python 3.12)."""
    install(session, "tests", "formats")
    session.run("pytest", "-m", "formats", "tests/store/formats", *session.posargs)


@nox.session
def cluster(session: nox.Session) -> None:
    """Measure on simulated nodes of Ray, kill actors, nodes and drivers, and count what that cost; an hour or more."""
    install(session, "tests", extras=("ray", "slurm"))
    session.run("pytest", "-m", "cluster", *session.posargs, env=ONE_THREAD)
    for n_nodes in ("2", "4"):
        session.run("python", "-m", "tests.cluster.kills", "--kills", "50", "--nodes", n_nodes, env=ONE_THREAD)


@nox.session
def slow(session: nox.Session) -> None:
    """Run the tests that take minutes."""
    install(session, "tests")
    session.run("pytest", "-m", "slow", *session.posargs, env=ONE_THREAD)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Measure speed and memory beside straightforward code; writes benchmarks/results/."""
    install(session, "tests")
    for script in session.posargs or ("measures", "statistics", "stacked_training", "together"):
        session.run("python", "-m", f"benchmarks.{script}", env=ONE_THREAD)


@nox.session
def docs(session: nox.Session) -> None:
    """Write docs/measures.md from the measures' own descriptions, and build the site into reports/site/docs/."""
    install(session, "docs")
    build_docs(session, *session.posargs)
    session.log(f"the site: {SITE / 'docs' / 'index.html'}")


@nox.session
def zoo(session: nox.Session) -> None:
    """Train the shipped digits zoo again, into build/zoo."""
    install(session)
    session.run(
        *("measurebench", "train", "--grid", "data/digits/zoo.toml", "--dataset", "digits", "--out", "build/zoo"),
        env=ONE_THREAD,
    )


@nox.session
def study(session: nox.Session) -> None:
    """Train the digits study's 672 runs, measure their 1,344 checkpoints, publish the table; hours, and it resumes."""
    install(session)
    records = "build/study/records"
    grid = ("--grid", "data/digits/study.toml", "--dataset", "digits", "--extra-data", "own")
    session.run("measurebench", "train", *grid, "--out", "build/study", env=ONE_THREAD)
    measure = ("--dataset", "digits", "--workers", "auto", "--out", records, *session.posargs)
    some_failed = {"success_codes": [0, 1], "env": ONE_THREAD}  # networks that collapsed in training are refused
    session.run("measurebench", "run", "build/study", *measure, "--attacks", "pgd", **some_failed)
    sampled = str(session.run("python", str(DIGITS_STUDY / "sample.py"), silent=True)).split()
    tenth = [f"build/study#{model_id}" for model_id in sampled]
    session.run("measurebench", "run", *tenth, *measure, "--autoattack-examples", "64", **some_failed)
    session.run("python", str(DIGITS_STUDY / "collect.py"), "build/study", env=ONE_THREAD)
    session.run("python", str(DIGITS_STUDY / "card.py"))
    metadata = ("--format", "croissant", "--out", str(DIGITS_STUDY / "croissant.json"))
    session.run("measurebench", "export", str(DIGITS_STUDY), *metadata)


@nox.session
def small_study(session: nox.Session) -> None:
    """Train, measure and publish the small CIFAR-10 study: nox -s small_study -- DIR, the folder of its images."""
    install(session)
    if len(session.posargs) != 1:
        session.error("expected the folder of CIFAR-10's images: nox -s small_study -- DIR")
    trained, images = "build/small-study", ("--dataset", "cifar10", "--data-dir", session.posargs[0])
    grid = ("--grid", str(SMALL_STUDY / "study.toml"))
    session.run("measurebench", "train", *grid, *images, "--out", trained, env=ONE_THREAD)
    measure = ("--workers", "auto", "--autoattack-examples", "200", "--out", f"{trained}/records")
    some_failed = {"success_codes": [0, 1], "env": ONE_THREAD}  # networks that collapsed in training are refused
    session.run("measurebench", "run", trained, *images, *measure, **some_failed)
    session.run("python", str(SMALL_STUDY / "collect.py"), trained, *images[2:], env=ONE_THREAD)


@nox.session
def row(session: nox.Session) -> None:
    """Train and measure one row of the digits study again and compare: nox -s row -- MODEL_ID."""
    install(session)
    session.run("python", str(DIGITS_STUDY / "again.py"), *session.posargs, env=ONE_THREAD)
