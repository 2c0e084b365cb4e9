"""The one exception that stands for a user's mistake."""


class UserError(ValueError):
    """A mistake the user can mend: the message says what is wrong, where, and what to do.

    Recipes and the `kapps` command print the message alone and end with exit code 2. It is a
    `ValueError`, so that those who call kapps from Python need no import to catch it.
    """
