"""The command line: one command per verb. Progress and messages go to stderr, results to stdout.

Exit codes: 0 done, 1 failed, 2 bad usage (one line says which argument, value and rule); of a gate 3 tripped, 4
undecided.
"""

import contextlib
import datetime
import os
import re
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardlabel import __version__, allocator, printed, processes
from hardlabel.checks import InvalidInput
from hardlabel.cli import compare as compare_command
from hardlabel.cli import gate as gates
from hardlabel.cli import ledger as ledger_commands
from hardlabel.cli import lists, reproduce, usage
from hardlabel.cli import runs as run_commands
from hardlabel.cli import show as shows
from hardlabel.cli import view as view_command
from hardlabel.cli.options import CONFIG, command, with_default
from hardlabel.cli.progress import Bar, errors, put, say
from hardlabel.kinds import KINDS, markdown, planned, run, write_report
from hardlabel.oracles.stopped import Stopped
from hardlabel.runs.kinds import Kind
from hardlabel.runs.places import PATHS
from hardlabel.runs.settings import Gate, GateFiles, RunSettings, Where, read
from hardlabel.store import full_disk

if TYPE_CHECKING:  # Importing it loads PyTorch, which takes seconds; the help must be fast.
    from hardlabel.audits.game.execution import Execution

INTERRUPTED = 130
ERRNO = re.compile(r"\[(?:Errno|WinError) -?\d+\] ")  # Python puts it before the words of an error of the machine.
KEPT = "finished models and measurements are kept, the same command goes on from there"
RUN = Annotated[Path, typer.Argument(help="A run folder.")]
AFTER = {"open": "Open the report in a browser.", "pdf": "Write report.pdf beside the report."}
FLAGS = {"dry_run": "Print the plan, and stop.", "quiet": "No progress; errors only.", **AFTER}

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def _hardlabel(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    """Does a classifier leak who was in its training data, although it answers with a label only?"""
    if version:
        typer.echo(__version__)
        raise typer.Exit


DOCS = {
    "audit": """Audit your own model (--target), or one that is trained here; write a report.

    hardlabel audit --target m.onnx --members a.csv --nonmembers b.csv --label y

    With --target it trains only the attacker's models. Without arguments it
    audits a small network on scikit-learn's digits. With --repeats it audits the
    way of training: several models trained alike are attacked in turn.
    """,
    "defend": """Compare defenses: train with each, attack all alike, say which helps and what it costs.

    Each defense faces two attackers: one who knows about it and one who does
    not. The table goes to stdout.
    """,
    "canaries": """Audit a way of training by canaries: lower bounds on epsilon, beside the accountant's upper bound.

    For each made-up record, a coin decides whether it is trained on. The audit
    guesses from the model's answers which records it was trained on. The table
    goes to stdout.
    """,
}


def _begin(name: str, options: dict[str, Any]) -> None:
    """Begins a run with the command `name`. The settings choose the kind, if the command serves several kinds."""
    kinds = [kind for kind in KINDS.rows.values() if kind.command == name]
    if options.pop("list", False):
        for kind in kinds:
            if kind.listing is not None:
                put(kind.load("listing")())
        return
    path, flags = options.pop("config"), {flag: options.pop(flag) for flag in FLAGS}
    where = {option: options.pop(option) for option in (*Where.model_fields, *GateFiles.model_fields)}
    values = {} if path is None else read(path)
    kind = KINDS.of(values) if "kind" in values else kinds[0]
    if kind not in kinds:
        raise InvalidInput(
            f"kind of config {str(path)!r} must suit `{name}`, got {values['kind']!r}: use `hardlabel run`"
        )
    values |= {option: value for option, value in options.items() if value is not None}
    for candidate in kinds:
        if candidate.given is not None and candidate.given in values:
            kind = candidate
    _do(kind, values, where, **flags)


def _run(options: dict[str, Any]) -> None:
    values, flags = read(options.pop("config")), {flag: options.pop(flag) for flag in FLAGS}
    kind, given = KINDS.of(values), {name: options.pop(name) for name in ("out", *Gate.model_fields)}
    _do(kind, {**values, **{name: value for name, value in given.items() if value is not None}}, options, **flags)


def _resume(options: dict[str, Any]) -> None:
    from hardlabel.runs.listing import places_of_run
    from hardlabel.store import default_store

    folder = options.pop("run")
    kind, settings = KINDS.begun(folder, places_of_run(folder, default_store()))
    flags = {flag: options.pop(flag) for flag in ("quiet", *AFTER)}
    given = {name: options.pop(name) for name in Gate.model_fields}
    gate = {name: getattr(settings, name) if value is None else value for name, value in given.items()}
    settings = settings.model_copy(update=Gate(**gate).model_dump())
    _finish(kind, settings, options, **flags)


def _do(kind: Kind, values: dict[str, Any], where: dict[str, Any], *, dry_run: bool, **flags: bool) -> None:
    settings = KINDS.made(kind, values)
    gates.check(kind.name, settings, _files(where))
    if settings.out is None:
        stamp = datetime.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        suffix = "" if kind.name == "model" else f"-{kind.name}"
        subject = Path(getattr(settings, kind.subject)).stem
        settings = settings.model_copy(update={"out": Path("runs") / f"{subject}{suffix}-{stamp}"})
    if dry_run:
        from hardlabel.store import default_store

        put(planned(settings, store=default_store(), execution=_execution(settings, where)))
        return
    _finish(kind, settings, where, **flags)


def _finish(kind: Kind, settings: RunSettings, where: dict[str, Any], *, quiet: bool, **after: bool) -> None:
    """Does the run, writes the report, prints the verdict and the report's path or the Markdown tables.

    The gate comes last.
    """
    from hardlabel.store import default_store

    assert settings.out is not None
    files = _files(where)
    gates.check(kind.name, settings, files)
    with contextlib.ExitStack() as stack:
        execution = _execution(settings, where, None if quiet else stack.enter_context(Bar()))
        record = run(settings, store=default_store(), execution=execution)
    report = settings.out / shows.REPORT
    write_report(record, report)
    if not quiet:
        shows.say_verdict(record)
        shows.say_steps(record, _whole_paths(settings))
    if kind.summary is None:
        put(markdown(record))
    elif not quiet:
        for part in kind.load("summary")(record, errors.width):
            say(part) if isinstance(part, str) else errors.print(part)
    if not quiet:
        say(f"kept in {settings.out}" + (f"; report: {report}" if kind.summary is None else ""))
    if kind.summary is not None:
        put(report)
    if after["pdf"]:
        shows.write_pdf(record, settings.out / shows.PDF)
    if after["open"]:
        shows.open_in_browser(report)
    elif not quiet:
        shows.offer(settings.out)
    gates.finish(record, settings, files, quiet=quiet)


def _whole_paths(settings: RunSettings) -> dict[str, str]:
    """The paths among the settings as they were given, by setting."""
    return {name: str(getattr(settings, name)) for name in PATHS if getattr(settings, name, None) is not None}


def _files(where: dict[str, Any]) -> GateFiles:
    return GateFiles(**{name: where.get(name) for name in GateFiles.model_fields})


def _execution(settings: RunSettings, where: dict[str, Any], watch: Bar | None = None) -> "Execution":
    from hardlabel.audits.game.execution import Execution
    from hardlabel.executors import executor_of
    from hardlabel.runs.listing import SCRATCH
    from hardlabel.runs.progress import SILENT

    assert settings.out is not None
    options = Where(**{name: where[name] for name in Where.model_fields if where.get(name) is not None})
    executor = executor_of(
        options.executor,
        address=options.address,
        jobs=options.jobs,
        cores=options.cores,
        gpus=options.gpus,
        scratch=settings.out / SCRATCH,
    )
    return Execution(
        executor=executor,
        chunk=options.chunk,
        watch=watch or SILENT,
        agree=None if options.yes else _agreed,
        accept_change=options.accept_change,
    )


def _agreed(cost: str) -> None:
    """Asks the user whether to spend what a run costs.

    Raises:
        InvalidInput: There is no terminal to ask at.
        typer.Abort: The user does not agree.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidInput(f"price_per_1000 needs a terminal to ask at, or --yes: {cost}")
    typer.confirm(printed.line(f"{cost}. Spend it?"), abort=True, err=True)


def _register() -> None:
    """Adds the commands that the kinds name, then `run` and `resume`, which serve every kind."""
    for name in dict.fromkeys(kind.command for kind in KINDS.rows.values()):
        kinds = [kind for kind in KINDS.rows.values() if kind.command == name]
        list_flag = {"list": "List the defenses, and stop."} if any(kind.listing for kind in kinds) else {}
        app.command(name)(
            command(
                partial(_begin, name),
                *(kind.settings for kind in kinds),
                GateFiles,
                Where,
                doc=DOCS.get(name, kinds[0].settings.__doc__ or ""),
                positional={"config": CONFIG},
                flags={**FLAGS, **list_flag},
            )
        )
    path = Annotated[Path, typer.Argument(help="Settings as YAML; `kind:` names the kind of run.")]
    where = with_default("Run folder.", "a new one under runs/")
    folder = Annotated[Path | None, typer.Option("--out", help=where, show_default=False)]
    app.command("run")(
        command(
            _run,
            Gate,
            GateFiles,
            Where,
            doc="Do the run that a YAML file describes, of any kind.",
            positional={"config": path, "out": folder},
            flags=FLAGS,
        )
    )
    app.command("resume")(
        command(
            _resume,
            Gate,
            GateFiles,
            Where,
            doc="Go on with a run that broke off, with the settings it began with; finished work is not repeated.",
            positional={"run": RUN},
            flags={"quiet": FLAGS["quiet"], **AFTER},
        )
    )


_register()
app.command("reproduce")(
    command(
        reproduce.reproduce,
        Where,
        doc=reproduce.DOC,
        positional=reproduce.POSITIONAL,
        flags=reproduce.FLAGS,
    )
)
app.command("gate")(command(gates.decide, Gate, GateFiles, doc=gates.DOC, positional={"run": RUN}))
app.command("attacks")(lists.list_attacks)
app.command("runs")(run_commands.runs)
app.command("clean")(run_commands.clean)
app.command("ledger")(ledger_commands.ledger)
app.command("compare")(compare_command.compare)
app.command("view")(view_command.view)
app.command("show")(shows.show)


def main() -> None:
    """Runs the command line and turns errors into exit codes."""
    allocator.keep_memory()
    processes.wait_passively()
    try:
        with warnings.catch_warnings(), processes.INTERRUPTS.caught():
            warnings.showwarning = _showwarning
            code = app(standalone_mode=False)  # The code of a typer.Exit; INTERRUPTED after Ctrl-C.
    except InvalidInput as error:
        _fail(str(error), 2)
    except typer.Abort:
        _fail("aborted", 1)
    except KeyboardInterrupt:  # At a moment when Typer does not look.
        code = INTERRUPTED
    except Exception as error:
        if isinstance(error, Stopped):
            _fail(f"{error}; {KEPT}", 1)
        full = full_disk(error)
        if full is not None:
            _fail(f"the disk is full: {full}; {KEPT} once there is room", 1)
        if hasattr(error, "exit_code") and hasattr(error, "format_message"):  # Click's own usage errors.
            words = usage.words(error)
            if not words:  # The help was asked for, and has been printed.
                sys.exit(error.exit_code)
            _fail(words, error.exit_code)
        if isinstance(error, RuntimeError) and "home directory" in str(error):  # As `Path.expanduser` says it.
            _fail("paths must not begin with ~, since this user has no home folder (or set HOME)", 2)
        if isinstance(error, FileNotFoundError) and "No usable temporary directory" in str(error):
            _fail(f"no temporary folder has room: set TMPDIR to a folder that has; {KEPT}", 1)
        if isinstance(error, OSError) and error.strerror:  # Of the machine: a traceback tells the user nothing.
            _fail(": ".join(filter(None, [str(error.filename or ""), error.strerror])), 1)
        errors.print_exception()
        _fail(f"{type(error).__name__}: {error}", 1)
    if code == INTERRUPTED:
        _fail(f"interrupted; {KEPT}", 1)
    sys.exit(code or 0)


_usual_showwarning = warnings.showwarning


def _showwarning(message: Warning | str, category: type[Warning], *where: Any, **named: Any) -> None:
    """Shows a FutureWarning as one line, since it is meant for users."""
    if issubclass(category, FutureWarning):
        say(str(message))
    else:
        _usual_showwarning(printed.lines(message), category, *where, **named)


def _fail(message: str, code: int) -> None:
    errors.print(printed.lines(f"hardlabel: {ERRNO.sub('', message)}"), style="bold red", soft_wrap=True)
    try:
        sys.stdout.flush()
    except OSError:  # What could not be printed is lost; Python must not try again when it ends, and fail then.
        with contextlib.suppress(OSError, ValueError):  # A test's stdout has no descriptor.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
