"""The spaces of recipes begin with what the recipes do by themselves."""

import pathlib

import keras_tuner
import pytest

from kapps import training, tuning
from recipes import tune

FOLDER = pathlib.Path(tune.__file__).parent
RECIPES = sorted({path.stem for path in FOLDER.glob("[!_]*.py")} - set(tune.NOT_TUNED))


class Begun(Exception):
    pass


def begun(recipe, config):
    """What a training is said to be, its settings, and what the run notes before the first step."""

    def announce(data, model):
        raise Begun(model)

    with training.open_run(recipe, config) as run:
        run.announce = announce
        with pytest.raises(Begun) as said:
            tune.load_recipe(recipe).fit(config, run)
        noted = run.facts()
    settings = noted.pop("config") | noted.pop("settled", {})
    noted.pop("git")  # somebody may commit meanwhile
    return str(said.value), settings, noted


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_first_point_is_what_the_recipe_does_by_itself(recipe, tmp_path):
    """Also where its flags leave a setting open: a search ends with no less than the recipe."""
    config = tune.Config(recipe=recipe, fix=("precision=float32",))  # auto would measure
    space = keras_tuner.HyperParameters()
    tuning.declare(space, tune.entries(config))
    at = {"export": False, "run_dir": str(tmp_path / "alone")}
    said, settings, noted = begun(recipe, tune.settings(config, {}, **at))
    at["run_dir"] = str(tmp_path / "first")
    first = begun(recipe, tune.settings(config, space.values, **at))
    assert (said, noted) == (first[0], first[2])  # sizes in words, rates among the notes
    for name in space.values:
        assert settings[name] in (first[1][name], None, []), name
    if "learning_rate" in space.values:
        assert settings["learning_rate"] or {"learning_rate", "learning_rates"} & {*noted}
