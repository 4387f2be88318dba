"""The command that reproduces the paper: runs the parts that are left, and writes the page."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardlabel.checks import InvalidInput
from hardlabel.cli.options import with_default
from hardlabel.cli.progress import Bar, put, say
from hardlabel.runs.settings import Where

if TYPE_CHECKING:  # Importing these loads PyTorch, which takes seconds; the help must be fast.
    from hardlabel.reproduction.declared import Experiment, Part
    from hardlabel.reproduction.runner import Planned

DOC = """Reproduce the paper's tables and figures, with a verdict on each claim.

Runs the parts that have no summary yet, one after another, and writes the
page from all summaries. A part is one target of one cell of a table. To use
more cores, start the same command several times: each part is run once.
"""
PAGE = "reproduction"


def _option(flag: str, help: str, default: str) -> Any:
    return typer.Option(flag, help=with_default(help, default), show_default=False)


POSITIONAL: dict[str, Any] = {
    "experiments": Annotated[
        list[str] | None,
        typer.Argument(
            help=with_default("table1, table2, figure1 to figure6, outliers, or all.", "all"), show_default=False
        ),
    ],
    "scale": Annotated[
        str | None,
        _option("--scale", "smoke (minutes, digits), cpu (hours) or paper.", "smoke"),
    ],
    "out": Annotated[
        Path | None,
        _option("--out", "Folder of the summaries, by scale.", "runs/reproduction"),
    ],
    "page": Annotated[
        Path | None,
        _option("--page", "The page, as Markdown.", "reproduction.md among the summaries"),
    ],
    "part": Annotated[
        list[int] | None,
        typer.Option("--part", help="Run this part only, by its number in --dry-run; repeatable."),
    ],
    "minutes": Annotated[
        float | None,
        _option("--minutes", "Begin no part after this many minutes.", "no limit"),
    ],
    "device": Annotated[
        str | None,
        _option("--device", "Where models run: auto, cpu, cuda, ...", "auto"),
    ],
}
FLAGS = {
    "dry_run": "Print the parts with their cost, and stop.",
    "only_page": "Write the page from the summaries, and stop.",
    "quiet": "No progress; errors only.",
}


def reproduce(options: dict[str, Any]) -> None:
    """Does what the options say.

    Raises:
        InvalidInput: An experiment, a scale or a part does not exist, or a summary is damaged.
    """
    from hardlabel.reproduction.declared import parts_of
    from hardlabel.reproduction.experiments import experiments_at

    scale = options["scale"] or "smoke"
    experiments = experiments_at(scale, options["experiments"] or ())
    out = options["out"] or Path("runs") / "reproduction"
    parts = parts_of(experiments)
    if options["dry_run"]:
        put(_plan(parts, out / scale, options))
        return
    problems = [] if options["only_page"] else _run(_asked(parts, options["part"]), out / scale, options)
    put(_write(experiments, out, scale, options["page"]))
    for problem in problems:
        say(problem)


def _asked(parts: "list[Part]", numbers: list[int] | None) -> "list[Part]":
    for number in numbers or ():
        if not 1 <= number <= len(parts):
            raise InvalidInput(f"part must lie in [1, {len(parts)}], got {number}: --dry-run lists the parts")
    return [parts[number - 1] for number in numbers] if numbers else parts


def _run(parts: "list[Part]", folder: Path, options: dict[str, Any]) -> list[str]:
    from hardlabel.reproduction.runner import run
    from hardlabel.store import default_store
    from hardlabel.targets.torch import resolve_device

    with ExitStack() as stack:
        watch = None if options["quiet"] else stack.enter_context(Bar())
        return run(
            parts,
            folder,
            device=resolve_device(options["device"] or "auto"),
            store=default_store(),
            execution=_execution(folder, options, watch),
            minutes=options["minutes"],
            say=say if watch else lambda words: None,
        )


def _plan(parts: "list[Part]", folder: Path, options: dict[str, Any]) -> str:
    from hardlabel.reports.text import table_of
    from hardlabel.reproduction.runner import plan
    from hardlabel.store import default_store
    from hardlabel.targets.torch import resolve_device

    planned = plan(
        parts,
        folder,
        device=resolve_device(options["device"] or "auto"),
        store=default_store(),
        execution=_execution(folder, options, None),
    )
    head = ["part", "what", "trainings", "queries", "rows of own models", "minutes on one core at most"]
    rows = [[str(number), row.part.name, *_cost(row)] for number, row in enumerate(planned, start=1)]
    hours = sum(row.cost.seconds for row in planned if row.cost is not None) / 3600
    done = sum(row.done for row in planned)
    total = f"{len(planned)} parts, {done} done; the others take about {hours:.1f} hours on one core at most"
    return f"{table_of(head, rows)}\n\n{total}"


def _cost(row: "Planned") -> list[str]:
    if row.cost is None:
        return ["", "", "", "done" if row.done else row.problem]
    cost = row.cost
    return [str(cost.trainings), f"{cost.queries:,}", f"{cost.rows:,}", f"{cost.seconds / 60:.1f}"]


def _execution(folder: Path, options: dict[str, Any], watch: Bar | None) -> Any:
    from hardlabel.audits.game.execution import Execution
    from hardlabel.executors import executor_of
    from hardlabel.runs.listing import SCRATCH
    from hardlabel.runs.progress import SILENT

    where = Where(**{name: options[name] for name in Where.model_fields if options[name] is not None})
    executor = executor_of(
        where.executor,
        address=where.address,
        jobs=where.jobs,
        cores=where.cores,
        gpus=where.gpus,
        scratch=folder / SCRATCH,
    )
    return Execution(executor=executor, chunk=where.chunk, watch=watch or SILENT)


def _write(experiments: "list[Experiment]", out: Path, scale: str, page: Path | None) -> Path:
    """Writes the Markdown, and the HTML page among the summaries; returns the Markdown's path."""
    from hardlabel.reproduction import pages
    from hardlabel.reproduction.declared import parts_of
    from hardlabel.reproduction.summary import summaries_of
    from hardlabel.store import write_text

    summaries = summaries_of(parts_of(experiments), out / scale)
    text = pages.markdown(experiments, summaries, scale=scale)
    drawn = pages.page(experiments, summaries, scale=scale)
    path = page or out / scale / f"{PAGE}.md"
    write_text(text, page=path)
    write_text(drawn, out=out / scale / f"{PAGE}.html")
    return path
