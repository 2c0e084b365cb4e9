"""Generated data that can be drawn: points of the plane in classes, and functions of one number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kapps.errors import UserError

if TYPE_CHECKING:
    from kapps.data import ImageData

POINT_SETS = ("blobs", "moons", "xor", "circles")
SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sine": lambda x: np.sin(2.0 * np.pi * x),
    "step": lambda x: np.where(x < 0.0, -1.0, 1.0),
    "triangle": lambda x: 2.0 * np.abs(2.0 * (x - np.floor(x + 0.5))) - 1.0,
    "bump": lambda x: np.exp(-20.0 * x**2),
    "chirp": lambda x: np.sin(3.0 * np.pi * (x + 1.0) ** 2),
}


@dataclass(frozen=True, eq=False)
class PointData:
    """Points in three splits, all of them in memory.

    Attributes:
        name: what they are.
        x: float32 [n, features] by split: train, validation, test; or pictures uint8 [n, H, W, C].
        y: by split, classes int32 [n], or values float32 [n, 1].
        class_names: one per class; none of values.
        fingerprint: sha256 over all of them.
        notes: what the user should know.
    """

    name: str
    x: dict[str, np.ndarray]
    y: dict[str, np.ndarray]
    class_names: tuple[str, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Number of points in each split."""
        return {split: len(points) for split, points in self.x.items()}

    @property
    def spec(self) -> str:
        """The name, as other data have it."""
        return self.name

    @property
    def summary(self) -> str:
        """What this is, in one line."""
        target = f"{len(self.class_names)} classes" if self.class_names else "a function"
        return f"{self.name}: {self.counts}, {target}"

    @property
    def statistics(self) -> dict[str, tuple[float, ...]]:
        """Training `mean` and `std`, a number per feature, or per channel of images of 0..1."""
        x = self.x["train"]
        axes, unit = tuple(range(x.ndim - 1)), 255.0 if x.ndim == 4 else 1.0
        mean = x.mean(axis=axes, dtype=np.float64) / unit
        std = np.maximum(x.std(axis=axes, dtype=np.float64) / unit, 1e-6)
        return {"mean": tuple(mean.tolist()), "std": tuple(std.tolist())}

    def targets(self, split: str) -> np.ndarray:
        """Classes of a split as float32: 0 or 1 [n, 1] of two, one-hot [n, classes] of more."""
        classes, y = len(self.class_names), self.y[split]
        return y[:, None].astype(np.float32) if classes == 2 else np.eye(classes, dtype="f4")[y]


def load_points(name: str, count: int = 500, *, noise: float = 0.1, seed: int = 0) -> PointData:
    """Points of two classes in the plane.

        blobs    two round clouds; with the default noise a line separates them
        moons    two half moons that reach into one another
        xor      a cloud in each quadrant; those that face each other share a class
        circles  one around the other

    Args:
        name: one of these.
        count: of all splits together.
        noise: standard deviation of a coordinate around the shape; the shapes are about 2 wide.
        seed: of the points.

    Raises:
        UserError: an unknown name, fewer than 20 points, or negative noise.
    """
    if name not in POINT_SETS:
        raise UserError(f"unknown point set {name!r}: it is one of {', '.join(POINT_SETS)}")
    if count < 20 or noise < 0:
        raise UserError(f"{count} points with noise {noise}: 20 or more, and 0 or more, are needed")
    rng = np.random.default_rng([seed, POINT_SETS.index(name)])
    classes = np.arange(count) % 2
    x = _SHAPES[name](classes, rng) + noise * rng.standard_normal((count, 2))
    x, classes = x.astype(np.float32), classes.astype(np.int32)
    order = rng.permutation(count)
    ends = np.cumsum([round(count * share) for share in SHARES.values()])[:-1]
    rows = dict(zip(SHARES, np.split(order, ends), strict=True))
    return _data(
        name,
        {split: x[r] for split, r in rows.items()},
        {split: classes[r] for split, r in rows.items()},
        ("0", "1"),
    )


