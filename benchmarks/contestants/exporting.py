"""A SavedModel of a trained network: kapps' publishing, or `Model.export` of Keras.

    python benchmarks/contestants/exporting.py kapps|stock

Speaks the protocol of benchmarks/harness/worker.py. Keras' has one signature from pixels to logits;
kapps' has two, with labels and probabilities, one of which decodes files; it is loaded again and
compared with the network before it is published.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile

from benchmarks.harness.worker import serve


def prepare():
    """The work: so many exports, each into an empty folder."""
    import keras

    from kapps import models, serving, training

    model = models.cnn((28, 28, 1), 10)
    names = [f"class {i}" for i in range(10)]

    def export(directory):
        if sys.argv[1] == "kapps":
            return serving.export(model, directory, names)
        # One that was not exported before: a model keeps what was traced of it.
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        with contextlib.redirect_stdout(io.StringIO()):
            return copy.export(directory)

    def work(units):
        for _ in range(units):
            with tempfile.TemporaryDirectory() as directory:
                export(f"{directory}/digits")

    return work, {"parameters": model.count_params(), "versions": training.versions()}


if __name__ == "__main__":
    serve(prepare)
