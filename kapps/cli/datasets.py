"""`kapps data`: prepare or describe a dataset."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, subcommand

from kapps import command_line, data
from kapps.cli import console


@dataclass(frozen=True)
class Prepare:
    """Fetch, convert or scan a dataset ahead of time."""

    spec: Positional[str]
    """Dataset: digits, fashion_mnist, tfds:NAME, folder:PATH or npz:PATH."""
    data_dir: Path | None = None
    """Where prepared datasets live; TensorFlow Datasets' own place by default."""

    def run(self) -> None:
        """Writes what was done."""
        data.check(self.spec, self.data_dir)
        command_line.import_tensorflow()
        console.write(data.prepare(self.spec, data_dir=self.data_dir))


@dataclass(frozen=True)
class Describe:
    """Counts, sizes, duplicates and unreadable files of a dataset; the columns of a table."""

    spec: Positional[str]
    """Dataset: digits, fashion_mnist, tfds:NAME, folder:PATH, npz:PATH or csv:PATH."""
    data_dir: Path | None = None
    """Where prepared datasets live; TensorFlow Datasets' own place by default."""
    image_size: int | None = None
    """Side that pictures of a folder are resized to; chosen from the pictures by default."""
    json: bool = False
    """Machine-readable."""

    def run(self) -> None:
        """Writes the report."""
        data.check(self.spec, self.data_dir, (*data.PICTURES, "csv"), data.TABLES)
        if self.spec in data.TABLES or self.spec.startswith("csv:"):
            report = data.describe_table(self.spec)
            console.write(
                json.dumps(report, indent=2) if self.json else data.describe_table_text(report)
            )
            return
        command_line.import_tensorflow()
        report = data.describe(
            self.spec, data_dir=self.data_dir, image_size=self.image_size, skip_broken=True
        )
        console.write(json.dumps(report, indent=2) if self.json else data.describe_text(report))


@dataclass(frozen=True)
class Data:
    """Prepare or describe a dataset."""

    command: Annotated[Prepare, subcommand("prepare")] | Annotated[Describe, subcommand("describe")]

    def run(self) -> None:
        """Runs the command that was given."""
        self.command.run()
