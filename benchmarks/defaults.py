"""Are the recipes' defaults the best of a small search, on data that they are not reported on?

    python benchmarks/defaults.py                               # the tables of what was found
    python benchmarks/defaults.py image_classifier --seeds 2    # train what is not there yet
    python benchmarks/defaults.py vae --only "batch 32" --data mnist

Each row of the table `SEARCHES` is a recipe: small data sets (`small_data.py` says what they are,
from where, and under which licence), and alternatives to the defaults that the search began with,
mostly one flag each. A training is the recipe's own `fit`, which does not look at the test split;
what is compared is the validation figure that the recipe keeps its best epoch by. The same seed has
the same split for all, so differences are taken seed by seed. Every training is a line in
results/defaults.json as soon as it ends, and is not done again.
"""

from __future__ import annotations

import argparse
import dataclasses
import fcntl
import importlib
import json
import math
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import small_data  # noqa: E402
from kapps import command_line, training  # noqa: E402
from kapps.tuning.spaces import recipes as spaces  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "defaults.json"
START = "as it was"  # the row that the others are compared with
Fields = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Search:
    """What is tried for one recipe; fields are those of its Config.

    Attributes:
        data: names of `small_data.PREPARED`, or what `--dataset` takes.
        tried: fields that differ from the start, by a name for the row.
        start: fields in which the defaults that the search began with differ from those of today.
        fixed: fields of all trainings: what makes them short or the figure less noisy.
        of_data: fields that go with one data set.
        phase: whose figure it is, of a training in phases.
        figure: NAME:max or NAME:min; default: what a search for this recipe's settings goes by.
    """

    data: tuple[str, ...]
    tried: Mapping[str, Fields]
    start: Fields = dataclasses.field(default_factory=dict)
    fixed: Fields = dataclasses.field(default_factory=dict)
    of_data: Mapping[str, Fields] = dataclasses.field(default_factory=dict)
    phase: str = ""
    figure: str | None = None


# A tenth of 1,000 pictures says little. One precision for all, not a measured one.
PICTURES = {"validation_fraction": 0.25, "precision": "float32"}
SEARCHES: dict[str, Search] = {
    "image_classifier": Search(
        data=("mnist", "letters", "emoji", "photos"),
        fixed=PICTURES,
        tried={
            "filters 32 64 128": {"filters": (32, 64, 128)},
            "batch 32": {"batch_size": 32},
            "batch 128": {"batch_size": 128},
            "rate 0.01": {"learning_rate": 0.01},
            "rate 0.001": {"learning_rate": 0.001},
            "no shifts": {"crop": 0.0},
            "shifts of 0.05": {"crop": 0.05},
            "dropout 0.3": {"dropout": 0.3},
            "label smoothing 0.1": {"label_smoothing": 0.1},
            "Muon": {"optimizer": "muon"},
        },
    ),
}


def main() -> None:
    """Train what is missing, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="*", help=f"of {', '.join(SEARCHES)}")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=(), help=f"rows by name, with {START!r}")
    parser.add_argument("--data", nargs="+", default=())
    given = parser.parse_args()
    if given.recipes:
        command_line.import_tensorflow()
    for recipe in given.recipes:
        for name, data, seed in missing(recipe, given.seeds, given.only, given.data):
            row = train(recipe, name, data, seed)
            keep(row)
            print(f"{recipe:<18}{data:<12}{name:<24}{seed:>2}  {row['value']:.5g}", flush=True)
    print(tables(given.recipes or tuple(SEARCHES)))


def missing(
    recipe: str, seeds: int, only: Sequence[str] = (), data: Sequence[str] = ()
) -> Iterator[tuple[str, str, int]]:
    """Row, data set and seed of the trainings that are not there; all of a seed before the next."""
    search = SEARCHES[recipe]
    if unknown := {*only} - {*search.tried, START} | {*data} - {*search.data}:
        raise SystemExit(f"{recipe} has no {', '.join(sorted(unknown))}")
    names = [name for name in (START, *search.tried) if not only or name in (START, *only)]
    for seed in range(seeds):
        for where in data or search.data:
            for name in names:
                if seed not in values(recipe, name, where):
                    yield name, where, seed


def train(recipe: str, name: str, data: str, seed: int) -> dict[str, Any]:
    """One training; its validation figure, and what it was trained with."""
    import keras

    search, module = SEARCHES[recipe], importlib.import_module(f"recipes.{recipe}")
    figure, direction = spaces.objective(recipe, search.figure)
    with tempfile.TemporaryDirectory() as directory:
        config = module.Config(
            **{**search.start, **search.fixed, **search.of_data.get(data, {})}
            | {**search.tried.get(name, {})}
            | {"dataset": small_data.spec(data), "seed": seed}
            | {"run_dir": f"{directory}/run", "export": False}
        )
        getattr(module, "check", training.check)(config)
        began = time.perf_counter()
        with training.open_run(recipe, config) as run:
            _, _, history = module.fit(config, run)[:3]
        seconds = time.perf_counter() - began
    keras.utils.clear_session()
    history = history.phases[search.phase] if search.phase else history
    kept = history.rows[history.best_epoch - 1]
    return {
        "recipe": recipe,
        "data": data,
        "seed": seed,
        "settings": settings(recipe, name),
        "figure": figure,
        "value": float(kept[figure]),
        "epoch": history.best_epoch,
        "seconds": round(seconds, 1),
    }


def settings(recipe: str, name: str) -> dict[str, Any]:
    """All fields that any row of the recipe changes, and `fixed`: what a training goes by."""
    search, defaults = SEARCHES[recipe], today(recipe)
    fields = {field for row in (search.start, *search.tried.values()) for field in row}
    values = {field: defaults[field] for field in fields}
    values |= {**search.start, **search.fixed, **search.tried.get(name, {})}
    return json.loads(json.dumps(dict(sorted(values.items()))))  # tuples are lists there


def today(recipe: str) -> dict[str, Any]:
    """The defaults of a recipe."""
    config = importlib.import_module(f"recipes.{recipe}").Config
    return {field.name: field.default for field in dataclasses.fields(config)}


def found() -> list[dict[str, Any]]:
    """All trainings so far."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else []


