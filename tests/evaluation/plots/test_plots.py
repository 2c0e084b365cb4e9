"""The pictures: what they hold, and that odd inputs draw without a warning."""

import io
import math

import matplotlib
import numpy as np
import PIL.Image
import pytest

from kapps.evaluation import plots
from kapps.evaluation.plots import svg
from kapps.evaluation.plots.figure import short_names, shorten


def history(epochs=6, **changes):
    rows = [
        {
            "epoch": i + 1,
            "loss": 1.2 / (i + 1),
            "accuracy": 1 - 0.5 / (i + 1),
            "train_loss": 1.0 / (i + 1),
            "train_accuracy": 1 - 0.4 / (i + 1),
            "val_loss": 0.3 + 0.1 * (i - 3) ** 2,
            "val_accuracy": 0.8 + 0.01 * i,
            "learning_rate": 10.0 ** -(i + 1),
        }
        for i in range(epochs)
    ]
    return [row | changes for row in rows]


def drawn(figure):
    """The picture as an array, to be sure that it can be drawn; and no axes collapsed."""
    with PIL.Image.open(io.BytesIO(plots.png_bytes(figure, dpi=50))) as picture:
        return np.asarray(picture.convert("RGB"))


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text"))]


def test_learning_curves_show_the_columns_and_the_best_epoch():
    figure = plots.learning_curves(history())
    loss, accuracy, rate = figure.axes
    values = {tuple(np.round(line.get_ydata(), 6)) for line in loss.lines}
    for name in ("loss", "train_loss", "val_loss"):
        assert tuple(round(row[name], 6) for row in history()) in values
    assert [a.get_title(loc="left") for a in figure.axes] == ["Loss", "Accuracy", "Learning rate"]
    assert rate.get_yscale() == "log"
    np.testing.assert_array_equal(loss.lines[0].get_xdata(), range(1, 7))
    assert "epoch 4: 0.3" in texts(figure) and "epoch 4: 83.0 %" in texts(figure)
    assert drawn(figure).std() > 5


def test_learning_curves_of_other_models():
    rows = [{"loss": 2.0 - 0.1 * i, "val_loss": 2.0, "kl": 0.1 * i} for i in range(4)]
    figure = plots.learning_curves(rows, metrics=("loss", "kl", "absent"))
    assert [a.get_title(loc="left") for a in figure.axes] == ["Loss", "Kl"]
    drawn(figure)


@pytest.mark.slow
@pytest.mark.parametrize(
    "rows",
    [
        [],
        history(1),
        history(2),
        history(5, val_loss=math.nan, val_accuracy=math.nan),
        history(5, loss=math.nan, train_loss=math.inf, val_loss=math.nan),
        history(5, val_loss=1e30),
        history(5, learning_rate=0.0),
        [{"epoch": 1, "unknown": 3}],
        [{"loss": "0.5", "val_loss": ""}],
        history(200),
    ],
    ids=["none", "one", "two", "nan", "all nan", "huge", "rate 0", "other", "text", "long"],
)
def test_odd_histories_are_drawn(rows):
    drawn(plots.learning_curves(rows))
    drawn(plots.compare_runs([("a", rows), ("_b_$x", history())]))


def test_comparison_names_every_run_with_its_best_accuracy():
    runs = [(f"_run {i}", history(val_accuracy=0.5 + 0.01 * i)) for i in range(16)]
    runs.append(("no accuracy", [{"val_loss": 0.75}]))
    figure = plots.compare_runs([*runs, ("empty", [])])
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert entries[:2] == [f"run {i}: best accuracy {50 + i}.00 %, epoch 1" for i in range(2)]
    assert entries[16] == "no accuracy: lowest loss 0.75, epoch 1"
    assert entries[17:] == ["thick: validation", "thin, dotted: training, evaluation mode"]
    looks = {
        (line.get_color(), str(line.get_linestyle()), line._dash_pattern[1] is None)
        for line in figure.legends[0].get_lines()
    }
    assert len(looks) >= 14
    drawn(figure)
    drawn(plots.compare_runs([]))


def test_comparison_of_generative_models():
    gan = [{"val_loss": 1.5, "val_frechet": 9.0 - i} for i in range(3)]
    figure = plots.compare_runs([("a", gan), ("b", gan[:2])])
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["Fréchet distance"]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [
        "a: lowest Fréchet distance 7, epoch 3", "b: lowest Fréchet distance 8, epoch 2"
    ]  # fmt: skip
    autoencoder = [{"val_loss": 30.0, "val_mse": 0.0125}]
    figure = plots.compare_runs([("gan", gan), ("ae", autoencoder)])
    assert len(figure.axes) == 3
    told = figure.legends[0].get_texts()[1].get_text()
    assert told == "ae: lowest MSE 0.0125, epoch 1"
    rows = [{"epoch": i, "val_accuracy": a} for i, a in ((1, 0.5), (2, math.inf), (3, 0.6))]
    figure = plots.compare_runs([("x", rows)])
    assert figure.legends[0].get_texts()[0].get_text() == "x: best accuracy 60.00 %, epoch 3"


