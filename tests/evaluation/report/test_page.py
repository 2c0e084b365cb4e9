"""The report: one page, complete in itself, safe with any text."""

import base64
import html.parser
import io
import os

import numpy as np
import PIL.Image
import pytest
from matplotlib.figure import Figure

from kapps import evaluation

EVIL = '<script>alert("x")</script>'
ABSENT = {"link", "script", "iframe", "object", "base", "form"}


class Page(html.parser.HTMLParser):
    """Tags, attributes and text of a page; fails on tags that do not close in order."""

    VOID = {"meta", "img", "br", "source"}

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def find(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def figure():
    figure = Figure(figsize=(2, 1))
    figure.text(0.5, 0.5, "hello")
    return figure


def write(tmp_path, **changes):
    verdict = evaluation.Verdict("well fitted", "It fits & holds.", 3)
    content = {
        "title": f"cnn on {EVIL}",
        "verdict": verdict,
        "metrics": {
            "parameters": 19466, "best_epoch": 3, "test_accuracy": 0.944,
            "test_accuracy_low": 0.9151,
            "test_accuracy_high": 0.9634, "test_loss": 0.22291, "train_seconds": 83.2,
            "precision": "float32", "temperature": np.float32(1.5), "exported": None,
            "test_macro_f1": float("nan"), "learning_rate_high": 0.1,
        },
        "figures": [("Curves", figure(), f'A "caption" {EVIL}')],
        "tables": [
            ("By class", ["Class", "F1", "Pictures"], [[EVIL, 0.925, 12_000], ["b", None, 1]])
        ],
        "config": {"model": EVIL, "augment": True, "filters": (32, 64)},
        "commands": {"Again": f"python train.py --name '{EVIL}'"},
        "notes": [f"skipped {EVIL}"],
    }  # fmt: skip
    path = evaluation.write_report(tmp_path / "run" / "report.html", **content | changes)
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


def test_every_text_is_escaped_and_nothing_is_loaded(tmp_path):
    text, page = write(tmp_path)
    assert not ABSENT & {tag for tag, _ in page.tags}
    assert "<script" not in text
    assert " ".join(page.text).count(EVIL) == 7  # title, h1, caption, table, config, command, note
    for _, attrs in page.tags:
        for name, value in attrs.items():
            assert not name.startswith("on")
            if name in ("src", "href"):
                assert value.startswith("data:image/png;base64,")
    assert "url(" not in text and "@import" not in text
    policies = [a["content"] for a in page.find("meta") if "http-equiv" in a]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_pictures_are_inside_with_their_size_and_words(tmp_path):
    _, page = write(tmp_path)
    (image,) = page.find("img")
    data = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
    with PIL.Image.open(io.BytesIO(data)) as picture:
        assert (str(picture.width), str(picture.height)) == (image["width"], image["height"])
    assert image["alt"] == f'Curves. A "caption" {EVIL}'


def test_numbers_are_shown_with_their_units_the_test_split_first(tmp_path):
    _, page = write(tmp_path)
    words = [text.strip() for text in page.text if text.strip()]
    order = ["Test accuracy", "94.40 %", "95 % interval 91.51 to 96.34 %", "Test loss", "0.2229",
             "Test macro F1", "not a number", "Parameters", "19\u202f466", "Best epoch", "3",
             "Train seconds", "1 min 23 s"]  # fmt: skip
    start = words.index("Test accuracy")
    assert words[start : start + len(order)] == order
    for shown in ("float32", "1.5", "–", "Learning rate high", "0.1", "92.50 %", "12\u202f000",
                  "yes", "(32, 64)", "It fits & holds.", "Well fitted"):  # fmt: skip
        assert shown in words
    assert "Test accuracy low" not in words


def test_readable_on_a_phone_and_in_the_dark(tmp_path):
    text, page = write(tmp_path)
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.find(
        "meta"
    )
    assert "prefers-color-scheme: dark" in text
    assert page.find("html") == [{"lang": "en"}]
    assert all({"tabindex", "aria-label"} <= set(a) for a in page.find("div")
               if "scroll" in a.get("class", ""))  # fmt: skip


def test_any_recipe_can_use_it(tmp_path):
    """A title is enough: a generator has neither verdict nor accuracy."""
    path = evaluation.write_report(tmp_path / "report.html", title="vae on digits")
    page = Page(path.read_text(encoding="utf-8"))
    assert "vae on digits" in page.text
    assert not page.find("table") and not page.find("img") and not page.find("h2")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (119.6, "2 min 0 s"), (7260, "2 h 1 min")],
)
def test_durations(tmp_path, seconds, shown):
    _, page = write(tmp_path, metrics={"train_seconds": seconds})
    assert shown in page.text


def test_an_older_report_stays_if_a_new_one_fails(tmp_path, monkeypatch):
    write(tmp_path)
    path = tmp_path / "run" / "report.html"
    before = path.read_bytes()
    with pytest.raises(ValueError):
        write(tmp_path, tables=[("x", ["one column"], [[1, 2]])])
    assert path.read_bytes() == before

    def full_disk(descriptor):  # what was written does not fit
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        write(tmp_path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize("format", ["gif", "webp"])
def test_animations_move_unless_less_motion_is_wanted(tmp_path, format):
    grids = [np.full((1, 8, 8, 1), shade, np.uint8) for shade in (0, 200)]
    content = evaluation.plots.animation_bytes(grids, format=format)
    text, page = write(tmp_path, animations=[("Samples", content, f"moving {EVIL}")])
    moving, _ = page.find("img")
    kind, _, data = moving["src"].partition(";base64,")
    assert kind == f"data:image/{format}" and base64.b64decode(data) == content
    assert moving["alt"] == f"Samples. moving {EVIL}" and "<script" not in text
    [still] = page.find("source")
    assert still["media"] == "(prefers-reduced-motion: reduce)"
    png = base64.b64decode(still["srcset"].removeprefix("data:image/png;base64,"))
    with PIL.Image.open(io.BytesIO(png)) as picture:  # the last frame
        assert abs(picture.getpixel((10, 10))[0] - 200) < 4
        assert (str(picture.width), str(picture.height)) == (moving["width"], moving["height"])
