"""What is published of generative models, and what is refused."""

import io
import os
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kapps import models, serving
from kapps.errors import UserError
from kapps.serving.publishing.generative import endpoints_of
from kapps.serving.savedmodel.endpoints import in_parts

SHAPE, CLASSES = (6, 5, 1), 3
IMAGES = np.random.default_rng(0).integers(0, 256, (5, *SHAPE), np.uint8)
Z = np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32)
LABELS = np.array([0, 2, 1, 1, 0], np.int32)
ONE_HOT = np.eye(CLASSES, dtype=np.float32)


def randomize(model):
    """Weights that make pictures differ; biases and moving statistics off zero and one."""
    rng = np.random.default_rng(0)
    model.set_weights(
        [
            rng.uniform(0.2, 0.9, w.shape).astype(w.dtype)
            if w.ndim < 2
            else rng.normal(size=w.shape).astype(w.dtype)
            for w in model.get_weights()
        ]
    )
    return model


def gan(classes=0):
    generator = models.gan_dense_generator(
        SHAPE, 2, classes=classes, units=8, normalization="batch"
    )
    kind = "projection" if classes else None
    discriminator = models.gan_dense_discriminator(
        SHAPE, classes=classes, conditioning=kind, units=7
    )
    model = models.GAN(generator, discriminator)
    randomize(model.generator)
    randomize(model.generator_ema)
    model.generator.set_weights([0 * w for w in model.generator.get_weights()])
    return model


def vae(classes=0, **options):
    return randomize(models.dense_vae(SHAPE, 2, units=(8,), classes=classes, **options))


def autoencoder():
    return randomize(models.linear_autoencoder(SHAPE, 2))


def vq_vae():
    keras.utils.set_random_seed(0)
    model = models.vq_vae(SHAPE, codes=6, code_dim=3, filters=4)
    model.compile(keras.optimizers.SGD(0.01))
    model.train_on_batch(IMAGES)  # the first batch places the codebook
    return model.with_prior(models.code_prior((3, 3), 6, filters=4, depth=1))


MODELS = {
    "vq_vae": vq_vae,
    "autoencoder": autoencoder,
    "vae": vae,
    "conditional_vae": lambda: vae(CLASSES),
    "vamp_vae": lambda: vae(pseudo_inputs=4),
    "gan": gan,
    "conditional_gan": lambda: gan(CLASSES),
}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    root, done = tmp_path_factory.mktemp("saved_models"), {}

    def publish(name):
        if name not in done:
            model = MODELS[name]()
            version = serving.export_generator(model, root / name, card=f"# A {name}")
            done[name] = SimpleNamespace(
                model=model, version=version, signatures=serving.load(version).signatures
            )
        return done[name]

    return publish


def call(signature, **inputs):
    return {
        name: value.numpy()
        for name, value in signature(**{k: tf.constant(v) for k, v in inputs.items()}).items()
    }


def as_image(pixels):
    return np.rint(255 * np.clip(np.asarray(pixels), 0, 1)).astype(np.uint8)


