"""What the commands share: writing to standard output, and checks of files and directories."""

import contextlib
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kapps.errors import UserError


def write_in_blocks() -> None:
    """Hand output on in blocks, not by the line, where a program reads it.

    `kapps predict ... | head` then ends well, PYTHONUNBUFFERED or not, unless there is much more.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(write_through=False, line_buffering=False)


def write(text: str) -> None:
    """Write a text and one newline."""
    sys.stdout.write(text.rstrip("\n") + "\n")


def write_table(table: Any) -> None:
    """Write a table of rich."""
    from rich.console import Console

    # Piped, a table has the width it needs: nothing is cut to a terminal that is not there.
    width = None if sys.stdout.isatty() else 10_000
    Console(file=sys.stdout, width=width, highlight=False).print(table)


def keep_writing(table: Callable[[], Any], seconds: float = 2.0) -> None:
    """Write a table of rich again and again, until Ctrl-C.

    On a terminal it is redrawn in place; piped, it is written when it has changed.

    Args:
        table: makes it.
        seconds: between two looks.
    """
    from rich.console import Console
    from rich.live import Live

    before = ""
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as opened:
        live = None
        if sys.stdout.isatty():
            live = opened.enter_context(Live(screen=True, auto_refresh=False))
        while True:
            if live is not None:
                live.update(table(), refresh=True)
            else:
                console = Console(file=(said := io.StringIO()), width=10_000, highlight=False)
                console.print(table())
                if said.getvalue() != before:
                    write(before := said.getvalue())
                    sys.stdout.flush()
            time.sleep(seconds)


def check_readable(file: Path) -> None:
    """Refuse what cannot be opened.

    Raises:
        UserError: it is a directory, not there, or may not be read.
    """
    try:
        file.open("rb").close()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error


def check_directory(path: Path) -> None:
    """Refuse what is no directory.

    Raises:
        UserError: there is none.
    """
    if not path.is_dir():
        raise UserError(f"{path}: there is no such directory")


def check_run(path: Path, name: str) -> None:
    """Refuse what is no run directory, or has no file `name` yet.

    Raises:
        UserError: it is not or has not.
    """
    check_directory(path)
    if not (path / "config.json").is_file():
        raise UserError(f"{path}: not a run directory (no config.json)")
    if not (path / name).is_file():
        raise UserError(f"{path}: there is no {name} yet; run its command again to finish it")


def read_json(path: Path) -> dict[str, Any]:
    """An object that a run has written.

    Raises:
        UserError: it cannot be read, or is not one.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: not what a run writes")
    return value
