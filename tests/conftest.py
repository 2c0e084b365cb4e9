"""Hypothesis without deadlines, as a busy machine is no error; TensorFlow is left as it was.

What kapps keeps of the folders that tests make is not kept among the user's own.
"""

import gc
import os
import shutil
import tempfile
from unittest import mock

import hypothesis
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # a core each: threads of two workers hold up each other
    for threads in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(threads, "1")

hypothesis.settings.register_profile("kapps", deadline=None, derandomize=True)
hypothesis.settings.load_profile("kapps")


def pytest_configure(config):
    """A cache directory of the session's own, for the processes that tests start, too."""
    config.kapps_cache = tempfile.mkdtemp(prefix="kapps-tests-")
    os.environ["KAPPS_CACHE"] = config.kapps_cache


def pytest_collection_finish():
    """What is imported by now stays; looking through it for garbage again took a tenth of all."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def pytest_unconfigure(config):
    """It goes with the session."""
    shutil.rmtree(config.kapps_cache, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """What a test and its fixtures draw is the same in every run, alone or after others.

    TensorFlow also throws away all kernels then, with the optimized graphs of functions, for the
    sake of ops that draw by a state of their own. `test_replicas.py` looks that there are none: to
    make the graph that decodes images again takes half a second, and hundreds of tests use it.
    """
    import keras  # only here: it takes seconds, which collecting tests should not
    from tensorflow.python.eager import context

    with mock.patch.object(context.pywrap_tfe, "TFE_ContextClearCaches", lambda handle: None):
        keras.utils.set_random_seed(0)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown():
    """A recipe that ran in this process asked for deterministic ops; the next test did not."""
    import sys

    if "tensorflow" in sys.modules:
        from tensorflow.python.framework import config

        config.disable_op_determinism()
