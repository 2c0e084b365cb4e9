"""Backbones against keras.applications, and EfficientNet-Lite0 against PyTorch's.

Keras' own functions, given the same weights, say what the outputs have to be; the original of
EfficientNet-Lite0 what its logits are (benchmarks/make_efficientnet_lite0.py wrote them down).
"""

import functools
import http.client
import json
import pathlib
import socket
import subprocess
import sys
import urllib.error

import keras
import numpy as np
import pytest

from kapps import layers, models
from kapps.errors import UserError
from kapps.models.pretrained import backbone
from kapps.models.pretrained.backbone_table import BACKBONES, PACKAGED, PREPROCESSING
from models.weightless import without_weights

ROOT = pathlib.Path(__file__).parents[3]
FILE_UTILS = "keras.src.utils.file_utils"

# One network for every way to say what a stage is; the table gives its larger sisters the same.
SWEPT = [
    "efficientnet_lite0",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "efficientnet_v2_b0",
    "inception_resnet_v2",
    "inception_v3",
    "mobilenet",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "nasnet_large",
    "nasnet_mobile",
    "resnet50",
    "resnet50_v2",
    "vgg16",
    "xception",
]


def pictures(height, width, channels=3, count=2, seed=0):
    shape = (count, height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape).astype("float32")


