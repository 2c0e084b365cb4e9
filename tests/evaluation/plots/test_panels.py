"""Where the title of a panel stands: beside its legend where there is room, else above it."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from kapps.evaluation import plots

TITLE = "Reconstruction error of a decoder's mean"  # as long as titles become
ENTRIES = {
    1: ["loss"],
    2: ["loss", "val_loss"],
    3: ["loss", "train_loss", "val_loss"],
    4: ["real_logits", "fake_logits", "val_real_logits", "val_fake_logits"],
    6: [f"{part}{name}_logits" for part in ("", "val_") for name in ("real", "fake", "mixed")],
}


def placed(names, last, titles):
    """Extents of title, legend and axes of each panel, drawn with these titles."""
    rows = [{"epoch": epoch, **dict.fromkeys(names, last * epoch)} for epoch in (0.5, 1.0)]
    figure = plots.training_curves(rows, dict.fromkeys(titles, names))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    for axes in figure.axes:
        (title,) = axes.findobj(lambda a: isinstance(a, Text) and a.get_fontweight() == "bold")
        artists = title, axes.get_legend(), axes
        yield (*(artist.get_window_extent(renderer) for artist in artists), figure.bbox)


@pytest.mark.parametrize("last", [0.5, -1.234e-10], ids=["short figures", "long ones"])
@pytest.mark.parametrize("count", ENTRIES)
def test_a_title_is_not_in_the_legend_however_long_both_are(count, last):
    titles = [TITLE[:length] for length in range(1, len(TITLE) + 1, 3)]
    assert titles[-1] == TITLE
    for title, legend, axes, page in placed(ENTRIES[count], last, titles):
        assert not title.overlaps(legend)
        assert title.y0 > axes.y1 and page.x0 <= legend.x0 and title.y1 <= page.y1


def test_a_title_stands_beside_the_legend_where_there_is_room():
    for count in (1, 2):
        for title, legend, _, _ in placed(ENTRIES[count], 0.5, ["KL", "Loss"]):
            assert title.x1 < legend.x0 and title.y0 < legend.y1
    for title, legend, _, _ in placed(ENTRIES[2], -1.234e-10, [TITLE]):
        assert title.x1 > legend.x0 and title.y0 > legend.y1
    for title, legend, _, _ in placed(ENTRIES[6][:3], 0.5, ["KL"]):  # of two rows
        assert title.x1 < legend.x0 and title.y0 > legend.y1
