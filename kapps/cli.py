"""The `kapps` command: look at data and runs, publish a run again, ask a published model.

Arguments, files and directories are checked before TensorFlow is imported.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import (
    FlagCreatePairsOff,
    OmitArgPrefixes,
    OmitSubcommandPrefixes,
    Positional,
    PositionalMetavarFromFieldName,
    arg,
    subcommand,
)

from kapps import __version__, command_line
from kapps.errors import UserError


@dataclass(frozen=True)
class Predict:
    """What a published SavedModel says of images, tables, series, points, texts or seeds."""

    saved_model: Positional[Path]
    """A version, or the directory of versions: the highest is taken. None with --pretrained."""
    images: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE...", help_behavior_hint="")]
    """Image files; CSV files of rows, points or series; series also as .npy, .npz or .ts;
    beginnings of texts for a character model; seeds for a VAE or GAN, which draw images."""
    pretrained: bool = False
    """Name what images show: a thousand classes of ImageNet, by a network that comes with kapps."""
    top: int = 5
    """How many labels per image, if the model has as many."""
    json: bool = False
    """One JSON object per line."""

    def run(self) -> None:
        """Writes a line per image or row."""
        from kapps import serving

        if self.top < 1:
            raise UserError(f"--top is {self.top}; at least one label is needed")
        if self.pretrained:
            self._pretrained((self.saved_model, *self.images))
            return
        if not self.images:
            raise UserError("no file given: kapps predict SAVED_MODEL FILE...")
        serving.version_directory(self.saved_model)
        alone = self.images[0] if len(self.images) == 1 else None
        if alone and _is_file(alone):  # of several, those that can be read are answered
            _check_readable(alone)
        tables = [file.suffix.lower() in TABLE_FILES for file in self.images]
        if any(tables) and not all(tables):
            raise UserError("images and tables together: a model takes one or the other")
        command_line.import_tensorflow()
        answers = serving.ask(self.saved_model, self.images, top=self.top)
        labels = []
        try:
            with command_line.without_chatter():
                for answer in answers:
                    if self.json or "predictions" not in answer:
                        self._answer(answer)
                    else:
                        found = [(p["label"], p["probability"]) for p in answer["predictions"]]
                        labels.append((answer["file"], found))
        finally:
            self._labels(labels)

    def _pretrained(self, files: tuple[Path, ...]) -> None:
        from kapps import serving

        for file in files:
            _check_readable(file)
        command_line.import_tensorflow()
        with command_line.without_chatter():
            answers = serving.name_pictures(files, self.top)
        self._labels(answers)

    def _labels(self, answers: list) -> None:
        for line in _json_lines(answers) if self.json else _aligned_lines(answers):
            _write(line)

    def _answer(self, answer: dict) -> None:
        if self.json:
            _write(json.dumps(answer, ensure_ascii=False))
            return
        asked = [str(answer[k]) for k in ("file", "row", "series", "seed") if k in answer]
        if "text" in answer:
            _write(answer["text"])
        elif "label" in answer:
            probability = answer["probabilities"][answer["label"]]
            _write(f"{':'.join(asked)}  {answer['label']} {probability:.4f}")
        elif "prediction" in answer:
            numbers = answer["prediction"]
            numbers = numbers if isinstance(numbers, list) else [numbers]
            _write(f"{':'.join(asked)}  {' '.join(map(_number, numbers))}")
        elif "labels" in answer:
            _write(f"{':'.join(asked)}  {' '.join(answer['labels'])}")
        else:
            error = f"  error {answer['error']:.6g}" if "error" in answer else ""
            _write(f"{':'.join(asked)}  {answer['written']}{error}")


@dataclass(frozen=True)
class Prepare:
    """Fetch, convert or scan a dataset ahead of time."""

    spec: Positional[str]
    """Dataset: digits, fashion_mnist, tfds:NAME, folder:PATH or npz:PATH."""
    data_dir: Path | None = None
    """Where prepared datasets live; TensorFlow Datasets' own place by default."""

    def run(self) -> None:
        """Writes what was done."""
        from kapps import data

        data.check(self.spec, self.data_dir)
        command_line.import_tensorflow()
        _write(data.prepare(self.spec, data_dir=self.data_dir))


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
        from kapps import data

        data.check(self.spec, self.data_dir, (*data.PICTURES, "csv"), data.TABLES)
        if self.spec in data.TABLES or self.spec.startswith("csv:"):
            report = data.describe_table(self.spec)
            _write(json.dumps(report, indent=2) if self.json else data.describe_table_text(report))
            return
        command_line.import_tensorflow()
        report = data.describe(
            self.spec, data_dir=self.data_dir, image_size=self.image_size, skip_broken=True
        )
        _write(json.dumps(report, indent=2) if self.json else data.describe_text(report))


