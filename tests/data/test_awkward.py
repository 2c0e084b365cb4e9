"""Data as people have them: what is understood is right, what is not is refused or noted.

One table of inputs, each with what must come of it; the right values were written down by hand.
"""

from __future__ import annotations

import csv
import io
import os
import re

import numpy as np
import pytest
from PIL import Image

from kapps import data
from kapps.errors import UserError

N = 60
R = range(N)


def cycle(*cells):
    return [cells[i % len(cells)] for i in R]


def but(cells, **changes):
    """The cells with some rows changed: but(cells, r3="?")."""
    cells = list(cells)
    for row, cell in changes.items():
        cells[int(row[1:])] = cell
    return cells


def mostly(cells, odd, every):
    return [odd if i % every == 0 else cell for i, cell in enumerate(cells)]


def numbers(template="{}", start=1):
    return [template.format(i) for i in range(start, start + N)]


def load_column(tmp_path, cells, delimiter=",", name="x", **options):
    """A table of a good column, one of the cells, and a target."""
    path = tmp_path / "t.csv"
    rng = np.random.default_rng(0)
    good, target = rng.normal(size=len(cells)).round(6), cycle("a", "b", "a", "b", "b")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([["n", name, "t"], *zip(good, cells, target, strict=False)])
    return data.load_table(f"csv:{path}", target="t", **options)


def by_row(table, served="x"):
    """The values of a column by row of the file."""
    return {
        int(row): value
        for split in table.splits.values()
        for row, value in zip(split.rows, split.inputs[served], strict=True)
    }