def close(one, other):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 5])
def test_autoencoder(published, size):
    model, signatures = published("autoencoder").model, published("autoencoder").signatures
    images = IMAGES[:size]
    assert set(signatures) == {
        "serving_default", "reconstruct", "from_bytes", "encode", "decode"
    }  # fmt: skip
    z = call(signatures["encode"], image=images)["z"]
    close(z, model.encode(images))
    answer = call(signatures["serving_default"], image=images)
    pixels = np.asarray(model.reconstruct(images))
    assert pixels.min() < 0 or pixels.max() > 1  # linear: clipping shows
    close(answer["pixels"], pixels.clip(0, 1))
    assert answer["image"].dtype == np.uint8 and answer["pixels"].dtype == np.float32
    np.testing.assert_array_equal(answer["image"], as_image(answer["pixels"]))
    close(answer["error"], model.reconstruction_error(images))
    by_hand = ((pixels - images / 255.0) ** 2).mean((1, 2, 3))
    close(answer["error"], by_hand)
    close(call(signatures["decode"], z=z)["pixels"], answer["pixels"])


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 5])
def test_vae(published, size):
    model, signatures = published("vae").model, published("vae").signatures
    images = IMAGES[:size]
    answer = call(signatures["serving_default"], image=images)
    assert set(answer) == {"image", "pixels"}
    close(answer["pixels"], model.reconstruct(images))
    assert np.ptp(answer["pixels"]) > 0.2
    code = call(signatures["encode"], image=images)
    mean, log_var = model.encode(images)
    close(code["z"], mean)
    close(code["mean"], mean)
    close(code["log_var"], log_var)
    close(call(signatures["decode"], z=code["z"])["pixels"], answer["pixels"])
    close(call(signatures["decode"], z=Z[:size])["pixels"], model.decode(Z[:size]))


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 5])
def test_gan(published, size):
    model, signatures = published("gan").model, published("gan").signatures
    assert set(signatures) == {"serving_default", "generate", "sample"}
    for name in ("serving_default", "generate"):
        answer = call(signatures[name], z=Z[:size])
        close(answer["pixels"], model.generate(Z[:size]))
        np.testing.assert_array_equal(answer["image"], as_image(answer["pixels"]))
    # What trains is all zeros here: the pictures are those of the averaged generator.
    assert np.ptp(answer["pixels"]) > 0.2


@pytest.mark.slow
def test_vq_vae(published):
    model, signatures = published("vq_vae").model, published("vq_vae").signatures
    assert set(signatures) == {
        "serving_default",
        "reconstruct",
        "from_bytes",
        "encode",
        "decode",
        "sample",
    }
    codes = call(signatures["encode"], image=IMAGES)["codes"]
    assert codes.dtype == np.int32 and codes.shape == (5, 3, 3)
    np.testing.assert_array_equal(codes, model.encode(IMAGES))
    again = call(signatures["decode"], codes=codes)
    close(again["pixels"], np.clip(model.reconstruct(IMAGES), 0, 1))
    close(again["pixels"], call(signatures["serving_default"], image=IMAGES)["pixels"])
    with pytest.raises(tf.errors.InvalidArgumentError, match="outside 0..5"):
        signatures["decode"](codes=tf.fill([1, 3, 3], 6))


@pytest.mark.slow
def test_a_vq_vae_without_a_prior_cannot_be_sampled_from():
    signatures = endpoints_of(models.vq_vae(SHAPE, codes=6, code_dim=3, filters=4))
    assert "encode" in signatures and "sample" not in signatures


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vae", "vamp_vae", "gan", "vq_vae"])
def test_samples_are_those_of_the_model_and_belong_to_the_seed(published, name):
    model, sample = published(name).model, published(name).signatures["sample"]
    first = call(sample, count=4, seed=1)
    assert first["image"].shape == (4, *SHAPE) and first["pixels"].dtype == np.float32
    np.testing.assert_array_equal(first["image"], call(sample, count=4, seed=1)["image"])
    difference = first["image"].astype(int) - model.sample(4, seed=1)
    assert np.abs(difference).max() <= 1 and (difference == 0).mean() > 0.95
    other = call(sample, count=4, seed=2)["image"]
    assert np.abs(first["image"].astype(int) - other).mean() > 1
    pictures = first["image"].reshape(4, -1).astype(int)
    assert all(np.abs(pictures[i] - pictures[j]).max() > 3 for i in range(4) for j in range(i))
    # The shapes of REST clients: a list with one number.
    np.testing.assert_array_equal(call(sample, count=[4], seed=[1])["image"], first["image"])
    # More than are drawn at a time, and none.
    many = call(sample, count=300, seed=5)["image"].astype(int)
    assert np.abs(many - model.sample(300, seed=5)).max() <= 1
    assert call(sample, count=0, seed=5)["image"].shape == (0, *SHAPE)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["conditional_vae", "conditional_gan"])
