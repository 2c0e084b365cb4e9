"""kapps: from a dataset to a trained, tuned, explained and served Keras 3 model.

Modules (imported when first touched, so that `--help` answers before TensorFlow is loaded):
    data        a dataset spec -> train, validation and test as tf.data
    models      builders that return `keras.Model`
    training    what stands around `fit`: run directory, exact resume, schedules, precision
    evaluation  metrics, over-fitting verdict, calibration, plots, the report
    tuning      search spaces and the search
    serving     export, publish, predict

After `import kapps`, `keras.models.load_model` reads every `.keras` file that kapps has written.
"""

import lazy_loader as lazy

from kapps import keras_setup

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)

keras_setup.announce()
