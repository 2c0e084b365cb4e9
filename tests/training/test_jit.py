"""What XLA compiles is what was asked for, computes the same, and goes on to the same bits."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from crashes import Crash, Crashed
from kapps import data, training
from kapps.errors import UserError
from kapps.training import jit
from kapps.training.fitting import resumable
from recipes import autoencoder, image_classifier

GPU = ["GPU:0"]
# As TensorFlow words it.
NO_LIBDEVICE = """Graph execution error:

Detected at node StatefulPartitionedCall defined at (most recent call last):
  File "/home/me/train.py", line 7, in compile

<stack traces unavailable>
libdevice not found at ./libdevice.10.bc
\t [[{{node StatefulPartitionedCall}}]] [Op:__inference_multi_step_on_iterator_3154]"""
FULL = NO_LIBDEVICE.replace("libdevice not found at ./libdevice.10.bc", "Out of memory: XLA Label")


def batches():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(96, 6)).astype("float32"), generator.integers(0, 3, 96)
    split = data.Split(y, lambda rows: tf.gather(tf.constant(x), rows))
    train = data.TrainingBatches(split, 32, prepare=lambda x, y, seed: (x, y))
    return train, data.evaluation_batches(split, 32, prepare=lambda x, y: (x, y))


def network(*layers):
    model = keras.Sequential([keras.Input((6,)), *layers, keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(training.optimizer("adam", 0.01), loss)
    model.optimizer.build(model.trainable_variables)
    return model


def pooled():
    """XLA has no deterministic gradient of max pooling."""
    layers = keras.layers
    pool = layers.Reshape((6, 1, 1)), layers.MaxPooling2D((2, 1)), layers.Flatten()
    return network(layers.Dense(6), *pool)


def asked(model, how, run=None, steps=10**6):
    train, validation = batches()
    config = types.SimpleNamespace(jit=how)
    variables = [variable for _, variable in resumable._variables(model)]
    return jit.steps_by_xla(
        model, train, validation, steps, config=config, run=run, variables=variables
    )


def measured(monkeypatch, plain, compiled, first=5.0):
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: GPU)
    seconds = {False: (1.0, plain), True: (first, compiled)}
    monkeypatch.setattr(jit, "_seconds", lambda model, *_: seconds[bool(model.jit_compile)])


def failing(monkeypatch, error, plain=0.1, by_xla=True):
    """One of the two measurements raises an error."""

    def seconds(model, *_):
        if model.jit_compile is by_xla:
            raise error
        return 1.0, plain

    monkeypatch.setattr(jit, "_seconds", seconds)


@pytest.mark.parametrize(
    ("plain", "compiled", "steps", "said", "why"),
    [
        (0.2, 0.1, 1000, True, "2.00 times as fast"),
        (0.1, 0.2, 1000, False, "0.50 times as fast"),
        (0.1, 0.098, 1000, False, "5 s to compile"),  # 2 s are saved, and 5 spent
        (0.1, 0.01, 500, False, "a training of 50 s is too short for compiling to pay"),
    ],
)
def test_the_faster_training_is_chosen(monkeypatch, plain, compiled, steps, said, why):
    measured(monkeypatch, plain, compiled)
    train, validation = batches()
    found, reason = training.choose_jit(network(), train, validation, steps, ())
    assert found is said and why in reason


def test_on_cpus_it_is_never_measured(monkeypatch):
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [])
    monkeypatch.setattr(jit, "choose_jit", None)
    assert asked(network(), "auto") is False
    assert asked(network(), "off") is False
    assert asked(network(), "on") == "--jit on"


def test_what_was_measured_holds_for_the_run(monkeypatch, tmp_path, capsys):
    measured(monkeypatch, 0.2, 0.1)
    facts = {}
    run = types.SimpleNamespace(facts=lambda: facts, record=lambda **new: facts.update(new))
    chosen = "--jit auto (XLA was measured to be faster)"
    assert asked(network(), "auto", run) == chosen
    assert facts == {"jit": True} and "jit on: measured" in capsys.readouterr().out
    measured(monkeypatch, 0.1, 0.2)
    assert asked(network(), "auto", run) == chosen
    phase = types.SimpleNamespace(run=run, name="probe")
    assert asked(network(), "auto", phase) is False
    assert facts == {"jit": True, "jit-probe": False}
    measured(monkeypatch, 0.2, 0.1)
    for stage, held in {"probe-2": False, "probe-3": False, "training-3": chosen}.items():
        phase = types.SimpleNamespace(run=run, name=stage)
        assert asked(network(), "auto", phase) == held
    assert facts == {"jit": True, "jit-probe": False}
    facts.clear()  # the training had no GPU
    for stage in ("training-2", "training-3"):
        phase = types.SimpleNamespace(run=run, name=stage)
        assert asked(network(), "auto", phase) == chosen
        measured(monkeypatch, 0.1, 0.2)
    assert facts == {"jit-training-2": True}


def test_more_epochs_are_trained_as_those_before(monkeypatch, tmp_path):
    def train(more_epochs):
        config = image_classifier.Config(epochs=1, run_dir=str(tmp_path), more_epochs=more_epochs)
        kinds = Kinds()
        with training.open_run("image_classifier", config) as run:
            model = network()
            training.fit_with_more(
                model, *batches(), config=config, run=run, monitor="val_loss", callbacks=[kinds]
            )
            return kinds.seen, {k: v for k, v in run.facts().items() if k.startswith("jit")}

    measured(monkeypatch, 100.0, 1.0)
    assert train(0) == ({True}, {"jit": True})
    measured(monkeypatch, 1.0, 100.0)
    assert train(2) == ({True}, {"jit": True})


def test_a_measurement_leaves_all_as_it_was(monkeypatch):
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: GPU)
    monkeypatch.setattr(jit, "WORTH_MEASURING", 0.0)
    model = network(keras.layers.Dropout(0.5, seed=1))
    before = [np.array(v) for _, v in resumable._variables(model)]
    asked(model, "auto")
    after = [np.array(v) for _, v in resumable._variables(model)]
    for value, expected in zip(after, before, strict=True):
        np.testing.assert_array_equal(value, expected)
    assert model.jit_compile is False


def test_what_xla_cannot_compile(monkeypatch):
    with pytest.raises(UserError) as refused:
        train, validation = batches()
        config = types.SimpleNamespace(jit="on", epochs=1)
        training.seed_everything(0)  # deterministic ops
        training.fit(pooled(), train, validation, config=config)
    assert str(refused.value) == (
        "--jit on: XLA cannot compile this network: GPU MaxPool gradient ops do not yet have a "
        "deterministic XLA implementation. Use --jit off, with another --run-dir, or with "
        "--overwrite to start afresh."
    )
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: GPU)
    monkeypatch.setattr(jit, "WORTH_MEASURING", 0.0)
    train, validation = batches()
    said, why = training.choose_jit(pooled(), train, validation, 1000, ())
    assert said is False and why.startswith("XLA cannot compile this network: GPU MaxPool")
    model = network()
    model.layers[0].supports_jit = False
    assert asked(model, "auto") is False
    with pytest.raises(UserError, match=f"--jit on: XLA cannot compile {model.layers[0].name}"):
        asked(model, "on")


def test_a_choice_that_no_longer_compiles_is_told_as_such(monkeypatch):
    measured(monkeypatch, 0.2, 0.1)
    model, config = pooled(), types.SimpleNamespace(jit="auto", epochs=1000)
    training.seed_everything(0)
    with pytest.raises(UserError, match="^--jit auto .* cannot compile .*MaxPool.* --jit off, "):
        training.fit(model, *batches(), config=config)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (
            tf.errors.InternalError(None, None, NO_LIBDEVICE),
            "XLA cannot compile this network: libdevice not found at ./libdevice.10.bc",
        ),
        (
            tf.errors.ResourceExhaustedError(None, None, FULL),
            "a step by XLA has failed: Out of memory: XLA Label",
        ),
        (tf.errors.AbortedError(None, None, ""), "a step by XLA has failed: AbortedError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_measurement_that_fails_is_a_no(monkeypatch, error, why):
    failing(monkeypatch, error)
    model, (train, validation) = network(), batches()
    assert training.choose_jit(model, train, validation, 1000, ()) == (False, why)
    assert model.jit_compile is False
    failing(monkeypatch, error, by_xla=False)
    with pytest.raises(type(error)):  # nor would it train without XLA
        training.choose_jit(model, train, validation, 1000, ())


@pytest.mark.parametrize(
    ("kind", "message", "compiling"),
    [
        ("InternalError", NO_LIBDEVICE, True),
        ("InternalError", "ptxas exited with non-zero error code 2", True),
        ("InternalError", "nvlink fatal: no input", True),
        ("InternalError", "Failed to execute XLA executable", False),
        ("ResourceExhaustedError", "Compilation failure: not enough memory", True),
        ("ResourceExhaustedError", FULL, False),
        ("InvalidArgumentError", "no size\ntf2xla conversion failed", True),
        ("InvalidArgumentError", "XLA needs a constant", True),
        ("InvalidArgumentError", "Incompatible shapes: [3] vs. [4]", False),
        ("AbortedError", "while compiling", False),
    ],
)
def test_errors_of_compiling_are_told_from_others(kind, message, compiling):
    error = getattr(tf.errors, kind)(None, None, message)
    with pytest.raises(UserError if compiling else type(error)) as found:
        with training.compiled_by_xla(network(), "--jit on"):
            raise error
    if compiling:
        said = message.splitlines()[6 if message is NO_LIBDEVICE else 0]
        assert str(found.value).startswith(f"--jit on: XLA cannot compile this network: {said}. ")
    else:
        assert found.value is error


def test_nothing_stays_compiled():
    model, x = network(), np.zeros((4, 6), "float32")
    model.predict(x, verbose=0)
    with training.compiled_by_xla(model, True):
        assert model.predict_function is None
        model.predict(x, verbose=0)
        assert model.predict_function is not None
    assert model.predict_function is None


class Kinds(keras.callbacks.Callback):
    """How the steps were compiled."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def on_train_batch_end(self, batch, logs=None):
        self.seen.add(self.model.jit_compile)


