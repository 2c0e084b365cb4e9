"""The report: one page, complete in itself, safe with any text."""

import base64
import html.parser
import io
import os
import pathlib
import re

import numpy as np
import PIL.Image
import pytest
from matplotlib.figure import Figure

from kapps import evaluation
from kapps.evaluation.report import page as page_module

EVIL = '<script>alert("x")</script>'
ABSENT = {"link", "script", "iframe", "object", "base", "form"}


class Page(html.parser.HTMLParser):
    """Tags, attributes and text of a page; fails on tags that do not close in order."""

    VOID = {"meta", "img", "br", "source", "input"}

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
    """Of pixels: it becomes a PNG."""
    figure = Figure(figsize=(2, 1))
    figure.subplots().imshow(np.zeros((4, 4)))
    return figure


def drawing(**colours):
    figure = Figure(figsize=(2, 1))
    axes = figure.subplots()
    (line,) = axes.plot([0, 1], [1, 2], **colours)
    line.set_gid(f"hover:{EVIL}")
    axes.set_title(EVIL)
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
    assert set(re.findall(r"url\((.)", text)) <= {"#"} and "@import" not in text
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
    order = ["Accuracy (test)", "94.40\u202f%", "95\u202f% interval 91.51 to 96.34\u202f%",
             "Loss (test)", "0.2229\u202fnats", "Epoch kept", "3", "Training time",
             "1\u202fmin 23\u202fs", "Parameters", "19\u202f466"]  # fmt: skip
    start = words.index("Accuracy (test)")
    assert words[start : start + len(order)] == order
    for shown in ("float32", "1.5", "–", "Learning rate high", "0.1", "92.50\u202f%", "12\u202f000",
                  "yes", "(32, 64)", "It fits & holds.", "well fitted"):  # fmt: skip
        assert shown in words
    assert "Accuracy low (test)" not in words


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
    assert shown in [text.replace("\u202f", " ") for text in page.text]


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
    moving, resting, _ = page.find("img")
    assert [attrs["type"] for attrs in page.find("input")] == ["checkbox"]  # pauses it
    kind, _, data = moving["src"].partition(";base64,")
    assert kind == f"data:image/{format}" and base64.b64decode(data) == content
    assert moving["alt"] == f"Samples. moving {EVIL}" and "<script" not in text
    [still] = page.find("source")
    assert still["media"] == "(prefers-reduced-motion: reduce)"
    assert resting["src"] == still["srcset"]
    png = base64.b64decode(still["srcset"].removeprefix("data:image/png;base64,"))
    with PIL.Image.open(io.BytesIO(png)) as picture:  # the last frame
        assert abs(picture.getpixel((10, 10))[0] - 200) < 4
        assert (str(picture.width), str(picture.height)) == (moving["width"], moving["height"])


def test_drawings_take_the_colours_of_the_page(tmp_path):
    """Black and white would be invisible in the dark; text stays text, ids do not clash."""
    content = [(f"Learning curves {i}", drawing(color=c), "c") for i, c in enumerate("kb")]
    text, page = write(tmp_path, figures=[*content, ("b", drawing(color="#0072B2"), "c")])
    drawn = text[text.index("<svg") : text.rindex("</svg>")]
    assert "#000000" not in drawn and "currentColor" in drawn and "var(--blue)" in drawn
    assert "#0000ff" in drawn and "<script" not in text
    assert [attrs["role"] for attrs in page.find("svg")] == ["img"] * 3
    assert page.find("svg")[0]["aria-label"] == "Learning curves 0. c"
    titles = [i for i, (tag, _) in enumerate(page.tags) if tag == "title"]
    assert len(titles) == 4  # that of the page, and what the pointer is told over each line
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids)) > 0
    known = {f"#{name}" for name in ids}
    used = set(re.findall(r"url\((#[^)]*)\)", text)) | set(
        re.findall(r'xlink:href="(#[^"]*)"', text)
    )
    assert used and used <= known


def test_contrast_in_both_modes():
    """WCAG 2's formula: at least 4.5 to 1 of every ink and line against the card."""
    style = pathlib.Path(page_module.__file__).with_name("report.html.j2").read_text()
    light, dark = (dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", part))
                   for part in style.split("prefers-color-scheme: dark", 1))  # fmt: skip
    assert len(light) > 12 and light.keys() == dark.keys()

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return np.dot(linear, (0.2126, 0.7152, 0.0722))

    for colours in (light, dark):
        for name in colours.keys() - {"page", "card", "line"}:
            bright, dim = sorted(map(luminance, (colours[name], colours["card"])), reverse=True)
            assert (bright + 0.05) / (dim + 0.05) >= 4.5, name


def test_the_order_of_the_page(tmp_path):
    tables = [(name, ["a"], [[1]]) for name in ("Odd", "Test split, class by class",
                                                "Likely label errors")]  # fmt: skip
    verdict = evaluation.Verdict("over-fitted", "It over-fits. Rest more.", 3, advice="Rest more.")
    titles = ("Calibration", "Worst mistakes", "Confusion matrix", "Learning curves")
    figures = [(name, figure(), "") for name in titles]
    _, page = write(tmp_path, tables=tables, figures=figures, verdict=verdict)
    words = [text.strip() for text in page.text]
    order = ["over-fitted", "It over-fits.", "Accuracy (test)", "What to do next", "Rest more.",
             "To know", "Curves", "Results", "Confusion matrix", "Test split, class by class",
             "Mistakes", "Worst mistakes", "Likely label errors", "More", "Calibration", "Odd",
             "Commands", "Details"]  # fmt: skip
    places = [words.index(word) for word in order]
    assert places == sorted(places)


def test_a_file_is_a_link(tmp_path):
    path = tmp_path / "a b.png"
    _, page = write(tmp_path, tables=[("Worst mistakes", ["file"], [[path]])])
    assert page.find("a") == [{"href": path.as_uri()}] and str(path) in page.text