@dataclass(frozen=True)
class Data:
    """Prepare or describe a dataset."""

    command: Annotated[Prepare, subcommand("prepare")] | Annotated[Describe, subcommand("describe")]

    def run(self) -> None:
        """Runs the command that was given."""
        self.command.run()


@dataclass(frozen=True)
class Runs:
    """A table of the runs under a directory."""

    root: Positional[Path] = Path("runs")
    """Where to look, at any depth."""

    def run(self) -> None:
        """Writes the table."""
        _check_directory(self.root)
        from kapps import evaluation

        found = evaluation.find_runs(self.root)
        if not found:
            raise UserError(f"{self.root}: no run below it (a run has a config.json)")
        _write_table(evaluation.runs_table(found))


@dataclass(frozen=True)
class Compare:
    """The curves and results of several runs in one picture."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN...", help_behavior_hint="")]
    """Run directories, two at least."""
    output: Path = Path("compare.png")
    """The picture."""

    def run(self) -> None:
        """Writes the picture."""
        if len(self.runs) < 2:
            raise UserError("two runs at least are needed: kapps compare RUN RUN...")
        for path in self.runs:
            _check_run(path, "metrics.csv")
        _check_directory(self.output.parent)
        from kapps import evaluation

        _write(str(evaluation.compare(self.runs, self.output)))


@dataclass(frozen=True)
class Export:
    """Publish a finished run again, or write its model in another format."""

    run_dir: Positional[Path]
    """The run directory."""
    export_dir: Path | None = None
    """Where versions are published; the run's own choice by default."""
    format: Literal["savedmodel", "onnx", "litert"] = "savedmodel"
    """savedmodel is published; onnx and litert go to export/ in the run, a file per signature."""
    quantize: Literal["none", "float16", "int8"] = "none"
    """For litert: smaller numbers; what they cost is measured on the run's test pictures."""

    def run(self) -> None:
        """Writes the path of what was made."""
        from kapps import serving

        for name in ("config.json", "model.keras", "metrics.json"):
            _check_run(self.run_dir, name)
        facts, metrics = (
            _read_json(self.run_dir / name) for name in ("config.json", "metrics.json")
        )
        class_names = facts.get("data", {}).get("class_names") or ()
        if self.format != "savedmodel" and self.export_dir is not None:
            raise UserError(f"--export-dir is for savedmodel; {self.format} goes into the run")
        export_dir = self.export_dir or Path(
            facts["config"].get("export_dir") or Path("saved_models", facts["recipe"])
        )
        serving.check_quantize(self.format, self.quantize)
        temperature = metrics.get("temperature", 1.0)
        command_line.import_tensorflow()
        cost = None
        with command_line.without_chatter():
            model = serving.load_model(self.run_dir / "model.keras")
            if self.format != "savedmodel" and not _classifies_images(model, class_names):
                self._signatures(model, class_names, temperature)
                return
            if serving.is_generative(model):
                made = self._generative(model, export_dir, class_names, facts, metrics)
            elif serving.is_tabular(model):
                made = self._raw(
                    serving.export_table, model, export_dir, class_names, facts, metrics
                )
            elif serving.is_sequence(model):
                made = self._raw(
                    serving.export_sequences, model, export_dir, class_names, facts, metrics
                )
            elif serving.is_points(model):
                made = self._raw(
                    serving.export_points, model, export_dir, class_names, facts, metrics
                )
            elif not class_names:
                raise UserError(
                    f"{self.run_dir}: config.json names no classes; a classifier needs them"
                )
            elif self.format == "savedmodel":
                made = serving.export(
                    model,
                    export_dir,
                    class_names,
                    temperature=temperature,
                    card=serving.run_card(facts, metrics),
                )
            else:
                made, cost = serving.convert_run(
                    self.run_dir,
                    model,
                    facts,
                    class_names,
                    format=self.format,
                    quantize=self.quantize,
                    temperature=temperature,
                )
        _write(str(made))
        if cost:
            _write(
                f"{cost['bytes'] / 1e6:.2f} MB; accuracy {cost['accuracy']:.2%}, before "
                f"{cost['model_accuracy']:.2%}; the same label for {cost['agreement']:.2%} of "
                f"{cost['examples']} test pictures"
            )

    def _signatures(self, model, class_names, temperature) -> None:
        """A file for each signature that the format can have, and why the others have none."""
        from kapps import serving

        if self.quantize != "none":
            raise UserError(f"--quantize {self.quantize} is for image classifiers")
        names = () if serving.is_generative(model) else class_names
        made, left = serving.convert_signatures(
            model, self.run_dir / "export", self.format, names, temperature=temperature
        )
        for path in made.values():
            _write(str(path))
        for name, reason in left.items():
            _write(f"not {name}: {reason}")

    def _raw(self, export, model, export_dir, class_names, facts, metrics) -> Path:
        """Publishes a model that takes raw columns, series or points and may predict a number."""
        from kapps import serving

        return export(
            model,
            export_dir,
            class_names,
            temperature=metrics.get("temperature", 1.0),
            card=serving.run_card(facts, metrics),
        )

    def _generative(self, model, export_dir, class_names, facts, metrics) -> Path:
        from kapps import serving

        card = serving.run_card(facts, metrics)
        return serving.export_any(model, export_dir, class_names=class_names, card=card)


