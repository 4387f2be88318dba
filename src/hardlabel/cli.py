"""The command line: one command per verb. Logs and progress go to stderr, the result's path to stdout.

Exit codes: 0 done, 1 failed, 2 bad usage (one line says which argument, value and rule).
"""

import contextlib
import datetime
import errno
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, TypedDict, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

import hardlabel
from hardlabel import allocator, cli_runs
from hardlabel.checks import InvalidInput
from hardlabel.data.sources import SOURCES
from hardlabel.executors import NAMES, executor_of
from hardlabel.experiments.audit import audit_config, plan_config
from hardlabel.experiments.canaries import KINDS, Planting, audit_canaries_config, plan_canaries_config
from hardlabel.experiments.canary_record import CANARIES, load_canaries
from hardlabel.experiments.chunks import CHUNK
from hardlabel.experiments.config import AuditConfig, read
from hardlabel.experiments.defend import defend_config, plan_defend_config
from hardlabel.experiments.defend_record import DEFEND, load_defend
from hardlabel.experiments.folder import read_settings
from hardlabel.experiments.progress import SILENT, Watch
from hardlabel.experiments.recipe import audit_recipe_config, plan_recipe_config
from hardlabel.experiments.recipe_record import RECIPE, RecipeRecord, load_recipe
from hardlabel.experiments.record import REPORT, AuditRecord, load
from hardlabel.experiments.runs import SCRATCH
from hardlabel.experiments.settings import OWN, Kind, kind_of
from hardlabel.experiments.work import Work
from hardlabel.models.architectures import ARCHITECTURES
from hardlabel.reports import catalogue, defense_list
from hardlabel.reports.attacker import choice_line, queries
from hardlabel.reports.defend import defend_markdown
from hardlabel.reports.html import write_report
from hardlabel.reports.summary import summary
from hardlabel.reports.text import canary_markdown, markdown, table_of
from hardlabel.store import default_store

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
errors = Console(stderr=True)
INTERRUPTED = 130
KEPT = "finished models and measurements are kept, the same command goes on from there"
WIDE = 140  # Columns of a terminal that has room for the whole table of attacks.
WIDE_SUMMARY = 112  # And for what an audit's attacks cost on the attacker's own models.

# Options of every command that audits: where the work is done. No result depends on them.
Executors = Annotated[str, typer.Option("--executor", help=f"Where own models are trained: {', '.join(NAMES)}.")]
Address = Annotated[str | None, typer.Option(help="The Ray cluster's. [default: one that runs, else a new one here]")]
Jobs = Annotated[int | None, typer.Option(help="Processes at once, of local. [default: one per core]")]
Cores = Annotated[int, typer.Option(help="Cores, and threads, of each piece of work.")]
Gpus = Annotated[float, typer.Option(help="GPUs of each piece of work, shares of one included; of ray.")]
Chunk = Annotated[int, typer.Option(help="Samples of a piece: what a broken run may have to ask again.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress; errors only.")]


