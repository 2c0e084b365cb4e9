"""Small SavedModels of plain TensorFlow, written in a moment."""

import os
import shutil

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from kapps.serving.savedmodel import input_statistics, out_of_distribution


def spec(shape, dtype, name):
    return tf.TensorSpec(shape, dtype, name=name)


def write(root, version, functions):
    """Publishes functions, by signature, with the specs of their arguments."""
    directory = root / f".tmp-{version}"
    module = tf.Module()
    signatures = {
        name: tf.function(function, autograph=False).get_concrete_function(*specs)
        for name, (function, specs) in functions.items()
    }
    tf.saved_model.save(module, str(directory), signatures=signatures)
    os.rename(directory, root / str(version))
    return root / str(version)


def half_plus_two(root, version):
    """The model of TensorFlow Serving's own tests, with its three methods."""
    features = {"x": tf.io.FixedLenFeature([1], tf.float32)}

    def parsed(inputs):
        return tf.io.parse_example(inputs, features)["x"] / 2 + 2

    serialized = [spec((None,), tf.string, "inputs")]
    directory = write(
        root,
        version,
        {
            "serving_default": (lambda x: {"y": x / 2 + 2}, [spec((None,), tf.float32, "x")]),
            "regress_x_to_y": (lambda inputs: {"outputs": parsed(inputs)}, serialized),
            "classify_x_to_y": (lambda inputs: {"scores": parsed(inputs)}, serialized),
        },
    )
    # TensorFlow 2 writes "predict" for all; TensorFlow 1 wrote these.
    path = directory / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    definitions = saved.meta_graphs[0].signature_def
    for verb in ("classify", "regress"):
        definitions[f"{verb}_x_to_y"].method_name = f"tensorflow/serving/{verb}"
    path.write_bytes(saved.SerializeToString())


def counter(root, version):
    """Answers its own number for each row; scalars beside rows in another signature."""
    one = tf.constant(float(version))
    rows = [spec((None,), tf.float32, "x")]
    write(
        root,
        version,
        {
            "serving_default": (lambda x: {"number": 0 * x + one, "x": tf.identity(x)}, rows),
            "scaled": (
                lambda x, by: {"y": x * by},
                [*rows, spec((), tf.float32, "by")],
            ),
        },
    )


def mixed(root, version):
    """Several inputs, of several types."""

    def join(text, image, name_bytes):
        total = tf.reduce_sum(tf.cast(image, tf.int32), axis=(1, 2))
        return {
            "said": tf.strings.join([text, tf.strings.as_string(total)], "="),
            "name_bytes": name_bytes,
            "total": total,
        }

    specs = [
        spec((None,), tf.string, "text"),
        spec((None, 2, 3), tf.uint8, "image"),
        spec((None,), tf.string, "name_bytes"),
    ]
    write(root, version, {"serving_default": (join, specs)})


def fragile(root, version):
    """A kernel that ends the whole process where a tensor has another rank."""
    kernel = tf.ones((1, 1, 1, 1))

    def convolve(x):
        y = tf.raw_ops.Conv2D(input=x, filter=kernel, strides=[1, 1, 1, 1], padding="SAME")
        return {"y": tf.reduce_sum(y)}

    def wait(x):
        """Some seconds for each thousand."""
        return {
            "y": tf.while_loop(
                lambda i, _: i < 1000 * x,
                lambda i, y: (i + 1, y + tf.reduce_sum(tf.ones((50, 50)) @ tf.ones((50, 50)))),
                (tf.constant(0), tf.constant(0.0)),
            )[1]
        }

    write(
        root,
        version,
        {
            "serving_default": (convolve, [spec(None, tf.float32, "x")]),
            "wait": (wait, [spec((), tf.int32, "x")]),
        },
    )


def watched(root, version):
    """One that knows what its inputs were like in training."""
    directory = root / f".tmp-{version}"
    specs = [spec((None, 2), tf.float32, "x")]

    def answer(x):
        return {"y": tf.identity(x), out_of_distribution.OUTPUT: tf.abs(x[:, 0])}

    write(directory, version, {"serving_default": (answer, specs)})
    (directory / str(version) / out_of_distribution.FILE).parent.mkdir()
    (directory / str(version) / out_of_distribution.FILE).write_text('{"threshold": 4.5}')
    statistics = {"x": {"mean": [0.0, 10.0], "std": [1.0, 2.0]}}
    input_statistics.write(directory / str(version), statistics)
    os.rename(directory / str(version), root / str(version))


def publish(root, name, version, build):
    directory = root / name
    directory.mkdir(parents=True, exist_ok=True)
    build(directory, version)
    return directory


def replace(source, target):
    """Copies a version beside its place and renames it, as kapps publishes."""
    hidden = target.with_name(f".tmp-copy-{target.name}")
    shutil.copytree(source, hidden)
    os.rename(hidden, target)
