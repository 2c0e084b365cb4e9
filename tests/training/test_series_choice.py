"""Which network of series is trained, and for how long: the rules, and a trial that is made up."""

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import data, training
from kapps.training import series_choice
from kapps.training.series_choice import settle_series, settled, usual_batch


@dataclasses.dataclass(frozen=True)
class Flags(training.SeriesNetworkFlags, training.CommonFlags):
    dataset: str = "npz:x.npz"
    epochs: Any = None
    batch_size: Any = None
    overwrite: bool = False
    precision: Any = "float32"
    repeats: int = 0


def some(steps=4, train=60, validation=40, classes=2):
    """Series whose class, or number, is what their first step says."""

    def split(count):
        labels = (np.arange(count) % 2).astype(np.int32 if classes else np.float32)
        values = np.zeros((count, steps, 1), np.float32)
        values[:, 0, 0] = 2 * labels - 1
        return data.SequenceSplit(values, labels if classes else labels[:, None])

    counts = {"train": train, "validation": validation, "test": 2}
    splits = {name: split(count) for name, count in counts.items()}
    return data.SequenceData("npz:x.npz", ("a", "b")[:classes], splits, "")


def batches_of(series):
    return lambda config: training.series_batches(series, config.batch_size, seed=0)


def no_trial(config, steps):
    raise AssertionError("a trial where the rule decides")


@pytest.fixture
def run(tmp_path):
    with training.open_run("sequence_classifier", Flags(run_dir=str(tmp_path / "run"))) as opened:
        yield opened


def choose(run, series, compiled=no_trial, **flags):
    config = Flags(**flags)
    devices = tf.distribute.get_strategy()
    return settle_series(config, series, run, devices, compiled, batches_of(series))


@pytest.mark.parametrize(
    "series, flags, expected",
    [
        ({"steps": 101}, {}, "inception_time"),
        ({"validation": 29}, {}, "inception_time"),
        ({"classes": 0, "steps": 101}, {}, "rnn"),
        ({"steps": 101}, {"cell": "lstm"}, "rnn"),
        ({"steps": 101}, {"bidirectional": True}, "rnn"),
        ({"steps": 101}, {"units": (8, 8)}, "rnn"),
        ({"steps": 101}, {"dataset": "copy"}, "rnn"),
        ({}, {"model": "lstm_fcn"}, "lstm_fcn"),
    ],
)
def test_rules_without_a_trial(run, series, flags, expected):
    assert choose(run, some(**series), **flags).model == expected


def by_rate(rates):
    """A linear network on the first step, which learns at a rate that its name says."""

    def compiled(config, steps):
        sequence = keras.Input((None, 1))
        logits = keras.layers.Dense(2, kernel_initializer="zeros")(sequence[:, 0])
        model = keras.Model(sequence, logits)
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(rates[config.model]), loss, metrics=["accuracy"])
        return model

    return compiled


@pytest.mark.parametrize(
    "rnn, inception, expected",
    [(0.5, 0.0, "rnn"), (0.0, 0.5, "inception_time"), (0.0, 0.0, "inception_time")],
)
def test_a_trial_decides_for_the_better_and_among_equals_for_inception_time(
    run, monkeypatch, capsys, rnn, inception, expected
):
    monkeypatch.setattr(series_choice, "TRIAL_STEPS", 3)
    compiled = by_rate({"rnn": rnn, "inception_time": inception})
    found = choose(run, some(), compiled)
    assert found.model == expected and settled(Flags(), run) == found
    told = f"rnn {100 if rnn else 50}.0 %"
    assert len(run.notes) == 1 and told in run.notes[0] and expected in run.notes[0]
    assert "trial     rnn: 3 steps" in capsys.readouterr().out
    # What is noted holds, whatever another trial would say.
    assert choose(run, some()) == found and len(run.notes) == 1


def test_epochs_are_a_number_of_steps(run, tmp_path):
    """60 series in batches of 16 are 3 steps, repeated 7 times: 26 steps an epoch; 1000 / 26."""
    found = choose(run, some(steps=101))
    assert (found.batch_size, found.epochs) == (16, 39)
    with training.open_run("r", Flags(run_dir=str(tmp_path / "many"))) as other:
        # 640 series in batches of 2 are 320 steps: 4 epochs, and 5 at least.
        found = choose(other, some(steps=101, train=640), batch_size=2)
        assert (found.batch_size, found.epochs) == (2, 5)


def test_what_flags_say_stays(run):
    found = choose(run, some(), epochs=3, batch_size=7, model="gru_fcn")
    assert found == Flags(epochs=3, batch_size=7, model="gru_fcn")


def test_memory_tasks_keep_their_schedule(run):
    found = choose(run, some(train=10_000), dataset="adding")
    assert (found.model, found.batch_size, found.epochs) == ("rnn", 64, 5)
    assert Flags(dataset="adding").network == "gru"


@pytest.mark.parametrize("count, size", [(1, 16), (319, 16), (320, 32), (639, 32), (640, 64)])
def test_small_sets_have_small_batches(count, size):
    assert usual_batch("npz:x.npz", count) == size and usual_batch("adding", count) == 64
