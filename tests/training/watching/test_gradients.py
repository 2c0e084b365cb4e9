"""Gradient flow: right norms, the same training bits, vanishing and exploding, resume."""

import csv
import dataclasses
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

import programs
from crashes import Crash, Crashed
from kapps import data, evaluation, models, training
from kapps.errors import UserError
from kapps.training.run_directory import run as runs
from kapps.training.watching import gradients
from models.generative.small_gans import gan, pictures
from training import small
from training.fitting.test_resumable import open_run

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 6)).astype("f4")
Y = RNG.normal(size=(32, 2)).astype("f4")
PICTURES = (
    RNG.integers(0, 256, (128, 8, 8, 1)).astype("f4"),
    np.eye(10, dtype="f4")[np.arange(128) % 10],
)


def deep(activation, depth=12, scale=None):
    keras.utils.set_random_seed(0)
    kernel = "glorot_uniform" if scale is None else keras.initializers.RandomNormal(stddev=scale)
    hidden = [
        keras.layers.Dense(16, activation, kernel_initializer=kernel, name=f"layer{i:02d}")
        for i in range(depth)
    ]
    model = keras.Sequential([keras.Input((6,)), *hidden, keras.layers.Dense(2, name="out")])
    model.compile(keras.optimizers.SGD(1e-12), "mse")
    return model


def measured(model, batch=(X, Y), epochs=1, **settings):
    flow = training.GradientFlow(batch, **settings)
    model.fit(X, Y, 16, epochs, verbose=0, callbacks=[flow])
    return flow.rows


@pytest.mark.slow
def test_norms_are_those_of_the_tape():
    model = deep("tanh", depth=2)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(X) - Y))
    gradients = tape.gradient(loss, [w.value for w in model.trainable_weights])
    (row, _) = measured(model)
    assert list(row) == ["epoch", "step", "layer00", "layer01", "out"] and row["epoch"] == 0
    for i, name in enumerate(["layer00", "layer01", "out"]):
        squares = sum(np.square(g).sum() for g in gradients[2 * i : 2 * i + 2])
        assert row[name] == pytest.approx(np.sqrt(squares), rel=1e-5)


@pytest.mark.slow
def test_deep_sigmoids_vanish_and_large_weights_explode():
    rows = measured(deep("sigmoid"))
    assert rows[0]["layer00"] < 1e-6 * rows[0]["layer10"]
    assert evaluation.gradient_story(rows)[0] == "vanishing"
    rows = measured(deep("linear", scale=1.0))
    assert rows[0]["layer00"] > 1e3
    healthy = measured(deep("relu", depth=3))
    assert evaluation.gradient_story(healthy)[0] == "healthy"


def test_words_for_growth_and_for_what_is_no_number():
    rows = [{"epoch": 0, "step": 0, "a": 5e4, "b": 1.0, "c": 1.0}]
    assert evaluation.gradient_story(rows)[0] == "exploding"
    rows.append({"epoch": 1, "step": 9, "a": np.nan, "b": 1.0, "c": 1.0})
    label, sentence = evaluation.gradient_story(rows)
    assert label == "exploding" and "epoch 1" in sentence
    assert "only layer" in evaluation.gradient_story([{"epoch": 0, "step": 0, "a": 1.0}])[1]
    with pytest.raises(ValueError, match="no gradient"):
        evaluation.gradient_story([])


@pytest.mark.slow
def test_rows_inside_an_epoch():
    rows = measured(deep("tanh", depth=1), epochs=2, every=1)
    assert [(row["epoch"], row["step"]) for row in rows] == [(0, 0), (0, 1), (1, 2), (1, 3), (2, 4)]


@pytest.mark.slow
def test_dropout_statistics_and_averages_end_with_the_same_bits():
    flow = training.GradientFlow(PICTURES, every=3)
    with_flow, _ = small.train(epochs=2, callbacks=[flow])
    without, _ = small.train(epochs=2)
    assert small.digest(with_flow) == small.digest(without)
    assert len(flow.rows) > 5 and all(row["step"] >= 0 for row in flow.rows)
    first = [name for name in flow.rows[0] if name not in ("epoch", "step")]
    assert len(first) == 3  # convolution, normalization, dense


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda: models.dense_autoencoder((8, 8, 1), 4, units=(8,), corruption="gaussian"),
        lambda: models.dense_vae((8, 8, 1), 3, units=(8,)),
        lambda: models.vq_vae((8, 8, 1), filters=(4,)),
        lambda: models.perceptron((8, 8, 1), 10),
        lambda: models.perceptron((8, 8, 1), 10, pocket=True),
        lambda: models.delta_rule((8, 8, 1), 10),
    ],
    ids=["autoencoder", "vae", "vq_vae", "perceptron", "pocket", "delta_rule"],
)
def test_models_with_a_step_of_their_own(make):
    def train(callbacks):
        keras.utils.set_random_seed(0)
        model = make()
        model.compile(optimizer=keras.optimizers.SGD(1e-4))
        model.fit(*PICTURES, 64, 2, verbose=0, callbacks=callbacks)
        return small.digest(model)

    flow = training.GradientFlow(PICTURES)
    assert train([flow]) == train([])
    assert [row["epoch"] for row in flow.rows] == [0, 1, 2]
    assert all(norm > 0 for name, norm in flow.rows[0].items() if name not in ("epoch", "step"))


