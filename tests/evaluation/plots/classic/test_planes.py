"""Pictures and words of networks of one layer and of small ones."""

import io

import numpy as np
import PIL.Image
import pytest
from matplotlib.text import Text

from kapps import evaluation
from kapps.evaluation import plots
from kapps.evaluation.classic.separation import Separation
from kapps.evaluation.plots.classic.planes import CLASS_COLOURS, box_around

X = np.array([[-1.0, 0.0], [1.0, 0.0], [-1.0, 1.0], [1.0, 1.0]], np.float32)
CLASSES = np.array([0, 1, 0, 1])


def right(points):
    return points[:, 0]


def drawn(figure):
    with PIL.Image.open(io.BytesIO(plots.png_bytes(figure, dpi=50))) as picture:
        return np.asarray(picture.convert("RGB"))


def texts(figure):
    found = (text.get_text() for text in figure.findobj(Text))
    return " ".join(found)


def test_a_frame_is_blue_where_class_1_is_and_points_are_where_they_are():
    frame = plots.decision_frame(right, X, CLASSES, side=80)
    assert frame.shape == (80, 80, 3) and frame.dtype == np.uint8
    corner = frame[2, 2].astype(int), frame[2, 77].astype(int)
    assert corner[0][0] > corner[0][2] and corner[1][2] > corner[1][0]  # orange; blue
    box = box_around(X)
    column = round((1 - box[0]) / (box[1] - box[0]) * 79)
    row = round((box[3] - 1) / (box[3] - box[2]) * 79)
    blue = [int(CLASS_COLOURS[1][i : i + 2], 16) for i in (1, 3, 5)]
    np.testing.assert_array_equal(frame[row, column], blue)


def test_regions_ring_what_is_on_the_wrong_side():
    figure = plots.decision_regions(right, X, np.array([0, 1, 1, 1]), ("no", "yes"))
    rings = [
        c for c in figure.axes[0].collections if len(c.get_offsets()) and c.get_linewidths()[0] > 1
    ]
    assert [c.get_offsets().tolist() for c in rings if len(c.get_offsets()) < 3][-1] == [[-1, 1]]
    assert "yes" in texts(figure) and drawn(figure).std() > 10
    drawn(plots.decision_regions(lambda p: np.ones(len(p)), X, CLASSES))  # no line at all


def test_weights_as_colours():
    weights = np.array([[[1.0, 0.0], [-1.0, 0.5]], np.zeros((2, 2))])
    pictures = plots.weight_pictures(weights)
    assert pictures.shape == (2, 2, 2, 3)
    np.testing.assert_array_equal(pictures[0, 0, 0], [0, 0x72, 0xB2])
    np.testing.assert_array_equal(pictures[0, 1, 0], [0xD5, 0x5E, 0])
    assert (pictures[1] == 255).all() and (pictures[0, 0, 1] == 255).all()


def test_updates_are_summed_beside_the_bound():
    rows = [{"updates": 3.0}, {"updates": 1.0}, {"updates": 0.0}]
    figure = plots.updates_and_bound(rows, 40.0)
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [3, 4, 4])
    assert "40" in texts(figure) and "no bound" in texts(plots.updates_and_bound(rows, None))
    drawn(figure)


@pytest.mark.slow
def test_functions_and_success():
    x = np.linspace(-1, 1, 50)
    units = np.stack([x, x**2], axis=1)
    drawn(plots.function_fit(x, x, units.sum(axis=1), units, (x[::5], x[::5])))
    cells = [{"units": u, "median": 1 / u, "lowest": 0.5 / u, "highest": 2 / u} for u in (4, 1, 2)]
    assert plots.error_by_width(cells).axes[0].lines[0].get_xdata().tolist() == [1, 2, 4]
    cells = [{"optimizer": o, "units": u, "solved": 0.5} for o in ("sgd", "adam") for u in (1, 2)]
    figure = plots.success_rates(cells)
    assert "adam" in texts(figure) and figure.axes[0].lines[0].get_ydata().tolist() == [50, 50]
    drawn(figure)
    frame = plots.curve_frame(x, x, np.full(50, np.nan), height=30, width=40)
    assert frame.shape == (30, 40, 3) and (frame != 255).any()


@pytest.mark.slow
def test_gradient_flow_is_drawn_for_few_and_many_layers():
    rows = [
        {"epoch": e, "step": 9 * e, **{f"$l{i}$": 10.0**-i for i in range(3)}} for e in range(4)
    ]
    assert (
        "before training" in texts(plots.gradient_flow(rows))
        and drawn(plots.gradient_flow(rows)).any()
    )
    many = [{"epoch": 0, "step": s, **{f"l{i}": 0.0 for i in range(20)}} for s in (0, 5)]
    assert "20 layers" in texts(plots.gradient_flow(many))
    drawn(plots.gradient_flow(many))
    drawn(plots.gradient_flow([]))


ROWS = [
    {"loss": 1.0, "train_error": 0.3, "updates": 9.0},
    {"loss": 0.5, "train_error": 0.0, "updates": 4.0},
    {"loss": 0.6, "train_error": 0.1, "updates": 2.0},
]
WIDE, NONE = Separation(2.0, 0.5, False), Separation(2.0, None, True)


@pytest.mark.parametrize(
    ("rule", "rows", "found", "kept", "label"),
    [
        ("perceptron", ROWS, WIDE, 2, "converged"),
        ("perceptron", ROWS, WIDE, 3, "not converged"),
        ("perceptron", ROWS, NONE, 3, "not separable"),
        ("pocket", ROWS, NONE, 1, "not separable"),
        ("delta", ROWS, WIDE, 3, "separable, not separated"),
        ("delta", ROWS, WIDE, 2, "converged"),
        ("delta", [*ROWS, {"loss": 3.0, "train_error": 0.5}], WIDE, 3, "diverged"),
        ("delta", [*ROWS, {"loss": np.nan, "train_error": 0.5}], NONE, 3, "diverged"),
    ],
)
def test_verdicts_of_one_layer(rule, rows, found, kept, label):
    verdict = evaluation.linear_verdict(rule, rows, found, kept=kept, rate=1.0, highest_rate=2.0)
    assert verdict.label == label
    if rule != "delta":
        assert verdict.numbers["updates"] == 15 and "15 updates in 3 epochs" in verdict.sentence
    if found is WIDE and label != "diverged":
        assert verdict.numbers["bound"] == 16 and "at most 16 updates" in verdict.sentence
    if label == "not separable":
        assert "No plane separates" in verdict.sentence


def test_verdicts_of_many_networks():
    def judge(solved):
        measured = {"test_solved": solved, "test_accuracy": 0.9}
        return evaluation.mlp_verdict(measured, ROWS, networks=100, best_linear=0.75)

    assert judge(0.99).label == "solved" and "75% at best" in judge(0.99).sentence
    assert [judge(s).label for s in (0.98, 0.5, 0.4)] == ["solved in part"] * 2 + ["not solved"]

    def error(value):
        measured = {"test_rmse": value, "test_rmse_lowest": 0.0, "test_rmse_highest": 1.0}
        return evaluation.mlp_verdict(measured, ROWS, networks=9, scale=0.5).label

    assert [error(v) for v in (0.02, 0.1, 0.2)] == ["solved", "solved in part", "not solved"]
    assert error(np.nan) == "diverged"