@dataclass(frozen=True)
class Launch:
    """Run a command as several workers on this machine: kapps launch --workers 2 -- python ..."""

    command: Annotated[Positional[tuple[str, ...]], arg(metavar="COMMAND...")]
    """The program and its arguments, after `--`."""
    workers: int = 2
    """How many."""

    def run(self) -> None:
        """Writes the lines of all workers, and ends with the exit code of the first that failed."""
        from kapps.launch import launch

        raise SystemExit(launch(self.command, self.workers))


TABLE_FILES = (".csv", ".tsv")
IMAGE_FILES = (".png", ".jpg", ".jpeg", ".gif", ".bmp")
ASKED_FILES = (*TABLE_FILES, *IMAGE_FILES, ".npy", ".npz", ".ts")

Command = (
    Annotated[Predict, subcommand("predict")]
    | Annotated[Data, subcommand("data")]
    | Annotated[Runs, subcommand("runs")]
    | Annotated[Compare, subcommand("compare")]
    | Annotated[Export, subcommand("export")]
    | Annotated[Launch, subcommand("launch")]
)


def main(argv: Sequence[str] | None = None) -> None:
    """The entry point of the `kapps` command.

    Args:
        argv: Arguments; `sys.argv[1:]` when None.

    Raises:
        SystemExit: 2 for a user's mistake, with one message.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    with command_line.exit_codes():
        if argv == ["--version"]:
            _write(f"kapps {__version__}")
            return
        config = Annotated[
            Command,
            FlagCreatePairsOff,
            OmitArgPrefixes,
            OmitSubcommandPrefixes,
            PositionalMetavarFromFieldName,
        ]
        description = (__doc__ or "").partition("\n")[0]
        command_line.parse(config, argv or ["--help"], "kapps", description).run()


def _json_lines(answers: list) -> list[str]:
    return [
        json.dumps(
            {
                "file": file,
                "predictions": [{"label": name, "probability": p} for name, p in best],
            },
            ensure_ascii=False,
        )
        for file, best in answers
    ]


def _aligned_lines(answers: list) -> list[str]:
    rows = [[file, *(name for name, _ in best)] for file, best in answers]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for (file, best), (file_width, *label_widths) in zip(
        answers, [widths] * len(rows), strict=True
    ):
        cells = [
            f"{name:<{width}} {probability:.4f}"
            for (name, probability), width in zip(best, label_widths, strict=True)
        ]
        lines.append("  ".join([f"{file:<{file_width}}", *cells]))
    return lines


def _write(text: str) -> None:
    sys.stdout.write(text.rstrip("\n") + "\n")


def _write_table(table: Any) -> None:
    from rich.console import Console

    # Piped, a table has the width it needs: nothing is cut to a terminal that is not there.
    width = None if sys.stdout.isatty() else 10_000
    Console(file=sys.stdout, width=width, highlight=False).print(table)


def _check_readable(file: Path) -> None:
    try:
        file.open("rb").close()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error


def _check_directory(path: Path) -> None:
    if not path.is_dir():
        raise UserError(f"{path}: there is no such directory")


def _number(value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _is_file(path: Path) -> bool:
    """Whether an argument is a file: a text or a seed may be given as well."""
    return path.exists() or path.suffix.lower() in ASKED_FILES


def _classifies_images(model, class_names) -> bool:
    from kapps import serving

    others = (serving.is_generative, serving.is_tabular, serving.is_sequence, serving.is_points)
    return bool(class_names) and not any(other(model) for other in others)


def _check_run(path: Path, name: str) -> None:
    _check_directory(path)
    if not (path / "config.json").is_file():
        raise UserError(f"{path}: not a run directory (no config.json)")
    if not (path / name).is_file():
        raise UserError(
            f"{path}: there is no {name} yet; the command that began the run finishes it"
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: not what a run writes")
    return value
