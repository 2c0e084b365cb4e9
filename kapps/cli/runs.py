"""`kapps runs` and `kapps compare`: what is in run directories."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from kapps import evaluation
from kapps.cli import console
from kapps.errors import UserError


@dataclass(frozen=True)
class Runs:
    """A table of the runs under a directory."""

    root: Positional[Path] = Path("runs")
    """Where to look, at any depth."""

    def run(self) -> None:
        """Writes the table."""
        console.check_directory(self.root)
        found = evaluation.find_runs(self.root)
        if not found:
            raise UserError(f"{self.root}: no run below it (a run has a config.json)")
        console.write_table(evaluation.runs_table(found))


@dataclass(frozen=True)
class Compare:
    """Several runs in one page: curves, figures, settings that differ, and whether it is luck."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN...", help_behavior_hint="")]
    """Run directories, two at least."""
    output: Path = Path("compare.html")
    """The page; a name that ends in .png gets a picture of the curves alone."""

    def run(self) -> None:
        """Writes the page."""
        if len(self.runs) < 2:
            raise UserError("two runs at least are needed: kapps compare RUN RUN...")
        for path in self.runs:
            console.check_run(path, "metrics.csv")
        console.check_directory(self.output.parent)
        console.write(str(evaluation.compare(self.runs, self.output)))
