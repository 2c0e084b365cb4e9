"""Fifty epochs leave nothing behind that one has not."""

import dataclasses
import gc
import pathlib

import keras
import pytest
from tensorflow.python.eager import context

from kapps import training
from training import small

WARM, EPOCHS = 10, 50
LOOKED_AT = (*range(WARM, WARM + 5), *range(EPOCHS - 5, EPOCHS))
PAGES = 4096


@dataclasses.dataclass(frozen=True)
class Config:
    run_dir: str
    overwrite: bool = False


class Watch(keras.callbacks.Callback):
    """After some epochs: the functions that TensorFlow holds, Python's objects, resident bytes."""

    def __init__(self):
        super().__init__()
        self.functions, self.objects, self.resident = [], [], []

    def on_epoch_end(self, epoch, logs=None):
        if epoch not in LOOKED_AT:
            return
        gc.collect()
        self.functions.append(len(context.context().list_function_names()))
        self.objects.append(len(gc.get_objects()))
        statm = pathlib.Path("/proc/self/statm").read_text().split()
        self.resident.append(int(statm[1]) * PAGES)


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").exists(), reason="Linux tells")
def test_functions_objects_and_memory_stay(tmp_path):
    """A retracing step adds functions, a growing list objects, an iterator not let go memory."""
    gc.collect()
    gc.freeze()  # what other tests have left is neither counted nor looked through ten times
    watch = Watch()
    with training.open_run("small", Config(str(tmp_path))) as run:
        small.train(run, epochs=EPOCHS, callbacks=[watch])
    assert len(watch.functions) == len(LOOKED_AT)
    assert watch.functions[-1] == watch.functions[0]
    per_epoch = (watch.objects[-1] - watch.objects[0]) / (EPOCHS - WARM - 1)
    assert per_epoch < 60  # a row of metrics.csv is some ten
    grown = max(watch.resident[-5:]) - max(watch.resident[:5])
    assert grown < 24 * 2**20
