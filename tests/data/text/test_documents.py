"""Texts with a class each: what is understood, what is refused, what is noted."""

import numpy as np
import pytest

from kapps import data
from kapps.errors import UserError


def letters(i):
    return f"a letter of number {i} about {'cats' if i % 2 else 'dogs'}"


FOLDER = {f"{c}/{i}.txt": letters(2 * i + (c == "cat")) for c in ("cat", "dog") for i in range(20)}
SPLITS = {f"{s}/{k}": f"{s} {v}" for s in ("train", "test") for k, v in FOLDER.items()}
FOLDERS = {
    "classes": (FOLDER, None),
    "splits": (SPLITS, None),
    "other files beside the texts": (FOLDER | {"cat/a.png": "\x89PNG"}, "1 files that are no texts"),
    "empty texts": (FOLDER | {"cat/e.txt": "", "dog/f.txt": " \n"}, "2 of 42 texts are empty"),
    "a text in two classes": (FOLDER | {"cat/x.txt": "same", "dog/x.txt": "same"}, "different label"),
    "hidden files": (FOLDER | {"cat/.DS_Store": "x", ".git/a.txt": "x"}, None),
    "a byte order mark": (FOLDER | {"cat/b.txt": "\ufeffa text"}, None),
}  # fmt: skip  # noqa: E501


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return f"folder:{root}"


@pytest.mark.parametrize("case", FOLDERS)
def test_folders(tmp_path, case):
    files, words = FOLDERS[case]
    found = data.load_documents(write(tmp_path, files))
    assert found.class_names == ("cat", "dog")
    for split in found.splits.values():
        for text, label in zip(split.texts, split.labels, strict=True):
            assert not text.startswith("\ufeff")
            assert found.class_names[label] + "s" in text or text in ("same", "a text")
    if case == "splits":
        assert found.counts["test"] == 40
        assert all(text.startswith("test ") for text in found.splits["test"].texts)
    assert any(words in note for note in found.notes) if words else not found.notes


REFUSED = {
    "latin-1": (FOLDER | {"cat/l.txt": "é".encode("latin-1")}, "no text in UTF-8.*cat/l.txt"),
    "UTF-16": (FOLDER | {"cat/l.txt": "abc".encode("utf-16")}, "no text in UTF-8"),
    "zero bytes": (FOLDER | {"cat/l.txt": b"abc\0"}, "no text in UTF-8"),
    "one class": ({k: v for k, v in FOLDER.items() if k.startswith("cat")}, "1 classes"),
    "splits and another folder": (SPLITS | {"rest/a/x.txt": "x"}, "some are splits"),
    "no train": ({k: v for k, v in SPLITS.items() if k.startswith("test")}, "no train/"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_folders(tmp_path, case):
    files, words = REFUSED[case]
    with pytest.raises(UserError, match=words):
        data.load_documents(write(tmp_path, files))


def table(path, rows, head="who,body,kind"):
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return f"csv:{path}"


def test_a_table(tmp_path):
    rows = [
        f'w{i // 4},"{letters(i)}, ""quoted"", ü",{"cat" if i % 2 else "none"}' for i in range(40)
    ]
    rows += ["w1,,cat", "w2,some text,"]
    spec = table(tmp_path / "t.csv", rows)
    found = data.load_documents(spec, text="body", target="kind")
    assert found.class_names == ("cat", "none")  # a class called none is one
    assert sum(found.counts.values()) == 40 and "2 of 42 texts" in found.notes[0]
    assert 'quoted", ü' in found.splits["train"].texts[0]
    grouped = data.load_documents(spec, text="body", target="kind", group="who")
    owners = [{int(row) // 4 for row in split.rows} for split in grouped.splits.values()]
    assert sum(map(len, owners)) == len(set.union(*owners)) == 10
    assert grouped.fingerprint != found.fingerprint
    tested = [
        data.load_documents(spec, text="body", target="kind", fold=(i, 4)).splits["test"].rows
        for i in range(4)
    ]
    assert sorted(np.concatenate(tested)) == list(range(40))


@pytest.mark.parametrize(
    "columns, words",
    [
        ({"text": "body"}, "which column is the target"),
        ({"target": "kind"}, "which column is the text"),
        ({"text": "bodi", "target": "kind"}, "no column 'bodi'"),
        ({"text": "kind", "target": "kind"}, "both text and target"),
        ({"text": "kind", "target": "body"}, "is column 'body' a class"),
        ({"text": "body", "target": "kind", "group": "x"}, "no column 'x'"),
    ],
)
def test_columns_that_are_none(tmp_path, columns, words):
    rows = [f"w,{letters(i)},{'ab'[i % 2]}" for i in range(20)]
    with pytest.raises(UserError, match=words):
        data.load_documents(table(tmp_path / "t.csv", rows), **columns)


@pytest.mark.slow
def test_what_python_brings():
    found = data.load_documents()
    assert found.class_names == tuple(sorted(found.class_names)) and "asyncio" in found.class_names
    assert min(found.counts.values()) > 50
    with pytest.raises(UserError, match="--text"):
        data.load_documents(text="a")