@app.callback(invoke_without_command=True)
def _hardlabel(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    """Does a classifier leak who was in its training data, although it answers with a label only?"""
    if version:
        typer.echo(hardlabel.__version__)
        raise typer.Exit


@app.command()
def audit(
    config: Annotated[Path | None, typer.Argument(help="Settings as YAML; options take precedence.")] = None,
    data: Annotated[
        str | None, typer.Option(help=f"{', '.join(SOURCES)}, or a .npz, .csv or .parquet file. [default: digits]")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Where data lie. [default: $HARDLABEL_DATA]")] = None,
    label: Annotated[str | None, typer.Option(help="The label column of a table.")] = None,
    missing: Annotated[str | None, typer.Option(help="What marks a missing value in a table.")] = None,
    categorical: Annotated[
        list[str] | None, typer.Option(help="A column of numbers that are categories; repeatable.")
    ] = None,
    arch: Annotated[str | None, typer.Option(help=f"{', '.join(ARCHITECTURES)}.")] = None,
    augment: Annotated[
        list[str] | None, typer.Option(help="Train with mirror, shift:PIXELS, rotate:DEGREES; repeatable.")
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(help="L2 penalty in training.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="Train in float32 or bfloat16. [default: what is faster here and no worse]")
    ] = None,
    max_epochs: Annotated[int | None, typer.Option(help="Most epochs of training. [default: 1000]")] = None,
    stop_at_accuracy: Annotated[float | None, typer.Option(help="Stop training at this train accuracy.")] = None,
    size: Annotated[int | None, typer.Option(help="Training samples. [default: a quarter, 2500 at most]")] = None,
    samples: Annotated[
        int | None, typer.Option(help="Members, and as many non-members, attacked. [default: all, 1000 at most]")
    ] = None,
    shadow_samples: Annotated[
        int | None, typer.Option(help="The same on the shadow model. [default: all, 500 at most]")
    ] = None,
    shadow_labels: Annotated[
        str | None, typer.Option(help="Labels of the shadow data: true, or target (overhead queries).")
    ] = None,
    shadows: Annotated[
        int | None, typer.Option(help="Reference models, even, 2 to 256; each costs one training. [default: 12]")
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(help="Audit the recipe instead: so many models play target in turn, 2 to shadows + 2."),
    ] = None,
    attacks: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated names from `hardlabel attacks`, or all, whatever they cost. [default: all that suit; "
            "under a budget the strongest]"
        ),
    ] = None,
    networks: Annotated[str | None, typer.Option(help="Attack networks: all (one for all classes) or class.")] = None,
    budget: Annotated[
        int | None,
        typer.Option(help="Picks the strongest label-only attack within N queries and says why.", metavar="N"),
    ] = None,
    prior: Annotated[
        float | None, typer.Option(help="Share of members among those asked about. [default: 0.01]")
    ] = None,
    worst_case: Annotated[
        str | None,
        typer.Option(help="Share of the points, as 0.5%: the most at risk by own models alone, reported apart."),
    ] = None,
    slices: Annotated[
        list[str] | None, typer.Option("--slice", help="A column whose groups risk is reported for; repeatable.")
    ] = None,
    slices_file: Annotated[
        Path | None, typer.Option(help="A .csv or .parquet with those columns, a row for each row of the data.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Labels the attacker has of the points: true, or target (its answers).")
    ] = None,
    wrong_labels: Annotated[float | None, typer.Option(help="Share of those labels that are wrong.")] = None,
    show_records: Annotated[
        bool | None, typer.Option("--show-records", help="The report shows the exposed records, not pseudonyms only.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Fixes every draw. [default: 0]")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ... [default: auto]")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder. [default: a new one under runs/]")] = None,
    executor: Executors = "local",
    address: Address = None,
    jobs: Jobs = None,
    cores: Cores = 1,
    gpus: Gpus = 0.0,
    chunk: Chunk = CHUNK,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, and stop.")] = False,
    quiet: Quiet = False,
) -> None:
    """Train a model and the attacker's own models, audit the model, write a report.

    Without arguments it audits a small network on scikit-learn's digits. With --repeats it audits the way of training:
    several models trained alike are attacked in turn.
    """
    options = {
        "data": data,
        "folder": folder,
        "label": label,
        "missing": missing,
        "categorical": categorical,
        "arch": arch,
        "augment": augment,
        "weight_decay": weight_decay,
        "precision": precision,
        "max_epochs": max_epochs,
        "stop_at_accuracy": stop_at_accuracy,
        "size": size,
        "samples": samples,
        "shadow_samples": shadow_samples,
        "shadow_labels": shadow_labels,
        "shadows": shadows,
        "attacks": None if attacks is None else [name.strip() for name in attacks.split(",") if name.strip()],
        "networks": networks,
        "budget": budget,
        "prior": prior,
        "worst_case": worst_case,
        "slices": slices,
        "slices_file": slices_file,
        "labels": labels,
        "wrong_labels": wrong_labels,
        "show_records": show_records,
        "seed": seed,
        "device": device,
        "out": out,
    }
    settings, into = _settings(config, options, kind="" if repeats is None else "-recipe")
    work = _work(into, executor, address=address, jobs=jobs, cores=cores, gpus=gpus, chunk=chunk)
    if dry_run:
        if repeats is None:
            typer.echo(plan_config(settings, store=default_store(), work=work))
        else:
            typer.echo(plan_recipe_config(settings, repeats=repeats, store=default_store(), work=work))
        return
    _finish(settings, repeats, work, quiet=quiet)


@app.command()
def resume(
    run: Annotated[Path, typer.Argument(help="The run folder of an audit, by canaries too, or a comparison.")],
    executor: Executors = "local",
    address: Address = None,
    jobs: Jobs = None,
    cores: Cores = 1,
    gpus: Gpus = 0.0,
    chunk: Chunk = CHUNK,
    quiet: Quiet = False,
) -> None:
    """Go on with a run that broke off, by the settings it was begun with; nothing finished is done again."""
    found = read_settings(run)
    kind = kind_of(found)
    own: dict[str, Any] = {name: found.pop(name) for name in OWN.get(kind, ())}
    settings = read(None, {**found, "out": run})
    work = _work(run, executor, address=address, jobs=jobs, cores=cores, gpus=gpus, chunk=chunk)
    if kind == Kind.DEFENSES:
        _compare(settings, cast("_Defenses", own), work, quiet=quiet)
    elif kind == Kind.CANARIES:
        _plant(settings, Planting(**own), work, quiet=quiet)
    else:
        _finish(settings, own.get("repeats"), work, quiet=quiet)


app.command()(cli_runs.runs)
app.command()(cli_runs.clean)


def _work(out: Path, name: str, *, address: str | None, jobs: int | None, cores: int, gpus: float, chunk: int) -> Work:
    made = executor_of(name, address=address, processes=jobs, cores=cores, gpus=gpus, scratch=out / SCRATCH)
    return Work(executor=made, chunk=chunk)


def _finish(settings: AuditConfig, repeats: int | None, work: Work, *, quiet: bool) -> None:
    """Audits, writes the report and prints where it is."""
    assert settings.out is not None
    if quiet:
        record = _audited(settings, repeats, SILENT, work)
    else:
        with _Drawn() as watch:
            record = _audited(settings, repeats, watch, work)
        results = record.results
        for absent in results.left_out:
            _say(f"left out: {absent.name}: {absent.reason}")
        errors.print(summary(record, wide=errors.width >= WIDE_SUMMARY))
        _say(choice_line(results.choice, [attack.name for attack in results.attacks]))
    report = settings.out / REPORT
    write_report(record, report)
    typer.echo(report)


@app.command(name="attacks")
def list_attacks(
    budget: Annotated[
        int | None,
        typer.Option(help="Most queries per sample: names the strongest label-only attack within N.", metavar="N"),
    ] = None,
    domain: Annotated[
        str | None, typer.Option("--domain", "--data", help=f"Kind of data: {', '.join(catalogue.KINDS)}.")
    ] = None,
    no_trainer: Annotated[bool, typer.Option("--no-trainer", help="Nobody can train models like the target.")] = False,
    no_data: Annotated[bool, typer.Option("--no-data", help="There are no samples besides those asked about.")] = False,
) -> None:
    """List the attacks: what each sees, asks and needs, and where it comes from (Markdown when piped).

    With --budget it first says which label-only attack is the strongest within so many queries per sample, and why.
    """
    means = None
    if budget is not None or domain is not None or no_trainer or no_data:
        usual = catalogue.Means().budget if budget is None else budget
        means = catalogue.Means(budget=usual, kind=domain, trainer=not no_trainer, data=not no_data)
    heads, rows = catalogue.heads(means), catalogue.rows(means)
    if means is not None:
        title = f"The strongest label-only attack within {queries(means.budget)} per sample"
        if not sys.stdout.isatty():
            typer.echo(f"{title}:\n\n{table_of(catalogue.RUNGS, catalogue.rung_rows(means))}\n")
        else:
            _print_table(title, catalogue.RUNGS, catalogue.rung_rows(means), whole=("attack", "queries"))
    if not sys.stdout.isatty():
        typer.echo(table_of(heads, rows))
    else:
        # What the names do and on which data is left to wide terminals; a name must always be readable whole.
        wide = Console().width >= WIDE
        shown = [place for place, head in enumerate(heads) if wide or head not in ("data", "what it does")]
        cells = [[row[place] for place in shown] for row in rows]
        _print_table("Attacks", [heads[place] for place in shown], cells, whole=("name", "sees"))
    if means is None:
        _say("hint: `hardlabel attacks --budget 10` names the strongest label-only attack within 10 queries per sample")


@app.command()
def defend(
    config: Annotated[Path | None, typer.Argument(help="Settings as YAML, as for audit.")] = None,
    data: Annotated[str | None, typer.Option(help="As for audit. [default: digits]")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where data lie. [default: $HARDLABEL_DATA]")] = None,
    label: Annotated[str | None, typer.Option(help="The label column of a table.")] = None,
    arch: Annotated[str | None, typer.Option(help=f"{', '.join(ARCHITECTURES)}.")] = None,
    max_epochs: Annotated[int | None, typer.Option(help="Most epochs of training. [default: 1000]")] = None,
    size: Annotated[int | None, typer.Option(help="Training samples. [default: a fifth, 2500 at most]")] = None,
    samples: Annotated[int | None, typer.Option(help="Half of the samples asked about. [default: 1000]")] = None,
    shadows: Annotated[int | None, typer.Option(help="Reference models per target, even. [default: 12]")] = None,
    repeats: Annotated[int, typer.Option(help="Models that play target, 2 to shadows + 2.")] = 8,
    defenses: Annotated[
        str | None, typer.Option(help="Comma-separated names, see --list. [default: all that suit]")
    ] = None,
    levels: Annotated[
        list[str] | None, typer.Option(help="Strengths of one, as NAME=LEVEL,LEVEL; repeatable. [default: three each]")
    ] = None,
    pretrain: Annotated[str | None, typer.Option(help="Data to pretrain on. [default: the defender's reserve]")] = None,
    attacks: Annotated[
        str | None, typer.Option(help="Comma-separated. [default: gap, the strongest label-only, two that see scores]")
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Most queries per sample and attack.", metavar="N")] = None,
    seed: Annotated[int | None, typer.Option(help="Fixes every draw. [default: 0]")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ... [default: auto]")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder. [default: a new one under runs/]")] = None,
    executor: Executors = "local",
    address: Address = None,
    jobs: Jobs = None,
    cores: Cores = 1,
    gpus: Gpus = 0.0,
    chunk: Chunk = CHUNK,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, and stop.")] = False,
    quiet: Quiet = False,
    listed: Annotated[bool, typer.Option("--list", help="List the defenses and stop.")] = False,
) -> None:
    """Compare defenses: train with each, attack all alike, say which helps and what it costs.

    Attackers know of the defense, and beside them such as do not. The table goes to stdout; finished models and
    measurements are kept, and the same command goes on where it was.
    """
    if listed:
        typer.echo(table_of(defense_list.HEADS, defense_list.rows()))
        return
    options = {
        "data": data,
        "folder": folder,
        "label": label,
        "arch": arch,
        "max_epochs": max_epochs,
        "size": size,
        "samples": samples,
        "shadows": shadows,
        "attacks": _names(attacks),
        "budget": budget,
        "seed": seed,
        "device": device,
        "out": out,
    }
    settings, into = _settings(config, options, kind="-defend")
    wanted = _Defenses(
        repeats=repeats,
        defenses=_names(defenses),
        levels=None if levels is None else dict(map(_levels, levels)),
        pretrain=pretrain,
    )
    work = _work(into, executor, address=address, jobs=jobs, cores=cores, gpus=gpus, chunk=chunk)
    if dry_run:
        typer.echo(plan_defend_config(settings, **wanted, store=default_store(), work=work))
        return
    _compare(settings, wanted, work, quiet=quiet)


class _Defenses(TypedDict):
    """What a comparison is told beside an audit's settings; kept with them."""

    repeats: int
    defenses: list[str] | None
    levels: dict[str, list[float]] | None
    pretrain: str | None


def _compare(settings: AuditConfig, wanted: _Defenses, work: Work, *, quiet: bool) -> None:
    """Compares defenses and prints the table."""
    with contextlib.ExitStack() as stack:
        watch = SILENT if quiet else stack.enter_context(_Drawn())
        record = defend_config(settings, **wanted, store=default_store(), watch=watch, work=work)
    typer.echo(defend_markdown(record))
    assert settings.out is not None
    write_report(record, settings.out / REPORT)
    _say(f"kept in {settings.out}; report: {settings.out / REPORT}")


def _names(given: str | None) -> list[str] | None:
    return None if given is None else [name.strip() for name in given.split(",") if name.strip()]


def _levels(given: str) -> tuple[str, list[float]]:
    name, _, numbers = given.partition("=")
    try:
        return name.strip(), [float(one) for one in numbers.split(",") if one.strip()]
    except ValueError as error:
        raise InvalidInput(f"levels must be NAME=LEVEL,LEVEL with numbers, got {given!r}") from error


@app.command()
def canaries(
    config: Annotated[Path | None, typer.Argument(help="Settings as YAML, as for audit.")] = None,
    data: Annotated[str | None, typer.Option(help="As for audit. [default: digits]")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where data lie. [default: $HARDLABEL_DATA]")] = None,
    label: Annotated[str | None, typer.Option(help="The label column of a table.")] = None,
    arch: Annotated[str | None, typer.Option(help=f"{', '.join(ARCHITECTURES)}.")] = None,
    max_epochs: Annotated[int | None, typer.Option(help="Most epochs of training. [default: 1000]")] = None,
    size: Annotated[int | None, typer.Option(help="Training samples besides canaries. [default: half]")] = None,
    count: Annotated[int, typer.Option("--canaries", help="Canaries in one run.")] = 500,
    kinds: Annotated[str | None, typer.Option(help=f"Comma-separated: {', '.join(KINDS)}. [default: all]")] = None,
    runs: Annotated[int, typer.Option(help="1, or so many trainings with and without a single canary.")] = 1,
    epsilon: Annotated[float | None, typer.Option(help="Train by DP-SGD with this guarantee.")] = None,
    delta: Annotated[float | None, typer.Option(help="[default: largest power of ten below 1 / size]")] = None,
    seed: Annotated[int | None, typer.Option(help="Fixes every draw. [default: 0]")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ... [default: auto]")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder. [default: a new one under runs/]")] = None,
    executor: Executors = "local",
    address: Address = None,
    jobs: Jobs = None,
    cores: Cores = 1,
    gpus: Gpus = 0.0,
    chunk: Chunk = CHUNK,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, and stop.")] = False,
    quiet: Quiet = False,
) -> None:
    """Audit a way of training by canaries: lower bounds on epsilon, beside the accountant's where training is private.

    Plants made-up points by independent coins, and guesses from the model which it saw. The table goes to stdout.
    """
    options = {
        "data": data,
        "folder": folder,
        "label": label,
        "arch": arch,
        "max_epochs": max_epochs,
        "size": size,
        "seed": seed,
        "device": device,
        "out": out,
    }
    settings, into = _settings(config, options, kind="-canaries")
    wanted = Planting(canaries=count, kinds=_names(kinds) or list(KINDS), runs=runs, epsilon=epsilon, delta=delta)
    work = _work(into, executor, address=address, jobs=jobs, cores=cores, gpus=gpus, chunk=chunk)
    if dry_run:
        typer.echo(plan_canaries_config(settings, wanted, store=default_store(), work=work))
        return
    _plant(settings, wanted, work, quiet=quiet)


def _plant(settings: AuditConfig, wanted: Planting, work: Work, *, quiet: bool) -> None:
    """Audits by canaries and prints the table."""
    with contextlib.ExitStack() as stack:
        watch = SILENT if quiet else stack.enter_context(_Drawn())
        record = audit_canaries_config(settings, wanted, store=default_store(), watch=watch, work=work)
    typer.echo(canary_markdown(record))
    assert settings.out is not None
    write_report(record, settings.out / REPORT)
    _say(f"kept in {settings.out}; report: {settings.out / REPORT}")


@app.command()
def show(run: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Print the figures of a finished audit, of a model or of a recipe, of canaries or of defenses, in Markdown."""
    if (run / DEFEND).exists():
        typer.echo(defend_markdown(load_defend(run)))
        return
    if (run / CANARIES).exists():
        typer.echo(canary_markdown(load_canaries(run)))
        return
    typer.echo(markdown(load_recipe(run) if (run / RECIPE).exists() else load(run)))


def main() -> None:
    """Runs the command line and turns errors into exit codes."""
    allocator.keep_memory()
    try:
        code = app(standalone_mode=False)  # Typer returns the code of an Exit, 130 after Ctrl-C.
    except InvalidInput as error:
        _fail(str(error), 2)
    except typer.Abort:
        _fail("aborted", 1)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            errors.print_exception()
            _fail(f"{type(error).__name__}: {error}", 1)
        _fail(f"the disk is full: {error}; {KEPT} once there is room", 1)
    except Exception as error:
        if hasattr(error, "exit_code") and hasattr(error, "format_message"):  # Click's own usage errors.
            _fail(error.format_message(), error.exit_code)
        errors.print_exception()
        _fail(f"{type(error).__name__}: {error}", 1)
    if code == INTERRUPTED:
        _fail(f"interrupted; {KEPT}", 1)
    sys.exit(code or 0)


class _Drawn(Watch):
    """Progress on stderr: the stage, a bar, units done, their rate, and the time left at most."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            _Rate(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}", style="dim"),
            console=errors,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "_Drawn":
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def stage(self, title: str, total: int, unit: str) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(title, total=total, unit=unit, detail="")

    def advance(self, units: int) -> None:
        if self._task is not None:
            self._progress.advance(self._task, units)

    def detail(self, words: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, detail=words)

    def say(self, message: str) -> None:
        self._progress.console.print(message, highlight=False)


class _Rate(ProgressColumn):
    """Units done of at most how many, and per second."""

    def render(self, task: Task) -> Text:
        speed = ""
        if task.speed:  # Models take longer than a second each.
            speed = f", {task.speed:,.0f}/s" if task.speed >= 1 else f", {1 / task.speed:,.0f} s each"
        return Text(f"{task.completed:,.0f} of {task.total:,.0f} {task.fields['unit']}{speed}")


def _audited(settings: AuditConfig, repeats: int | None, watch: Watch, work: Work) -> AuditRecord | RecipeRecord:
    if repeats is None:
        return audit_config(settings, store=default_store(), watch=watch, work=work)
    return audit_recipe_config(settings, repeats=repeats, store=default_store(), watch=watch, work=work)


def _settings(config: Path | None, options: Mapping[str, object], *, kind: str) -> tuple[AuditConfig, Path]:
    """The settings by file and options, and the run folder: where none is named, a new one, named after `kind`."""
    settings = read(config, {name: value for name, value in options.items() if value is not None})
    if settings.out is not None:
        return settings, settings.out
    stamp = datetime.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    into = Path("runs") / f"{Path(settings.data).stem}{kind}-{stamp}"
    return settings.model_copy(update={"out": into}), into


def _print_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], *, whole: Sequence[str]) -> None:
    table = Table(title=title)
    for head in heads:
        table.add_column(head, no_wrap=head in whole, overflow="fold")
    for cells in rows:
        table.add_row(*cells)
    Console().print(table)


def _say(line: str) -> None:
    if line:
        errors.print(line, highlight=False, markup=False, soft_wrap=True)


def _fail(message: str, code: int) -> None:
    errors.print(f"hardlabel: {message}", style="bold red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)
