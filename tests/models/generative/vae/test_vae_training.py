"""VAEs under `training.fit` and on several replicas."""

import keras
import numpy as np
import pytest

from crashes import Crash, Crashed
from kapps import data, models, training
from training import small


def train(run=None, callbacks=(), ema=0.9):
    """Two epochs of five steps; the greys are drawn anew in every step."""
    training.seed_everything(0)
    images = data.load("digits", seed=0)
    batches = data.TrainingBatches(
        images.splits["train"], 256, seed=0, prepare=lambda x, label, seed: x
    )
    beta = models.KLWarmup(7)
    model = models.dense_vae((8, 8, 1), 3, units=(8,), pseudo_inputs=4, beta=beta)
    model.compile(keras.optimizers.Adam(0.01))
    validation = data.evaluation_batches(
        images.splits["validation"], 100, prepare=lambda x, label: x
    )
    history = training.fit(
        model,
        batches,
        validation,
        epochs=2,
        run=run,
        ema=ema,
        callbacks=callbacks,
        save_steps=2,
        verbose=0,
    )
    return model, history


@pytest.mark.slow
def test_a_crash_inside_an_epoch_changes_nothing(tmp_path):
    whole, history = train()
    for step in (3, 4):  # after a checkpoint inside the first epoch, and in the second epoch
        with training.open_run("small", small.Config(str(tmp_path / "run"))) as run:
            with pytest.raises(Crashed):
                train(run, [Crash(step)])
    with training.open_run("small", small.Config(str(tmp_path / "run"))) as run:
        model, again = train(run)
    assert again.rows == history.rows and len(history.rows) == 2
    np.testing.assert_array_equal(model.seed_generator.state, whole.seed_generator.state)
    assert small.digest(model) == small.digest(whole)
    names = {"loss", "reconstruction", "kl", "negative_elbo", "active_units"}
    assert names | {f"val_{name}" for name in names} <= set(history.rows[0])
    for row in history.rows:
        assert row["val_loss"] == row["val_negative_elbo"]
