"""What the tests of searches share."""

import keras
import pytest


@pytest.fixture(scope="module")
def eager():
    """Models of this process train without tracing: a few steps of a small net cost less so."""
    compiled = keras.Model.compile

    def compile_eagerly(self, *args, **kwargs):
        compiled(self, *args, **{"run_eagerly": True} | kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "compile", compile_eagerly)
        yield
