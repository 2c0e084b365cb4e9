"""`kapps runs` and `kapps compare`: what is in run directories."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from kapps import evaluation, training
from kapps.cli import console
from kapps.errors import UserError


@dataclass(frozen=True)
class Runs:
    """A table of the runs under a directory."""

    root: Positional[Path] = Path("runs")
    """Where to look, at any depth."""
    clean: bool = False
    """Remove the unfinished ones, after asking."""
    watch: bool = False
    """Keep the table up to date while runs train, until Ctrl-C."""

    def run(self) -> None:
        """Writes the table; asks and removes."""
        console.check_directory(self.root)
        if self.watch and self.clean:
            raise UserError("--watch watches and --clean removes: give one of the two")
        if self.watch:
            console.keep_writing(lambda: evaluation.runs_table(evaluation.find_runs(self.root)))
            return
        found = evaluation.find_runs(self.root)
        if self.clean:
            found = [run for run in found if run["state"] == "unfinished"]
            found = [run for run in found if not training.in_use(run["path"])]
        if not found:
            kind = "unfinished run that nobody uses" if self.clean else "run"
            raise UserError(f"{self.root}: no {kind} below it (a run has a config.json)")
        console.write_table(evaluation.runs_table(found))
        if self.clean:
            self._remove([run["path"] for run in found])

    def _remove(self, paths: list[Path]) -> None:
        console.write(f"remove these {len(paths)} directories and everything in them? [y/N]")
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            console.write("nothing was removed")
            return
        for path in paths:
            if not training.in_use(path):
                shutil.rmtree(path)
        console.write(f"removed {sum(not path.exists() for path in paths)}")


@dataclass(frozen=True)
class Compare:
    """Compare runs on one page: curves, figures, differing settings, and whether it is luck."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN...", help_behavior_hint="")]
    """Run directories, at least two."""
    output: Path = Path("compare.html")
    """The page to write; a name ending in .png gets only the curves, as an image."""

    def run(self) -> None:
        """Writes the page."""
        if len(self.runs) < 2:
            raise UserError("at least two runs are needed: kapps compare RUN RUN...")
        for path in self.runs:
            console.check_run(training.trained_in(path), "metrics.csv")
        console.check_directory(self.output.parent)
        console.write(str(evaluation.compare(self.runs, self.output)))
