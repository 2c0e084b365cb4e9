"""Two replicas against one. Logical devices are fixed once per process, hence one of its own."""

import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
    import sys
    sys.path[:0] = {path!r}
    import keras
    import numpy as np
    import tensorflow as tf
    from kapps import data, models, training

    two, one = training.strategy("cpu:2"), tf.distribute.get_strategy()
    symbols = np.random.default_rng(0).integers(1, 5, 300).astype(np.int32)

    def train(strategy, k2, clip):
        keras.utils.set_random_seed(0)
        with strategy.scope():
            model = models.char_rnn("\\ufffdabcd", units=4, embedding=3, cell="gru",
                                    k1=5, k2=k2, lanes=4, validation_lanes=2, clip=clip)
            model.compile(keras.optimizers.SGD(0.5))
            model.optimizer.build(model.trainable_variables)
        train = data.TextLanes(symbols, 4, 5, seed=3)
        validation = data.text_stream(symbols[:90], lanes=2, steps=7)
        history = model.fit(train.dataset(0, 2), steps_per_epoch=train.steps, epochs=2,
                            validation_data=validation, verbose=0, shuffle=False)
        return model, history.history

    # Clipping at 0.05 always clips: sums and halves of gradients would not be the same then.
    for k2, clip in ((5, 0.0), (8, 0.05)):
        (a, logs_a), (b, logs_b) = train(one, k2, clip), train(two, k2, clip)
        for x, y in zip(a.weights, b.weights, strict=True):
            np.testing.assert_allclose(y.numpy(), x.numpy(), rtol=1e-4, atol=1e-6, err_msg=x.path)
        for name in logs_a:
            np.testing.assert_allclose(logs_b[name], logs_a[name], rtol=1e-4, err_msg=name)
        for weight in b.weights:  # the copies of the replicas
            copies = [np.array(v) for v in two.experimental_local_results(weight.value)]
            np.testing.assert_array_equal(*copies)
        rows = np.array(b.memory.states[0])
        assert rows.shape == (4, 4) and len(np.unique(rows.round(5), axis=0)) == 4
    print("equal")
"""


@pytest.mark.slow
def test_two_replicas_train_as_one_does():
    """The lanes are divided; weights, figures and all that is remembered are the same."""
    program = textwrap.dedent(PROGRAM).format(path=sys.path)
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert answer.stdout.strip() == "equal", answer.stderr
