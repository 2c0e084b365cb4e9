"""EfficientNet-Lite0 answers: by `predict`, as a SavedModel, in ONNX Runtime or LiteRT.

    python benchmarks/contestants/prediction.py savedmodel|frozen|predict|stock|onnx|litert BATCH

Speaks the protocol of benchmarks/harness/worker.py.
"""

from __future__ import annotations

import pathlib
import sys
import tempfile

from benchmarks.harness.worker import serve

SIDE = 224


def network():
    """As it was trained on ImageNet; what it answers is not looked at."""
    from kapps import models

    return models.pretrained_classifier(input_shape=(SIDE, SIDE, 3))


def prepare():
    """The work: so many calls on the same images, each from NumPy to NumPy."""
    import keras
    import numpy as np

    from kapps import layers, serving, training
    from kapps.serving.formats.conversion import interpreter

    how, batch = sys.argv[1], int(sys.argv[2])
    model = network()
    images = np.random.default_rng(0).integers(0, 256, (batch, SIDE, SIDE, 3), np.uint8)
    names = [str(i) for i in range(model.output_shape[-1])]
    scratch = pathlib.Path(tempfile.mkdtemp())
    if how == "stock":

        def clone(layer):
            plain = isinstance(layer, layers.BatchNormalization)
            kind = keras.layers.BatchNormalization if plain else type(layer)
            return kind.from_config(layer.get_config())

        model = keras.models.clone_model(model, clone_function=clone, recursive=True)
    if how in ("predict", "stock"):

        def call():
            return model.predict(images.astype("float32"), batch_size=batch, verbose=0)

    elif how in ("savedmodel", "frozen"):
        import tensorflow as tf

        path = serving.export(model, scratch, names)
        if how == "frozen":
            path, _ = serving.publish_for_inference(path, freeze=True)
        served = tf.saved_model.load(str(path)).signatures["serving_default"]

        def call():
            return served(image=tf.constant(images))["probabilities"].numpy()

    else:
        path = serving.convert(model, scratch, how, names)
        path = next(p for p in scratch.rglob("*") if p.suffix in (".onnx", ".tflite"))
        if how == "onnx":
            import onnxruntime

            session = onnxruntime.InferenceSession(path)
            name = session.get_inputs()[0].name

            def call():
                return session.run(None, {name: images})

        else:
            answer = interpreter(path.read_bytes())

            def call():
                return answer(image=images)

    def work(units):
        for _ in range(units):
            call()

    return work, {"versions": training.versions()}


if __name__ == "__main__":
    serve(prepare)
