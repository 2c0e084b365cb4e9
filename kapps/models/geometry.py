"""The shape algebra of convolutions and pools: what an image's side becomes, window by window."""

from collections.abc import Sequence
from typing import NamedTuple

from kapps.errors import UserError


class Window(NamedTuple):
    """A convolution or pool: a square window, as Keras' layers take it."""

    name: str
    size: int
    strides: int
    padding: str  # "same" or "valid"


def output_side(side: int, window: Window) -> int:
    """The side that leaves `window`; zero or less when the window does not fit.

    ceil(side / strides) with padding, floor((side - size) / strides) + 1 without.
    """
    if window.padding == "same":
        return -(-side // window.strides)
    return (side - window.size) // window.strides + 1


def smallest_side(windows: Sequence[Window]) -> int:
    """The smallest side that leaves at least one pixel after all `windows`.

    Each window needs `(needed - 1) * strides + size` pixels (its size counts as 1 when padded) to
    give the `needed` ones of the next, so the answer is found from the last window back.
    """
    needed = 1
    for window in reversed(windows):
        reach = window.size if window.padding == "valid" else 1
        needed = (needed - 1) * window.strides + reach
    return needed


def check(windows: Sequence[Window], image_shape: tuple[int, int, int]) -> None:
    """Walks an image through `windows`.

    Raises:
        UserError: a window is larger than what reaches it. It is named, with the size it got and
            the smallest image that passes all windows.
    """
    height, width, _ = image_shape
    h, w = height, width
    for window in windows:
        if min(output_side(h, window), output_side(w, window)) < 1:
            smallest = smallest_side(windows)
            raise UserError(
                f"{window.name}: a {window.size}x{window.size} window with padding 'valid' does "
                f"not fit the {h}x{w} map that a {height}x{width} image has become there. The "
                f"smallest image for this configuration is {smallest}x{smallest}. Take larger "
                "images, padding 'same', smaller windows, smaller strides or fewer stages."
            )
        h, w = output_side(h, window), output_side(w, window)