def randomize(model, seed=0):
    """Statistics and offsets as after training: their initial values would hide mistakes."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "bias", "moving_mean"):
            weight.assign(random.normal(0, 0.3, weight.shape))


def assert_same(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * np.abs(theirs).max())


# The table


def test_every_architecture_of_keras_has_a_row():
    constructors = {name for name in dir(keras.applications) if name[0].isupper()}
    assert {row.constructor for row in BACKBONES.values()} == constructors | {""}


def test_every_way_to_say_stages_is_swept():
    assert {BACKBONES[name].stages for name in SWEPT} >= {
        row.stages for name, row in BACKBONES.items() if name != "efficientnet_v2_s"
    }


def test_names_and_checks_do_not_import_keras():
    code = (
        "import sys; from kapps import models\n"
        "assert len(models.imagenet_names()) == 1000\n"
        "models.check_backbone(models.backbone_names()[0], 'none', (32, 32, 1))\n"
        "print([n for n in ('keras', 'tensorflow') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def own_preprocessing(name, x):
    """What Keras makes of raw pictures before the first convolution of the network `name`."""
    constructor = getattr(keras.applications, BACKBONES[name].constructor)
    module = getattr(keras.applications, constructor.__module__.rpartition(".")[2])
    outside = module.preprocess_input(x.copy())
    if not np.array_equal(outside, x):
        return outside
    network = without_weights(constructor, include_top=False, weights=None, input_shape=x.shape[1:])
    kinds = (keras.layers.Rescaling, keras.layers.Normalization)
    *_, last = (layer for layer in network.layers if isinstance(layer, kinds))
    return np.asarray(keras.Model(network.input, last.output)(x))


# Convolutions per stage (depthwise ones do not count), by hand from the papers.
CONVOLUTIONS = {
    # Two for each layer of a block, and one of the transition before it: table 1, arXiv:1608.06993.
    "densenet121": [1, 2 * 6, 1 + 2 * 12, 1 + 2 * 24, 1 + 2 * 16, 0],
    # Three blocks of 7; the reduction of 4 and four blocks of 10; that of 6 and two blocks of 9:
    # figures 5, 6 and 7 of arXiv:1512.00567, as Keras has them.
    "inception_v3": [5, 3 * 7, 4 + 4 * 10, 6 + 2 * 9],
    # A block of 7 and ten of 7; the reduction of 4, twenty of 5; that of 7, ten of 5; the last.
    "inception_resnet_v2": [5, 7 + 10 * 7, 4 + 20 * 5, 7 + 10 * 5, 1],
    # The pointwise halves: table 1 of arXiv:1704.04861.
    "mobilenet": [1, 1, 2, 2, 6, 2],
    # Two for a block, one for the first: table 2 of arXiv:1801.04381.
    "mobilenet_v2": [1, 1, 2 * 2, 2 * 3, 2 * (4 + 3), 2 * (3 + 1), 1],
    # Blocks of three, and one of the shortcut: table 1 of arXiv:1512.03385.
    "resnet50": [1, 3 * 3 + 1, 4 * 3 + 1, 6 * 3 + 1, 3 * 3 + 1],
    "vgg16": [2, 2, 3, 3, 3],  # column D of table 1, arXiv:1409.1556
}


# The small one of their family, and InceptionV3, stand for these.
LARGE = ("nasnet_large", "inception_resnet_v2")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.sweep) if n in LARGE else n for n in SWEPT],
)
def test_structure(name):
    row = BACKBONES[name]
    build = (models.backbone, name)
    model = without_weights(*build, weights="none", input_shape=(row.minimum, row.minimum, 3))
    assert model.name == name and model.layers[-1].name == "features"
    stages = models.backbone_stages(model)

    # Every weight belongs to one stage, none is empty, and their order is that of the weights.
    assert tuple(stages) == tuple(stage for stage, _ in row.stages)
    assert all(stages.values())
    staged = [w for in_stage in stages.values() for layer in in_stage for w in layer.weights]
    assert [id(w) for w in staged] == [id(w) for w in model.weights]

    # No layer hears from a later stage than its own.
    stage_of = {id(layer): i for i, each in enumerate(stages.values()) for layer in each}
    latest = {}
    for operation in model.operations:
        before = [latest[id(parent)] for parent in parents(operation)]
        own = stage_of.get(id(operation), 0)
        assert id(operation) not in stage_of or max(before, default=0) <= own, operation.name
        latest[id(operation)] = max([own, *before])

    if name in CONVOLUTIONS:
        counted = [
            sum(isinstance(x, keras.layers.Conv2D) for x in each) for each in stages.values()
        ]
        assert counted == CONVOLUTIONS[name]

    # All normalizations are ours, nothing is random.
    flat = list(model._flatten_layers())
    kinds = {type(x) for x in flat if isinstance(x, keras.layers.BatchNormalization)}
    assert kinds <= {layers.BatchNormalization}
    assert not any(isinstance(x, keras.layers.Dropout) and x.rate > 0 for x in flat)

    if row.constructor and name != "efficientnet_b0":  # which has a test of its own
        x = pictures(row.minimum, row.minimum)
        seen = keras.Model(model.input, model.get_layer("preprocessing").output)(x)
        np.testing.assert_allclose(seen, own_preprocessing(name, x), rtol=0, atol=1e-4)


def parents(operation):
    return [
        tensor._keras_history.operation
        for node in operation._inbound_nodes
        for tensor in node.input_tensors
    ]


def test_preprocessing_of_efficientnet_v2_s():
    x = pictures(32, 32)
    means, deviations = PREPROCESSING[BACKBONES["efficientnet_v2_s"].preprocessing]
    build = keras.src.applications.efficientnet_v2.EfficientNetV2  # V2S is large
    small = {"width_coefficient": 0.1, "depth_coefficient": 0.1, "default_size": 384}
    network = build(
        **small, name="efficientnetv2-s", include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    seen = keras.Model(network.input, network.get_layer(index=1).output)(x)
    np.testing.assert_allclose((x - means) / deviations, seen, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_stages_of_efficientnet_lite0_have_its_blocks():
    model = without_weights(models.backbone, weights="none", input_shape=(64, 64, 3))
    stages = models.backbone_stages(model)
    # Table 1 of arXiv:1905.11946: blocks per stage, filters, and stride of the maps.
    for i, (blocks, filters, stride) in enumerate(
        [(1, 16, 2), (2, 24, 4), (2, 40, 8), (3, 80, 16), (3, 112, 16), (4, 192, 32), (1, 320, 32)],
        start=1,
    ):
        narrow = [layer for layer in stages[f"block{i}"] if layer.name.endswith("project_bn")]
        assert len(narrow) == blocks
        assert narrow[-1].output.shape[1:] == (64 // stride, 64 // stride, filters)


@pytest.mark.slow
def test_a_whole_network_ends_with_logits():
    build = (backbone.network, "mobilenet_v3_small", (64, 48, 1))
    model = without_weights(*build, include_top=True)
    assert model.output_shape == (None, 1000) and model.layers[-1].name == "class_logits"
    activations = {getattr(layer, "activation", None) for layer in model.layers}
    assert keras.activations.softmax not in activations  # with which Keras' own end


@pytest.mark.slow
def test_names_do_not_depend_on_what_was_built():
    def names():
        shape = (71, 71, 3)  # Xception's shortcuts are among the layers that Keras numbers
        return [x.name for x in backbone.network("xception", shape, include_top=False).layers]

    with keras.StatelessScope(initialize_variables=False):
        first, second = names(), names()
    keras.utils.clear_session(free_memory=False)
    assert first == second and "conv2d_3" in first


def test_a_model_that_is_no_backbone_has_no_stages():
    with pytest.raises(UserError, match="'sequential_7' is unknown; known: efficientnet_lite0, "):
        models.backbone_stages(keras.Sequential([keras.Input((2,))], name="sequential_7"))


# Outputs and weights, against keras.applications


@pytest.mark.slow
def test_same_features_as_keras_from_a_file_of_its_weights(tmp_path):
    constructor = keras.applications.MobileNetV2
    theirs = constructor(include_top=False, weights=None, input_shape=(40, 33, 3))
    randomize(theirs)
    path = tmp_path / "its.weights.h5"
    theirs.save_weights(path)
    ours = models.backbone("mobilenet_v2", weights=path, input_shape=(40, 33, 3))
    x = pictures(40, 33)
    expected = theirs(own_preprocessing("mobilenet_v2", x), training=False)
    assert_same(ours(x, training=False), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet_lite0", "mobilenet"])
def test_stock_normalization(name):
    shape = (32, 32, 3)
    model = without_weights(models.backbone, name, weights="none", input_shape=shape, fused=False)
    kinds = {type(x) for x in model.layers if isinstance(x, keras.layers.BatchNormalization)}
    assert kinds == {keras.layers.BatchNormalization}


@pytest.mark.slow
def test_imagenet_weights_come_through_keras(monkeypatch, tmp_path):
    """EfficientNet's are made for another preprocessing than the network has without them."""
    # A slim and shallow one.
    build = keras.src.applications.efficientnet.EfficientNet
    constructor = functools.partial(build, 0.3, 0.3, 224, weights_name="b0")
    path = str(tmp_path / "efficientnet.weights.h5")
    monkeypatch.setattr(f"{FILE_UTILS}.get_file", lambda *args, **kwargs: path)
    file = constructor(include_top=False, weights=None, input_shape=(64, 48, 3))
    randomize(file)
    normalization = next(x for x in file.layers if isinstance(x, keras.layers.Normalization))
    # What the file says of the data, according to the comment in keras.applications: the square
    # of what the network divides by is the deviation, and it divides twice.
    normalization.adapt_mean.assign([0.485, 0.456, 0.406])
    normalization.adapt_variance.assign([0.229, 0.224, 0.225])
    file.save_weights(path)
    theirs = constructor(include_top=False, weights="imagenet", input_shape=(64, 48, 3))
    x = pictures(64, 48)
    expected = theirs(x, training=False)

    asked = []

    def once(weights, **kwargs):  # a network less to build
        asked.append((weights, kwargs["input_shape"]))
        return theirs if weights == "imagenet" else constructor(weights=weights, **kwargs)

    monkeypatch.setattr(keras.applications, "EfficientNetB0", once)
    ours = models.backbone("efficientnet_b0", input_shape=(64, 48, 3))
    assert asked == [("imagenet", (224, 224, 3)), (None, (64, 48, 3))]
    assert_same(ours(x, training=False), expected)
    # Frozen, it computes the same in a training step: there is no stochastic depth left.
    ours.trainable = False
    assert_same(ours(x, training=True), expected)


