"""Compare optimizers, batch sizes and learning-rate schedules on one network.

    python recipes/optimizers.py
    python recipes/optimizers.py --model cnn --seeds 5
    python recipes/optimizers.py --dataset fashion_mnist --epochs 5 --optimizers sgd momentum adam

SGD by batch size; momentum (Polyak 1964), Nesterov (Sutskever et al. 2013), Adadelta
(arXiv:1212.5701), RMSprop (Hinton 2012), Adam (arXiv:1412.6980), AdamW (arXiv:1711.05101); and the
schedules. Each candidate trains from the same weights, on the same batches, for the same number of
pictures, at a learning rate that is chosen for it by validation loss. The test split is used once,
for the winner. The same optimizers also walk on functions of two variables, where their paths can
be seen. The same command goes on with a comparison that was killed.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any, Literal

from kapps import command_line, data, evaluation, files, models, serving, training
from kapps.errors import UserError

Optimizer = Literal["sgd", "momentum", "nesterov", "adadelta", "rmsprop", "adam", "adamw"]
Surface = Literal["quadratic", "rotated quadratic", "rosenbrock", "beale", "saddle"]
Schedule = Literal["constant", "step", "cosine", "one-cycle", "plateau"]
# Flag, lowest, highest, the range in words, whether its ends belong to it.
RANGES = (
    ("seeds", 0, math.inf, "1 or more", False),
    ("target_accuracy", 0, 1, "between 0 and 1, ends excluded", False),
    ("surface_steps", 0, math.inf, "1 or more", False),
    ("image_size", 0, math.inf, "1 or more", False),
    ("validation_fraction", 0, 1, "between 0 and 1, ends excluded", False),
)
PAPER = "adadelta, rate 1"  # Adadelta as its paper has it: without a rate to choose
FIRST_RATES = (-1, 0, 1)  # half decades around the usual rate
WIDEST = 4  # half decades from the usual rate that are tried at most
SURFACE_RATES = tuple(float(f"{10 ** (k / 2):.3g}") for k in range(-9, 4))


@dataclasses.dataclass(frozen=True)
class Config(training.CommonConfig):
    """What is compared, and on what."""

    model: str = "mlp"
    """mlp, cnn, or a variant of vgg, inception or resnet (an unknown name lists them all)"""
    units: tuple[int, ...] = (64, 32)
    """mlp: hidden layers"""
    filters: tuple[int, ...] = (8, 16)
    """cnn: number of filters of each stage"""
    optimizers: tuple[Optimizer, ...] = (
        "sgd", "momentum", "nesterov", "adadelta", "rmsprop", "adam", "adamw"
    )  # fmt: skip
    """compared at --batch-size, with a constant rate"""
    batch_sizes: tuple[int, ...] = (16, 256)
    """further batch sizes of plain SGD; each divides the largest of all"""
    schedules: tuple[Schedule, ...] = ("step", "cosine", "one-cycle", "plateau")
    """compared with a constant rate"""
    schedule_optimizer: Optimizer = "momentum"
    """the optimizer that the schedules are compared with"""
    seeds: int = 3
    """trainings of each candidate: weights and order of the pictures"""
    tune_rates: bool = True
    """choose the rate of each candidate by validation loss; else the usual one is taken"""
    target_accuracy: float = 0.9
    """steps are counted until validation accuracy is this"""
    surfaces: tuple[Surface, ...] = (
        "quadratic", "rotated quadratic", "rosenbrock", "beale", "saddle"
    )  # fmt: skip
    """functions of two variables on which paths are drawn"""
    surface_steps: int = 300
    """steps of these paths"""
    image_size: int | None = None
    """side that pictures of a folder are resized to; default: chosen from the pictures"""
    validation_fraction: float = 0.2
    """part of the training data that is kept for validation, stratified"""
    epochs: int = 12
    """passes over the training data"""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A candidate by the name it has in tables; `rate` is fixed, or None."""

    label: str
    groups: tuple[str, ...]
    candidate: Any
    rate: float | None = None


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported.

    Raises:
        UserError: a mistake in the flags.
    """
    training.check_common(
        config,
        instead="this is many small trainings that are compared on one device: unset TF_CONFIG. To "
        "divide them, give each machine a part of --optimizers and a --run-dir of its own",
    )
    for name, low, high, words, ends in RANGES:
        training.check_range(config, name, low, high, words, ends=ends)
    if config.model not in models.classifier_names():
        known = ", ".join(models.classifier_names())
        raise UserError(f"unknown model {config.model!r}: it is one of {known}")
    for name, kind in (("units", "mlp"), ("filters", "cnn")):
        if getattr(config, name) != getattr(Config, name) and config.model != kind:
            raise UserError(f"--{name} is for --model {kind}, not {config.model}")
    largest = max(config.batch_size, *config.batch_sizes, 1)
    for size in config.batch_sizes:
        if size < 1:
            raise UserError(f"--batch-sizes {size}: it must be 1 or more")
    for size in (config.batch_size, *config.batch_sizes):
        if largest % size:
            raise UserError(
                f"--batch-sizes: {size} does not divide the largest, {largest}; they are measured "
                "after the same pictures, so all have to"
            )
    if not config.optimizers:
        raise UserError("--optimizers: name at least one")
    if config.learning_rate is not None and config.tune_rates:
        raise UserError(
            "--learning-rate gives all candidates one rate, and --tune-rates chooses one for each: "
            "add --no-tune-rates"
        )
    if training.named_devices(config.devices) > 1:
        raise UserError(
            f"--devices {config.devices}: optimizers are compared on one device; use cpu or gpu"
        )
    if config.precision == "mixed_float16":
        raise UserError(
            "--precision mixed_float16 scales losses, which would be one more thing to compare: "
            "use float32 or mixed_bfloat16"
        )


def main(config: Config) -> dict[str, object]:
    """Run the recipe.

    Returns:
        The final figures, as in metrics.json.

    Raises:
        UserError: a mistake in the flags, the data or the run directory.
    """
    check(config)
    with open_run(config) as run:
        return run.metrics() if run.finished else train(config, run)


def open_run(config: Config) -> training.Run:
    """The run directory of this configuration."""
    name = f"{config.dataset.split(':')[0]}-{config.model}"
    return training.open_run("optimizers", config, name=name)


def check_and_show(config: Config) -> None:
    """Before TensorFlow is imported: refuse mistakes, and show a run that is finished.

    Raises:
        UserError: a mistake in the flags, or a run directory of another configuration.
        SystemExit: there is nothing left to do.
    """
    check(config)
    command_line.show_finished(open_run, config)


def train(config: Config, run: training.Run) -> dict[str, object]:
    """Compare, evaluate and export the winner, and report into an open run directory."""
    strategy = training.strategy(config.devices)
    if strategy.num_replicas_in_sync > 1:
        raise UserError("optimizers are compared on one device: use --devices gpu:1 or cpu")
    training.seed_everything(config.seed)
    images = data.load(
        config.dataset,
        data_dir=config.data_dir,
        image_size=config.image_size,
        validation_fraction=config.validation_fraction,
        seed=config.seed,
    )
    run.record(
        data={"fingerprint": images.fingerprint, "class_names": list(images.class_names)},
        image_shape=list(images.image_shape),
    )
    precision = "float32" if config.precision == "auto" else config.precision
    entered = entries(config)
    with strategy.scope(), training.precision_policy(precision):
        cells = training.Cells(
            lambda: network(config, images),
            images,
            epochs=config.epochs,
            batch_sizes=sorted({entry.candidate.batch_size for entry in entered}),
        )
        print(
            f"data      {images.spec}: {images.counts}, of which a training sees "
            f"{cells.pictures} an epoch\n"
            f"model     {config.model}: {network(config, images).count_params():,} parameters\n"
            f"compared  {len(entered)} candidates, {config.seeds} seeds each\n"
            f"run       {run.path}"
        )
        for note in (*images.notes, *run.notes):
            print(f"note      {note}")
        contestants, seconds = [], {}
        for entry in entered:
            contestants.append(compete(config, run, cells, entry, seconds))
            write_history(run, cells, contestants)
        paths, rates = walk(config, run)
        best = min(contestants, key=lambda c: float(c.standing.val_loss.mean()))
        entry = entered[contestants.index(best)]
        seed = int(best.standing.val_loss.argmin())
        if not math.isfinite(best.standing.val_loss[seed]):
            raise UserError("every candidate diverged: the network does not learn from these data")
        print(f"training the winner again, to keep it: {entry.label}, seed {config.seed + seed}")
        flow = gradient_flow(config, run, images)
        again = cells.run(
            entry.candidate,
            best.standing.learning_rate,
            config.seed + seed,
            keep_best=True,
            callbacks=flow,
        )
    notes = [*images.notes, *run.notes]
    if again["val_loss"] != best.curves[seed]["val_loss"]:
        notes.append("the winner trained again did not give the same bits: figures differ a little")
    model = serving.in_float32(again["model"])
    print("evaluating the winner on the test split, once")
    history = epoch_rows(again, cells.measurements)
    found = evaluation.explain_classifier(
        model,
        images,
        history,
        clean_examples=min(images.counts["validation"], images.counts["train"]),
    )
    verdict = evaluation.judge_standings([c.standing for c in contestants])
    said = [
        *evaluation.optimizer_findings(contestants, config.target_accuracy),
        *evaluation.surface_findings(paths),
    ]
    metrics = {
        **found.metrics,
        "verdict": verdict.label,
        "winner": entry.label,
        "winner_learning_rate": best.standing.learning_rate,
        "winner_seed": config.seed + seed,
        "winner_fit": found.verdict.label,
        "best_epoch": 1 + min(range(len(history)), key=lambda i: history[i]["val_loss"]),
        "parameters": model.count_params(),
        "seeds": config.seeds,
        "trainings": len(seconds),
        **flat(contestants),
        "train_seconds": sum(seconds.values()),
        "examples_per_second": len(seconds)
        * cells.pictures
        * config.epochs
        / sum(seconds.values()),
        "precision": precision,
        "exported": None,
    }
    model.save(run.path / "model.keras")
    figures = [
        *evaluation.comparison_figures(contestants),
        *evaluation.surface_figures(paths),
        *((f"Winner: {title}", *rest) for title, *rest in found.figures),
        *evaluation.explain_gradient_flow(flow),
    ]
    for title, figure, _ in figures:
        evaluation.plots.save_png(figure, run.plots / f"{evaluation.file_name(title)}.png")
    if config.export:
        metrics["exported"] = export(config, run, model, images, found, entry, verdict)
    evaluation.write_report(
        run.path / "report.html",
        title=f"Optimizers of {config.model} on {images.spec}",
        verdict=verdict,
        metrics=metrics,
        figures=figures,
        tables=[
            evaluation.comparison_table(contestants, config.target_accuracy),
            *([evaluation.surface_table(paths, rates)] if paths else []),
            *((f"Winner: {title}", *rest) for title, *rest in found.tables),
        ],
        config=run.config,
        commands=commands(config, metrics["exported"]),
        notes=[
            *said,
            f"Validation loss has chosen rates, epochs and the winner among {len(contestants)} "
            "candidates, so that of the winner is a little too good; its test accuracy is not.",
            f"The winner by itself: {found.verdict.label}. {found.verdict.sentence}",
            *notes,
        ],
    )
    run.finish(metrics)
    print(verdict.sentence)
    print("\n".join(said))
    print(evaluation.summary(metrics, run.path))
    return metrics


def network(config: Config, images: data.ImageData):
    """The untrained network of this configuration."""
    mean, std = data.pixel_statistics(images.splits["train"])
    shape = {"mlp": {"units": config.units}, "cnn": {"filters": config.filters}}
    return models.classifier(
        config.model,
        images.image_shape,
        images.classes,
        pixel_mean=tuple(mean.tolist()),
        pixel_std=tuple(std.tolist()),
        **shape.get(config.model, {}),
    )


def entries(config: Config) -> list[Entry]:
    """All candidates, each once."""

    def candidate(name, batch_size=config.batch_size, schedule="constant"):
        decay = training.usual_weight_decay(name) if name == "adamw" else 0.0
        return training.Candidate(name, batch_size, schedule, decay)

    found: dict[str, Entry] = {}

    def add(label, group, *arguments, rate=None):
        groups = (*found[label].groups, group) if label in found else (group,)
        found[label] = Entry(label, groups, candidate(*arguments), rate)

    for name in config.optimizers:
        if name == "adadelta":
            add(PAPER, "optimizers", name, rate=training.usual_learning_rate(name))
            if not config.tune_rates:
                continue
        add(name, "optimizers", name)
    if config.batch_sizes:
        for size in sorted({config.batch_size, *config.batch_sizes}):
            usual = size == config.batch_size
            add("sgd" if usual else f"sgd, batch {size}", "batch sizes", "sgd", size)
    if config.schedules:
        name = config.schedule_optimizer
        for schedule in dict.fromkeys(("constant", *config.schedules)):
            label = name if schedule == "constant" else f"{name}, {schedule}"
            add(label, "schedules", name, config.batch_size, schedule)
    return list(found.values())


def compete(
    config: Config, run: training.Run, cells, entry: Entry, seconds: dict[str, float]
) -> evaluation.Contestant:
    """All seeds of a candidate, at every rate that is worth a try; `seconds` are noted by cell."""
    import numpy as np

    candidate = entry.candidate
    usual = config.learning_rate or training.usual_learning_rate(candidate.optimizer)
    curves: dict[float, list[dict]] = {}

    def measure(rate: float) -> float:
        """Mean over the seeds of the lowest validation loss at the end of an epoch."""
        kind = f"{candidate.optimizer}-{candidate.batch_size}-{candidate.schedule}-{rate:.3g}"
        curves[rate] = []
        for seed in range(config.seed, config.seed + config.seeds):
            name = f"{kind}-{seed}"
            curve = cell(run, name, lambda s=seed: cells.run(candidate, rate, s))
            curves[rate].append(curve)
            seconds[name] = curve["seconds"]
        return float(np.mean(losses(rate)))

    def losses(rate: float) -> np.ndarray:
        ends = [curve["val_loss"][:: cells.measurements][1:] for curve in curves[rate]]
        return np.where(np.isfinite(ends), ends, np.inf).min(1)

    if entry.rate is not None or not config.tune_rates:
        rate, at_edge = entry.rate or usual, ""
        measure(rate)
    else:
        rate, at_edge = best_rate(measure, usual)
    standing = evaluation.standing(
        entry.label,
        curves[rate],
        batch_size=candidate.batch_size,
        learning_rate=rate,
        at_edge=at_edge,
        measurements=cells.measurements,
        target=config.target_accuracy,
    )
    print(
        f"{entry.label:<24}rate {rate:<8.3g} of {len(curves)} tried   validation loss "
        f"{standing.val_loss.mean():.4f}   accuracy {standing.val_accuracy.mean():.2%}",
        flush=True,
    )
    tried = {rate: losses(rate) for rate in curves}
    return evaluation.Contestant(entry.groups, standing, curves[rate], tried)


def best_rate(measure: Callable[[float], float], usual: float) -> tuple[float, str]:
    """The rate with the lowest loss: around the usual one, and further while the edge is best.

    Args:
        measure: rate -> loss.
        usual: centre of the grid, whose rates are half a decade apart.

    Returns:
        The rate, and "lowest" or "highest" if it is at the edge of the widest grid, else "".
    """
    scores: dict[int, float] = {}

    def score(place: int) -> None:
        scores[place] = measure(float(f"{usual * 10 ** (place / 2):.3g}"))

    for place in FIRST_RATES:
        score(place)
    while True:
        best = min(scores, key=lambda place: (scores[place], abs(place)))
        low, high = min(scores), max(scores)
        if best == low and low > -WIDEST:
            score(low - 1)
        elif best == high and high < WIDEST:
            score(high + 1)
        else:
            edge = "lowest" if best == low else "highest" if best == high else ""
            return float(f"{usual * 10 ** (best / 2):.3g}"), edge


def walk(config: Config, run: training.Run) -> tuple[dict, dict]:
    """Paths and their learning rates, by optimizer by surface."""
    import numpy as np

    from kapps.evaluation.classic import surfaces

    def best(name: str, rates: tuple[float, ...]) -> dict[str, Any]:
        walked = surfaces.descend(
            training.optimizer(name, 1.0), rates, config.surface_steps, walked_on
        )
        chosen = {s: surfaces.best_path(walked_on[s], p) for s, p in walked.items()}
        return {s: [rates[i], *walked[s][i].ravel().tolist()] for s, i in chosen.items()}

    walked_on = {name: surfaces.SURFACES[name] for name in config.surfaces}
    if not walked_on:
        return {}, {}
    # Without weights to decay, AdamW is Adam.
    names = [
        name for name in config.optimizers if name != "adamw" or "adam" not in config.optimizers
    ]
    wanted = {name: (name, SURFACE_RATES) for name in names}
    if "adadelta" in names:
        wanted[PAPER] = ("adadelta", (training.usual_learning_rate("adadelta"),))
    paths: dict[str, dict] = {name: {} for name in walked_on}
    rates: dict[str, dict] = {name: {} for name in walked_on}
    for label, (name, tried) in wanted.items():
        kind = f"surfaces-{name}-{len(tried)}"
        kept = cell(run, kind, lambda n=name, t=tried: best(n, t))
        for surface, (rate, *points) in kept.items():
            rates[surface][label] = rate
            paths[surface][label] = np.array(points).reshape(-1, 2)
    return paths, rates


def cell(run: training.Run, name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `compute` returns, kept in a file: a killed comparison loses one cell at most."""
    path = run.checkpoints / f"state-{name}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there yet, or damaged
        found = compute()
        files.write_json(path, found)
        return found


