import contextlib
import csv
import dataclasses
import json
import pathlib
import shutil
import sys

import keras_tuner
import pytest

import small_transfer
from kapps import training, tuning
from kapps.command_line import call
from kapps.errors import UserError
from kapps.tuning.spaces import recipes as spaces
from recipes import tabular, transfer_learning, tune
from recipes.tune import Config

SPACE = [
    {"name": "learning_rate", "kind": "float", "min": 1e-3, "max": 1e-1, "sampling": "log"},
    {"name": "units", "kind": "choice", "values": ["8", "16,8"]},
    {"name": "class_weights", "kind": "bool"},
]


ROOT = pathlib.Path(tune.__file__).parents[1]
RECIPES = sorted({path.stem for path in ROOT.glob("recipes/[!_]*.py")} - set(tune.NOT_TUNED))


@pytest.fixture(scope="module")
def space_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("space") / "space.json"
    path.write_text(json.dumps({"parameters": SPACE}))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The search for a recipe of one's own, of which no table knows."""
    root = tmp_path_factory.mktemp("tune")
    shutil.copyfile(ROOT / "recipes/tabular.py", root / "mine.py")
    config = Config(
        recipe="mine",
        fix=("epochs=2", "dataset=iris", "units=8"),
        run_dir=str(root / "run"),
        export_dir=str(root / "served"),
        max_trials=2,
        workers=0,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune, "__file__", str(root / "tune.py"))
        yield config, call(tune, config)
    sys.modules.pop("recipes.mine")


def test_the_winner_is_the_recipe_itself_at_the_best_point(finished):
    config, metrics = finished
    run = pathlib.Path(config.run_dir)
    rows = list(csv.DictReader((run / "search.csv").read_text().splitlines()))
    losses = [float(row["val_loss"]) for row in rows]
    assert metrics["winner"] == losses.index(min(losses))
    # Same seed, same split, same flags: the recipe run whole reaches what the trial had reached.
    winner = run / metrics["winner_run"]
    history = list(csv.DictReader((winner / "metrics.csv").read_text().splitlines()))
    assert min(float(row["val_loss"]) for row in history) == min(losses)
    found = json.loads((winner / "metrics.json").read_text())
    assert found["test_accuracy"] == metrics["test_accuracy"]
    facts = json.loads((winner / "config.json").read_text())
    assert facts["recipe"] == "mine"
    for name in ("learning_rate", "batch_size", "dropout"):  # sought without an entry in a table
        assert facts["config"][name] == float(rows[metrics["winner"]][name])
    assert facts["config"]["epochs"] == 2 and facts["config"]["units"] == [8]
    assert (run / "report.html").exists() and pathlib.Path(config.export_dir, "1").exists()
    assert call(tune, config) == metrics
    assert training.trained_in(run) == winner and (winner / "model.keras").exists()


def test_trials_end_before_the_test_split_is_looked_at(finished, tmp_path, monkeypatch):
    config, _ = finished

    def never(*arguments, **others):
        raise AssertionError("the test split was looked at")

    monkeypatch.setattr(tabular.evaluation, "explain_table", never)
    target = tune.RecipeTrials(config, str(tmp_path))
    told = []
    job = {
        "number": 0,
        "values": {"learning_rate": 0.01, "units": "8", "class_weights": True},
        "space": [],
        "seeds": [0],
        "epochs": 1,
        "directory": str(tmp_path / "0000"),
        "past": None,
    }
    trial = tuning.Trial(job, 0, lambda message: told.append(message) or True)
    target(trial)
    trial.close()
    assert [row["epoch"] for row in trial.rows] == [1] and "val_loss" in trial.rows[0]
    assert trial.facts["parameters"] > 0
    (tmp_path / "data-0.json").write_text('"another"')
    again = tuning.Trial(job | {"directory": str(tmp_path / "0001")}, 0, lambda message: True)
    with pytest.raises(tuning.SearchError, match="differ"):
        target(again)
    again.close()