def dead(error):
    def urlretrieve(*args, **kwargs):
        raise error

    return urlretrieve


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError(OSError(101, "Network is unreachable")),
        http.client.RemoteDisconnected("Remote end closed connection"),
        TimeoutError("timed out"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_dead_network(error, monkeypatch, tmp_path):
    monkeypatch.setattr(f"{FILE_UTILS}.urlretrieve", dead(error))
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    monkeypatch.setattr(keras.applications, "MobileNet", download_only)
    with pytest.raises(UserError) as caught:
        models.backbone("mobilenet")
    message = str(caught.value)
    for words in (
        "the ImageNet weights of mobilenet ",
        "mobilenet_1_0_224_tf_no_top.h5 from https://storage.googleapis.com/",
        str(getattr(error, "reason", error)),
        f"put it at {tmp_path / 'models' / 'mobilenet_1_0_224_tf_no_top.h5'}, ",
        "efficientnet_lite0, whose ImageNet weights come with kapps",
    ):
        assert words in message
    assert message.count("http") == 1 and "\n" not in message
    assert "URL fetch failure" not in message  # Keras' wrapping of the reason
    assert socket.getdefaulttimeout() is None


def test_a_broken_file_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    file = tmp_path / "models" / "mobilenet_1_0_224_tf_no_top.h5"
    file.parent.mkdir()
    file.write_bytes(b"half a download")
    with pytest.raises(UserError, match="not the ImageNet weights of mobilenet .*Delete the file"):
        models.backbone("mobilenet")
    assert file.exists()


def download_only(weights, **kwargs):
    """The download of MobileNet without the network: what Keras does last in the function."""
    name = "mobilenet_1_0_224_tf_no_top.h5"
    origin = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet/" + name
    return keras.src.utils.file_utils.get_file(name, origin, cache_subdir="models")


@pytest.mark.slow
def test_a_file_of_another_network_is_refused(tmp_path):
    other = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    other.save_weights(tmp_path / "other.weights.h5")
    other.save(tmp_path / "other.keras")
    for name in ("broken.weights.h5", "broken.keras", "broken.h5"):
        (tmp_path / name).write_bytes(b"nothing")
    with keras.StatelessScope(initialize_variables=False):
        model = backbone.network("vgg16", (32, 32, 3), include_top=False)
    keras.utils.clear_session(free_memory=False)
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(UserError, match="these weights do not fit vgg16. ") as caught:
            backbone.backbone_weights.set_from_file(model, "vgg16", path, keras.applications.VGG16)
        assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "kwargs, words",
    [
        ({"name": "alexnet"}, "backbone 'alexnet' is unknown; known: efficientnet_lite0, "),
        ({"weights": "imagnet"}, 'weights \'imagnet\': give "imagenet", "none", or a file'),
        ({"weights": "no.keras"}, "no.keras: there is no such file"),
        ({"input_shape": (31, 224, 3)}, "at least 32x32 pixels; got 31x224"),
        ({"name": "inception_v3", "input_shape": (75, 74, 1)}, "at least 75x75 pixels; got 75x74"),
        ({"input_shape": (32, 32, 4)}, "1 or 3 channels, not of 4"),
    ],
)
def test_mistakes(kwargs, words):
    with pytest.raises(UserError) as caught:
        models.backbone(**kwargs)
    assert words in str(caught.value)