def epoch_rows(curve: dict[str, Any], measurements: int) -> list[dict[str, float]]:
    """A row for each epoch, as metrics.csv has them; the loss is the mean of its steps."""
    rows = []
    for end in range(measurements, len(curve["examples"]), measurements):
        row = {"epoch": end // measurements}
        row["loss"] = sum(curve["loss"][end - measurements + 1 : end + 1]) / measurements
        for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate"):
            row[name] = curve[name][end]
        rows.append(row)
    return rows


def write_history(run: training.Run, cells, contestants: list) -> None:
    """metrics.csv: a row for each epoch of each cell at the rate of its candidate."""
    rows = [
        {**row, "candidate": c.standing.label, "rate": c.standing.learning_rate, "seed": seed}
        for c in contestants
        for seed, curve in enumerate(c.curves, start=run.config["seed"])
        for row in epoch_rows(curve, cells.measurements)
    ]
    training.write_rows(run.path / "metrics.csv", rows)


def flat(contestants: list) -> dict[str, float | None]:
    """Figures of every candidate under names of their own, means over the seeds."""
    figures: dict[str, float | None] = {}
    for contestant in contestants:
        standing = contestant.standing
        name = evaluation.file_name(standing.label)
        values = {
            "val_loss": standing.val_loss.mean(),
            "val_accuracy": standing.val_accuracy.mean(),
            "final_train_loss": standing.train_loss.mean(),
            "steps_to_target": standing.steps_to_target.mean(),
            "learning_rate": standing.learning_rate,
        }
        for figure, value in values.items():
            figures[f"{figure}_{name}"] = float(value) if math.isfinite(value) else None
    return figures


def gradient_flow(config: Config, run: training.Run, images: data.ImageData) -> list:
    """What --gradient-flow adds while the winner is trained again."""
    exact = data.classification_targets(images.classes)
    batches = data.TrainingBatches(
        images.splits["train"],
        config.batch_size,
        seed=config.seed,
        prepare=lambda pictures, labels, seed: (pictures, exact(labels)),
    )
    return training.gradient_flow(config, run, batches)


def export(config: Config, run: training.Run, model, images, found, entry, verdict) -> str:
    """Publish the winner as the next version, unless this run has done so already."""
    if run.published:
        return run.published
    accuracy, low, high = (found.metrics[f"test_accuracy{part}"] for part in ("", "_low", "_high"))
    card = (
        f"A {config.model} trained on {images.spec} ({images.counts['train']} pictures, "
        f"fingerprint {images.fingerprint[:12]}) by {entry.label}, the best of a comparison of "
        f"optimizers.\n\nTest accuracy {accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}, "
        f"{found.metrics['test_examples']} pictures).\n\n{verdict.sentence}\n\n"
        f"Run directory: {run.path.name}\n"
    )
    version = serving.export(
        model,
        config.export_dir or "saved_models/optimizers",
        images.class_names,
        temperature=found.temperature,
        card=card,
        sample_images=images.splits["validation"].take(range(min(8, images.counts["validation"]))),
    )
    run.record(exported=str(version))
    print(f"published {version}")
    return str(version)


def commands(config: Config, published: str | None) -> dict[str, str]:
    """What to type next."""
    shown = {"Repeat or resume": training.command(config, "recipes/optimizers.py")}
    if published:
        shown["Predict"] = f"kapps predict {published} PICTURE.png"
        shown["Look inside"] = f"saved_model_cli show --dir {published} --all"
    return shown


if __name__ == "__main__":
    command_line.run(main, Config, check_and_show)
