"""Hypothesis without deadlines, since a busy machine is no error, and every test with its seed."""

import hypothesis
import pytest

hypothesis.settings.register_profile("kapps", deadline=None)
hypothesis.settings.load_profile("kapps")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """What a test and its fixtures draw is the same in every run, alone or after others."""
    import keras  # only here: it takes seconds, which collecting tests should not

    keras.utils.set_random_seed(0)
