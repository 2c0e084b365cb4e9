"""Are the recipes' defaults the best of a small search, on data that they are not reported on?

    python benchmarks/defaults.py                               # the tables of what was found
    python benchmarks/defaults.py image_classifier --seeds 2    # train what is not there yet
    python benchmarks/defaults.py vae --only "batch 32" --data mnist

`SEARCHES` in searches.py says what is tried: small data sets (small_data.py tells what they are,
from where, and under which licence), and alternatives to the defaults that the search began with,
mostly one flag each. A training is the recipe's own `fit`, which does not look at the test split;
what is compared is the validation figure that the recipe keeps its best epoch by. The same seed has
the same split for all, so differences are taken seed by seed. Every training is a line in
results/defaults.json as soon as it ends, and is not done again.
"""

from __future__ import annotations

import argparse
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
from benchmarks.searches import SEARCHES, START, Search  # noqa: E402
from kapps import command_line, training  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "defaults.json"
WORDS = """## Defaults

`python benchmarks/defaults.py`: small searches on data that no page reports a result on; what a
recipe does today is in bold. Figures are of the validation split at the epoch that the recipe
keeps, means over the seeds that all rows have on a data set. The gain over the row {start!r}, of
each seed that both have, is the mean over the data sets, in points of what is to be high and in
percent of what is to be low, ± its standard error over seeds; a row is better or worse if the gain
is more than two of these; with one seed of a data set, if it gains or loses on every one. Pictures
are made 16 x 16 (64 x 64 for transfer). Trainings are short where a title does not say that they
are the usual ones: 20 epochs of the VQ-VAE and the GAN, 40 of the VAE, 3 of char_rnn. As more steps
are worth more in a short training, a smaller batch has to show its gain in the usual one, and 2 %
of it: it takes longer. `benchmarks/small_data.py` tells what the data are, from which packages, and
under which licences.
"""


