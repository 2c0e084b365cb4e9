"""Do smaller pictures in the first epochs pay? Accuracy on validation by seconds of training.

    python benchmarks/progressive.py 28x2 20x1+28x1 20x2+28x1
    python benchmarks/progressive.py --dataset folder:PATH --flags "--image-size 64" 64x4 48x2+64x2

Each plan is a training by `image_classifier --preset fast` (more of its flags by --flags): sides of
the pictures and epochs on them. Weights and the state of the optimizer, with its one schedule over
all epochs, go from one size to the next. Seconds are those of the epochs, with what it takes to
trace each size once. Writes benchmarks/results/progressive.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from kapps import command_line, files, training  # noqa: E402

Plan = list[tuple[int, int]]  # side of the pictures, epochs
RESULT = pathlib.Path(__file__).parent / "results" / "progressive.json"


def main() -> None:
    """Train each plan, seed by seed in turns, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plans", nargs="+", metavar="PLAN", help="as 20x1+28x1")
    parser.add_argument("--dataset", default="fashion_mnist")
    parser.add_argument("--flags", default="", help="of the recipe")
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    command_line.import_tensorflow()
    found = {plan: {"accuracy": [], "seconds": []} for plan in given.plans}
    for seed in range(given.seeds):
        for plan, row in found.items():
            phases = [tuple(map(int, phase.split("x"))) for phase in plan.split("+")]
            words = ["--dataset", given.dataset, "--seed", str(seed), *given.flags.split()]
            accuracy, seconds = trained(phases, words)
            row["accuracy"].append(accuracy)
            row["seconds"].append(seconds)
            print(f"{plan:<20}{seed:>2}  {accuracy:.2%} after {seconds:.1f} s", flush=True)
    rows = [
        {"plan": plan, "seeds": given.seeds}
        | {figure: statistics.mean(values) for figure, values in row.items()}
        for plan, row in found.items()
    ]
    result = {"command": f"python {' '.join(sys.argv)}", "rows": rows}
    files.write_json(RESULT, result | {"machine": training.machine()})


def trained(plan: Plan, words: list[str]) -> tuple[float, float]:
    """Accuracy on the validation split after the last epoch, and the seconds of all epochs."""
    import keras
    import tensorflow as tf

    from recipes import image_classifier as recipe

    with tempfile.TemporaryDirectory() as directory:
        epochs = sum(number for _, number in plan)
        words = ["--preset", "fast", *words, "--epochs", str(epochs)]
        config = command_line.parse(recipe.Config, [*words, "--run-dir", f"{directory}/run"])
        with training.open_run("image_classifier", config) as run:
            model, images, (train, validation, _) = recipe.build(config, run)
            task = training.picture_task(images, config)
            before, done, seconds = model, 0, 0.0
            for side, number in plan:
                now, batches = model, train.dataset(done, done + number)
                if side != images.image_shape[0]:
                    shape = (side, side, images.image_shape[2])
                    with training.precision_policy(model.dtype_policy.name):
                        now = recipe.network(config, dataclasses.replace(images, image_shape=shape))
                    now.compile(
                        training.optimizer_from(config, epochs * train.steps, run),
                        loss=task.loss,
                        metrics=task.metrics(),
                    )
                    batches = batches.map(
                        lambda x, *rest, side=side: (smaller(tf, x, side), *rest),
                        num_parallel_calls=tf.data.AUTOTUNE,
                    )
                now.set_weights(before.get_weights())
                now.optimizer.build(now.trainable_variables)
                if done:
                    pairs = zip(now.optimizer.variables, before.optimizer.variables, strict=True)
                    for variable, value in pairs:
                        variable.assign(value)
                begin = time.perf_counter()
                now.fit(batches.prefetch(2), epochs=number, steps_per_epoch=train.steps, verbose=0)
                seconds += time.perf_counter() - begin
                before, done = now, done + number
            model.set_weights(before.get_weights())
            accuracy = model.evaluate(validation, verbose=0, return_dict=True)["accuracy"]
    keras.utils.clear_session()
    return accuracy, seconds


def smaller(tf, images, side):
    """Means of areas, as where pictures of a folder shrink."""
    return tf.image.resize(tf.cast(images, tf.float32), (side, side), "area")


if __name__ == "__main__":
    main()