def test_confusion_matrix_writes_counts_and_colours_shares():
    figure = plots.confusion_matrix(np.array([[90, 10], [0, 0]]), ["a", "b"])
    cells = figure.axes[0].patches
    colours = matplotlib.colormaps["Blues"](np.sqrt([0.9, 0.1, 0, 0]))
    np.testing.assert_allclose([cell.get_facecolor() for cell in cells], colours, atol=1e-12)
    assert [cell.get_xy() for cell in cells[:2]] == [(-0.5, -0.5), (0.5, -0.5)]  # along a row
    assert cells[1].get_gid() == "hover:a taken for b: 10, 10.0 %"
    assert {"90", "10"} <= set(texts(figure)) and "0" not in texts(figure)
    # Cells keep their colours on a dark page, so what is written on them does, too.
    counts = [text for text in figure.axes[0].texts if text.get_text() in ("90", "10")]
    assert len(counts) == 2
    assert not {text.get_color() for text in counts} & {*svg.COLOURS, "white", "black"}
    drawn(figure)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [1, 2, 16, 100, 250])
def test_many_classes_with_long_names(classes):
    names = [f"$\\alpha_{i}$ a very long name of a class <b> 名前 {i}" for i in range(classes)]
    matrix = np.diag(np.arange(classes)) + 1
    drawn(plots.confusion_matrix(matrix, names))
    images = np.zeros((classes, 4, 4), np.uint8)
    drawn(plots.class_samples(images, np.arange(classes), names))


@pytest.mark.slow
def test_no_name_reaches_the_maths_parser():
    """A name such as $\\bad$ is text; matplotlib would fail to parse it as a formula."""
    bad = [r"$\bad$", r"$\frac$"]
    images, labels = np.zeros((2, 4, 4), np.uint8), np.array([0, 1])
    for figure in (
        plots.confusion_matrix(np.eye(2), bad),
        plots.class_samples(images, labels, bad),
        plots.top_losses_grid(images, labels, np.eye(2), bad),
        plots.grad_cam_grid(images, images / 1.0, bad),
        plots.learning_curves([{bad[0]: 1.0}], metrics=bad),
        plots.compare_runs([(name, history()) for name in bad]),
    ):
        assert any("$" in text for text in texts(figure))
        drawn(figure)


def test_reliability_shows_the_error_before_and_after():
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=5, size=(300, 4))
    labels = logits.argmax(-1)
    labels[:90] = rng.integers(0, 4, 90)
    figure = plots.reliability_diagram(labels, logits, 2.0)
    before, after = (text.get_text() for text in figure.legends[0].get_texts())
    assert before.startswith("before: off by") and after.startswith("after, T = 2.00: off by")
    drawn(figure)
    drawn(plots.reliability_diagram(labels[:1], logits[:1]))


@pytest.mark.parametrize(
    "shape", [(5, 6), (5, 6, 1), (6, 5, 3), (6, 5, 4), (6, 5, 2), (300, 200, 3)]
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_grids_take_every_kind_of_picture(shape, dtype):
    images = np.random.default_rng(0).integers(0, 2, (5, *shape)).astype(dtype)
    drawn(plots.image_grid(images, [f"picture {i}\nline $2" for i in range(5)]))
    drawn(plots.grad_cam_grid(images, np.zeros((5, *shape[:2]))))
    drawn(plots.class_samples(images, np.array([0, 0, 2, 2, 2]), ["a", "absent", "c"]))


def test_pictures_keep_their_brightness():
    """A white and a black picture, uint8 and float, come out white and black beside each other."""
    for images in (np.array([[[255]], [[0]]], np.uint8), np.array([[[1.5]], [[-0.5]]])):
        picture = drawn(plots.image_grid(images, columns=2)).astype(int)
        middle = picture[picture.shape[0] // 2, :, 0]
        assert middle[len(middle) // 4] == 255 and middle[3 * len(middle) // 4] == 0


def test_no_picture_at_all():
    nothing = np.zeros((0, 4, 4, 1), np.uint8)
    drawn(plots.image_grid(nothing))
    drawn(plots.class_samples(nothing, np.zeros(0, int), ["a"]))
    with pytest.raises(ValueError, match=r"n, H, W"):
        plots.image_grid(np.zeros((4, 4)))


def test_mistakes_say_what_was_said_and_what_is_true():
    figure = plots.top_losses_grid(
        np.zeros((2, 4, 4, 1), np.uint8),
        np.array([1, 0]),
        np.array([[0.979, 0.021], [0.6, 0.4]]),
        ["cat", "dog"],
    )
    assert {"cat 98 %\nis dog 2 %", "cat 60 %\nis cat"} <= set(texts(figure))
    drawn(figure)


def test_names_are_shortened_in_the_middle_and_stay_distinct():
    assert shorten("golden retriever", 16) == "golden retriever"
    assert shorten("golden retriever puppy", 11) == "golde…puppy"
    assert shorten("two\nlines", 20) == "two lines"
    long = [f"a common beginning {i} and a common end" for i in range(12)]
    short = short_names(long, 14)
    assert len(set(short)) == 12 and max(map(len, short)) <= 14


def test_saving_is_whole_or_nothing(tmp_path):
    path = plots.save_png(plots.learning_curves(history()), tmp_path / "new" / "curves.png", 50)
    with PIL.Image.open(path) as picture:
        assert picture.format == "PNG" and picture.width == 240
    assert [p.name for p in path.parent.iterdir()] == ["curves.png"]
    before = path.read_bytes()

    class Broken:
        def savefig(self, *args, **kwargs):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        plots.save_png(Broken(), path)
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


def test_one_picture_takes_half_the_width():
    """As the only mistake of a good network; columns that were asked for are kept."""
    one = np.zeros((1, 8, 8), "float32")
    chosen, whole = (plots.image_grid(one, ["2"], columns=each) for each in (None, 1))
    assert chosen.get_figheight() < 0.6 * whole.get_figheight()