def load_function(name: str, count: int = 200, *, noise: float = 0.0, seed: int = 0) -> PointData:
    """Values of a function of one number, on [-1, 1].

        sine      sin(2 pi x)
        step      -1 below 0, else 1
        triangle  the sine with straight sides
        bump      exp(-20 x^2)
        chirp     sin(3 pi (x + 1)^2), faster and faster

    Training points are evenly spread, validation points lie between them, test points (as many,
    without noise) are drawn.

    Args:
        name: one of these.
        count: of training points; there are as many of the others.
        noise: standard deviation of what is added to values of training and validation.
        seed: of the noise and of the test points.

    Raises:
        UserError: an unknown name, fewer than 2 points, or negative noise.
    """
    if name not in FUNCTIONS:
        raise UserError(f"unknown function {name!r}: it is one of {', '.join(FUNCTIONS)}")
    if count < 2 or noise < 0:
        raise UserError(f"{count} points with noise {noise}: 2 or more, and 0 or more, are needed")
    rng = np.random.default_rng([seed, 1000 + list(FUNCTIONS).index(name)])
    grid = np.linspace(-1.0, 1.0, 2 * count)
    x = {"train": grid[::2], "validation": grid[1::2], "test": rng.uniform(-1.0, 1.0, count)}
    y = {split: FUNCTIONS[name](values) for split, values in x.items()}
    for split in ("train", "validation"):
        y[split] = y[split] + noise * rng.standard_normal(count)
    x, y = ({k: v[:, None].astype(np.float32) for k, v in part.items()} for part in (x, y))
    return _data(name, x, y, ())


def load_xor() -> PointData:
    """The four points of exclusive or, the same in every split: there are no others."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    y = np.array([0, 1, 1, 0], np.int32)
    return _data("xor", dict.fromkeys(SHARES, x), dict.fromkeys(SHARES, y), ("0", "1"))


def only_classes(images: ImageData, class_names: Sequence[str] = ()) -> PointData:
    """The pictures of some classes, in memory, and the classes numbered anew in that order.

    Args:
        images: a loaded dataset.
        class_names: two or more of its classes; all when empty.

    Raises:
        UserError: an unknown class, the same one twice, a single one, or a split without pictures.
    """
    names = tuple(class_names) or images.class_names
    unknown = [name for name in names if name not in images.class_names]
    if unknown or len(set(names)) < max(2, len(names)):
        raise UserError(
            f"classes {', '.join(names)}: two or more different ones are needed, of "
            f"{', '.join(images.class_names[:30])}"
        )
    numbers = np.full(images.classes, -1, np.int32)
    numbers[[images.class_names.index(name) for name in names]] = np.arange(len(names))
    x, y = {}, {}
    for split, pictures in images.splits.items():
        rows = np.flatnonzero(numbers[pictures.labels] >= 0)
        if not len(rows):
            raise UserError(f"the {split} split of {images.spec} has no picture of these classes")
        x[split], y[split] = pictures.take(rows), numbers[pictures.labels[rows]]
    digest = hashlib.sha256(json.dumps([images.fingerprint, names]).encode()).hexdigest()
    return PointData(images.spec, x, y, names, digest, images.notes)


def _data(name, x, y, class_names) -> PointData:
    digest = hashlib.sha256(json.dumps([name, class_names]).encode())
    for split in SHARES:
        digest.update(f"{split} {x[split].shape}".encode())
        digest.update(x[split].tobytes() + y[split].tobytes())
    return PointData(name, x, y, class_names, digest.hexdigest())


def _blobs(classes, rng):
    return np.where(classes, 1.0, -1.0)[:, None] * (0.6, 0.4)


def _moons(classes, rng):
    angle = rng.uniform(0.0, np.pi, len(classes))
    upper = np.column_stack([np.cos(angle) - 0.5, np.sin(angle) - 0.25])
    return np.where(classes[:, None] == 1, upper, -upper)


def _xor(classes, rng):
    side = rng.choice([-1.0, 1.0], len(classes))
    return 0.6 * np.column_stack([side, np.where(classes == 1, -side, side)])


def _circles(classes, rng):
    angle = rng.uniform(0.0, 2.0 * np.pi, len(classes))
    radius = np.where(classes == 1, 0.4, 1.0)
    return radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])


_SHAPES = {"blobs": _blobs, "moons": _moons, "xor": _xor, "circles": _circles}
