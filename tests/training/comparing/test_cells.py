"""Cells of a comparison against Keras' own training, and what they have in common."""

import dataclasses

import keras
import numpy as np
import pytest

from kapps import data, losses, models, training
from kapps.errors import UserError
from kapps.training.comparing.cells import Candidate, Cells, order_of_epoch, rate_table

SGD = Candidate("sgd", 64)


@pytest.fixture(scope="module")
def images():
    return data.load("digits", validation_fraction=0.2, seed=0)


def network(images):
    return models.mlp(images.image_shape, images.classes, units=(12,), dropout=0.0)


@pytest.fixture(scope="module")
def cells(images):
    """Two epochs of 1024 pictures, measured after every 256."""
    return Cells(lambda: network(images), images, epochs=2, batch_sizes=(64, 256), measurements=5)


def by_keras(images, cells, optimizer, seed=0, batch=64):
    """The same training with `train_on_batch` and `evaluate`; validation loss of every epoch."""
    training.seed_everything(seed)
    model = network(images)
    model.compile(optimizer, losses.softmax_cross_entropy, metrics=["accuracy"])
    train, validation = images.splits["train"], images.splits["validation"]
    one_hot = np.eye(images.classes, dtype=np.float32)
    found = []
    for epoch in range(cells.epochs):
        rows = order_of_epoch(len(train), seed, epoch)[: cells.pictures]
        for chosen in rows.reshape(-1, batch):
            model.train_on_batch(train.take(chosen), one_hot[train.labels[chosen]])
        pictures = validation.take(range(len(validation)))
        found.append(model.evaluate(pictures, one_hot[validation.labels], verbose=0))
    return np.array(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("candidate", "rate", "make"),
    [
        (SGD, 0.1, lambda: keras.optimizers.SGD(0.1)),
        (Candidate("adam", 256), 0.01, lambda: keras.optimizers.Adam(0.01)),
        (
            Candidate("momentum", 64, "step"),  # 32 steps: boundaries at 16 and 24
            0.1,
            lambda: keras.optimizers.SGD(
                keras.optimizers.schedules.PiecewiseConstantDecay([16, 24], [0.1, 0.01, 0.001]),
                momentum=0.9,
            ),
        ),
    ],
)
def test_a_cell_is_what_keras_trains(images, cells, candidate, rate, make):
    expected = by_keras(images, cells, make(), batch=candidate.batch_size)
    found = cells.run(candidate, rate, 0)
    ends = slice(cells.measurements, None, cells.measurements)
    np.testing.assert_allclose(found["val_loss"][ends], expected[:, 0], rtol=1e-4)
    np.testing.assert_allclose(found["val_accuracy"][ends], expected[:, 1], atol=0.004)


@pytest.mark.slow
def test_a_cell_again_is_the_same_whatever_ran_in_between(cells):
    """Adam has a memory, which the next cell must not inherit."""
    adam = Candidate("adam", 64)
    first = cells.run(adam, 0.01, 3)
    cells.run(adam, 0.1, 4)
    cells.run(SGD, 0.1, 3)
    again = cells.run(adam, 0.01, 3)
    for name in first:
        if name != "seconds":
            np.testing.assert_array_equal(first[name], again[name])


def test_every_epoch_has_an_order_of_its_own():
    orders = [tuple(order_of_epoch(50, seed, epoch)) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(orders)) == 4
    assert all(sorted(order) == list(range(50)) for order in orders)


@pytest.mark.slow
def test_candidates_share_their_beginning_and_their_moments(cells):
    small, large = cells.run(SGD, 0.1, 0), cells.run(Candidate("sgd", 256), 0.1, 0)
    other = cells.run(SGD, 0.1, 1)
    assert small["val_loss"][0] == large["val_loss"][0] != other["val_loss"][0]
    assert small["examples"] == large["examples"] == [256 * i for i in range(9)]
    assert small["val_loss"][1] != large["val_loss"][1]
    assert cells.pictures == 1024 and cells.measurements == 4
    lengths = {len(value) for name, value in small.items() if name != "seconds"}
    assert lengths == {9}


