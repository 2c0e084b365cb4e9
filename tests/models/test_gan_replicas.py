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
    from kapps import training
    from models.small_gans import gan, one_hot, pictures, weights

    two, one = training.strategy("cpu:2"), tf.distribute.get_strategy()
    image, labels = pictures(8), one_hot(8, 3)

    uniform = tf.random.stateless_uniform

    def train(strategy, optimizer):
        tf.random.stateless_uniform = uniform
        keras.utils.set_random_seed(0)
        with strategy.scope():
            model = gan(classes=3, conditioning="projection", of_discriminator="spectral",
                        r1=1.0, penalty_interval=2, gradient_penalty=1.0)
            model.compile(optimizer(), optimizer())
        # The same for each picture, whichever replica has it.
        model.latents = lambda count, seed: tf.ones([count, 3]) * [0.5, -1.0, 2.0]
        tf.random.stateless_uniform = lambda shape, *rest: tf.fill(shape, 0.25)
        data = tf.data.Dataset.from_tensors((image, labels)).repeat(3)
        logs = model.fit(data, epochs=1, verbose=0, shuffle=False).history
        return model, logs

    for optimizer in (lambda: keras.optimizers.SGD(0.05), lambda: keras.optimizers.Adam(1e-3)):
        a, logs_a = train(one, optimizer)
        b, logs_b = train(two, optimizer)
        for x, y in zip(weights(a), weights(b), strict=True):
            np.testing.assert_allclose(y, x, rtol=2e-4, atol=2e-6)
        for name in logs_a:
            np.testing.assert_allclose(logs_b[name], logs_a[name], rtol=2e-4, atol=1e-5)
        for weight in b.weights:  # the copies of the replicas
            copies = [np.array(v) for v in two.experimental_local_results(weight.value)]
            np.testing.assert_array_equal(*copies)
    tf.random.stateless_uniform = uniform

    # Noise of its own on each replica: seeds, latent vectors.
    with two.scope():
        model = gan()
        model.compile()
    draw = tf.function(lambda: two.run(lambda: model.latents(4, model._seeds(3, 0, 2)[0])))
    first, second = two.experimental_local_results(draw())
    assert not np.intersect1d(first, second).size
    assert np.std(first) > 0.3 and not np.array_equal(model._seeds(3, 0, 2), model._seeds(4, 0, 2))
    assert not np.array_equal(model._seeds(3, 0, 2), model._seeds(3, 1, 2))
    print("equal")
"""


@pytest.mark.slow
def test_two_replicas_train_as_one_does():
    """With the same noise for every picture; and otherwise each replica has noise of its own."""
    program = textwrap.dedent(PROGRAM).format(path=sys.path)
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert answer.stdout.strip() == "equal", answer.stderr