NAN = float("nan")
# Cells of a column; the kind it is read as; values by row of the file; words of a note.
COLUMNS = {
    "decimal commas": (numbers("{},5"), "number", {0: 1.5, 9: 10.5}, "is read as 1.5"),
    "decimal commas and points": (numbers("1.234,{:02}"), "number", {0: 1234.01}, "1234.01"),
    "thousands and points": (numbers("1,234.{:02}"), "number", {0: 1234.01}, "1234.01"),
    "millions with points": (numbers("1.234.{:03}"), "number", {0: 1234001}, "1234001"),
    "millions with commas": (numbers("1,234,{:03}"), "number", {0: 1234001}, "1234001"),
    "thousands with commas": (numbers("{},000"), "number", {0: 1000, 9: 10000}, "number of thousands"),
    "thousands with blanks": (numbers("{} 000"), "number", {0: 1000}, "1000"),
    "thousands with thin blanks": (numbers("{}\u202f000,5"), "number", {0: 1000.5}, "1000.5"),
    "thousands with apostrophes": (numbers("{}'000.5"), "number", {0: 1000.5}, "1000.5"),
    "850, 1.200: points that group": (but(numbers("{}.200"), r0="850"), "number", {0: 850, 1: 2200}, "2200"),
    "1.250: points that do not": (numbers("{}.250"), "number", {0: 1.25}, None),
    "dollars": (numbers("${},000"), "number", {0: 1000}, "1000"),
    "euros behind": (numbers("{},50 €"), "number", {0: 1.5}, "1.5"),
    "dollars, some without": (mostly(numbers("${}.5"), "7", 3), "number", {0: 7, 1: 2.5}, "2.5"),
    "a code of a currency": (numbers("CHF {}.50"), "number", {0: 1.5}, "1.5"),
    "percent": (numbers("{} %"), "number", {0: 1, 4: 5}, "'1 %' is read as 1"),
    "a unit": (numbers("{} kg"), "number", {0: 1}, "is read as 1"),
    "a unit and an exponent": (numbers("{}e3 kg"), "number", {0: 1000}, "is read as 1000"),
    "square metres": (numbers("{} m²"), "number", {4: 5}, "is read as 1"),
    "minus signs of typesetters": (numbers("\u2212{}.5"), "number", {0: -1.5}, "-1.5"),
    "brackets for a minus": (numbers("({})"), "number", {0: -1}, "is read as -1"),
    "exponents": (numbers("{}e-3"), "number", {0: 0.001}, None),
    "plus signs": (numbers("+{}"), "number", {0: 1}, None),
    "unknown among numbers": (mostly(numbers("{}.5"), "unknown", 10), "number", {0: NAN, 1: 2.5}, r"'unknown' \(\d cells?\)"),
    "n.a. and - among numbers": (mostly(numbers("{}.5"), "n.a.", 6), "number", {0: NAN, 1: 2.5}, r"'n.a.' \(10 cells\)"),
    "decimal commas and words": (mostly(numbers("{},5"), "keine", 10), "number", {0: NAN, 1: 2.5}, "no numbers and count as missing"),
    "infinity": (but(numbers("{}.5"), r0="inf", r1="-Infinity"), "number", {0: NAN, 1: NAN, 2: 3.5}, "count as missing"),
    "leading zeros": (mostly(cycle("10001", "94110", "60614"), "02139", 12), "string", {0: "02139", 1: "94110"}, "leading zeros"),
    "leading zeros with a fraction": (numbers("0{}.5"), "number", {0: 1.5}, "is read as 1.5"),
    "versions": (cycle("1.2.3", "1.2.4", "10.0.1"), "string", {0: "1.2.3"}, None),
    "addresses of machines": (cycle("192.168.0.1", "10.0.0.7"), "string", {1: "10.0.0.7"}, None),
    "sizes in several units, that repeat": (cycle("10 kg", "500 g", "2 kg"), "string", {1: "500 g"}, "several units"),
    "True and TRUE": (cycle("True", "TRUE", "false"), "string", {0: "TRUE", 1: "TRUE", 2: "false"}, "several ways"),
    "yes and 1": (cycle("yes", "no", "yes", "1"), "string", {3: "yes"}, "several ways"),
    "0 and 1": (cycle("0", "1"), "number", {0: 0, 1: 1}, None),
    "none in a feature": (cycle("none", "soft", "hard"), "string", {0: "", 1: "soft"}, r"'x' 'none' \(\d+ cells\)"),
    "dates": ([f"2024-05-{i % 28 + 1:02}" for i in R], "date", {0: 19844, 1: 19845}, "holds dates"),
    "dates with points": ([f"{i % 28 + 1}.5.2024" for i in R], "date", {0: 19844}, "holds dates"),
    "American dates": ([f"5/{i % 28 + 1}/2024" for i in R], "date", {0: 19844}, "holds dates"),
    "names of months": ([f"{i % 28 + 1} May 2024" for i in R], "date", {0: 19844}, "holds dates"),
    "times": ([f"2024-05-01T{i % 24:02}:30:00Z" for i in R], "date", {0: 19844 + 0.5 / 24}, "hour"),
    "a date that is none": (but([f"2024-05-{i % 28 + 1:02}" for i in R], r3="2024-02-30"), "date", {0: 19844, 3: NAN}, "'2024-02-30'"),
    "milliseconds since 1970": ([str(1700000000000 + 37 * i) for i in R], "number", {0: 1700000000000, 1: 1700000000037}, None),
    "whole numbers, all different": ([str(1000 + (7 * i) % 61) for i in R], "number", {0: 1000}, None),
    "ascending years": ([str(1900 + i) for i in R], "number", {0: 1900}, None),
    "many categories": (None, "string", {0: "c0"}, "embedding"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", COLUMNS)
def test_columns(tmp_path, name):
    cells, kind, values, words = COLUMNS[name]
    if cells is None:
        cells = [f"c{i}" for i in range(150)] * 6
        path = tmp_path / "t.csv"
        lines = [f"{cell},{i % 7}.5,{'ab'[i % 2]}" for i, cell in enumerate(cells)]
        path.write_text("\n".join(["x,n,t", *lines]))
        table = data.load_table(f"csv:{path}", target="t")
    else:
        table = load_column(tmp_path, cells)
    served = "x_days" if kind == "date" else "x"
    assert table.columns[served]["kind"] == ("number" if kind == "date" else kind)
    found = by_row(table, served)
    for row, value in values.items():
        if isinstance(value, str):
            assert found[row] == value
        else:
            np.testing.assert_allclose(found[row], value, rtol=1e-6 if value < 1e9 else 1e-15)
    notes = [note for note in table.notes if "'x'" in note]
    if words is None:
        assert not notes
    else:
        assert any(re.search(words, note) for note in notes), table.notes


# Cells, name of the column, and the reason why it is not used.
OF_NO_USE = {
    "free text": (numbers("some words {}"), "x", "as many values as rows"),
    "an identifier": (numbers("K-{}"), "customer_id", "identifier"),
    "an identifier of numbers": ([str(9000 + (7 * i) % 61) for i in R], "id", "identifier"),
    "an index": (numbers(), "index", "identifier"),
    "a count of the rows": (numbers(), "n2", "numbers the rows"),
    "nothing": (cycle("", "NA"), "x", "no values"),
    "one value": (cycle("7"), "x", "only value"),
}


@pytest.mark.parametrize("case", OF_NO_USE)
def test_of_no_use(tmp_path, case):
    cells, name, words = OF_NO_USE[case]
    table = load_column(tmp_path, cells, name=name)
    assert words in table.dropped[name] and any(f"'{name}' was left out" in n for n in table.notes)


REFUSED = {
    "commas and points": (cycle(*numbers("{},5")[:30], *numbers("{}.7")[:30]), "two ways"),
    "kg and g, all different": ([f"{i + 1} {'kg' if i % 3 else 'g'}" for i in R], "several units"),
    "percent and shares": ([f"{i} %" if i % 2 else f"0.{i}" for i in R], "several units"),
    "days or months": (cycle("1/2/2024", "3/4/2024", "5/6/2023"), "day or month comes first"),
    "beyond float32": (but(numbers("{}.5"), r0="1e39", r1="1e39"), "3.4e38"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path, case):
    cells, words = REFUSED[case]
    with pytest.raises(UserError, match=words):
        load_column(tmp_path, cells)


def test_all_that_is_wrong_in_one_message(tmp_path):
    path = tmp_path / "t.csv"
    bad = cycle("1/2/2024", "3/4/2024")
    worse = REFUSED["kg and g, all different"][0]
    lines = [f"{a},{b},{i % 5}.5,{'ab'[i % 2]}" for i, (a, b) in enumerate(zip(bad, worse, strict=True))]  # fmt: skip
    path.write_text("\n".join(["when,weight,n,t", *lines]))
    with pytest.raises(UserError, match="(?s)'when'.*'weight'"):
        data.load_table(f"csv:{path}", target="t")


# Cells of the target; task; class names; words of a note.
TARGETS = {
    "none is a class": (cycle("none", "soft", "hard"), "classification", ("hard", "none", "soft"), "a class of its own"),
    "NA is a class": (cycle("NA", "EU"), "classification", ("EU", "NA"), "a class of its own"),
    "null is a class": (cycle("null", "x", "y"), "classification", ("null", "x", "y"), "a class of its own"),
    "an empty cell is none": (mostly(cycle("x", "y"), "", 6), "classification", ("x", "y"), "10 rows have no"),
    "decimal commas": (numbers("{},5"), "regression", (), "is read as 1.5"),
    "prices": (numbers("${},000"), "regression", (), "thousands"),
    "unknown prices": (mostly(numbers("{}.5"), "unknown", 12), "regression", (), "'unknown' .5 cells."),
    "NA among numbers": (mostly(numbers("{}.5"), "NA", 12), "regression", (), "5 rows have no number"),
    "True and TRUE": (cycle("True", "true", "FALSE"), "classification", ("FALSE", "True"), "several ways"),
    "yes and Yes and maybe": (cycle("yes", "Yes", "maybe"), "classification", ("Yes", "maybe", "yes"), "differ in case"),
    "codes": (cycle("01", "02", "11"), "classification", ("01", "02", "11"), None),
    "grades": (cycle("1", "2", "3.0"), "classification", ("1", "2", "3"), None),
}  # fmt: skip


@pytest.mark.parametrize("case", TARGETS)
def test_targets(tmp_path, case):
    cells, task, names, words = TARGETS[case]
    path = tmp_path / "t.csv"
    with path.open("w", newline="") as file:
        rows = [[f"{i % 13}.25", f"{i * 7 % 11}.5", cell] for i, cell in enumerate(cells)]
        csv.writer(file).writerows([["p", "q", "t"], *rows])
    table = data.load_table(f"csv:{path}", target="t")
    assert table.task == task and set(table.class_names) == set(names)
    if words:
        assert any(re.search(words, note) for note in table.notes), table.notes


FILES = {
    "Excel's sep=": b"sep=;\na;t\n" + b"".join(b"%d;%s\n" % (i * 7 % 11, b"ab"[i % 2 : i % 2 + 1]) for i in R),
    "Excel's sep= with a comma": b"\xef\xbb\xbfsep=,\r\na,t\r\n" + b"".join(b"%d,%s\r\n" % (i * 7 % 11, b"ab"[i % 2 : i % 2 + 1]) for i in R),
    "tabs": b"a\tt\n" + b"".join(b"%d\t%s\n" % (i * 7 % 11, b"ab"[i % 2 : i % 2 + 1]) for i in R),
    "quoted line ends": b'a,"t"\n' + b"".join(b'%d,"%s"\n' % (i * 7 % 11, b"ab"[i % 2 : i % 2 + 1]) for i in R),
    "blanks before quotes": b'a, "t"\n' + b"".join(b'%d, "%s"\n' % (i * 7 % 11, b"ab"[i % 2 : i % 2 + 1]) for i in R),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_files(tmp_path, case):
    (tmp_path / "t.csv").write_bytes(FILES[case])
    table = data.load_table(f"csv:{tmp_path / 't.csv'}", target="t")
    assert table.class_names == ("a", "b") and list(table.columns) == ["a"]
    assert by_row(table, "a")[1] == 7


BAD_FILES = {
    "latin-1": ("a,t\n1,é\n".encode("latin-1"), "not UTF-8"),
    "a row too long": (b"a,t\n1,x\n1,2,x\n", "line 3: 3 cells"),
    "a name twice": (b"a,a,t\n1,2,x\n", "two columns are called 'a'"),
    "no names": (b"1,2\n3,4\n", "must name the columns"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files(tmp_path, case):
    content, words = BAD_FILES[case]
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UserError, match=words):
        data.load_table(f"csv:{tmp_path / 't.csv'}", target="t")


def test_thousands_in_a_file_with_semicolons_are_fractions(tmp_path):
    table = load_column(tmp_path, numbers("{},125"), delimiter=";")
    assert by_row(table)[0] == 1.125 and any("a fraction" in note for note in table.notes)


def test_a_column_of_categories_by_order(tmp_path):
    table = load_column(tmp_path, cycle("7", "8", "9"), categories=["x"])
    assert table.columns["x"]["vocabulary"] == ["7", "8", "9"]
    table = load_column(tmp_path, cycle("none", "soft"), missing_words=["?"])
    assert by_row(table)[0] == "none"
    table = load_column(tmp_path, numbers(), name="index", keep=["index"])
    assert "index" in table.columns


# Files of a folder, made by `picture`; class names, words of a note; or words of the refusal.
def picture(seed, bits=8):
    level = np.random.RandomState(seed).randint(0, 256, (8, 8))
    if bits == 8:
        return Image.fromarray(level.astype(np.uint8))
    return Image.fromarray((level * (2 ** (bits - 8))).astype(np.uint16))


def classes(prefix="", names=("cat", "dog"), count=6, start=0):
    return {
        f"{prefix}{name}/{i}.png": picture(start + 100 * c + i)
        for c, name in enumerate(names)
        for i in range(count)
    }


SPLIT = classes("train/") | classes("test/", count=3, start=1000)
JXL = b"\xff\x0a" + bytes(16)
WEBP = b"RIFF\x10\0\0\0WEBPVP8 " + bytes(16)  # nothing but a beginning


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def film(count=2):
    frames = [picture(900 + i) for i in range(count)]
    return {"save_all": True, "append_images": frames[1:]}


FOLDERS = {
    "splits and another folder": (SPLIT | {"single/what.png": picture(9)}, ("cat", "dog"), "single/ lies beside"),
    "splits and annotations": (SPLIT | {"annotations/a.xml": b"<a/>"}, ("cat", "dog"), "annotations/ lies beside"),
    "splits and a copy of them": (SPLIT | {f"pets/{k}": v for k, v in SPLIT.items()}, ("cat", "dog"), "pets/ lies beside"),
    "splits in a folder": ({f"pets/{k}": v for k, v in SPLIT.items()}, ("cat", "dog"), "the only folder"),
    "splits and a Mac's copy": (SPLIT | {f"__MACOSX/{k}": b"\0\5\26\7" for k in SPLIT}, ("cat", "dog"), None),
    "classes train and bus": (classes(names=("train", "bus")), ("bus", "train"), None),
    "train/ beside pictures": (classes("train/") | {f"rest/{i}.png": picture(700 + i) for i in range(6)}, ("rest", "train"), "train/ was taken for a class"),
    "12 of 16 bits": ({f"{c}/{i}.png": picture(100 * (c == "dog") + i, 12) for c in ("cat", "dog") for i in range(6)}, ("cat", "dog"), "of 16 bits use 12"),
    "all of 16 bits": ({f"{c}/{i}.png": picture(100 * (c == "dog") + i, 16) for c in ("cat", "dog") for i in range(6)}, ("cat", "dog"), None),
    "the same picture in two splits": (SPLIT | {"test/cat/again.png": picture(0)}, ("cat", "dog"), "exact duplicates of pictures in test"),
    "the same picture in two classes": (classes() | {"cat/a.png": picture(500), "dog/a.png": picture(500)}, ("cat", "dog"), "different label.*cat/a.png"),
    "a folder for each patient": ({f"{c}/p{p}/{i}.png": picture(100 * p + i + 50 * (c == "dog")) for c in ("cat", "dog") for p in range(4) for i in range(3)}, ("cat", "dog"), "--group-level 1"),
    "a class in a format that is not read": (classes() | {"eel/a.jxl": JXL, "eel/b.jxl": JXL}, None, "'eel'.*JPEG XL"),
    "one picture in such a format": (classes() | {"cat/a.jxl": JXL}, ("cat", "dog"), "1 picture left out"),
    "a class of drawings": (classes() | {"eel/a.svg": b"<svg/>", "eel/b.svg": b"<?xml?><svg/>"}, None, "'eel'.*SVG.*rsvg-convert"),
    "WebP, TIFF and AVIF": (classes() | {f"eel/a.{f}": encoded(picture(7 + i), f.upper()) for i, f in enumerate(("webp", "tiff", "avif"))}, ("cat", "dog", "eel"), None),
    "formats under other names": (classes() | {f"eel/{f}.png": encoded(picture(7 + i), f) for i, f in enumerate(("WEBP", "TIFF"))}, ("cat", "dog", "eel"), None),
    "WebP that is broken": (classes() | {"cat/a.webp": WEBP}, None, "broken or truncated WebP"),
    "TIFF that is broken": (classes() | {"cat/a.tif": encoded(picture(7), "TIFF")[:60]}, None, "broken or truncated TIFF"),
    "an animated WebP": (classes() | {"cat/a.webp": encoded(picture(7), "WEBP", **film())}, ("cat", "dog"), "first was read: cat/a.webp"),
    "a TIFF of three pages": (classes() | {"cat/a.tif": encoded(picture(7), "TIFF", **film(3))}, ("cat", "dog"), "first was read: cat/a.tif"),
    "TIFF of 12 of 16 bits": ({f"{c}/{i}.tif": picture(100 * (c == "dog") + i, 12) for c in ("cat", "dog") for i in range(6)}, ("cat", "dog"), "of 16 bits use 12"),
    "TIFF of floating-point numbers": (classes() | {"cat/a.tif": encoded(Image.new("F", (8, 8), 0.5), "TIFF")}, None, "floating-point"),
    "TIFF of large numbers": (classes() | {"cat/a.tif": encoded(Image.new("I", (8, 8), 70000), "TIFF")}, None, "run from 70000 to 70000"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", FOLDERS)
def test_folders(make_folder, case):
    files, names, words = FOLDERS[case]
    root = make_folder(files)
    if names is None:
        with pytest.raises(UserError, match=words):
            data.load(f"folder:{root}")
        return
    found = data.load(f"folder:{root}")
    assert found.class_names == names
    if words:
        assert any(re.search(words, note) for note in found.notes), found.notes
    else:
        assert not found.notes


@pytest.mark.slow
def test_twelve_bits_keep_what_tells_them_apart(make_folder):
    """Level v of 12 bits becomes v * 255 / 4095, by hand."""
    levels = np.array([[0, 1000], [2095, 4000]], np.uint16)
    files = {f"{c}/{i}.png": Image.fromarray(np.roll(levels, i)) for c in "ab" for i in range(4)}
    found = data.load(f"folder:{make_folder(files)}")
    assert found.reading.white == 4095
    every = np.concatenate([split.take(range(len(split))) for split in found.splits.values()])
    assert sorted(np.unique(every)) == [0, 62, 130, 249]


@pytest.mark.slow
def test_links(make_folder):
    root = make_folder(classes())
    os.symlink(root, root / "cat" / "up")
    os.symlink(root, root / "everything")
    found = data.load(f"folder:{root}")
    assert found.class_names == ("cat", "dog") and sum(found.counts.values()) == 12
    assert any("cat/up is a link" in note for note in found.notes)
    assert any("everything is a link" in note for note in found.notes)


@pytest.mark.slow
def test_groups_of_pictures(make_folder):
    files = {
        f"{c}/p{p}_{i}.png": picture(1000 * p + i + 50 * (c == "dog"))
        for c in ("cat", "dog")
        for p in range(10)
        for i in range(3)
    }
    found = data.load(f"folder:{make_folder(files)}", group_pattern=r"(p\d+)_")
    patients = [
        {name.split("/")[1].split("_")[0] for name in split.origins}
        for split in found.splits.values()
    ]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 10
    for pattern, words in (("(x)", "do not match"), ("p", "0 groups"), ("(", "no regular")):
        with pytest.raises(UserError, match=words):
            data.load(f"folder:{make_folder(files)}", group_pattern=pattern)


RNG = np.random.default_rng(0)
NPZ = {
    "masks of 0 and 1": (RNG.integers(0, 2, (40, 8, 8)).astype(np.uint8), {0, 255}, "levels 0 and 1"),
    "truth values": (RNG.integers(0, 2, (40, 8, 8)).astype(bool), {0, 255}, None),
    "levels to 16": (RNG.integers(0, 17, (40, 8, 8)).astype(np.uint8), set(range(17)), "nearly black"),
    "12 bits": (RNG.choice([0, 2048, 4095], (40, 8, 8)).astype(np.uint16), {0, 128, 255}, "use 12 bits"),
    "five channels": (RNG.integers(0, 256, (40, 8, 8, 5)).astype(np.uint8), None, None),
    "channels first": (RNG.integers(0, 256, (40, 3, 8, 8)).astype(np.uint8), "moveaxis", None),
    "negative levels": (RNG.integers(-3, 256, (40, 8, 8)).astype(np.int16), "values run from -3", None),
}  # fmt: skip


@pytest.mark.parametrize("case", NPZ)
def test_npz(tmp_path, case):
    images, levels, words = NPZ[case]
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(40) % 2)
    if isinstance(levels, str):
        with pytest.raises(UserError, match=levels):
            data.load(f"npz:{tmp_path / 'a.npz'}")
        return
    found = data.load(f"npz:{tmp_path / 'a.npz'}")
    taken = found.splits["train"].take(range(len(found.splits["train"])))
    assert levels is None or set(np.unique(taken).tolist()) == levels
    assert found.image_shape == (8, 8, 1 if images.ndim == 3 else images.shape[-1])
    assert any(words in note for note in found.notes) if words else not found.notes


HEAD = "@problemName x\n@timeStamps false\n@univariate true\n@classLabel true 1 2\n@data\n"
WAVES = [
    [f"{v:.3f}" for v in np.sin(np.arange(8 + i % 4) * (1 + i % 2)) + 0.01 * i] for i in range(40)
]


def ts(label=lambda i: str(1 + i % 2), pad=None):
    padded = [wave + [pad] * (12 - len(wave)) if pad else wave for wave in WAVES]
    return HEAD + "".join(f"{','.join(wave)}:{label(i)}\n" for i, wave in enumerate(padded))


def steps(label=lambda i: str(1 + i % 2), padded=False):
    rows = [
        f"{i},{label(i)},{t},{v}\n"
        for i, wave in enumerate(WAVES)
        for t, v in enumerate(wave + [""] * (12 - len(wave)) * padded)
    ]
    return "series,label,time,v\n" + "".join(rows)


def gap(word):
    return lambda i: str(1 + i % 2) if i % 5 else word


SERIES = {
    "a.ts": ("without labels", ts(gap("")).encode(), 32, "8 of 40 series have no label"),
    "b.ts": ("labels ?", ts(gap("?")).encode(), 32, "no label"),
    "c.ts": ("labels NaN", ts(gap("NaN")).encode(), 32, "no label"),
    "d.ts": ("padded with NaN", ts(pad="NaN").encode(), 40, None),
    "e.ts": ("padded with ?", ts(pad="?").encode(), 40, None),
    "f.ts": ("cp1252 in comments", ("# 60 \u2013 80\n" + ts()).encode("cp1252"), 40, None),
    "g.ts": ("a byte order mark", ts().encode("utf-8-sig"), 40, None),
    "h.csv": ("without labels", steps(gap("")).encode(), 32, "8 of 40 series have no label"),
    "i.csv": ("padded with nothing", steps(padded=True).encode(), 40, None),
    "j.csv": ("sep=", b"sep=,\n" + steps().encode(), 40, None),
}


@pytest.mark.parametrize("name", SERIES)
def test_series(tmp_path, name):
    _, content, count, words = SERIES[name]
    (tmp_path / name).write_bytes(content)
    found = data.load_sequences(f"{name.split('.')[1]}:{tmp_path / name}")
    assert found.class_names == ("1", "2") and sum(found.counts.values()) == count
    lengths = np.concatenate([split.lengths for split in found.splits.values()])
    assert set(lengths.tolist()) == {8, 9, 10, 11}
    assert any(words in note for note in found.notes) if words else True


def test_series_of_npz(tmp_path):
    x = RNG.normal(size=(200, 9)).astype(np.float32)
    path = tmp_path / "a.npz"
    labels = (x.mean(1) > 0).astype(float)
    np.savez(path, x_train=x, y_train=labels, class_names=["rest", "run"])
    assert data.load_sequences(f"npz:{path}").class_names == ("rest", "run")
    labels[:7] = NAN
    np.savez(path, x_train=x, y_train=labels)
    found = data.load_sequences(f"npz:{path}")
    assert found.class_names == ("0", "1") and "7 of 200 series" in " ".join(found.notes)
    np.savez(path, x_train=x, y_train=np.arange(200) % 50)
    found = data.load_sequences(f"npz:{path}")
    assert not found.classes and "quantities" in " ".join(found.notes)


TEXTS = {
    "latin-1": ("ü".encode("latin-1") * 2000, "no text in UTF-8"),
    "UTF-16": (("abc " * 500).encode("utf-16"), "UTF-8|zero bytes"),
    "zero bytes": (b"abc \0" * 500, "zero bytes"),
    "too short": (b"abc", "too few"),
    "one letter": (b"a" * 3000, "only one character"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_texts(tmp_path, case):
    content, words = TEXTS[case]
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UserError, match=words):
        data.load_text(f"text:{tmp_path / 'a.txt'}")
