"""VAEs under `training.fit` and on several replicas."""

import json
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

from kapps import data, models, training
from training import small


class Stop(Exception):
    """Ends a training in the middle, as a crash does."""


class Crash(keras.callbacks.Callback):
    def __init__(self, step):
        super().__init__()
        self.left = step

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise Stop


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


def test_a_crash_inside_an_epoch_changes_nothing(tmp_path):
    whole, history = train()
    for step in (3, 4):  # after a checkpoint inside the first epoch, and in the second epoch
        with training.open_run("small", small.Config(str(tmp_path / "run"))) as run:
            with pytest.raises(Stop):
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


STEP = """
    import json
    import keras
    import numpy as np
    import tensorflow as tf
    from kapps import models, training

    strategy = training.strategy({devices!r})
    image = np.random.default_rng(0).integers(0, 2, (8, 4, 3, 1)).astype("uint8") * 255
    noise = tf.constant(np.random.default_rng(1).normal(size=(8, 3)), tf.float32)
    found = {{}}
    for fixed in (True, False):
        keras.utils.set_random_seed(0)
        with strategy.scope():
            model = models.dense_vae(
                (4, 3, 1), 3, units=(6,), {settings}
            )
            model.compile(keras.optimizers.SGD(0.1))
        if fixed:
            def by_picture(shape, seed):  # depends on the picture alone
                context = tf.distribute.get_replica_context()
                start = context.replica_id_in_sync_group * shape[1]
                return tf.broadcast_to(noise[start : start + shape[1]][None], shape)
            model.noise = by_picture
        else:
            seen = []
            inner = model.noise
            def spy(shape, seed):
                z = inner(shape, seed)
                tf.py_function(lambda z: seen.append(z.numpy().tolist()), [z], [])
                return z
            model.noise = spy
        batches = tf.data.Dataset.from_tensor_slices(image).batch(8)
        history = model.fit(batches, verbose=0).history
        if fixed:
            found["weights"] = [np.array(w).tolist() for w in model.trainable_variables]
            found["logs"] = {{name: values[-1] for name, values in history.items()}}
        else:
            found["noise"] = seen
    print(json.dumps(found))
"""


def in_a_new_process(devices, settings):
    code = textwrap.dedent(STEP).format(devices=devices, settings=settings)
    program = f"import sys; sys.path[:0] = {sys.path!r}\n" + code
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.strip().splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    ["free_bits=0.2, beta=0.5", "objective='iwae', samples=3, pseudo_inputs=2"],
)
def test_two_replicas_take_the_step_of_one(settings):
    """The same weights and figures when the noise is fixed; noise of their own otherwise."""
    one, two = in_a_new_process("cpu", settings), in_a_new_process("cpu:2", settings)
    for a, b in zip(one["weights"], two["weights"], strict=True):
        np.testing.assert_allclose(b, a, atol=1e-6)
    assert one["logs"].keys() == two["logs"].keys() >= {"loss", "kl", "active_units"}
    for name, value in one["logs"].items():
        assert two["logs"][name] == pytest.approx(value, rel=1e-5), name
    assert (len(one["noise"]), len(two["noise"])) == (1, 2)
    first, second = (np.array(noise) for noise in two["noise"])
    assert first.shape == second.shape == (*first.shape[:1], 4, 3)
    assert not np.any(first == second)