def test_what_is_promoted_goes_on_and_its_schedule_ends_with_the_round(tmp_path):
    """Two epochs, then five in all: the rate is at its end after the second, and the fifth."""
    config = Config(recipe="tabular", fix=("dataset=iris", "units=8", "epochs=5"))
    target = tune.RecipeTrials(config, str(tmp_path))

    def trained(number, epochs, past=None):
        told = []
        job = {
            "number": number,
            "values": {"learning_rate": 0.01, "tuner/epochs": epochs, "tuner/bracket": 1},
            "space": [],
            "seeds": [0],
            "epochs": epochs,
            "directory": str(tmp_path / f"{number:04d}"),
            "past": past,
        }
        trial = tuning.Trial(job, 0, lambda message: told.append(len(message["rows"])) or True)
        told.clear()
        target(trial)
        trial.close()
        facts = training.read_json(trial.directory / "run/config.json")
        assert facts["config"]["epochs"] == epochs
        rows = list(csv.DictReader((trial.directory / "run/metrics.csv").read_text().splitlines()))
        return len(told), [float(row["learning_rate"]) for row in rows], trial.rows

    begun, rates, first = trained(0, 2)
    assert begun == 2 and rates[-1] < 0.1 * max(rates)
    went_on, rates, rows = trained(1, 5, str(tmp_path / "0000"))
    assert went_on == 3 and [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[:2] == first and len(rates) == 5
    assert rates[-1] < 0.1 * max(rates[2:])


class Killed(BaseException):
    pass


class TrialOfPhases:
    """A trial of transfer_learning on a tiny backbone: three epochs of probe, three of tuning."""

    def __init__(self, directory, monkeypatch, goes_on=lambda epoch: True):
        monkeypatch.setitem(small_transfer.models.backbone_table.BACKBONES, "small", None)
        small_transfer.install(monkeypatch.setattr)

        def never(*arguments, **others):
            raise AssertionError("the test split was looked at")

        monkeypatch.setattr(transfer_learning.evaluation, "explain_classifier", never)
        settings = small_transfer.SETTINGS | {"dataset": "digits"}
        fix = [f"{k}={v}" for k, v in settings.items() if k not in ("export", "learning_rate")]
        config = Config(recipe="transfer_learning", fix=tuple(fix))
        job = {
            "number": 0,
            "values": {"learning_rate": 0.1, "fine_tune_stages": 1},
            "space": [],
            "seeds": [0],
            "epochs": None,
            "directory": str(directory / "0000"),
            "past": None,
        }
        self.trial = tuning.Trial(job, 0, lambda message: goes_on(message["rows"][-1]["epoch"]))
        with contextlib.suppress(Killed):
            tune.RecipeTrials(config, str(directory))(self.trial)
        self.trial.close()
        self.epochs = [row["epoch"] for row in self.trial.rows]


def test_a_poor_trial_ends_in_its_first_phase(tmp_path, monkeypatch):
    assert TrialOfPhases(tmp_path, monkeypatch, lambda epoch: epoch < 2).epochs == [1, 2]


def test_a_trial_killed_in_its_second_phase_ends_with_the_same_figures(tmp_path, monkeypatch):
    def killed_in_the_fifth(epoch):
        if epoch == 5:
            raise Killed
        return True

    whole = TrialOfPhases(tmp_path / "whole", monkeypatch)
    assert whole.epochs == [1, 2, 3, 4, 5, 6]  # those of all phases count
    assert all("val_accuracy" in row for row in whole.trial.rows)
    TrialOfPhases(tmp_path / "killed", monkeypatch, killed_in_the_fifth)
    again = TrialOfPhases(tmp_path / "killed", monkeypatch)
    assert again.trial.rows == whole.trial.rows


@pytest.mark.parametrize("recipe", RECIPES)
def test_points_of_a_recipes_own_space_are_taken_by_it(recipe):
    config = Config(recipe=recipe)
    tune.check(config)
    space = keras_tuner.HyperParameters()
    tuning.declare(space, tune.entries(config))
    made = dataclasses.asdict(tune.settings(config, space.values))
    assert set(space.values) <= set(made)
    # The first point is the recipe as it is, where that says what it is.
    own = dataclasses.asdict(tune.load_recipe(recipe).Config())
    for name in set(space.values) - {"learning_rate", "fine_tune_learning_rate"}:
        if own[name] not in (None, ()):
            assert made[name] == own[name], name
    # KerasTuner's default of a range is its lower end, which nobody would begin with.
    ranges = [hp for hp in space.space if getattr(hp, "sampling", None) == "log"]
    assert all(hp.min_value < hp.default < hp.max_value for hp in ranges)
    for seed in range(20):
        values = {hp.name: hp.random_sample(seed) for hp in space.space}
        tune.settings(config, values)


def test_the_tables_name_no_recipe_that_there_is_not():
    assert set(spaces.SPACES) | set(spaces.OBJECTIVES) <= set(RECIPES)


def test_a_recipe_without_a_space_of_its_own_is_sought_by_the_usual_flags():
    entries = spaces.space_of("a new one", tabular.Config)
    assert [entry["name"] for entry in entries] == ["learning_rate", "batch_size", "dropout"]
    assert entries[1]["default"] == tabular.Config.batch_size


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"recipe": "transfer_learning", "algorithm": "hyperband"}, "phases"),
        (
            {"recipe": "sequence_classifier", "algorithm": "hyperband", "fix": ("dataset=digits",)},
            "--fix epochs=27",
        ),
        ({"algorithm": "hyperband", "space": "EPOCHS"}, "the round says how long"),
        ({"recipe": "tune_cnn"}, "it is one of autoencoder"),
        ({"recipe": "optimizers"}, "it is one of autoencoder"),
        ({"fix": ("epochs",)}, "FIELD=VALUE"),
        ({"fix": ("epocs=3",)}, "no 'epocs'"),
        ({"fix": ("epochs=many",)}, "tabular: .*epochs"),
        ({"fix": ("epochs=0",)}, "--epochs"),
        ({"fix": ("run_dir=x",)}, "decides that"),
        ({"objective": "val_loss"}, "NAME:max or NAME:min"),
        ({"objective": "test_loss:min"}, "validation"),
        ({"max_trials": 0}, "--max-trials"),
    ],
)
def test_mistakes(flags, words, tmp_path):
    if "space" in flags:
        path = tmp_path / "space.json"
        path.write_text(
            json.dumps([{"name": "epochs", "kind": "int", "min": 1, "max": 9, "default": 6}])
        )
        flags = flags | {"space": str(path)}
    with pytest.raises(UserError, match=words):
        tune.check(Config(**flags))


def test_hyperband_divides_epochs_that_are_known():
    """Those of a memory task, and those that are given."""
    search = Config(recipe="sequence_classifier", algorithm="hyperband")
    assert tuning.epochs_of_trial(tune.settings(search, {})) == 5
    fixed = dataclasses.replace(search, fix=("dataset=digits", "epochs=9"))
    tune.check(fixed)
    assert tuning.epochs_of_trial(tune.settings(fixed, {})) == 9


def test_what_is_fixed_cannot_be_sought(space_file):
    with pytest.raises(UserError, match="fixed and sought"):
        tune.check(Config(space=str(space_file), fix=("units=8",)))
    assert "units" not in [e["name"] for e in tune.entries(Config(fix=("units=8",)))]


def test_text_becomes_the_recipes_own_types():
    config = Config(fix=("units=16,8", "class_weights=true", "dropout=0.1"))
    made = tune.settings(config, {"batch_size": 8}, seed=5)
    assert made.units == (16, 8) and made.class_weights is True and made.dropout == 0.1
    assert made.batch_size == 8 and made.seed == 5
    assert dataclasses.replace(made, units=(64, 32)) != made
    assert tune.settings(config, {"class_weights": False}).class_weights is False
