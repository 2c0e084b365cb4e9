"""Muon against NumPy: the iteration as its authors wrote it, and the singular values themselves."""

import keras
import numpy as np
import pytest

from kapps.errors import UserError
from kapps.training import Muon, momentum_cycle, optimizer
from kapps.training.optim.muon import orthogonalized

RNG = np.random.default_rng(0)


def newton_schulz(g, steps=5):
    """https://kellerjordan.github.io/posts/muon, line by line, in float64."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g / np.linalg.norm(g)
    if g.shape[0] > g.shape[1]:
        x = x.T
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def conditioned(rows, columns, smallest):
    u, s, v = np.linalg.svd(RNG.normal(size=(rows, columns)), full_matrices=False)
    return u * np.geomspace(1.0, smallest, len(s)) @ v


@pytest.mark.parametrize("shape", [(18, 4), (4, 18), (5, 5), (2, 9)])
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_orthogonalized_is_the_published_iteration(shape, steps):
    g = RNG.normal(size=shape)
    found = orthogonalized(g.astype("float32"), steps).numpy()
    np.testing.assert_allclose(found, newton_schulz(g, steps), atol=1e-5)


@pytest.mark.parametrize("smallest", [1e-2, 1e-4, 1e-6])
def test_singular_values_move_as_the_polynomial_says(smallest):
    """s <- a s + b s^3 + c s^5, five times, whatever the vectors: no iteration over matrices."""
    g = conditioned(30, 8, smallest)
    u, s, v = np.linalg.svd(g, full_matrices=False)
    s = s / np.linalg.norm(s)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    found = orthogonalized(g.astype("float32")).numpy()
    np.testing.assert_allclose(found, u * s @ v, atol=1e-3)


def test_what_comes_out_is_nearly_orthogonal_and_zeros_stay():
    values = np.linalg.svd(orthogonalized(RNG.normal(size=(40, 6)).astype("f4")))[1]
    assert 0.65 < values.min() and values.max() < 1.25
    assert not orthogonalized(np.zeros((4, 3), "f4")).numpy().any()
    assert np.isfinite(orthogonalized(np.full((4, 3), 1e-30, "f4"))).all()


def layer(kind, shape, *arguments, **options):
    built = kind(*arguments, **options)
    built.build(shape)
    return built


def moved(built, variables, gradients):
    for step in gradients:
        built.apply([keras.ops.convert_to_tensor(g, "float32") for g in step], variables)
    return [v.numpy() for v in variables]


def by_hand(w, gradients, rate, momenta, decay=0.0):
    """Of a kernel [..., in, out], seen as [kernel x in, out]."""
    rows, columns = np.prod(w.shape[:-1]), w.shape[-1]
    v = np.zeros_like(w)
    for g, m in zip(gradients, momenta, strict=True):
        v = m * v + g
        step = newton_schulz((g + m * v).reshape(rows, columns)).reshape(w.shape)
        w = w - rate * decay * w
        w = w - rate * 0.2 * np.sqrt(max(rows, columns)) * step
    return w


@pytest.mark.parametrize(
    "shape", [(3, 3, 2, 5), (2, 2, 3, 20), (4, 3, 6), (7, 4), (2, 2, 2, 3, 4)], ids=str
)
def test_three_steps_of_a_kernel_of_any_rank_by_hand(shape):
    kernel = keras.Variable(RNG.normal(size=shape), dtype="float32", name="kernel")
    gradients, start = RNG.normal(size=(3, *shape)), kernel.numpy().astype("float64")
    built = optimizer("muon", 0.1, weight_decay=0.5)
    (found,) = moved(built, [kernel], gradients[:, None])
    expected = by_hand(start, gradients, 0.1, [0.95] * 3, decay=0.5)
    np.testing.assert_allclose(found, expected, atol=3e-5)


def test_momentum_follows_its_schedule():
    cycle = momentum_cycle(3, high=0.95, low=0.5, warmup=0.34)
    momenta = [float(cycle(step)) for step in range(3)]
    assert len({round(m, 3) for m in momenta}) > 1
    kernel = keras.Variable(np.ones((6, 3)), dtype="float32", name="kernel")
    gradients = RNG.normal(size=(3, 6, 3))
    (found,) = moved(optimizer("muon", 0.1, momentum_schedule=cycle), [kernel], gradients[:, None])
    np.testing.assert_allclose(found, by_hand(np.ones((6, 3)), gradients, 0.1, momenta), atol=3e-5)


def rest():
    layers = keras.layers
    return {
        "bias": layer(layers.Dense, (None, 3), 4).bias,
        "head": layer(layers.Dense, (None, 3), 4, name="logits").kernel,
        "one output": layer(layers.Dense, (None, 3), 1).kernel,
        "depthwise": layer(layers.DepthwiseConv2D, (None, 5, 5, 4), 3).kernel,
        "embeddings": layer(layers.Embedding, None, 5, 3).embeddings,
        "scale": layer(layers.BatchNormalization, (None, 4)).gamma,
    }


@pytest.mark.parametrize("name", list(rest()))
@pytest.mark.parametrize("by", ["adamw", "sgd"])
def test_the_rest_is_moved_by_keras_own(name, by):
    """Beside a kernel that is not, so that neither's slots are taken for the other's."""
    kernel = keras.Variable(np.ones((3, 2)), dtype="float32", name="kernel")
    one, other = (rest()[name] for _ in range(2))
    other.assign(one)
    gradients = [RNG.normal(size=(2, *one.shape)), RNG.normal(size=(2, 3, 2))]
    built = Muon(0.1, momentum=0.8, rest=by, rest_rate=0.5)
    _, found = moved(built, [kernel, one], zip(*gradients[::-1], strict=True))
    keras_own = {
        "adamw": keras.optimizers.AdamW(0.05, weight_decay=0.0),
        "sgd": keras.optimizers.SGD(0.05, momentum=0.8, nesterov=True),
    }[by]
    (expected,) = moved(keras_own, [other], [[g] for g in gradients[0]])
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(
        kernel, by_hand(np.ones((3, 2)), gradients[1], 0.1, [0.8] * 2), atol=3e-5
    )


def test_sparse_gradients_of_embeddings():
    model = keras.Sequential([keras.Input((2,), dtype="int32"), keras.layers.Embedding(6, 3)])
    model.compile(optimizer("muon", 0.1), "mse")
    before = model.get_weights()[0]
    model.train_on_batch(np.array([[1, 3]]), np.ones((1, 2, 3)))
    changed = (model.get_weights()[0] != before).any(axis=1)
    np.testing.assert_array_equal(changed, [False, True, False, True, False, False])


def test_attention_is_seen_as_what_it_multiplies():
    attention = keras.layers.MultiHeadAttention(2, 3)
    attention.build((None, 7, 5), (None, 7, 5))
    built = Muon()
    shapes = {v.path: built.matrix_shape(v) for v in attention.weights if v.name == "kernel"}
    assert [shape for path, shape in shapes.items() if "output" not in path] == [(5, 6)] * 3
    assert [shape for path, shape in shapes.items() if "output" in path] == [(6, 5)]


def test_configuration_comes_back():
    built = Muon(0.1, steps=3, rest="sgd", rest_rate=0.5, exclude=("a", "b"), weight_decay=0.1)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(built))
    assert type(again) is Muon and again.get_config() == built.get_config()


def test_mistakes_are_named():
    with pytest.raises(UserError, match="adamw or sgd"):
        Muon(rest="adam")
    with pytest.raises(UserError, match="steps 0"):
        Muon(steps=0)