def test_a_classifier_that_takes_one_size_says_so(monkeypatch):
    donor = keras.Sequential([keras.Input((224, 224, 3)), keras.layers.Dense(3)], name="donor")
    model = keras.Sequential([keras.Input((64, 64, 3)), keras.layers.Dense(4)], name="vgg16")
    with pytest.raises(UserError, match="weights of vgg16 fit images of 224x224 pixels only; "):
        backbone.backbone_weights.copy_in_order(donor, model)


# EfficientNet-Lite0


@pytest.fixture(scope="module")
def lite0():
    return models.pretrained_classifier()


@pytest.mark.slow
def test_lite0_is_the_original(lite0):
    result = json.loads((ROOT / "benchmarks/results/efficientnet_lite0.json").read_text())
    expected = result["every 50th logit of the first random picture, rounded"]
    x = np.random.default_rng(0).integers(0, 256, (32, 224, 224, 3), dtype=np.uint8)[:1]
    logits = lite0(x, training=False)[0, ::50]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)
    assert lite0.count_params() == 4_652_008 + 42_016  # and as many moving averages


def test_lite0_is_stored_in_sixteen_bits():
    with np.load(PACKAGED / "efficientnet_lite0.npz") as stored:
        assert {stored[name].dtype for name in stored} == {np.dtype("float16")}


@pytest.mark.slow
def test_lite0_as_a_backbone(lite0, tmp_path):
    grey = models.backbone(input_shape=(224, 224, 1))
    features = keras.Model(lite0.input, lite0.get_layer("top_activation").output)
    x = pictures(224, 224, 1, count=1)
    found = grey(x, training=False)
    assert found.shape == (1, 7, 7, 1280)
    assert_same(found, features(np.repeat(x, 3, axis=-1), training=False))

    # A classifier on it, saved: the weights of the backbone come out of the file.
    randomize(grey)
    pooled = keras.layers.GlobalAveragePooling2D()(grey.output)
    keras.Model(grey.input, keras.layers.Dense(3)(pooled), name="mine").save(tmp_path / "c.keras")
    again = models.backbone(weights=tmp_path / "c.keras", input_shape=(40, 33, 3))
    for weight, other in zip(again.weights, grey.weights, strict=True):
        np.testing.assert_array_equal(weight, other)


def test_imagenet_names():
    names = models.imagenet_names()
    assert len(set(names)) == 1000
    # Indices everybody knows, and the words that stand for two classes.
    for index, name in {
        0: "tench",
        285: "Egyptian cat",
        282: "tiger cat",
        281: "tabby",
        967: "espresso",
        657: "missile",
        744: "projectile",
        999: "toilet tissue",
        134: "crane (wading bird)",
        517: "crane (lifting device)",
    }.items():
        assert names[index] == name
