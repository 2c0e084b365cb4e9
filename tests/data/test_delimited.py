import csv
import gzip
import io

import pytest
from hypothesis import example, given, settings, strategies as st

from kapps.data import delimited
from kapps.data.delimited import read_delimited, read_names
from kapps.data.tables.columns import served_names
from kapps.errors import UserError


def write(tmp_path, text, name="table.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_quotes_and_marks(tmp_path, delimiter):
    text = 'name;note\r\n"O""Hara"; "a;\nb"\r\n\r\n Zoë ;\r\n'.replace(";", delimiter)
    table = read_delimited(write(tmp_path, text, encoding="utf-8-sig"))
    assert table.names == ("name", "note") and len(table) == 2
    assert table.columns == (['O"Hara', "Zoë"], [f"a{delimiter}\nb", ""])
    assert read_names(tmp_path / "table.csv") == table.names


@pytest.mark.parametrize("blank", [" ", "\t", "\v", "\f", "\x1c", "\x1f", "\u00a0", "\u200b"])
def test_blanks_around_cells_are_taken_away_wherever_they_are(tmp_path, blank):
    rows = "".join(f"{i},{blank * (i == 500)}x y{blank * (i == 700)},z\n" for i in range(1000))
    table = read_delimited(write(tmp_path, f"a,b,c\n{rows}"))
    assert table.columns == ([str(i) for i in range(1000)], ["x y"] * 1000, ["z"] * 1000)


def test_ends_of_lines_at_the_ends_of_quoted_cells_are_taken_away(tmp_path):
    table = read_delimited(write(tmp_path, 'a,b\n"x\n",1\n"\r\ny",2\n'))
    assert table.columns == (["x", "y"], ["1", "2"])


def test_commas_in_prices_do_not_make_columns(tmp_path):
    table = read_delimited(write(tmp_path, "price;size\n1,5;2\n2,5;3\n"))
    assert table.names == ("price", "size") and table.columns[0] == ["1,5", "2,5"]


# Neither line ends, nor what has no width and is taken away from around cells.
WRITTEN = st.characters(codec="utf-8", exclude_characters="\r\0\u200b\u200c\u200d\u2060\ufeff")
CELLS = st.text(WRITTEN, max_size=5).map(str.strip)


@pytest.mark.slow
@given(st.lists(st.tuples(st.just("x"), CELLS, CELLS), min_size=1, max_size=5))
def test_what_python_writes_is_read(tmp_path_factory, rows):
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("a", "b", "c"), *rows])
    table = read_delimited(write(tmp_path_factory.mktemp("csv"), text.getvalue()))
    assert list(zip(*table.columns, strict=True)) == rows


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("a,b\n", "no rows"),
        ("a,b\n1,2\n1,2,3\n", "line 3: 3 cells"),
        ("a,b\n1\n", "line 2: 1 cells"),
        ("a,b,a\n1,2,3\n", "'a'"),
        ("a,,b\n1,2,3\n", "column 2 has no name"),
        ("1,2.5\n3,4\n", "must name the columns"),
        ("a,b\n\xff\xfe\n", "UTF-8"),
    ],
)
def test_mistakes(tmp_path, text, words):
    path = write(tmp_path, text, encoding="latin-1")
    with pytest.raises(UserError, match=words):
        read_delimited(path)


def test_an_unnamed_first_column_is_an_index(tmp_path):
    assert read_delimited(write(tmp_path, ",a\n0,5\n1,6\n")).names == ("index", "a")


def test_a_folder_or_nothing(tmp_path):
    for path in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(UserError, match="cannot be read"):
            read_delimited(path)


RAW = st.text(st.sampled_from(list('ab," \n\r\t;é1')), max_size=25)


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(RAW)
@example('\r ",')
@example('\r "a","b"')
def test_arrow_reads_as_python_does_or_not_at_all(tmp_path_factory, body):
    path = write(tmp_path_factory.mktemp("csv"), "x,y\n" + body)
    try:
        head = delimited._Head(path)
    except UserError:
        return
    fast = delimited._read_by_arrow(path, head)
    try:
        slow = delimited._read_by_python(path, head)
    except UserError:
        slow = None
    if fast is not None:
        assert slow is not None
        assert [cells.to_pylist() for cells in fast] == [cells.to_pylist() for cells in slow]


def test_a_large_file_is_read_by_arrow(tmp_path):
    rows = "\n".join(f"{i},{i / 7:.6f}" for i in range(50_000))
    path = write(tmp_path, f"x,y\n{rows}\n")
    fast = delimited._read_by_arrow(path, delimited._Head(path))
    assert fast is not None and fast[0].to_pylist() == list(map(str, range(50_000)))


def test_compressed(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a;b\n1;2\n"))
    assert read_delimited(path).columns == (["1"], ["2"]) and read_names(path) == ("a", "b")
    path.write_bytes(gzip.compress(b"a;b\n1;2\n")[:-9])
    with pytest.raises(UserError, match="cannot be read"):
        read_delimited(path)


@pytest.mark.slow
def test_thousands_of_columns(tmp_path):
    """What is quadratic in the columns takes minutes here."""
    names = [f"c{i}" for i in range(20_000)]
    path = write(tmp_path, ",".join(names) + "\n" + ",".join("1" * 20_000) + "\n")
    assert read_delimited(path).names == tuple(names)
    assert len(set(served_names(names))) == 20_000
