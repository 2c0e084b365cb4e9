import csv
import io

import pytest
from hypothesis import given, strategies as st

from kapps.data.delimited import read_delimited, read_names
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


def test_commas_in_prices_do_not_make_columns(tmp_path):
    table = read_delimited(write(tmp_path, "price;size\n1,5;2\n2,5;3\n"))
    assert table.names == ("price", "size") and table.columns[0] == ["1,5", "2,5"]


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=5).map(str.strip)


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