REPLICAS = """
    import sys
    sys.path[:0] = {path!r}
    import numpy as np
    from kapps import training
    from training import small

    two = training.strategy("cpu:2")
    rng = np.random.default_rng(0)
    labels = np.eye(10, dtype="f4")[np.arange(64) % 10]
    batch = rng.integers(0, 256, (64, 8, 8, 1)).astype("f4"), labels

    def train(*callbacks):
        with two.scope():
            training.seed_everything(0)
            model = small.network()
            model.compile("sgd", "mse")
        x = np.random.default_rng(1).integers(0, 256, (96, 8, 8, 1)).astype("f4")
        y = np.eye(10, dtype="f4")[np.arange(96) % 10]
        model.fit(x, y, 16, 3, shuffle=False, verbose=0, callbacks=list(callbacks))
        held = two.experimental_local_results
        return b"".join(np.array(c).tobytes() for v in model.variables for c in held(v.value))

    flow = training.GradientFlow(batch, every=2)
    print(train() == train(flow), len(flow.rows))
"""


@pytest.mark.slow
def test_statistics_of_each_replica_are_put_back():
    program = textwrap.dedent(REPLICAS).format(path=sys.path)
    answer = programs.run([sys.executable, "-c", program])
    assert answer.stdout.split() == ["True", "10"], answer.stderr


@pytest.mark.slow
def test_two_players_are_refused():
    model = gan()
    model.compile()
    with pytest.raises(UserError, match="one loss"):
        model.fit(pictures(), verbose=0, callbacks=[training.GradientFlow(pictures())])


@pytest.mark.slow
def test_a_crash_loses_no_row(tmp_path):
    def train(path, crash=None):
        flow = training.GradientFlow(PICTURES, path=path / "gradient_flow.csv")
        stops = [Crash(crash)] if crash else []
        with open_run(path) as run:
            small.train(run, epochs=3, callbacks=[flow, *stops], save_steps=3, augment=False)
        return flow.rows

    whole = train(tmp_path / "whole")
    with pytest.raises(Crashed):
        train(tmp_path / "killed", 14)
    again = train(tmp_path / "killed")
    plain = [[list(row.values()) for row in rows] for rows in (whole, again)]
    assert plain[0] == plain[1] and len(again) == 4
    with (tmp_path / "killed" / "gradient_flow.csv").open() as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [0, 1, 2, 3]


def test_the_flag_is_no_part_of_a_runs_identity(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Config(training.CommonFlags):
        """Of a recipe."""

    config = Config(run_dir=str(tmp_path / "run"))
    values = dataclasses.asdict(config)
    old = {name: value for name, value in values.items() if name != "gradient_flow"}
    assert runs.digest(old) == runs.digest(values | {"gradient_flow": True})
    with training.open_run("x", config) as run:
        facts = run.facts()
        facts["config"] = old  # as a run of an older version left it
        runs.files.write_json(run.path / "config.json", facts)
        run.finish({"loss": 1.0})
    with training.open_run("x", dataclasses.replace(config, gradient_flow=True)) as run:
        assert run.finished
    batches = data.FullBatches(X, Y, 2)
    assert training.gradient_flow(config, None, batches) == []
    (flow,) = training.gradient_flow(dataclasses.replace(config, gradient_flow=True), None, batches)
    np.testing.assert_array_equal(flow.batch[0], X)


def test_layers_are_named_by_what_tells_them_apart():
    class Variable:
        def __init__(self, path):
            self.path = path

    paths = ["m/enc/a/kernel", "m/enc/a/bias", "m/enc/b/cell/kernel", "m/dec/a/kernel"]
    groups = gradients.by_layer([Variable(path) for path in paths])
    assert list(groups) == ["enc/a", "enc/b/cell", "dec/a"] and len(groups["enc/a"]) == 2
