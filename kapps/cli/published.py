"""`kapps export` and `kapps predict`: to the published model, and from it."""

import functools
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from kapps import command_line, data, serving, training
from kapps.cli import console
from kapps.data.delimited import read_delimited
from kapps.data.images.files import formats
from kapps.errors import UserError

TABLE_FILES = (".csv", ".tsv", ".gz", ".parquet", ".jsonl")
IMAGE_FILES = tuple(sorted(formats.EXTENSIONS))
ASKED_FILES = (*TABLE_FILES, *IMAGE_FILES, ".npy", ".npz", ".ts")


@dataclass(frozen=True)
class Predict:
    """Query a published SavedModel with images, tables, series, points, texts or seeds."""

    saved_model: Positional[Path]
    """A version, the directory of versions (the highest is taken), or the run or search that has
    published one. None with --pretrained."""
    asked: Annotated[Positional[tuple[str, ...]], arg(metavar="FILE...", help_behavior_hint="")]
    """Image files; CSV files of rows, points or series; series also as .npy, .npz or .ts; texts or
    .txt files for a text classifier or a character model; seeds for a VAE or GAN, which draw
    images. A single - is standard input."""
    pretrained: bool = False
    """Classify images into ImageNet's thousand classes, with a network that comes with kapps."""
    top: int = 5
    """How many labels to show per image."""
    json: bool = False
    """One JSON object per line."""

    def run(self) -> None:
        """Writes a line per image or row."""
        if self.top < 1:
            raise UserError(f"--top is {self.top}; at least one label is needed")
        if self.pretrained:
            self._pretrained((str(self.saved_model), *self.asked))
            return
        if not self.asked:
            raise UserError("no file given: kapps predict SAVED_MODEL FILE...")
        saved_model = published_by(self.saved_model)
        serving.version_directory(saved_model)
        alone = self.asked[0] if len(self.asked) == 1 else ""
        if _is_file(alone):  # of several, those that can be read are answered
            console.check_readable(Path(alone))
        kinds = {Path(given).suffix.lower() for given in self.asked}
        if kinds & set(TABLE_FILES) and kinds & set(IMAGE_FILES):
            raise UserError("images and tables together: a model takes one or the other")
        command_line.import_tensorflow()
        console.write_in_blocks()
        labels: list = []
        notes: list[str] = []
        answers = serving.ask(saved_model, self.asked, top=self.top, notes=notes)
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
        for note in notes:
            sys.stderr.write(f"note: {note}\n")

    def _pretrained(self, files: tuple[str, ...]) -> None:
        if len(files) == 1:
            console.check_readable(Path(files[0]))
        command_line.import_tensorflow()
        answers = []
        try:
            with command_line.without_chatter():
                answers = serving.name_pictures(files, self.top)
        except serving.SomeUnreadable as fault:
            answers = fault.answers
            raise
        finally:
            self._labels(answers)

    def _labels(self, answers: list) -> None:
        for line in _json_lines(answers) if self.json else _aligned_lines(answers):
            console.write(line)

    def _answer(self, answer: dict) -> None:
        if self.json:
            console.write(json.dumps(answer, ensure_ascii=False))
            return
        asked = [str(answer[k]) for k in ("file", "row", "series", "seed") if k in answer]
        if "labels" in answer and "probabilities" in answer:
            given = [f"{name} {answer['probabilities'][name]:.4f}" for name in answer["labels"]]
            console.write(f"{':'.join(asked)}  {'  '.join(given) or 'no label'}")
        elif "text" in answer:
            console.write(answer["text"])
        elif "label" in answer:
            probability = answer["probabilities"][answer["label"]]
            console.write(f"{':'.join(asked)}  {answer['label']} {probability:.4f}")
        elif "prediction" in answer:
            numbers = answer["prediction"]
            numbers = numbers if isinstance(numbers, list) else [numbers]
            console.write(f"{':'.join(asked)}  {' '.join(map(_number, numbers))}")
        elif "labels" in answer:
            console.write(f"{':'.join(asked)}  {' '.join(answer['labels'])}")
        else:
            error = f"  error {answer['error']:.6g}" if "error" in answer else ""
            console.write(f"{':'.join(asked)}  {answer['written']}{error}")


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
    """For litert: smaller numbers; the accuracy lost is measured on the run's test images."""

    def run(self) -> None:
        """Writes the path of what was made."""
        made, cost = self.make()
        if made is not None:
            console.write(str(made))
        if cost:
            console.write(
                f"{cost['bytes'] / 1e6:.2f} MB; accuracy {cost['accuracy']:.2%}, before "
                f"{cost['model_accuracy']:.2%}; the same label for {cost['agreement']:.2%} of "
                f"{cost['examples']} test pictures"
            )

    def target(self) -> Path:
        """The directory that versions of this run's model are published in."""
        facts, _ = self._read()
        chosen = facts["config"].get("export_dir") or Path("saved_models", facts["recipe"])
        return self.export_dir or Path(chosen)

    def make(self) -> tuple[Path | None, dict | None]:
        """The version or file, and what quantizing costs; nothing of a file per signature."""
        run_dir = training.trained_in(self.run_dir)  # of a search, the winner's
        facts, metrics = self._read()
        class_names = facts.get("data", {}).get("class_names") or ()
        if self.format != "savedmodel" and self.export_dir is not None:
            raise UserError(f"--export-dir is for savedmodel; {self.format} goes into the run")
        export_dir = self.target()
        serving.check_quantize(self.format, self.quantize)
        kind = facts.get("target_kind")
        temperature = metrics.get("temperature", 1.0)
        command_line.import_tensorflow()
        cost, note = None, ""
        with command_line.without_chatter():
            model = serving.load_model(run_dir / "model.keras")
            if self.format != "savedmodel" and (kind or not _classifies_images(model, class_names)):
                self._signatures(model, run_dir, class_names, temperature, kind or "classes")
                return None, None
            statistics = serving.statistics_of_published(run_dir, facts)
            if serving.is_generative(model):
                made = self._generative(model, export_dir, class_names, facts, metrics)
            elif serving.is_tabular(model):
                export = functools.partial(serving.export_table, statistics=statistics)
                made = self._raw(export, model, export_dir, class_names, facts, metrics)
            elif serving.is_sequence(model):
                export = functools.partial(
                    serving.export_sequences,
                    feature_names=facts.get("feature_names", ()),
                    statistics=statistics,
                )
                made = self._raw(export, model, export_dir, class_names, facts, metrics)
            elif serving.is_document(model):
                made = self._raw(
                    serving.export_documents, model, export_dir, class_names, facts, metrics
                )
            elif serving.is_points(model):
                export = functools.partial(serving.export_points, statistics=statistics)
                made = self._raw(export, model, export_dir, class_names, facts, metrics)
            elif facts.get("target_kind") == "labels":
                made = self._pictures(
                    serving.export_labels,
                    model,
                    export_dir,
                    facts,
                    metrics,
                    class_names=class_names,
                    thresholds=_thresholds(run_dir),
                )
            elif facts.get("target_kind") == "number":
                made = self._pictures(serving.export_numbers, model, export_dir, facts, metrics)
            elif not class_names:
                raise UserError(f"{run_dir}: config.json names no classes; a classifier needs them")
            elif self.format == "savedmodel":
                try:
                    learnt = serving.learnt_of_images(model, run_dir, facts)
                except UserError as error:
                    learnt, note = {}, f"no out-of-distribution score: {error}"
                made = serving.export(
                    model,
                    export_dir,
                    class_names,
                    temperature=temperature,
                    card=serving.run_card(facts, metrics),
                    reading=_reading(facts),
                    **learnt,
                )
            else:
                made, cost = serving.convert_run(
                    run_dir,
                    model,
                    facts,
                    class_names,
                    format=self.format,
                    quantize=self.quantize,
                    temperature=temperature,
                )
        if note:
            sys.stderr.write(f"note: {note}\n")
        return made, cost

    def _read(self) -> tuple[dict, dict]:
        """What the run was, and how it ended."""
        run_dir = training.trained_in(self.run_dir)
        for name in ("config.json", "model.keras", "metrics.json"):
            console.check_run(run_dir, name)
        facts, metrics = (
            console.read_json(run_dir / name) for name in ("config.json", "metrics.json")
        )
        return facts, metrics

    def _signatures(self, model, run_dir, class_names, temperature, kind: str) -> None:
        """A file for each signature that the format can have, and why the others have none."""
        if self.quantize != "none":
            raise UserError(f"--quantize {self.quantize} is for image classifiers")
        names = () if serving.is_generative(model) else class_names
        made, left = serving.convert_signatures(
            model,
            run_dir / "export",
            self.format,
            names,
            temperature=temperature,
            target_kind=kind,
            thresholds=_thresholds(run_dir) if kind == "labels" else (),
        )
        for path in made.values():
            console.write(str(path))
        for name, reason in left.items():
            console.write(f"not {name}: {reason}")

    def _raw(self, export, model, export_dir, class_names, facts, metrics) -> Path:
        """Publishes a model that takes raw columns, series or points and may predict a number."""
        return export(
            model,
            export_dir,
            class_names,
            temperature=metrics.get("temperature", 1.0),
            card=serving.run_card(facts, metrics),
        )

    def _pictures(self, export, model, export_dir, facts, metrics, **settings) -> Path:
        """Publishes a model that gives pictures several labels, or a number."""
        card = serving.run_card(facts, metrics)
        return export(model, export_dir, card=card, reading=_reading(facts), **settings)

    def _generative(self, model, export_dir, class_names, facts, metrics) -> Path:
        card = serving.run_card(facts, metrics)
        return serving.export_any(
            model, export_dir, class_names=class_names, card=card, reading=_reading(facts)
        )


def _thresholds(run_dir):
    """Those that the run has chosen on validation, in the order of its labels."""
    columns = read_delimited(run_dir / "labels.csv")
    return [float(cell) for cell in columns.column("threshold").to_pylist()]


def _reading(facts):
    """How the run read the files of its pictures, a `data.Reading`."""
    return data.Reading(
        facts.get("white"), facts.get("resize", "stretch"), facts.get("webp", False)
    )


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


def _number(value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def published_by(path: Path) -> Path:
    """What a run has published, if this is the directory of one that has."""
    if not (path / "metrics.json").is_file():
        return path
    version = console.read_json(path / "metrics.json").get("exported")
    if not version:
        raise UserError(f"{path}: this run was not exported; kapps export {path} does it")
    return Path(version)


def _is_file(argument: str) -> bool:
    """Whether an argument has to be a file: a text or a seed may be given as well."""
    return Path(argument).suffix.lower() in ASKED_FILES or os.path.isfile(argument)


def _classifies_images(model, class_names) -> bool:
    others = (
        serving.is_generative,
        serving.is_tabular,
        serving.is_sequence,
        serving.is_document,
        serving.is_points,
    )
    return bool(class_names) and not any(other(model) for other in others)
