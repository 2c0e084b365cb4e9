"""Hypothesis without deadlines: a busy machine is no error."""

import hypothesis

hypothesis.settings.register_profile("kapps", deadline=None)
hypothesis.settings.load_profile("kapps")
