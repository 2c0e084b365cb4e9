"""python roles.py DIRECTORY: a chief or a worker, as the environment says. Trials only wait."""

import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).parents[i]) for i in (1, 2)]

from kapps import tuning  # noqa: E402
from tuning import fakes  # noqa: E402


def main(directory):
    target = fakes.Slow(directory / "notes", seconds=0.3, epochs=3)
    if tuning.remote_role() == "worker":
        print(tuning.serve_chief(target, directory / "worker", identity={"data": "x"}))
        return
    import keras_tuner as kt

    hp = kt.HyperParameters()
    hp.Float("x", 0.0, 10.0)
    oracle = tuning.oracle("random", kt.Objective("val_score", "max"), hp, seed=2)
    budget = tuning.Budget(trials=10)
    run = directory / "run"
    found = tuning.run_search(target, oracle, run, identity={"data": "x"}, budget=budget)
    assert found.complete


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
