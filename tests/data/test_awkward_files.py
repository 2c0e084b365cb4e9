"""Files of tables as people have them, and the words in them; right values written down by hand.

Beside `test_awkward`, which has the columns: what a file is, what it holds beside its rows, and
what several tables together say.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from kapps import data
from kapps.data.delimited import read_delimited, read_names
from kapps.errors import UserError

N = 60
R = range(N)
X = [f"{i * 7 % 59}.5" for i in R]
T = ["ab"[i % 2] for i in R]
# Of no use to tell the classes apart, so that nothing is said of it.
M = ["pqr"[i % 3] for i in R]


def text(head="x,m,t", rows=None, end="\n", tail=""):
    rows = [",".join(row) for row in zip(X, M, T, strict=True)] if rows is None else rows
    return end.join([head, *rows]) + end + tail


def plain(tail=""):
    return text(tail=tail)


def load(tmp_path, content, name="t.csv", **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return data.load_table(f"csv:{path}", **{"target": "t", **options})


def packed(table):
    return gzip.compress(table.encode())


def jsonl():
    rows = zip(X, M, T, strict=True)
    return "".join(json.dumps({"x": float(x), "m": m, "t": t}) + "\n" for x, m, t in rows)


# Content, name; all of them are the same table.
SAME = {
    "UTF-16": (plain().encode("utf-16"), "t.csv"),
    "UTF-16, big endian": (b"\xfe\xff" + plain().encode("utf-16-be"), "t.csv"),
    "UTF-16 with tabs, as Excel has it": (plain().replace(",", "\t").encode("utf-16"), "t.txt"),
    "gzip": (packed(plain()), "t.csv.gz"),
    "gzip without its ending": (packed(plain()), "t.csv"),
    "plain with the ending of gzip": (plain(), "t.csv.gz"),
    "JSON lines": (jsonl(), "t.jsonl"),
    "JSON lines, gzip": (packed(jsonl()), "t.jsonl.gz"),
    "empty cells behind the rows": (plain().replace("\n", ",\n").replace("t,\n", "t\n", 1), "t.csv"),
    "empty columns": (plain().replace("\n", ",,\n"), "t.csv"),
    "an empty name": (plain().replace("t\n", "t,\n", 1), "t.csv"),
    "line ends of old Macs": (text(end="\r"), "t.csv"),
    "names in angle brackets": (plain().replace("x,m,t", "<X>,<M>,<T>"), "t.csv"),
    "a byte order mark twice": ("\ufeff\ufeff" + plain(), "t.csv"),
    "cells of no width": (plain().replace(",", "\u200b,"), "t.csv"),
    "names in the middle": (text(rows=plain().split("\n")[1:31] + plain().split("\n")[:1] + plain().split("\n")[31:61]), "t.csv"),
    "a row of totals": (plain(tail="1770.0,Total,\n"), "t.csv"),
    "totals and an average, blank rows between": (plain(tail=",,\n1770.0,Summe:,\n29.5,average,\n"), "t.csv"),
    "blanks behind quotes": (text(rows=[f'{x}, "{m}" ,"{t}" ' for x, m, t in zip(X, M, T, strict=True)]), "t.csv"),
    "Excel's formulas for text": (text(rows=[f'="{x}",{m},{t}' for x, m, t in zip(X, M, T, strict=True)]), "t.csv"),
}  # fmt: skip


@pytest.mark.parametrize("case", SAME)
def test_the_same_table(tmp_path, case):
    content, name = SAME[case]
    if "brackets" in case:
        table = load(tmp_path, content, name, target="<T>")
        assert list(table.columns) == ["M", "X"] and read_names(tmp_path / name)[0] == "<X>"
        return
    table = load(tmp_path, content, name)
    assert list(table.columns) == ["m", "x"] and table.class_names == ("a", "b")
    assert sum(table.counts.values()) == N
    train = table.splits["train"]
    np.testing.assert_array_equal(train.inputs["x"], [float(X[row]) for row in train.rows])
    assert read_names(tmp_path / name) == ("x", "m", "t")
    said = {"names": "names of the columns once more", "totals": "up the others"}
    for word, note in said.items():
        assert any(note in n for n in table.notes) == (word in case), table.notes


REFUSED = {
    "an Excel workbook": (b"PK\x03\x04\x14\0\6\0[Content_Types].xml" + bytes(99), "Excel workbook.*UTF-8"),
    "an old Excel workbook": (b"\xd0\xcf\x11\xe0" + bytes(99), "Excel workbook of before 2007"),
    "a zip archive": (b"PK\x03\x04" + bytes(99), "zip archive: unpack"),
    "a page": ("<!DOCTYPE html><html>404</html>", "HTML"),
    "a JSON array": ('[{"x": 1}]', "an object a line"),
    "JSON over several lines": ('{\n"x": [1]}', "an object a line"),
    "an SQLite database": (b"SQLite format 3\0" + bytes(99), "SQLite"),
    "zero bytes": (plain().replace("p", "p\0"), "zero bytes"),
    "zero bytes, later on": (plain() + 9999 * "1,p,a\n" + "1,p\0,a\n", "zero bytes"),
    "UTF-16 without a mark": (plain().encode("utf-16-le"), "zero bytes"),
    "cp1252": (plain().replace("p", "é").encode("cp1252"), "not UTF-8.*iconv -f cp1252"),
    "half of a gzip": (packed(plain())[:-20], "cannot be read: Compressed file ended"),
    "a title above": ("Sales of 2024,,\n" + plain(), "first line.*'Sales of 2024' alone"),
    "a comment above": ("# made by hand\n" + plain(), "first line.*'# made by hand' alone"),
    "a table of Markdown": ("|x|m|t|\n|---|:--|---|\n" + "".join(f"|{x}|p|a|\n" for x in X), "rules .Markdown"),
    "blanks between the cells": (plain().replace(",", " "), "parted by a comma"),
    "values below an empty name": (plain().replace("t\n", "t,\n", 1).replace("a\n", "a,7\n"), "4 cells"),
    "quotes behind a backslash": (text(rows=[f'{x},"{m}\\"{m}",{t}' for x, m, t in zip(X, M, T, strict=True)]), r"line 2: a quote within a quoted cell; double it"),
    "quotes within quotes": (plain() + '1,"p "q" r",a\n' + plain()[6:], "line 62: a quote within a quoted cell"),
    "a quote that stays open": (plain() + '1,p,"a\n' + plain()[6:], "a quote is not closed"),
    "bzip2": (bz2.compress(plain().encode()), r"bzip2: unpack it"),
    "xz": (lzma.compress(plain().encode()), "xz: unpack it"),
    "Zstandard": (pa.compress(plain().encode(), "zstd", asbytes=True), "Zstandard: unpack it"),
    "names of rows, as R writes them": (text(rows=[f"{i},{x},p,a" for i, x in enumerate(X)]), "4 cells"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path, case):
    content, words = REFUSED[case]
    with pytest.raises(UserError, match=words):
        load(tmp_path, content)


# Cells of a column called x between one of numbers and the target; its kind, or words of the
# refusal; values by row of the file; words of a note.
COLUMNS = {
    "ja and Nein": ([("ja", "Nein", "JA", "nein", "ja")[i % 5] for i in R], "string", {0: "ja", 2: "ja"}, "several ways"),
    "VRAI and FAUX": ([("VRAI", "FAUX", "VRAI")[i % 3] for i in R], "string", {1: "FAUX"}, None),
    "hexadecimal numbers": ([f"0x{i * 7919 % 65536:04x}" for i in R], "", {}, "as many values as rows"),
    "digests": ([f"{i * 2654435761 % 2**32:08x}" for i in R], "", {}, "as many values as rows"),
    "-999": ([X[i] if i % 9 else "-999" for i in R], "number", {0: -999}, r"'-999' \(\d cells\), and else numbers from [0-9.]+ to [0-9.]+: .*--missing-words"),
    "9999.0": ([X[i] if i % 9 else "9999.0" for i in R], "number", {0: 9999}, "'9999.0'"),
    "99 among the ages": ([str(20 + i) if i else "99" for i in R], "number", {0: 99}, None),
    "many unknown": ([X[i] if i % 3 else "unknown" for i in R], "number", {0: np.nan, 1: 7.5}, "'unknown'"),
    "below the limit of detection": ([X[i] if i % 4 else "<0.1" for i in R], "number", {0: np.nan, 1: 7.5}, "'<0.1'"),
    "few numbers among sizes": ([("S", "M", "38", "40")[i % 4] for i in R], "string", {2: "38"}, None),
    "months": ([f"20{i % 20 + 10}-{i % 12 + 1:02}" for i in R], "date", {0: 14610}, "holds dates"),
    "dates in two ways": ([f"2024-05-{i % 28 + 1:02}" if i % 3 else f"{i % 28 + 1}.5.2024" for i in R], "several ways, '2024-05-..' .*'.*.5.2024'", {}, None),
    "days and months by turns": ([f"{i % 28 + 1}/5/2024" if i % 2 else f"5/{i % 28 + 1}/2024" for i in R], "several ways", {}, None),
    "lakh and crore": ([f"{i + 1},23,45,678" for i in R], "number", {0: 12345678}, "12345678"),
    "categories by case": ([("Red", "red", "blue")[i % 3] for i in R], "string", {0: "Red"}, "differ in case.*'Red', 'red'"),
    "times of two offsets": ([f"2024-05-01T{i % 24:02}:00{('Z', '+02:00', '-05:00')[i % 3]}" for i in R], "date", {0: 19844}, r"several offsets \(\+02:00, -05:00, Z\)"),
    "times of one offset": ([f"2024-05-{i % 28 + 1:02}T12:00+02:00" for i in R], "date", {0: 19844.5}, "holds dates"),
    "subtotals among the rows": (["Subtotal" if i % 10 == 9 else f"r{i % 4}" for i in R], "string", {9: "Subtotal"}, "total or subtotal in 6 rows"),
    "minus signs behind": ([f"{i + 1}.5-" if i % 2 else f"{i + 1}.5" for i in R], "number", {0: 1.5, 1: -2.5}, "'2.5-' is read as -2.5"),
    "codes with a hyphen": ([f"{i % 3 + 1}-K" for i in R], "string", {0: "1-K"}, None),
    "digits of full width": (["".join(chr(ord(c) + 0xFEE0) for c in str(i + 10)) for i in R], "number", {0: 10, 59: 69}, "is read as 10"),
    "digits and signs of Arabic": (["".join(chr(0x660 + int(c)) for c in str(i + 10)) + "\u066b\u0665" for i in R], "number", {0: 10.5, 1: 11.5}, "is read as 10.5"),
    "dates of digits alone": ([f"202405{i % 28 + 1:02}" for i in R], "date", {0: 19844, 1: 19845}, r"holds dates \(yyyymmdd\)"),
    "numbers, some like such dates": ([str(20240501 + 7 * i) for i in R], "number", {0: 20240501}, None),
    "two digits of the year first": ([f"2{i % 2 + 3}-05-{i % 28 + 1:02}" for i in R], "date", {0: 19478, 1: 19845}, r"holds dates \(yymd\)"),
    "two digits of the year last": ([f"{i % 28 + 1}-05-24" for i in R], "date", {0: 19844, 1: 19845}, r"holds dates \(dmy\)"),
    "year or day": ([f"{i % 25 + 1:02}-05-{i % 25 + 1:02}" for i in R], "whether year or day comes first", {}, None),
    "months of Germans": ([f"{i % 28 + 1}. {('März', 'Mai', 'Okt.')[i % 3]} 2024" for i in R], "date", {0: 19783, 1: 19845}, "holds dates"),
    "months of the French": ([f"{i % 28 + 1} {('août', 'juin', 'juillet')[i % 3]} 2024" for i in R], "date", {0: 19936, 1: 19876, 2: 19907}, "holds dates"),
    "months of Spaniards": ([f"{i % 28 + 1} de septiembre de 2024" for i in R], "date", {0: 19967}, "holds dates"),
    "month and year": ([f"{('Jan', 'Feb', 'March')[i % 3]} {2010 + i % 7}" for i in R], "date", {0: 14610, 1: 15006}, "holds dates"),
    "month and year, as Excel has them": ([f"{('Jan', 'Feb', 'Mar')[i % 3]}-{10 + i % 7}" for i in R], "date", {0: 14610, 1: 15006}, "holds dates"),
    "zones by name": ([f"2024-05-{i % 28 + 1:02} 12:00 CET" for i in R], "date", {0: 19844.5}, "holds dates"),
    "zones by region": ([f"2024-05-{i % 28 + 1:02}T12:00:00+02:00[Europe/Berlin]" for i in R], "date", {0: 19844.5}, "holds dates"),
    "for ever": ([f"2024-05-{i % 28 + 1:02}" if i % 9 else "9999-12-31" for i in R], "date", {1: 19845}, r"'9999-12-31' \(\d cells\), and else dates from .*--missing-words"),
    "lists": ([f"[{i % 3}, {i % 5}]" for i in R], "string", {0: "[0, 0]"}, "occurs? once"),
}  # fmt: skip


@pytest.mark.parametrize("case", COLUMNS)
def test_columns(tmp_path, case):
    cells, kind, values, words = COLUMNS[case]
    rows = [f'{m},"{x}",{t}' for m, x, t in zip(X, cells, T, strict=True)]
    if " " in kind:
        with pytest.raises(UserError, match=kind):
            load(tmp_path, text("n,x,t", rows))
        return
    table = load(tmp_path, text("n,x,t", rows))
    served = "x_days" if kind == "date" else "x"
    if kind:
        assert table.columns[served]["kind"] == kind.replace("date", "number")
        for split in table.splits.values():
            for row, value in zip(split.rows, split.inputs[served], strict=True):
                if row in values:
                    np.testing.assert_equal(value, values[row])
    else:
        assert "x" in table.dropped
    notes = [note for note in table.notes if "'x'" in note]
    assert any(re.search(words, note) for note in notes) if words else not notes, notes


def rows_with(cells, head="n,x,t"):
    return text(head, [f'{n},"{x}",{t}' for n, x, t in zip(X, cells, T, strict=True)])


def test_the_later_is_told_by_the_instant(tmp_path):
    """By the clock, 23:00+09:00 would be later than 22:00-05:00, which is 13 hours after it."""
    clocks = ("22:00-05:00", "23:00+09:00")  # of an even row, and of the odd one before it
    cells = [f"2024-{5 + (i + 1) // 2 // 28}-{(i + 1) // 2 % 28 + 1}T{clocks[i % 2]}" for i in R]
    found = load(tmp_path, rows_with(cells), time="x")
    assert found.splits["test"].rows.min() > found.splits["validation"].rows.max()
    assert found.splits["validation"].rows.min() > found.splits["train"].rows.max()
    cells = [f"2024-05-01T{i % 24:02}:{('30:00 CET', '00:00 EST')[i % 2]}" for i in R]
    with pytest.raises(UserError, match="several zones .'CET', 'EST'. have no order"):
        load(tmp_path, rows_with(cells), time="x")
    with pytest.raises(UserError, match="too few different ones"):
        load(tmp_path, rows_with([str(2020 + i % 2) for i in R]), time="x")


# Cells of a column of weights; words of a note, or of the refusal.
WEIGHTS = {
    "of one class": ([str(int(t == "a")) for t in T], "class 'b' have the weight 0"),
    "one that outweighs all": (["1e9" if i == 1 else "1" for i in R], "count as 1 of equal weight"),
    "all 0": (["0"] * N, "all rows have 0"),
    "one below 0": (["-1", *["1"] * (N - 1)], "1 rows have none"),
    "NaN": (["nan", *["1"] * (N - 1)], "1 rows have none"),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights(tmp_path, case):
    cells, words = WEIGHTS[case]
    if "rows have" in words:
        with pytest.raises(UserError, match=words):
            load(tmp_path, rows_with(cells), weight="x")
        return
    found = load(tmp_path, rows_with(cells), weight="x", seed=3)
    assert any(words in note for note in found.notes), found.notes


def test_columns_that_divide_the_rows_are_named(tmp_path):
    split = rows_with(["Train" if i % 3 else "test" for i in R], "n,Split,t")
    found = load(tmp_path, split)
    assert "Split" not in found.columns
    assert any("--split-column 'Split' divides" in note for note in found.notes)
    assert "Split" in load(tmp_path, split, keep=["Split"]).columns
    groups = rows_with([("P1", "p1", "P2", "P3")[i % 4] for i in R])
    found = load(tmp_path, groups, group="x")
    assert any("groups of column 'x' that differ in case" in note for note in found.notes)


def test_accents_in_names_may_be_written_in_two_ways(tmp_path):
    found = load(tmp_path, text("n,gro\u0308\u00dfe,t", None), target="t", drop=["gr\u00f6\u00dfe"])
    assert list(found.columns) == ["n"]


def test_what_stands_for_a_missing_value_is_named(tmp_path):
    rows = [f"{X[i] if i % 9 else '-999'},{M[i]},{T[i]}" for i in R]
    table = load(tmp_path, text(rows=rows), missing_words=["-999"])
    every = np.concatenate([split.inputs["x"] for split in table.splits.values()])
    assert np.isnan(every).sum() == 7 and np.nanmin(every) == 0.5
    empty = [row.replace("-999", "") for row in rows]
    table = load(tmp_path, text(rows=empty), missing_words=["-999"])
    assert np.isnan(np.concatenate([s.inputs["x"] for s in table.splits.values()])).sum() == 7


# Cells of the target; class names, or words of a refusal; words of a note.
TARGETS = {
    "blanks and accents": ([("New York", "New  York", "New\u00a0York", "Zu\u0308rich", "Zürich")[i % 5] for i in R], ("New York", "Zürich"), "look the same"),
    "WAHR and wahr": ([("WAHR", "FALSCH", "wahr")[i % 3] for i in R], ("FALSCH", "WAHR"), "several ways"),
    "dates": ([f"2024-05-{i % 28 + 1:02}" for i in R], "holds dates", None),
    "-999 among quantities": ([X[i] if i % 9 else "-999" for i in R], (), r"'-999' \(7 cells\).*leave its cells empty"),
    "a class of one": (["rare", *T[1:]], ("a", "b", "rare"), "no test row is of class 'rare'"),
    "beyond float32": ([f"{i + 1}e40" for i in R], "beyond 3.4e38", None),
    "minus signs behind": ([f"{i + 1}.5-" for i in R], (), "is read as -1.5"),
    "Yes, yes and YES": ([("Yes", "yes ", "NO", "no", "YES")[i % 5] for i in R], ("NO", "YES"), "several ways"),
}  # fmt: skip


@pytest.mark.parametrize("case", TARGETS)
def test_targets(tmp_path, case):
    cells, names, words = TARGETS[case]
    rows = [f"{x},{m},{t}" for x, m, t in zip(X, M, cells, strict=True)]
    if isinstance(names, str):
        with pytest.raises(UserError, match=names):
            load(tmp_path, text(rows=rows))
        return
    table = load(tmp_path, text(rows=rows))
    assert len(table.class_names) == len(names)
    if case.startswith("blanks"):
        assert table.class_names == names
    assert any(re.search(words, note) for note in table.notes), table.notes


def test_a_column_that_says_the_target(tmp_path):
    rows = [f"{x},{'D1' if t == 'a' else 'D2'},{t}" for x, t in zip(X, T, strict=True)]
    assert any("'m' says the target" in n for n in load(tmp_path, text(rows=rows)).notes)
    rows[0] = rows[1].replace("D2", "D1").replace(",b", ",b")
    assert not any("says the target" in n for n in load(tmp_path, text(rows=rows * 2)).notes)
    few = [f"{i}.5,{i % 2},c{i % 12}" for i in range(30)]  # values that come once say anything
    assert not any("says the target" in n for n in load(tmp_path, text(rows=few)).notes)
    rows = [f"{x},{float(x) * 1.1 + 3:.6f},{x}" for x in X]
    table = load(tmp_path, text("p,q,t", [f"{i * 3 % 17},{r}" for i, r in enumerate(rows)]).replace("p,q,t", "p,x,q,t"))  # fmt: skip
    assert [n.split("'")[1] for n in table.notes if "says the target" in n] == ["q", "x"]


# Rows of a test file, its names, words of a note or of the refusal.
TEST_FILES = {
    "another order": ("t,m,x", [f"{t},{m},{x}1" for x, m, t in zip(X, M, T, strict=True)], None),
    "decimal commas": ("x;m;t", [f"{x.replace('.', ',')};{m};{t}" for x, m, t in zip(X, M, T, strict=True)], "no cell of column 'x' is a number as in the training data"),
    "other categories": ("x,m,t", [f"{x}1,{'z' if i < 9 else m},{t}" for i, (x, m, t) in enumerate(zip(X, M, T, strict=True))], "9 cells of column 'm' have values that are unknown"),
    "a column less": ("x,t", [f"{x},{t}" for x, t in zip(X, T, strict=True)], "lacks columns.*'m'; it has 'x', 't'"),
    "a row of totals": ("x,m,t", [*(f"{x}1,{m},{t}" for x, m, t in zip(X, M, T, strict=True)), "9,Total,"], "sums up the others"),
}  # fmt: skip


@pytest.mark.parametrize("case", TEST_FILES)
def test_test_files(tmp_path, case):
    head, rows, words = TEST_FILES[case]
    (tmp_path / "test.csv").write_text(text(head, rows))
    options = {"test_file": tmp_path / "test.csv"}
    if case in ("decimal commas", "a column less"):
        with pytest.raises(UserError, match=words):
            load(tmp_path, plain(), **options)
        return
    table = load(tmp_path, plain(), **options)
    assert table.counts["test"] == N
    np.testing.assert_allclose(table.splits["test"].inputs["x"], [float(x + "1") for x in X])
    assert words is None or any(re.search(words, note) for note in table.notes), table.notes


def arrow():
    return pa.table(
        {
            "n": pa.array([float(x) for x in X]),
            "gaps": pa.array([None if i % 7 == 0 else i * 3 % 31 for i in R], pa.int16()),
            "yes": pa.array([i % 4 == 0 for i in R]),
            "kind": pa.array(M).dictionary_encode(),
            "day": pa.array([19844 + i for i in R], pa.date32()),
            "when": pa.array([1714521600000000 + 3600000000 * i for i in R], pa.timestamp("us")),
            "code": pa.array([f"0{i % 5}" for i in R]),
            "many": pa.array([[i] for i in R]),
            "nothing": pa.nulls(N),
            "t": pa.array(T),
        }
    )


def check_typed(table):
    kinds = {name: column["kind"] for name, column in table.columns.items()}
    texts = {"code", "kind", "yes"}
    assert {name for name, kind in kinds.items() if kind == "string"} == texts
    assert set(kinds) - texts >= {"n", "gaps", "day_days", "when_days", "when_hour"}
    assert "day_hour" not in kinds
    assert any("'many' (" in note for note in table.notes) and "nothing" in table.dropped
    for split in table.splits.values():
        rows = split.rows
        np.testing.assert_array_equal(split.inputs["n"], [float(X[row]) for row in rows])
        np.testing.assert_array_equal(np.isnan(split.inputs["gaps"]), rows % 7 == 0)
        np.testing.assert_array_equal(split.inputs["day_days"], 19844 + rows)
        np.testing.assert_allclose(split.inputs["when_hour"], rows % 24, atol=1e-3)
        assert list(split.inputs["yes"]) == ["true" if row % 4 == 0 else "false" for row in rows]


def test_parquet(tmp_path):
    parquet.write_table(arrow(), tmp_path / "t.parquet")
    for kind in ("csv", "parquet"):
        check_typed(data.load_table(f"{kind}:{tmp_path / 't.parquet'}", target="t"))
    assert read_names(tmp_path / "t.parquet")[:2] == ("n", "gaps")
    with pytest.raises(UserError, match="has no column 'target'"):
        data.check_target(f"csv:{tmp_path / 't.parquet'}", "target")
    assert data.describe_table(f"csv:{tmp_path / 't.parquet'}")["columns"]["day"]["kind"] == "date"
    content = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "half.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="cannot be read as parquet"):
        read_delimited(tmp_path / "half.parquet")


def test_a_table_of_pyarrow():
    check_typed(data.load_table(arrow(), target="t"))
    with pytest.raises(UserError, match="which column is the target"):
        data.load_table(arrow())
    with pytest.raises(UserError, match="0 rows"):
        data.load_table(arrow().slice(0, 0), target="t")


def test_a_frame_of_pandas():
    pandas = pytest.importorskip("pandas")
    frame = arrow().to_pandas(date_as_object=False)
    frame["gaps"] = frame["gaps"].astype("Int16")
    frame["kind"] = frame["kind"].astype("category")
    check_typed(data.load_table(frame, target="t"))
    frame.loc[3, "n"] = np.nan
    split = data.load_table(frame, target="t").splits
    every = {row: x for s in split.values() for row, x in zip(s.rows, s.inputs["n"], strict=True)}
    assert np.isnan(every[3]) and every[4] == float(X[4])
    named = frame.set_index("n")
    assert "n" in data.load_table(named, target="t").columns
    mixed = pandas.DataFrame({"x": [1, "two", None] * 20, "t": T, "n": X})
    assert data.load_table(mixed, target="t").columns["x"]["kind"] == "string"


def test_a_frame_of_polars():
    polars = pytest.importorskip("polars")
    check_typed(data.load_table(polars.from_arrow(arrow()), target="t"))