def test_conditional_models_take_labels(published, name):
    model, signatures = published(name).model, published(name).signatures
    labels = ONE_HOT[LABELS]
    if name == "conditional_vae":
        answer = call(signatures["reconstruct"], image=IMAGES, label=LABELS)
        close(answer["pixels"], model.reconstruct(IMAGES, labels))
        close(call(signatures["encode"], image=IMAGES, label=LABELS)["z"],
              model.encode(IMAGES, labels)[0])  # fmt: skip
        decoded, expected = signatures["decode"], model.decode(Z, labels)
    else:
        decoded, expected = signatures["generate"], model.generate(Z, labels)
    close(call(decoded, z=Z, label=LABELS)["pixels"], expected)
    sample = signatures["sample"]
    twos = call(sample, count=20, seed=3, label=2)["image"].astype(int)
    assert np.abs(twos - model.sample(20, seed=3, labels=ONE_HOT[[2] * 20])).max() <= 1
    # -1: every picture is that of one class, and all classes occur.
    mixed = call(sample, count=60, seed=3, label=-1)["image"].astype(int)
    np.testing.assert_array_equal(mixed, call(sample, count=60, seed=3, label=-1)["image"])
    by_class = [call(sample, count=60, seed=3, label=c)["image"].astype(int) for c in range(3)]
    distances = np.stack([np.abs(mixed - pictures).max((1, 2, 3)) for pictures in by_class])
    assert (distances.min(axis=0) <= 1).all()
    shares = np.bincount(distances.argmin(axis=0), minlength=3) / 60
    assert (np.abs(shares - 1 / 3) < 0.25).all()
    for label in (-2, 3):
        with pytest.raises(tf.errors.InvalidArgumentError, match="outside -1..2"):
            call(sample, count=1, seed=1, label=label)
    with pytest.raises(tf.errors.InvalidArgumentError, match="outside 0..2"):
        call(decoded, z=Z, label=LABELS - 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["conditional_vae", "conditional_gan"])
def test_labels_of_samples_beyond_the_first_part(published, name):
    model, sample = published(name).model, published(name).signatures["sample"]
    twos = call(sample, count=300, seed=3, label=2)["image"].astype(int)
    assert np.abs(twos - model.sample(300, seed=3, labels=ONE_HOT[[2] * 300])).max() <= 1
    mixed = call(sample, count=400, seed=3, label=-1)["image"].astype(int)
    by_class = [call(sample, count=400, seed=3, label=c)["image"].astype(int) for c in range(3)]
    distances = np.stack([np.abs(mixed - images).max((1, 2, 3)) for images in by_class])
    assert (distances.min(axis=0) <= 1).all()
    drawn = distances.argmin(axis=0)
    # Each part draws its own classes, all of them.
    assert (drawn[:144] != drawn[256:]).any() and set(drawn[256:]) == {0, 1, 2}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vae", "gan", "vq_vae"])
def test_no_more_samples_than_fit_into_an_answer(published, name):
    sample = published(name).signatures["sample"]
    for count in (10_001, 2**31 - 1):
        with pytest.raises(tf.errors.InvalidArgumentError, match="count is larger than 10000"):
            call(sample, count=count, seed=1)


def encoded(image, format="PNG"):
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, format)
    return file.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["autoencoder", "vae", "conditional_vae"])