def keep(row: dict[str, Any]) -> None:
    """Add a training to the file, one a line; others may be adding theirs."""
    with (small_data.WHERE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = [json.dumps(each) for each in (*found(), row)]
        beside = RESULTS.with_suffix(".part")
        beside.write_text("[\n" + ",\n".join(sorted(rows)) + "\n]\n")
        beside.rename(RESULTS)


def values(recipe: str, name: str, data: str) -> dict[int, float]:
    """The figures of a row on one data set, by seed.

    A field that was not among the settings when a training was done had the value of the start.
    """
    wanted, start = settings(recipe, name), settings(recipe, START)
    return {
        row["seed"]: row["value"]
        for row in found()
        if (row["recipe"], row["data"]) == (recipe, data) and {**start, **row["settings"]} == wanted
    }


def gains(recipe: str, name: str) -> dict[str, list[float]]:
    """By data set, how much better a row is than the start with the same seed.

    In points of figures that are to be high, which are fractions; in percent of the others.
    """
    _, direction = spaces.objective(recipe, SEARCHES[recipe].figure)

    def gain(before: float, now: float) -> float:
        return 100 * (now - before if direction == "max" else 1 - now / before)

    gained = {}
    for data in SEARCHES[recipe].data:
        before, now = (values(recipe, each, data) for each in (START, name))
        gained[data] = [gain(before[seed], now[seed]) for seed in sorted({*before} & {*now})]
    return gained


def spread(gained: Mapping[str, Sequence[float]]) -> float:
    """Standard error of the mean gain: what seeds make of it, the data sets taken as they are."""
    squares = [statistics.variance(each) for each in gained.values() if len(each) > 1]
    seeds = [len(each) for each in gained.values()]
    if not squares or not all(seeds):
        return math.nan
    return math.sqrt(statistics.mean(squares) * sum(1 / n for n in seeds)) / len(seeds)


def judged(gained: Mapping[str, Sequence[float]]) -> str:
    """Whether that is better than the start, in words.

    Better is more than two standard errors of seeds on the mean over data sets. With one seed there
    is no such error, and only what is better or worse everywhere is called so.
    """
    means = [statistics.mean(each) for each in gained.values()]
    mean, error = statistics.mean(means), spread(gained)
    if math.isnan(error):
        everywhere = all(each > 0 for each in means) or all(each < 0 for each in means)
        return (("better" if mean > 0 else "worse") if everywhere else "mixed") + ", one seed"
    if abs(mean) <= 2 * error:
        return "no difference seen"
    return "better" if mean > 0 else "worse"


def tables(recipes: Sequence[str]) -> str:
    """What was found, in Markdown, a table for each recipe."""
    return "\n".join(table(recipe) for recipe in recipes)


def table(recipe: str) -> str:
    """What was found for one recipe: figures, gains over the start, ranks."""
    search = SEARCHES[recipe]
    figure, direction = spaces.objective(recipe, search.figure)
    figures: dict[str, dict[str, float]] = {}
    for name in (START, *search.tried):
        by_data = {data: [*values(recipe, name, data).values()] for data in search.data}
        if all(by_data.values()):
            figures[name] = {data: statistics.mean(each) for data, each in by_data.items()}
    ranks: dict[str, list[int]] = {name: [] for name in figures}
    for data in search.data:
        ordered = sorted((each[data] for each in figures.values()), reverse=direction == "max")
        for name in figures:
            ranks[name].append(1 + ordered.index(figures[name][data]))
    gain = "points" if direction == "max" else "%"
    lines = [
        f"### {recipe}: `{figure}`, {'highest' if direction == 'max' else 'lowest'} is best\n",
        f"| | {' | '.join(search.data)} | mean rank | gain, {gain} | seeds | |",
        f"|---|{'---|' * len(search.data)}---|---|---|---|",
    ]
    for name, by_data in figures.items():
        gained = gains(recipe, name)
        cells = [f"**{name}**" if is_default(recipe, name) else name]
        cells += [f"{v:.2%}" if direction == "max" else f"{v:.4g}" for v in by_data.values()]
        cells.append(f"{statistics.mean(ranks[name]):.1f}")
        error, seeds = spread(gained), min(map(len, gained.values()))
        if name == START:
            cells += ["", str(seeds), ""]
        elif seeds:
            mean = statistics.mean(map(statistics.mean, gained.values()))
            cells.append(f"{mean:+.2f}" + ("" if math.isnan(error) else f" ± {error:.2f}"))
            cells += [str(seeds), judged(gained)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join((*lines, ""))


def is_default(recipe: str, name: str) -> bool:
    """Whether a row is what the recipe does today if no flag is given."""
    now = json.loads(json.dumps(today(recipe)))
    own = settings(recipe, name).items()
    return all(now[field] == value for field, value in own if field not in SEARCHES[recipe].fixed)


if __name__ == "__main__":
    main()
