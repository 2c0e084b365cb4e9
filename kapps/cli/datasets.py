"""`kapps data`: prepare or describe a dataset, or delete what is kept of it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, subcommand

from kapps import command_line, data
from kapps.cli import console


@dataclass(frozen=True)
class Prepare:
    """Fetch, convert or decode a dataset ahead of time; flags of a folder as those of training."""

    spec: Positional[str]
    """Dataset: digits, fashion_mnist, tfds:NAME, folder:PATH, npz:PATH, tfrecord:PATTERN or
    webdataset:PATTERN."""
    data_dir: Path | None = None
    """Where prepared datasets live; TensorFlow Datasets' own place by default."""
    image_size: int | None = None
    """Side that pictures of a folder are resized to; chosen from the pictures by default."""
    channels: int | None = None
    """1 (grey) or 3 (colour; transfer_learning wants it); those of the pictures by default."""
    resize: Literal["auto", "fit", "crop", "stretch"] = "auto"
    """What becomes of pictures of another aspect ratio."""
    labels: Path | None = None
    """A CSV file with the columns file_name and label, in the place of class folders."""
    label_pattern: str | None = None
    """A regular expression with one group, the class, searched for in names of files."""
    skip_broken: bool = False
    """Leave out pictures that cannot be read."""

    def run(self) -> None:
        """Writes what was done."""
        labelled = self.labels is not None or self.label_pattern is not None
        data.check(self.spec, self.data_dir, labelled=labelled)
        command_line.import_tensorflow()
        settings = {**vars(self), "decoded": "disk"}
        console.write(data.prepare(settings.pop("spec"), **settings))


@dataclass(frozen=True)
class Describe:
    """Counts, sizes, duplicates and unreadable files of a dataset; the columns of a table."""

    spec: Positional[str]
    """Dataset: digits, fashion_mnist, tfds:NAME, folder:PATH, npz:PATH, tfrecord:PATTERN,
    webdataset:PATTERN or csv:PATH."""
    data_dir: Path | None = None
    """Where prepared datasets live; TensorFlow Datasets' own place by default."""
    image_size: int | None = None
    """Side that pictures of a folder are resized to; chosen from the pictures by default."""
    json: bool = False
    """Machine-readable."""

    def run(self) -> None:
        """Writes the report."""
        data.check(self.spec, self.data_dir, (*data.PICTURES, "csv"), data.TABLES)
        parsed = data.parse(self.spec, (*data.PICTURES, "csv"), data.TABLES)
        if self.spec in data.TABLES or parsed.kind == "csv":
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
class Clean:
    """Delete what is kept of folders and shards of pictures: indexes and decoded pictures."""

    spec: Positional[str | None] = None
    """folder:PATH, tfrecord:PATTERN or webdataset:PATTERN, which may be gone; all by default."""
    data_dir: Path | None = None
    """As training was given it; the user's cache directory by default."""

    def run(self) -> None:
        """Writes what was deleted."""
        console.write(data.clean(self.spec, self.data_dir))


@dataclass(frozen=True)
class Data:
    """Prepare or describe a dataset, or delete what is kept of it."""

    command: (
        Annotated[Prepare, subcommand("prepare")]
        | Annotated[Describe, subcommand("describe")]
        | Annotated[Clean, subcommand("clean")]
    )

    def run(self) -> None:
        """Runs the command that was given."""
        self.command.run()