def test_files_are_read(published, name):
    signatures = published(name).signatures
    label = {"label": LABELS} if name == "conditional_vae" else {}
    by_pixels = call(signatures["reconstruct"], image=IMAGES, **label)
    files = call(signatures["from_bytes"], image_bytes=[encoded(i) for i in IMAGES], **label)
    for key, value in by_pixels.items():
        np.testing.assert_array_equal(files[key], value)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_only_what_is_served_is_saved(published, name):
    model, version = published(name).model, published(name).version
    variables = tf.train.list_variables(str(version / "variables" / "variables"))
    saved = [tuple(shape) for key, shape in variables if key.startswith("model_variables")]
    served = {
        "autoencoder": lambda: [*model.encoder.weights, *model.decoder.weights],
        "vae": lambda: [*model.encoder.weights, *model.decoder.weights],
        "gan": lambda: model.generator_ema.weights,
        "vq_vae": lambda: [
            *model.encoder.weights,
            *model.decoder.weights,
            model.codebook.vectors,  # and not their counts
            *model.prior.weights,
        ],
    }
    expected = served[name if name in served else name.split("_")[-1]]() + (
        [model.prior.pseudo_inputs] if name == "vamp_vae" else []
    )
    # A GAN is its averaged generator: no discriminator, no counter, no state of a generator of
    # random numbers.
    assert sorted(saved) == sorted(tuple(w.shape) for w in expected)
    assert len(variables) == len(saved) + 1  # and the graph of objects


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_graph_has_no_state(published, name):
    for signature in published(name).signatures.values():
        graph = signature.graph.as_graph_def()
        nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
        ops = {node.op for node in nodes}
        assert not {op for op in ops if op.startswith("Assign")}
        drawing = {op for op in ops if "Random" in op}
        assert all(op.startswith("Stateless") for op in drawing)
        if "seed" not in signature.structured_input_signature[1]:
            assert not drawing


@pytest.mark.slow
def test_a_version_has_a_card_and_warm_up_requests(published):
    for name in ("vae", "conditional_gan"):
        version = published(name).version
        card = (version / "model_card.md").read_text(encoding="utf-8")
        assert card.startswith(f"# A {name}\n")
        assert "| `sample` | `count` int32 [] or [1], `seed` int32 [] or [1]" in card
        assert f"/v1/models/{name}:predict" in card
        path = version / "assets.extra" / "tf_serving_warmup_requests"
        assert len(list(tf.data.TFRecordDataset(str(path)))) == 2 * len(published(name).signatures)
    assert "`image` uint8 [N, 6, 5, 1], `pixels` float32 [N, 6, 5, 1]" in card
    assert "-1 draws a class" in card


@pytest.mark.slow
@pytest.mark.parametrize("name", ["autoencoder", "vae", "conditional_vae", "gan"])
def test_the_program_on_the_card_runs(published, name, tmp_path, monkeypatch):
    card = (published(name).version / "model_card.md").read_text(encoding="utf-8")
    program = card.split("```python\n")[1].split("```")[0]
    (tmp_path / "image.png").write_bytes(encoded(IMAGES[0]))
    monkeypatch.chdir(tmp_path)
    names = {}
    place = str(published(name).version)
    exec(program.replace("DIRECTORY OF THIS FILE", place), names)  # noqa: S102
    assert names["answer"]["image"].shape[1:] == SHAPE


TENSORFLOW_PROGRAM = """
import sys
sys.modules["kapps"] = sys.modules["keras"] = None
import numpy as np
import tensorflow as tf

*places, answers = sys.argv[1:]
samples = [
    tf.saved_model.load(place).signatures["sample"](count=tf.constant(4), seed=tf.constant(1))
    for place in places
]
np.save(answers, [sample["image"].numpy() for sample in samples])
"""


