"""What is handed on of an error of TensorFlow's."""

import pytest

from kapps.serving.server.work.execution import _first_line


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("assertion failed: [count is larger than 9:] [10]", "count is larger than 9"),
        (
            "Graph execution error:\n\nDetected at node Assert\nassertion failed: [no such code]"
            " [Condition x < y] [[9999 9999]...]\n\t [[{{node Assert}}]] [Op:f]",
            "no such code",
        ),
        ("x has [2] rows [Op:f]", "x has [2] rows"),
        ("Graph execution error:\n", "the model refuses the request"),
    ],
)  # fmt: skip
def test_the_line_that_says_what_is_wrong(message, said):
    assert _first_line(message) == said
