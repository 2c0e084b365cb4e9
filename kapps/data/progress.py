"""Progress of long work: a bar on a terminal, plain lines elsewhere, nothing for short work."""

import time
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_PATIENCE = 2.0  # seconds before anything is shown
_LINE_EVERY = 10.0  # seconds between plain lines


def track(items: Iterable, description: str, total: int, weight=None) -> Iterator:
    """Yields the items and tells how far it is, on stderr; `weight(item)` counts as that many."""
    console = Console(stderr=True)
    start = time.monotonic()
    done, shown, bar, task = 0, None, None, None
    try:
        for item in items:
            yield item
            done += 1 if weight is None else weight(item)
            now = time.monotonic()
            if shown is None and (now - start < _PATIENCE or done >= total):
                continue
            if not console.is_terminal:
                if shown is None or now - shown >= _LINE_EVERY or done >= total:
                    console.print(f"{description}: {done:,} of {total:,}", highlight=False)
                    shown = now
                continue
            if bar is None or task is None:
                bar = Progress(
                    TextColumn("{task.description}"),
                    BarColumn(),
                    MofNCompleteColumn(),
                    TimeRemainingColumn(),
                    console=console,
                )
                bar.start()
                task = bar.add_task(description, total=total)
                shown = now
            bar.update(task, completed=done)
    finally:
        if bar is not None:
            bar.stop()