def test_the_steps_are_compiled_and_compute_the_same():
    found = {}
    for how in ("off", "on"):
        training.seed_everything(0)
        model, kinds = network(keras.layers.Dense(8, activation="tanh")), Kinds()
        config = types.SimpleNamespace(jit=how, epochs=3)
        history = training.fit(model, *batches(), config=config, callbacks=[kinds], verbose=0)
        assert kinds.seen == {how == "on"} and model.jit_compile is False
        found[how] = [row["val_loss"] for row in history.rows]
    assert found["on"] == pytest.approx(found["off"], rel=1e-4)


@pytest.mark.slow
def test_ended_and_gone_on_with_to_the_same_bits(tmp_path, monkeypatch):
    def train(name):
        config = autoencoder.Config(
            units=(16,), latent_dim=3, epochs=2, jit="on", run_dir=str(tmp_path / name)
        )
        with training.open_run("autoencoder", config) as run:
            return autoencoder.fit(config, run)[0].get_weights()

    usual = training.setup.callbacks
    with monkeypatch.context() as patch:
        crash = Crash(30)
        patch.setattr(training.setup, "callbacks", lambda *known: [*usual(*known), crash])
        with pytest.raises(Crashed):
            train("ended")
    for one, other in zip(train("ended"), train("whole"), strict=True):
        np.testing.assert_array_equal(one, other)