def main() -> None:
    """Train what is missing, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("searches", nargs="*", help=f"of {', '.join(SEARCHES)}")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=(), help=f"rows by name, with {START!r}")
    parser.add_argument("--data", nargs="+", default=())
    given = parser.parse_args()
    if given.searches:
        command_line.import_tensorflow()
    for title in given.searches:
        search = SEARCHES[title]
        for name, data, seed in missing(search, given.seeds, given.only, given.data):
            row = train(search, name, data, seed)
            keep(row)
            told = f"{row['value']:.5g} after {row['seconds']:.0f} s"
            print(f"{title:<18}{data:<12}{name:<24}{seed:>2}  {told}", flush=True)
    print(tables(given.searches or tuple(SEARCHES)))


def missing(
    search: Search, seeds: int, only: Sequence[str] = (), data: Sequence[str] = ()
) -> Iterator[tuple[str, str, int]]:
    """Row, data set and seed of the trainings that are not there; all of a seed before the next."""
    if unknown := {*only} - {*search.tried, START} | {*data} - {*search.data}:
        raise SystemExit(f"{search.recipe} has no {', '.join(sorted(unknown))}")
    names = [name for name in (START, *search.tried) if not only or name in (START, *only)]
    for seed in range(seeds):
        for where in data or search.data:
            for name in names:
                if seed not in values(search, name, where):
                    yield name, where, seed


def train(search: Search, name: str, data: str, seed: int) -> dict[str, Any]:
    """One training; its validation figure, and what it was trained with."""
    import keras

    module, (figure, _) = importlib.import_module(f"recipes.{search.recipe}"), search.goal
    with tempfile.TemporaryDirectory() as directory:
        config = module.Config(
            **{**search.start, **search.fixed, **search.of_data.get(data, {})}
            | {**search.tried.get(name, {}), "dataset": small_data.spec(data), "seed": seed}
            | {"run_dir": f"{directory}/run", "export": False}
        )
        getattr(module, "check", training.check)(config)
        began = time.perf_counter()
        with training.open_run(search.recipe, config) as run:
            history = module.fit(config, run)[2]
        seconds = time.perf_counter() - began
    keras.utils.clear_session()
    history = history.phases[search.phase] if search.phase else history
    return {
        "recipe": search.recipe,
        "data": data,
        "seed": seed,
        "settings": search.settings(name, data),
        "figure": figure,
        "value": float(history.rows[history.best_epoch - 1][figure]),
        "epoch": history.best_epoch,
        "seconds": round(seconds, 1),
    }


def found() -> list[dict[str, Any]]:
    """All trainings so far."""
    return json.loads(RESULTS.read_text())["trainings"] if RESULTS.exists() else []


def keep(row: dict[str, Any]) -> None:
    """Add a training to the file, one a line; others may be adding theirs."""
    with (small_data.WHERE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = [json.dumps(each) for each in (*found(), row)]
        beside = RESULTS.with_suffix(".part")
        beside.write_text('{"trainings": [\n' + ",\n".join(sorted(rows)) + "\n]}\n")
        beside.rename(RESULTS)


def values(search: Search, name: str, data: str) -> dict[int, float]:
    """The figures of a row on one data set, by seed.

    A field that was not among the settings when a training was done had the value of the start.
    """
    start = {**search.today, **search.start}
    wanted = start | search.fields(name, data)
    return {
        row["seed"]: row["value"]
        for row in found()
        if (row["recipe"], row["data"]) == (search.recipe, data)
        and start | row["settings"] == wanted
    }


def gains(search: Search, name: str) -> dict[str, list[float]]:
    """By data set, how much better a row is than the start with the same seed.

    In points of figures that are to be high, which are fractions; in percent of the others.
    """

    def gain(before: float, now: float) -> float:
        return 100 * (now - before if search.goal[1] == "max" else 1 - now / before)

    gained = {}
    for data in search.data:
        before, now = (values(search, each, data) for each in (START, name))
        gained[data] = [gain(before[seed], now[seed]) for seed in sorted({*before} & {*now})]
    return gained


def spread(gained: Mapping[str, Sequence[float]]) -> float:
    """Standard error of the mean gain: what seeds make of it, the data sets taken as they are.

    Not a number unless each of them has two seeds: it may vary more than the others.
    """
    seeds = [len(each) for each in gained.values()]
    if min(seeds) < 2:
        return math.nan
    squares = [statistics.variance(each) for each in gained.values()]
    return math.sqrt(statistics.mean(squares) * sum(1 / n for n in seeds)) / len(seeds)


def judged(gained: Mapping[str, Sequence[float]]) -> str:
    """Whether that is better than the start, in words.

    Better is more than two standard errors of seeds on the mean over data sets. Where a data set
    has one seed there is no such error, and only what is better or worse everywhere is called so.
    """
    means = [statistics.mean(each) for each in gained.values()]
    mean, error = statistics.mean(means), spread(gained)
    if math.isnan(error):
        everywhere = all(each > 0 for each in means) or all(each < 0 for each in means)
        return (("better" if mean > 0 else "worse") if everywhere else "mixed") + ", one seed"
    if abs(mean) <= 2 * error:
        return "no difference seen"
    return "better" if mean > 0 else "worse"


def section() -> str:
    """The section of the page of benchmarks; empty before there is a result."""
    titles = [
        title
        for title, search in SEARCHES.items()
        if all(values(search, START, data) for data in search.data)
    ]
    return f"{WORDS.format(start=START)}\n{tables(titles)}" if titles else ""


def tables(titles: Sequence[str]) -> str:
    """What was found, in Markdown, a table for each search; the default of today in bold."""
    return "\n".join(table(title, SEARCHES[title]) for title in titles)


def table(title: str, search: Search) -> str:
    """What was found for one recipe: figures, gains over the start, ranks."""
    figure, direction = search.goal
    of_seeds: dict[str, dict[str, dict[int, float]]] = {}
    for name in (START, *search.tried):
        by_data = {data: values(search, name, data) for data in search.data}
        if all(by_data.values()):
            of_seeds[name] = by_data
    # Seeds differ more than rows do: figures beside each other are of the same ones.
    shared = {
        data: set.intersection(*({*each[data]} for each in of_seeds.values()))
        for data in (search.data if of_seeds else ())
    }
    figures = {
        name: {
            data: statistics.mean(each[seed] for seed in shared[data])
            for data, each in by_data.items()
        }
        for name, by_data in of_seeds.items()
    }
    ranks: dict[str, list[int]] = {name: [] for name in figures}
    for data in search.data:
        ordered = sorted((each[data] for each in figures.values()), reverse=direction == "max")
        for name in figures:
            ranks[name].append(1 + ordered.index(figures[name][data]))
    unit = "points" if direction == "max" else "%"
    lines = [
        f"### {title}: `{figure}`, {'highest' if direction == 'max' else 'lowest'} is best\n",
        f"| | {' | '.join(search.data)} | mean rank | gain, {unit} | seeds | |",
        f"|---|{'---|' * len(search.data)}---|---|---|---|",
    ]
    for name, by_data in figures.items():
        gained = gains(search, name)
        cells = [f"**{name}**" if search.is_default(name) else name]
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
    return "\n".join((*lines, *(["", search.why] if search.why else []), ""))


if __name__ == "__main__":
    main()
