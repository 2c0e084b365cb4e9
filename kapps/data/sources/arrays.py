"""Pictures that come as arrays: scikit-learn's digits and `npz:PATH`."""

import hashlib
import importlib.util
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from kapps.data.alike import alike_notes
from kapps.data.images.dataset import Source
from kapps.data.images.files.decode import fit
from kapps.data.images.files.headers import asked_channels, asked_size
from kapps.data.rows import rows_of
from kapps.data.sources.archive import CLASS_NAMES, as_labels, read_arrays
from kapps.errors import UserError

_CHUNK = 256
MOST_CHANNELS = 32
_ROUNDING = 1e-3  # what floats may be beyond 0..1 or 0..255
_DARK = 32  # levels; pictures all of whose pixels are below are nearly black


def read_digits(image_size=None, channels=None) -> Source:
    """scikit-learn's 1,797 handwritten digits, 8x8; levels 0..16 become round(level * 255 / 16)."""
    levels, labels = _digits()
    pixels = np.rint(levels.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    return array_source({"train": (pixels, labels)}, tuple("0123456789"), image_size, channels)


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Levels [n, 64], labels [n]: from scikit-learn's file, as its import takes a second."""
    place = importlib.util.find_spec("sklearn")
    origin = place and place.origin
    file = pathlib.Path(origin).parent / "datasets/data/digits.csv.gz" if origin else None
    if file is None or not file.exists():  # it may move; the function stays
        from sklearn.datasets import load_digits

        return load_digits(return_X_y=True)
    rows = np.loadtxt(file, delimiter=",", dtype=int)
    return rows[:, :64], rows[:, 64]


def read_npz(
    path: pathlib.Path, image_size=None, channels=None, memory_limit: int | None = None
) -> Source:
    """Reads a file written by numpy.savez.

    Keys: x_train and y_train (perhaps x_val, y_val, x_test, y_test), or train_images and
    train_labels (perhaps val_..., test_...), or images and labels, or x and y; perhaps
    class_names. Pictures are [n, h, w] or [n, h, w, channels]: whole numbers 0..255, or floats,
    which are taken as 0..1 if no value in the file exceeds 1 and as 0..255 otherwise; whole numbers
    of more than 8 bits are scaled so that the highest of as many bits as are used becomes 255, and
    masks of 0 and 1 so that 1 does; both are noted. Labels are whole numbers or texts, [n] or
    [n, 1]; without class_names the values found are the classes.

    Raises:
        UserError: keys, shapes, types or values are others than these, or the arrays take more
            than `memory_limit` bytes.
    """
    layout, arrays, notes = read_arrays(path, memory_limit)
    names = arrays.get(CLASS_NAMES)
    images = {split: _checked_images(path, x, arrays[x]) for split, (x, _) in layout.items()}
    labels = {split: _checked_labels(path, y, arrays[y]) for split, (_, y) in layout.items()}
    for split, (x, y) in layout.items():
        if len(images[split]) != len(labels[split]):
            raise UserError(
                f"'{path}': {x} holds {len(images[split])} pictures, "
                f"{y} {len(labels[split])} labels"
            )
    if len({pixels.shape[1:] for pixels in images.values()}) > 1:
        shapes = ", ".join(f"{layout[split][0]} {x.shape}" for split, x in images.items())
        raise UserError(f"'{path}': the splits have pictures of several shapes: {shapes}")
    class_names, labels = _number_classes(path, labels, names)
    levels, scaled = _to_uint8(path, images)
    notes += [*_label_notes(class_names, labels), *scaled]
    splits = {split: (levels[split], labels[split]) for split in layout}
    return array_source(splits, class_names, image_size, channels, notes)


def array_source(
    splits: dict[str, tuple[np.ndarray, np.ndarray]],
    class_names: Sequence[str],
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    notes: Sequence[str] = (),
) -> Source:
    """A source from uint8 [n, h, w, c] pictures and integer [n] labels of each split."""
    pixels = np.concatenate([images for images, _ in splits.values()])
    labels = np.concatenate([labels for _, labels in splits.values()]).astype(np.int32)
    height, width = asked_size(image_size) or pixels.shape[1:3]
    image_shape = (int(height), int(width), int(asked_channels(channels) or pixels.shape[-1]))
    if image_shape != pixels.shape[1:]:
        chunks = range(0, len(pixels), _CHUNK)
        pixels = np.concatenate([fit(pixels[i : i + _CHUNK], image_shape) for i in chunks])
    ends = np.cumsum([len(labels) for _, labels in splits.values()])
    given = {
        split: np.arange(end - len(labels), end)
        for end, (split, (_, labels)) in zip(ends, splits.items(), strict=True)
    }
    return Source(
        class_names=tuple(class_names),
        image_shape=image_shape,
        labels=labels,
        given=given,
        images=gather(pixels),
        digest=hashlib.sha256(np.ascontiguousarray(pixels).data).digest(),
        notes=tuple(notes),
        keys=picture_keys(pixels),
    )


def picture_keys(pixels: np.ndarray) -> tuple[bytes, ...]:
    """A digest of each picture in memory."""
    return tuple(hashlib.blake2b(x.tobytes(), digest_size=16).digest() for x in pixels)


def gather(
    pixels: np.ndarray, rows: Sequence[int] | None = None
) -> Callable[[tf.Tensor], tf.Tensor]:
    """A graph function that reads pictures in memory; `rows` renumbers them."""
    with tf.device("CPU:0"):  # the pictures stay in the host's memory on machines with a GPU
        held = rows_of(tf.constant(pixels))
        if rows is None or len(rows) == len(pixels):
            return held
        lookup = tf.constant(rows, tf.int64)
        return lambda indices: held(tf.gather(lookup, indices))


def _checked_images(path: pathlib.Path, key: str, images: np.ndarray) -> np.ndarray:
    shape = images.shape
    images = images[..., None] if images.ndim == 3 else images
    first = images.ndim == 4 and shape[1] <= 4 and shape[-1] not in (1, 3) and shape[-1] > shape[1]
    if images.ndim != 4 or images.shape[-1] > MOST_CHANNELS or first or 0 in shape[1:]:
        hint = f" (channels come last: use numpy.moveaxis({key}, 1, -1))" if first else ""
        raise UserError(
            f"'{path}': {key} has shape {shape}; wanted is [n, h, w] or [n, h, w, 1 or 3]{hint}"
        )
    if not len(images):
        raise UserError(f"'{path}': {key} is empty")
    if images.dtype.kind not in "buif":
        raise UserError(f"'{path}': {key} has type {images.dtype}; wanted is uint8 or float")
    return images


def _to_uint8(
    path: pathlib.Path, images: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The pictures of each split as levels 0..255, and notes on how they were scaled."""
    # One rule for all splits: a dark test split must not be stretched by itself.
    low = min(float(x.min()) for x in images.values())
    highest = {split: float(x.max()) for split, x in images.items()}
    high = max(highest.values())
    whole = all(x.dtype.kind in "ui" for x in images.values())
    slack = 0 if whole else _ROUNDING
    if not (-slack <= low and high <= (65535 if whole else 255 + slack)):  # false for NaN too
        found = f"values run from {low:g} to {high:g}"
        if np.isnan(low):
            found = f"{sum(int(np.isnan(x).sum()) for x in images.values()):,} values are NaN"
        elif -1 - slack <= low and high <= 1 + slack:
            found += " (use (x + 1) / 2)"
        raise UserError(
            f"'{path}': {found}; "
            "wanted are levels 0..255 (or more bits of whole numbers) or floats 0..1"
        )
    # A split of black pictures holds whole levels, too.
    dark = [
        split
        for split, value in highest.items()
        if value <= 1 + slack and (images[split] != np.round(images[split])).any()
    ]
    if high > 1 + slack and dark:
        bright = max(highest, key=highest.__getitem__)
        raise UserError(
            f"'{path}': pictures of {dark[0]} have values to {highest[dark[0]]:g}, those of "
            f"{bright} to {high:g}: give all splits one scale"
        )
    scale, notes = 255.0 if high <= 1 + slack else 1.0, []
    if whole and high <= 1:
        notes = ["pictures hold the levels 0 and 1 alone: 1 was taken for white (255)"]
    elif whole and high > 255:
        white = 2 ** int(high).bit_length() - 1
        scale = 255 / white
        notes = [
            f"pictures use {white.bit_length()} bits (levels {low:g} to {high:g}): level {white} "
            "was taken for white (255 of 8 bits)"
        ]
    elif high * scale < _DARK and high > 0:
        notes = [
            f"levels run from {low:g} to {high:g} of {255 / scale:g}: all pictures are nearly "
            f"black. If {high:g} is white, multiply them by {255 / scale / high:.3g}"
        ]
    levels = {
        split: x
        if x.dtype == np.uint8 and scale == 1
        else np.clip(np.rint(x.astype(np.float32) * scale), 0, 255).astype(np.uint8)
        for split, x in images.items()
    }
    return levels, notes


def _checked_labels(path: pathlib.Path, key: str, labels: np.ndarray) -> np.ndarray:
    flat = as_labels(str(path), key, labels)
    if flat.dtype.kind in "SU":
        return np.array([x.decode() if isinstance(x, bytes) else str(x) for x in flat])
    if flat.dtype.kind == "f" and (flat == np.round(flat)).all():
        flat = flat.astype(np.int64)
    if flat.dtype.kind not in "uib":
        raise UserError(
            f"'{path}': {key} has type {flat.dtype}; wanted are whole numbers or texts for every "
            "picture"
        )
    return flat.astype(np.int64)


def _label_notes(class_names: Sequence[str], labels: dict[str, np.ndarray]) -> list[str]:
    """What should be known of the labels."""
    notes = alike_notes(class_names, "classes")
    if "-1" in class_names:
        count = sum(int((found == class_names.index("-1")).sum()) for found in labels.values())
        notes.append(
            f"label -1 is a class of its own ({count:,} pictures): if it stands for no label, "
            "leave them out"
        )
    return notes


def _number_classes(path: pathlib.Path, labels: dict[str, np.ndarray], names: np.ndarray | None):
    values = np.unique(labels["train"])
    if names is not None and values.dtype.kind != "U":
        class_names = tuple(x.decode() if isinstance(x, bytes) else str(x) for x in names.ravel())
        values = np.arange(len(class_names))
    else:
        class_names = tuple(str(value) for value in values)
    if len(class_names) < 2:
        raise UserError(f"'{path}' has one class only ({', '.join(class_names)}); two are needed")
    for split, found in labels.items():
        unknown = np.setdiff1d(found, values)
        if len(unknown):
            raise UserError(
                f"'{path}': the {split} split has labels {unknown[:10].tolist()} "
                "beyond the classes "
                f"{', '.join(class_names[:10])}{' ...' if len(class_names) > 10 else ''}"
                f"{'' if names is None else ' (class_names are those of 0, 1 ...)'}"
            )
    return class_names, {split: np.searchsorted(values, found) for split, found in labels.items()}