@pytest.mark.slow
def test_tensorflow_alone_draws_the_same_samples(published, tmp_path):
    both = [published(name) for name in ("vae", "gan")]
    places = [each.version for each in both]
    command = [sys.executable, "-c", TENSORFLOW_PROGRAM, *places, tmp_path / "answers.npy"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for each, drawn in zip(both, np.load(tmp_path / "answers.npy"), strict=True):
        assert np.abs(each.model.sample(4, seed=1).astype(int) - drawn).max() <= 1


# -- what is refused


class Stateful(keras.layers.Layer):
    def call(self, x):
        return x + tf.random.uniform(tf.shape(x))


class Seeded(keras.layers.Layer):
    def call(self, x):
        return x + tf.random.stateless_uniform(tf.shape(x), (1, 2))


class Counting(keras.layers.Layer):
    def build(self, shape):
        self.seen = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.seen.assign_add(1.0)
        return x


def endpoints(layer, **more):
    if not layer.built:
        layer.build((None, 2))

    def serve(z, **others):
        return {"pixels": layer(z)}

    return {"serving_default": (serve, [tf.TensorSpec((None, 2), tf.float32, "z")]), **more}


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Stateful, "signature serving_default draws random numbers: op RandomUniform"),
        (Seeded, "draws random numbers: op Stateless"),
        (Counting, "changes the model's variables: op Assign"),
    ],
)
def test_random_numbers_without_a_seed_and_state_are_refused(tmp_path, layer, words):
    with pytest.raises(UserError, match=words):
        serving.export_generative(endpoints(layer()), tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_stateful_draw_is_refused_even_with_a_seed(tmp_path):
    def sample(count, seed):
        noise = tf.random.uniform([tf.reshape(count, []), 2])
        return {"pixels": noise + tf.cast(seed, tf.float32)}

    specs = [tf.TensorSpec(None, tf.int32, name) for name in ("count", "seed")]
    with pytest.raises(UserError, match="signature sample draws random numbers: op RandomUniform"):
        serving.export_generative(
            endpoints(keras.layers.Dense(2), sample=(sample, specs)), tmp_path
        )


@pytest.mark.slow
def test_what_disagrees_or_is_not_finite_is_not_published(tmp_path, monkeypatch):
    from kapps.serving.savedmodel import graph

    layer = keras.layers.Dense(2, bias_initializer="ones")
    save = graph.save

    def save_other_weights(*args):
        layer.bias.assign([1.0, 1.01])
        save(*args)
        layer.bias.assign([1.0, 1.0])

    with monkeypatch.context() as patched:
        patched.setattr(graph, "save", save_other_weights)
        with pytest.raises(RuntimeError, match="serving_default: the SavedModel differs"):
            serving.export_generative(endpoints(layer), tmp_path)
    layer.bias.assign([1.0, np.nan])
    with pytest.raises(UserError, match="pixels is not finite: the model diverged"):
        serving.export_generative(endpoints(layer), tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_arguments_that_do_not_fit(tmp_path):
    with pytest.raises(ValueError, match="serving_default"):
        serving.export_generative({}, tmp_path)
    with pytest.raises(UserError, match="2 class names for a model of 3 classes"):
        serving.export_generator(gan(CLASSES), tmp_path, class_names=("a", "b"))
    with pytest.raises(UserError, match="1 class names for a model of 0"):
        serving.export_generator(vae(), tmp_path, class_names=("a",))
    with pytest.raises(UserError, match="Sequential is no generative model"):
        serving.export_any(keras.Sequential(), tmp_path)
    assert not serving.is_generative(keras.Sequential()) and serving.is_generative(vae())


@pytest.mark.slow
def test_any_of_them_by_its_class(tmp_path):
    names = ("a", "b", "c")
    model = gan(CLASSES)
    model.save(tmp_path / "model.keras")
    saved = serving.load_model(tmp_path / "model.keras")
    version = serving.export_any(saved, tmp_path / "gan", class_names=names)
    drawn = call(serving.load(version).signatures["sample"], count=3, seed=4, label=1)["image"]
    ours = model.sample(3, seed=4, labels=ONE_HOT[[1, 1, 1]])
    assert np.abs(drawn.astype(int) - ours).max() <= 1
    assert (version / "assets" / "labels.txt").read_text() == "a\nb\nc\n"
    # A run knows the classes of its pictures, also where the model does not use them.
    version = serving.export_any(gan(), tmp_path / "plain", class_names=names)
    assert "generate" in serving.load(version).signatures
    assert not (version / "assets").is_dir() or not os.listdir(version / "assets")


def test_parts_have_seeds_of_their_own():
    def draw(size, seed, start):
        return tf.fill([size, 1, 1, 1], tf.cast(1000 * seed[1] + seed[0] + start, tf.float32))

    drawn = in_parts(draw, tf.constant(513), tf.constant(7), (1, 1, 1)).numpy().ravel()
    assert len(drawn) == 513
    assert drawn[[0, 255, 256, 511, 512]].tolist() == [7, 7, 256263, 256263, 512519]
