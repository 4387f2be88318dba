"""The command that shows runs in a browser."""

import os
import threading
from pathlib import Path
from typing import Annotated

import typer

from hardlabel.checks import InvalidInput
from hardlabel.cli.progress import put, say


def view(
    place: Annotated[
        Path,
        typer.Argument(
            metavar="[RUN|FOLDER]",
            help="A run folder, or a folder of run folders. Runs that the store knows are always listed.",
        ),
    ] = Path("runs"),
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Show runs in a browser: list, filter, read reports, compare two. Ends with Ctrl-C.

    The page can be opened on this machine only. Its address holds a random
    token. The page changes nothing.
    """
    from hardlabel.runs.folder import CONFIG
    from hardlabel.store import default_store
    from hardlabel.viewer.runs import Runs
    from hardlabel.viewer.server import viewing

    if place != Path("runs") and not place.is_dir():
        raise InvalidInput(f"run {str(place)!r} must be a run folder, or a folder of run folders")
    runs = Runs(place, default_store())
    with viewing(runs) as viewer:
        url = viewer.url
        if os.path.lexists(place / CONFIG):
            rows = runs.rows()
            url += f"run/{rows[0].key}" if rows and rows[0].readable else ""
        put(url)
        say("Press Ctrl-C to stop.")
        if open_it:
            import webbrowser

            webbrowser.open(url)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            say("ended")
