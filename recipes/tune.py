"""Search for the settings of another recipe: any of its own flags, by the same runner.

    python recipes/tune.py --recipe tabular
    python recipes/tune.py --recipe image_classifier --space SPACE.toml --fix epochs=5 model=cnn
    python recipes/tune.py --recipe sequence_classifier --algorithm hyperband --workers 2

A trial is the recipe itself, up to the end of its training: the test split is not looked at. The
winner is the recipe run whole, with its report, its test figures and its export. SPACE names fields
of the recipe's Config:

    [[parameters]]
    name = "learning_rate"
    kind = "float"
    min = 1e-4
    max = 1e-1
    sampling = "log"

The same command goes on with a search that was killed; a larger budget makes it longer. On several
machines it is started on each, as tune_cnn is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io
import json
import os
import pathlib
import shutil
import sys
from typing import Any, Literal

from kapps import command_line, evaluation, files, training, tuning
from kapps.errors import UserError

HERE = pathlib.Path(__file__).resolve().parent
# Those that search or compare by themselves.
NOT_TUNED = ("tune", "tune_cnn", "optimizers")
# Those whose training has phases: a round of Hyperband would cut each of them short.
IN_PHASES = ("transfer_learning",)
# The phase that is sought in; those after it are trained for the winner alone.
SOUGHT_IN = {"vq_vae": "autoencoder"}
OBJECTIVES = {
    "image_classifier": "val_accuracy:max",
    "transfer_learning": "val_accuracy:max",
    "perceptron": "val_error:min",
    "xor_mlp": "val_solved:max",
    "autoencoder": "val_mse:min",
    # The loss of points that differ in beta or free bits cannot be compared.
    "vae": "val_negative_elbo:min",
    "gan": "val_frechet:min",
    "vq_vae": "val_mse:min",
}


def choice(name: str, *values: Any, default: Any = None) -> dict[str, Any]:
    """An entry of a space."""
    return {"name": name, "kind": "choice", "values": list(values)} | (
        {} if default is None else {"default": default}
    )


RATE = {
    "name": "learning_rate",
    "kind": "float",
    "min": 3e-4,
    "max": 3e-2,
    "sampling": "log",
    "default": 3e-3,
}
DROPOUT = {"name": "dropout", "kind": "float", "min": 0.0, "max": 0.5, "step": 0.1}
BATCH = choice("batch_size", 16, 32, 64, 128)
OPTIMIZER = choice("optimizer", "adamw", "nesterov", "rmsprop")
# What is sought where no file says it. The first point is the recipe's own defaults; they are
# said here where the recipe leaves them open.
SPACES = {
    "image_classifier": [RATE, BATCH, DROPOUT, OPTIMIZER],
    "tabular": [
        RATE,
        BATCH,
        DROPOUT,
        OPTIMIZER,
        choice("units", "32", "64,32", "128,64", "128,128,64"),
        choice("normalization", "none", "batch"),
    ],
    "sequence_classifier": [RATE, BATCH, DROPOUT],
    "char_rnn": [
        RATE,
        DROPOUT,
        choice("cell", "gru", "lstm"),
        choice("units", 64, 128, 160),
        choice("layers", 1, 2),
        choice("clip", 0.25, 1.0, 5.0),
    ],
    "transfer_learning": [
        RATE,
        RATE | {"name": "fine_tune_learning_rate", "min": 1e-5, "max": 3e-3, "default": 3e-4},
        DROPOUT,
        choice("fine_tune_stages", 1, 2, 3, 4),
        choice("stage_decay", 0.3, 0.5, 1.0),
    ],
    "autoencoder": [
        RATE,
        BATCH,
        choice("activation", "relu", "gelu", "tanh"),
        choice("units", "128", "512", "512,128", "512,256", default="512"),
    ],
    "vae": [
        RATE,
        BATCH,
        choice("latent_dim", 8, 16, 32),
        choice("units", "128", "512", "512,256", default="512"),
        choice("kl_warmup", 0.0, 0.2, 0.5),
    ],
    "gan": [
        RATE | {"min": 1e-4, "max": 3e-3, "default": 1e-3},
        choice("loss", "relativistic", "non_saturating", "hinge"),
        choice("filters", 16, 24, 32),
        choice("ema", 0.99, 0.995, 0.999),
    ],
    "vq_vae": [
        RATE,
        choice("code_dim", 4, 16, 64),
        choice("commitment", 0.1, 0.25, 1.0),
        choice("restart_after", 20, 100),
    ],
    "perceptron": [choice("rule", "perceptron", "pocket", "delta")],
    "xor_mlp": [
        RATE | {"min": 0.03, "max": 3.0, "default": 0.3},
        choice("units", 2, 3, 4, 8, default=4),
        choice("activation", "tanh", "sigmoid", "relu"),
        choice("optimizer", "momentum", "sgd", "nesterov"),
    ],
}


@dataclasses.dataclass(frozen=True)
class Config:
    """What is sought, and for how long."""

    recipe: str = "tabular"
    """name of the recipe; an unknown one lists them all"""
    space: str | None = None
    """a TOML or JSON file of fields and bounds; default: a space of this recipe's own"""
    fix: tuple[str, ...] = ()
    """fields that stay, as FIELD=VALUE; a comma between the values of a field that has several"""
    objective: str | None = None
    """figure of validation to look for, NAME:max or NAME:min; default: the recipe's own"""
    algorithm: Literal["random", "grid", "bayesian", "hyperband", "tpe", "tpe_local"] = "random"
    """what says which point comes next; tpe and tpe_local (which also tries neighbours of the best)
    need optuna"""
    max_trials: int = 20
    """budget in trials, those of earlier processes included"""
    max_minutes: float | None = None
    """budget in minutes of searching; trials that run then go on if there is more another day"""
    workers: int = 1
    """processes that try points at the same time; 0 tries them in this one"""
    recycle: int = 50
    """trials after which a worker process gives way to a new one, so that its memory stays small"""
    seeds_per_point: int = 1
    """how often each point is tried, with seeds one after the other; the mean counts"""
    stop_early: Literal["auto", "none", "median", "asha"] = "auto"
    """how poor trials end (needs optuna); auto: by the median rule, but not under Hyperband"""
    seed: int = 0
    """seed of the search, and the first one of the recipe: all points have the same split"""
    run_dir: str | None = None
    """where everything about the search goes; default: runs/tune/NAME, one per configuration"""
    export_dir: str | None = None
    """where the winner is published; default: the recipe's"""
    export: bool = True
    """publish the winner"""
    overwrite: bool = False
    """throw away what is in the run directory"""


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported.

    Raises:
        UserError: a mistake in the flags, the space, or the recipe's settings.
    """
    tuning.check_search(config)
    if config.seed < 0:
        raise UserError(f"--seed {config.seed}: it must be 0 or more")
    recipe = load_recipe(config.recipe)
    if config.algorithm == "hyperband" and config.recipe in IN_PHASES:
        raise UserError(
            f"--algorithm hyperband: {config.recipe} trains in phases, and a round would cut each "
            "of them short. Use random, bayesian or tpe; --stop-early median ends poor trials."
        )
    goal(config)
    known = {field.name for field in dataclasses.fields(recipe.Config)}
    managed = ("run_dir", "export_dir", "export", "overwrite", "seed")
    fixed = [one.partition("=")[0] for one in config.fix]
    for one in config.fix:
        if "=" not in one:
            raise UserError(f"--fix {one}: it is FIELD=VALUE")
    sought = [entry["name"] for entry in entries(config)]
    for name in (*fixed, *sought):
        if name in managed:
            raise UserError(f"{name}: the search itself decides that")
        if name not in known:
            listed = ", ".join(sorted(known - set(managed)))
            raise UserError(f"{config.recipe} has no {name!r}; it has {listed}")
        if name in fixed and name in sought:
            raise UserError(f"{name} is fixed and sought: take it out of one of them")
    tuning.check_hyperband(config, settings(config, {}).epochs)


def load_recipe(name: str) -> Any:
    """The module of a recipe.

    Raises:
        UserError: there is no such recipe, or it cannot be tuned.
    """
    known = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NOT_TUNED)
    if name not in known:
        raise UserError(f"recipe {name!r}: it is one of {', '.join(known)}")
    full = f"recipes.{name}"
    if full not in sys.modules:  # also when this file is run as a script
        spec = importlib.util.spec_from_file_location(full, HERE / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]


def entries(config: Config) -> list[dict[str, Any]]:
    """The entries of the space.

    Raises:
        UserError: a mistake in the file.
    """
    if config.space is not None:
        return tuning.read_space(config.space)
    fixed = {one.partition("=")[0] for one in config.fix}
    own = {
        field.name: field.default for field in dataclasses.fields(load_recipe(config.recipe).Config)
    }
    return [
        begun_with(entry, own[entry["name"]])
        for entry in SPACES[config.recipe]
        if entry["name"] not in fixed
    ]


def begun_with(entry: dict[str, Any], value: Any) -> dict[str, Any]:
    """An entry whose default is this value, if it has that."""
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    if entry["kind"] == "choice":
        known = value in entry["values"]
    else:
        known = isinstance(value, int | float) and entry["min"] <= value <= entry["max"]
    return {**entry, "default": value} if known else entry


def goal(config: Config) -> tuple[str, str]:
    """Name and direction of the objective.

    Raises:
        UserError: no direction, or not measured on validation.
    """
    said = config.objective or OBJECTIVES.get(config.recipe, "val_loss:min")
    name, _, direction = said.partition(":")
    if direction not in ("min", "max"):
        raise UserError(f"--objective {said}: it is NAME:max or NAME:min")
    if not name.startswith("val_"):
        raise UserError(f"--objective {name}: it is a figure of validation, val_...")
    return name, direction


def settings(config: Config, values: dict[str, Any], **others: Any) -> Any:
    """The recipe's own configuration at a point.

    Args:
        config: of the search.
        values: fields by name, as numbers, truth values or text.
        others: fields by name, taken as they are.

    Raises:
        UserError: a value that the recipe does not take.
    """
    recipe, argv = load_recipe(config.recipe), []
    fixed = dict(one.split("=", 1) for one in config.fix)
    kinds = {field.name: str(field.type) for field in dataclasses.fields(recipe.Config)}
    for name, value in {**fixed, **values}.items():
        flag, text = name.replace("_", "-"), str(value)
        if kinds[name] == "bool":
            argv.append(f"--{flag}" if text.lower() in ("true", "yes", "1") else f"--no-{flag}")
        else:
            argv += [f"--{flag}", *(text.split(",") if "tuple" in kinds[name] else [text])]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            made = command_line.parse(recipe.Config, argv, prog=config.recipe)
    except SystemExit:
        raise UserError(
            f"{config.recipe}: {said.getvalue().removeprefix('error: ').strip()}"
        ) from None
    made = dataclasses.replace(made, **others)
    recipe.check(made)
    return made


def main(config: Config) -> dict[str, object]:
    """Run the recipe.

    Returns:
        The final figures, as in metrics.json.

    Raises:
        UserError: a mistake in the flags, the data or the run directory.
    """
    check(config)
    if tuning.remote_role() == "worker":
        return help_chief(config)
    with open_run(config) as run:
        return run.metrics() if tuning.search_is_done(config, run) else work(config, run)


def help_chief(config: Config) -> dict[str, object]:
    """Run trials for the same command on another machine (see `kapps.tuning.remote`)."""
    name = os.environ["KERASTUNER_TUNER_ID"]
    directory = f"{config.run_dir or 'runs/tune/search'}-worker-{name}"
    print(f"worker    {name}, own files in {directory}")
    trials = RecipeTrials(config, directory)
    count = tuning.serve_chief(trials, directory, identity=identity(config))
    print(f"the search is over; {count} trials were run here")
    return {"trials": count}


def identity(config: Config) -> dict[str, object]:
    """What may not change under a search, or differ between its workers."""
    return {"recipe": config.recipe, "fixed": list(config.fix)}


def open_run(config: Config) -> training.Run:
    """The run directory of this configuration; budgets and workers are not part of it."""
    return training.open_run("tune", config, name=config.recipe)


def check_and_show(config: Config) -> None:
    """Before TensorFlow is imported: refuse mistakes, and show a search that is finished.

    Raises:
        UserError: a mistake in the flags, or a run directory of another configuration.
        SystemExit: there is nothing left to do.
    """
    check(config)
    if tuning.remote_role() != "worker":
        command_line.show_finished(open_run, config, tuning.search_is_done)


def work(config: Config, run: training.Run) -> dict[str, object]:
    """Search, run the winner whole, and report into an open run directory."""
    import keras_tuner

    name, direction = goal(config)
    space = keras_tuner.HyperParameters()
    tuning.declare(space, entries(config))
    sought = ", ".join(parameter.name for parameter in space.space)
    print(
        f"search    {sought} of {config.recipe}; {name} ({direction}), {config.algorithm}, "
        f"{config.max_trials} trials\nrun       {run.path}"
    )
    whole = settings(config, {})
    results = tuning.run_search(
        RecipeTrials(config, str(run.path)),
        tuning.oracle(
            config.algorithm,
            keras_tuner.Objective(name, direction),
            space,
            seed=config.seed,
            epochs=whole.epochs,
            trials=config.max_trials,
        ),
        run.path,
        identity=identity(config),
        budget=tuning.Budget(trials=config.max_trials, minutes=config.max_minutes),
        executions=config.seeds_per_point,
        stop_early=tuning.stop_rule(config),
        workers=config.workers,
        recycle=config.recycle,
        progress=tuning.print_trial,
    )
    tuning.check_found(results, run.path)
    for kept in run.path.glob("trials/*/seed-*/run"):
        shutil.rmtree(kept, ignore_errors=True)
    tuning.write_hparams(run.path / "tensorboard" / "hparams", results)
    return finish(config, run, results)


@dataclasses.dataclass
class RecipeTrials:
    """Runs a recipe up to the end of its training; what a worker process is given.

    Attributes:
        config: of the search.
        directory: of the search.
    """

    config: Config
    directory: str

    def __call__(self, trial: tuning.Trial) -> None:
        """Train one point, or go on with it.

        Raises:
            UserError: a point that the recipe does not take, or one that trains nothing.
        """
        values = {k: v for k, v in trial.values.items() if not k.startswith("tuner/")}
        tuning.copy_checkpoints(trial, "run")
        made = settings(
            self.config,
            values,
            seed=self.config.seed + trial.execution,
            run_dir=str(trial.directory / "run"),
            export=False,
        )
        recipe, fit = load_recipe(self.config.recipe), training.fit
        before = 0  # epochs of earlier phases

        def fit_and_leave(model, batches, validation, *, epochs, run, callbacks=(), **others):
            nonlocal before
            if not before:
                self.check_data(pathlib.Path(made.run_dir), made.seed)
            trial.facts["parameters"] = model.count_params()
            others["verbose"] = 0
            reporter = tuning.Reporter(trial, before)
            history = fit(
                model,
                batches,
                validation,
                epochs=min(epochs, trial.epochs or epochs),
                run=run,
                callbacks=[*callbacks, reporter],
                **others,
            )
            before += len(history.rows)
            done = getattr(run, "name", "") == SOUGHT_IN.get(self.config.recipe)
            if done or reporter.stopped or getattr(run, "last", True):
                raise _Trained
            return history

        training.fit = fit_and_leave  # what follows in the recipe would look at the test split
        try:
            recipe.main(made)
        except _Trained:
            return
        finally:
            training.fit = fit
        raise tuning.SearchError(f"{self.config.recipe} has trained nothing that could be measured")

    def check_data(self, run: pathlib.Path, seed: int) -> None:
        """The data may not change under the search.

        Raises:
            SearchError: they have.
        """
        now = training.read_json(run / "config.json").get("data", {}).get("fingerprint")
        path = pathlib.Path(self.directory, f"data-{seed}.json")
        if not path.exists():
            files.write_json(path, now)
        elif json.loads(path.read_text()) != now:
            raise tuning.SearchError(
                f"the data are not those that {self.directory} was begun with. Use another "
                "--run-dir, or --overwrite to start afresh."
            )


class _Trained(BaseException):
    """Leaves a recipe after its training; nobody else catches it."""


def finish(config: Config, run: training.Run, results: tuning.Results) -> dict[str, object]:
    """Run the winner whole and write the report."""
    winner = results.best_first()[0]
    made = settings(
        config,
        winner.values,
        seed=config.seed,
        run_dir=str(run.path / f"winner-{winner.number:04d}"),
        export=config.export,
        export_dir=config.export_dir,
    )
    shown = ", ".join(f"{name} {value}" for name, value in winner.values.items())
    print(f"winner    trial {winner.number}: {shown}")
    recipe = load_recipe(config.recipe)
    metrics = recipe.main(made) | tuning.search_metrics(results, config)
    metrics.setdefault("exported", None)
    explained = evaluation.explain_search(results)
    for title, figure, _ in explained.figures:
        evaluation.plots.save_png(figure, run.plots / f"{evaluation.file_name(title)}.png")
    again = training.command(config, "recipes/tune.py")
    alone = training.command(made, f"recipes/{config.recipe}.py")
    evaluation.write_report(
        run.path / "report.html",
        title=f"Search for settings of {config.recipe}",
        metrics=metrics,
        figures=explained.figures,
        tables=explained.tables,
        config=run.config,
        commands={
            "Repeat, resume or enlarge": again,
            "The winner alone": alone,
            "Look at all trials": f"tensorboard --logdir {run.path / 'tensorboard'}",
        },
        notes=(
            f"The winner is trial {winner.number}: {shown}. It was run whole, with validation "
            f"kept; its own report is {os.path.basename(made.run_dir)}/report.html.",
            f"The objective is the best of {len(results.ended_well)} trials on validation data: "
            "expect less of it on new data.",
            *explained.notes,
            *run.notes,
        ),
    )
    run.finish(metrics)
    print(f"{'report of the search':<24}{run.path / 'report.html'}")
    return metrics


if __name__ == "__main__":
    command_line.run(main, Config, check_and_show)
