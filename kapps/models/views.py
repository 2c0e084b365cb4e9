"""A classifier that looks at an image more than once, and answers with the mean."""

from __future__ import annotations

import keras

from kapps.errors import UserError


def with_views(model: keras.Model, *, mirror: bool = False, shift: int = 0) -> keras.Model:
    """The mean logits over views of each image, as part of the model: it is saved and served so.

    With the shift s the image weighs one half, and a quarter each what is s pixels further up and
    left, and down and right, zeros coming in, as in a training that shifts images. Of each of them
    the mirror image weighs as much as itself. arXiv:2404.00498, section 3.5.

    Args:
        model: images `[batch, H, W, C]` -> logits `[batch, classes]`. It computes each view, up to
            six of them.
        mirror: left and right exchanged; not for digits and letters.
        shift: pixels; 0 is none.

    Returns:
        "image" -> mean logits; the model itself where no other view is asked for.

    Raises:
        UserError: a shift that leaves nothing of the image.
    """
    height, width, _ = model.input_shape[1:]
    if not 0 <= shift < min(height, width):
        raise UserError(f"shift {shift}: it must be 0 or more, and less than the image's sides")
    if not (mirror or shift):
        return model
    image = keras.Input(model.input_shape[1:], name="image", dtype="float32")

    def logits(view, name):
        if not mirror:
            return model(view)
        both = [model(view), model(keras.ops.flip(view, axis=2))]
        return keras.layers.Average(dtype="float32", name=f"{name}_and_mirrored")(both)

    mean = logits(image, "image")
    if shift:
        moved = []
        for name, before, after in (
            ("down", (shift, 0), (0, shift)),
            ("up", (0, shift), (shift, 0)),
        ):
            view = keras.layers.ZeroPadding2D((before, before), dtype="float32")(image)
            view = keras.layers.Cropping2D((after, after), dtype="float32")(view)
            moved.append(logits(view, name))
        shifted = keras.layers.Average(dtype="float32", name="mean_of_shifted")(moved)
        mean = keras.layers.Average(dtype="float32", name="mean_logits")([mean, shifted])
    return keras.Model(image, mean, name=f"{model.name}_with_views")