@pytest.mark.slow
def test_the_running_loss_is_the_mean_of_the_steps(images, cells):
    """With a rate of almost nothing it is the loss of the untrained network on those pictures."""
    found = cells.run(SGD, 1e-12, 0)
    training.seed_everything(0)
    model, train = network(images), images.splits["train"]
    rows = order_of_epoch(len(train), 0, 0)[:256]
    one_hot = np.eye(images.classes, dtype=np.float32)[train.labels[rows]]
    logits = model.predict(train.take(rows), verbose=0)
    expected = float(np.mean(losses.softmax_cross_entropy(one_hot, logits)))
    assert found["loss"][1] == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_the_best_epochs_weights_are_kept(images, cells):
    found = cells.run(SGD, 0.3, 0, keep_best=True)
    ends = found["val_loss"][cells.measurements :: cells.measurements]
    validation = images.splits["validation"]
    logits = found["model"].predict(validation.take(range(len(validation))), verbose=0)
    one_hot = np.eye(images.classes, dtype=np.float32)[validation.labels]
    kept = float(np.mean(losses.softmax_cross_entropy(one_hot, logits)))
    assert kept == pytest.approx(min(ends), rel=1e-4)


@pytest.mark.slow
def test_plateau_by_hand(images):
    """Nothing improves: three epochs of patience after the first, then a fifth of the rate."""
    cells = Cells(lambda: network(images), images, epochs=6, batch_sizes=(64,), measurements=1)
    found = cells.run(Candidate("sgd", 64, "plateau"), 1e-12, 0)
    np.testing.assert_allclose(
        found["learning_rate"][1:], [1e-12] * 4 + [2e-13] * 2, rtol=1e-5, atol=0
    )


def test_what_diverges_ends_there(cells):
    found = cells.run(SGD, 1e30, 0)
    assert np.isfinite(found["val_loss"][0]) and not np.isfinite(found["val_loss"][1:]).any()
    assert len(found["val_loss"]) == len(found["examples"]) == 9
    assert np.isfinite(cells.run(SGD, 0.1, 0)["val_loss"]).all()  # and leaves nothing behind


@pytest.mark.slow
def test_the_test_split_is_not_touched(images):
    class Guard:
        def __getattr__(self, name):
            raise AssertionError("the test split was touched")

    guarded = dataclasses.replace(images, splits={**images.splits, "test": Guard()})
    cells = Cells(lambda: network(images), guarded, epochs=1, batch_sizes=(64,), measurements=1)
    cells.run(SGD, 0.1, 0, keep_best=True)


@pytest.mark.slow
def test_random_layers_begin_anew(images):
    def dropping():
        return models.mlp(images.image_shape, images.classes, units=(12,), dropout=0.5)

    cells = Cells(dropping, images, epochs=1, batch_sizes=(64,), measurements=1)
    first, again = (cells.run(SGD, 0.1, 0) for _ in range(2))
    assert first["loss"][1] == again["loss"][1]


@pytest.mark.parametrize("name", ["constant", "plateau", "step", "cosine", "one-cycle"])
def test_the_table_holds_the_schedule(name):
    schedule = training.learning_rate_schedule(name, 0.3, steps=40)
    expected = [float(schedule(i)) if callable(schedule) else schedule for i in range(40)]
    table = rate_table(name, 0.3, 40)
    np.testing.assert_allclose(table, expected, rtol=1e-5, atol=1e-7)
    table[0] = 7.0  # the plateau writes into it


@pytest.mark.parametrize(
    ("sizes", "words"), [((48, 64), "divide"), ((0, 64), "at least 1"), ((4096,), "1150")]
)
def test_mistakes_are_named(images, sizes, words):
    with pytest.raises(UserError, match=words):
        Cells(lambda: network(images), images, epochs=1, batch_sizes=sizes)
