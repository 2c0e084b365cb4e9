"""Search over the settings of another recipe: any of its own flags.

    python recipes/tune.py --recipe tabular
    python recipes/tune.py --recipe image_classifier --space SPACE.toml --fix epochs=5 model=cnn
    python recipes/tune.py --recipe sequence_classifier --algorithm hyperband --workers 2

A trial is the recipe itself, up to the end of training: the test split is not used. For the winner
the whole recipe runs, with its report, test figures and export. SPACE names fields of the recipe's
Config:

    [[parameters]]
    name = "learning_rate"
    kind = "float"
    min = 1e-4
    max = 1e-1
    sampling = "log"

Run the same command again to resume a killed search; a larger budget extends it. On several
machines, start it on each, as with tune_cnn.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
from typing import Any

from kapps import command_line, evaluation, training, tuning
from kapps.errors import UserError
from kapps.invocation import recipe_command
from kapps.tuning.spaces import recipes as spaces

# Those that search or compare by themselves.
NOT_TUNED = ("tune", "tune_cnn", "optimizers")
MANAGED = {field.name for field in dataclasses.fields(training.RunFlags)}  # by the search


@dataclasses.dataclass(frozen=True)
class Config(tuning.SearchFlags, training.RunFlags):
    """Recipe, search space and budget."""

    recipe: str = "tabular"
    """name of the recipe; an unknown one lists them all"""
    space: str | None = None
    """a TOML or JSON file of fields and bounds; default: the recipe's built-in space"""
    fix: tuple[str, ...] = ()
    """fields to hold fixed, as FIELD=VALUE; separate several values of a field with commas"""
    objective: str | None = None
    """validation metric to optimize, NAME:max or NAME:min; default: the recipe's own"""
    export_dir: str | None = None
    """where the winner is published; default: the recipe's"""

    @property
    def run_name(self) -> str:
        """The recipe."""
        return self.recipe

    @property
    def fixed(self) -> dict[str, str]:
        """What stays, by field."""
        return dict(one.split("=", 1) for one in self.fix)


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported."""
    tuning.check_search(config)
    recipe = load_recipe(config.recipe)
    if config.algorithm == "hyperband" and config.recipe in spaces.IN_PHASES:
        raise UserError(
            f"--algorithm hyperband: {config.recipe} trains in phases, and a round would cut each "
            "of them short. Use random, bayesian or tpe; --stop-early median ends poor trials."
        )
    for one in config.fix:
        if "=" not in one:
            raise UserError(f"--fix {one}: it is FIELD=VALUE")
    spaces.objective(config.recipe, config.objective)
    known = {field.name for field in dataclasses.fields(recipe.Config)}
    sought = [entry["name"] for entry in entries(config)]
    for name in (*config.fixed, *sought):
        if name in MANAGED:
            raise UserError(f"{name}: the search itself decides that")
        if name not in known:
            raise UserError(f"{config.recipe} has no {name!r}; it has {sorted(known - MANAGED)}")
        if name in config.fixed and name in sought:
            raise UserError(f"{name} is fixed and sought: take it out of one of them")
    if config.algorithm == "hyperband" and "epochs" in sought:
        raise UserError(
            "epochs: with --algorithm hyperband the round says how long a trial is trained. Take "
            "it out of the space; --fix epochs=N says how long the last round is"
        )
    tuning.check_hyperband(config, tuning.epochs_of_trial(settings(config, {})))


def load_recipe(name: str) -> Any:
    """The module of a recipe: one beside this file, or of kapps.

    Raises:
        UserError: there is no such recipe, or it cannot be tuned.
    """
    return tuning.recipe_module(name, pathlib.Path(__file__).parent, but=NOT_TUNED)


def entries(config: Config) -> list[dict[str, Any]]:
    """The entries of the space."""
    if config.space is not None:
        return tuning.read_space(config.space)
    own = spaces.space_of(config.recipe, load_recipe(config.recipe).Config)
    return [entry for entry in own if entry["name"] not in config.fixed]


def settings(config: Config, values: dict[str, Any], **others: Any) -> Any:
    """The recipe's own configuration at a point.

    Args:
        config: of the search.
        values: fields by name, as numbers, truth values or text.
        **others: fields by name, taken as they are.

    Raises:
        UserError: a value that the recipe does not take.
    """
    recipe = load_recipe(config.recipe)
    made = command_line.from_values(recipe.Config, config.fixed | values, config.recipe)
    made = dataclasses.replace(made, **others)
    getattr(recipe, "check", training.check)(made)
    return made


def instead(config: Config) -> dict[str, object] | None:
    """Run trials for the same command on another machine (see `kapps.tuning.workers`)."""
    return tuning.serve_instead(
        "tune", config, lambda directory: RecipeTrials(config, directory), identity(config)
    )


def identity(config: Config) -> dict[str, object]:
    """What may not change under a search, or differ between its workers."""
    return {"recipe": config.recipe, "fixed": list(config.fix)}


@dataclasses.dataclass
class RecipeTrials:
    """Trains a recipe at a point; what a worker process is given.

    Attributes:
        config: of the search.
        directory: of the search.
    """

    config: Config
    directory: str

    def __call__(self, trial: tuning.Trial) -> None:
        """Train one point, or go on with it; the test split is not looked at."""
        name = self.config.recipe
        values = {k: v for k, v in trial.values.items() if not k.startswith("tuner/")}
        # Hyperband: the schedule ends with the round, since what is compared there has to have
        # settled. A promoted trial goes on in the middle of a longer schedule.
        epochs = {"epochs": trial.epochs} if trial.epochs else {}
        tuning.copy_run(trial, epochs)
        made = settings(
            self.config,
            values,
            seed=self.config.seed + trial.execution,
            run_dir=str(trial.directory / "run"),
            export=False,
            **spaces.CUT_SHORT.get(name, {}),
            **epochs,
        )

        reporters = []  # of each phase

        def reporter(run: Any) -> Any:
            phase = spaces.SOUGHT_IN.get(name)
            if phase and run.name != phase:
                return None
            tuning.check_data(made.run_dir, self.directory, made.seed)
            reporters.append(tuning.Reporter(trial, run.epochs_before))
            return reporters[-1]

        with training.open_run(name, made) as run:
            run.callbacks.append(reporter)
            run.stopped = lambda: any(each.stopped for each in reporters)
            model, _, _ = load_recipe(name).fit(made, run)
        trial.facts["parameters"] = model.count_params()


def search(config: Config, run: training.Run) -> tuning.Results:
    """Try points until the budget is used up."""
    import keras_tuner

    name, direction = spaces.objective(config.recipe, config.objective)
    space = keras_tuner.HyperParameters()
    tuning.declare(space, entries(config))
    sought = ", ".join(parameter.name for parameter in space.space)
    print(
        f"search    {sought} of {config.recipe}; {name} ({direction}), {config.algorithm}, "
        f"{config.max_trials} trials\nrun       {run.path}"
    )
    results = tuning.search_with_flags(
        config,
        run,
        RecipeTrials(config, str(run.path)),
        space,
        keras_tuner.Objective(name, direction),
        identity=identity(config),
        most_epochs=tuning.epochs_of_trial(settings(config, {})),
    )
    for kept in run.path.glob("trials/*/seed-*/run"):
        shutil.rmtree(kept, ignore_errors=True)
    return results


def main(config: Config, run: training.Run) -> dict[str, object]:
    """Search, run the winner whole, and report; returns the figures of metrics.json."""
    results = search(config, run)
    winner = results.best_first()[0]
    made = settings(
        config,
        winner.values,
        seed=config.seed,
        run_dir=str(run.path / f"winner-{winner.number:04d}"),
        export=config.export,
        export_dir=config.export_dir,
    )
    print(f"winner    trial {winner.number}: {winner.told}")
    metrics = command_line.call(load_recipe(config.recipe), made)
    return evaluation.close_search(
        run,
        results,
        {
            "exported": None,
            **metrics,
            **tuning.search_metrics(results, config),
            "winner_run": os.path.basename(made.run_dir),
        },
        title=f"Search for settings of {config.recipe}",
        commands={"The winner alone": training.command(made, recipe_command(type(made)))},
        notes=tuning.winner_notes(
            results,
            "It was run whole, with validation kept; its own report is "
            f"{os.path.basename(made.run_dir)}/report.html.",
        ),
    )


is_done = tuning.search_is_done


if __name__ == "__main__":
    command_line.run(main, Config, check, is_done=is_done, instead=instead)
