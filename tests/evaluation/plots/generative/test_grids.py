"""The pictures of generative models: what they hold, and that odd inputs are drawn."""

import io
import math

import numpy as np
import PIL.Image
import pytest

from kapps.errors import UserError
from kapps.evaluation import plots

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (30, 6, 5, 1), np.uint8)
COLOUR = RNG.integers(0, 256, (30, 6, 5, 3), np.uint8)


def drawn(figure):
    with PIL.Image.open(io.BytesIO(plots.png_bytes(figure, dpi=50))) as picture:
        return np.asarray(picture.convert("RGB"))


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text"))]


def pictures(figure):
    """The arrays that were drawn, in order."""
    return [np.asarray(image.get_array()) for image in figure.axes[0].images]


@pytest.mark.slow
@pytest.mark.parametrize("images", [GREY, COLOUR, GREY / 255.0, GREY[..., 0]])
def test_every_grid_draws_every_kind_of_picture(images):
    drawn(plots.sample_grid(images))
    drawn(plots.sample_grid(images, np.arange(30) % 3, ["a", "b", "$\\bad$"]))
    drawn(plots.epoch_grid([images[:8], images[8:16]], [1, 5]))
    drawn(plots.reconstruction_grid(images[:9], images[9:18], [("noisy", images[:9])]))
    drawn(plots.interpolation_grid([images[:5], images[5:10]], ["spherical", "linear"]))
    drawn(plots.manifold_grid(images[:25]))
    drawn(plots.traversal_grid(images.reshape(5, 6, *images.shape[1:]), range(5), np.arange(6)))
    drawn(plots.neighbour_grid(images[:3], images[3:15].reshape(3, 4, *images.shape[1:])))


def test_samples_stand_in_a_square_of_a_hundred_at_most():
    assert len(pictures(plots.sample_grid(np.repeat(GREY, 5, axis=0)))) == 100
    nine = pictures(plots.sample_grid(GREY[:9]))
    np.testing.assert_allclose(nine[4], GREY[4, ..., 0] / 255, rtol=1e-6)
    places = {tuple(i.get_extent()[:2]) for i in plots.sample_grid(GREY[:9]).axes[0].images}
    assert len(places) == 3
    drawn(plots.sample_grid(GREY[:0]))
    drawn(plots.epoch_grid([]))
    drawn(plots.neighbour_grid(GREY[:0], GREY[:0].reshape(0, 3, 6, 5, 1)))


def test_of_many_epochs_the_first_and_the_last_are_drawn():
    grids = [np.full((3, 4, 4, 1), i, np.uint8) for i in range(97)]
    figure = plots.epoch_grid(grids, [10 * i for i in range(97)], columns=2)
    named = [text for text in texts(figure) if text.startswith("epoch")]
    assert len(named) == 10 and named[0] == "epoch 0" and named[-1] == "epoch 960"
    values = [round(255 * picture[0, 0]) for picture in pictures(figure)]
    assert len(values) == 20 and values[:2] == [0, 0] and values[-1] == 96


def test_reconstructions_show_their_error():
    originals = np.zeros((2, 4, 4, 1), np.uint8)
    others = np.full((2, 4, 4, 1), 0.25)
    others[1] = 0
    others[1, 0, 0] = 1
    figure = plots.reconstruction_grid(originals, others)
    assert {"0.0625", "original", "reconstruction", "difference"} <= set(texts(figure))
    heat = pictures(figure)[-1]
    # Only the top left pixel differs: it alone is not the pale end of the scale.
    assert heat[0, 0].sum() < heat[1, 1].sum() - 0.5
    assert np.ptp(heat.reshape(-1, 3)[1:], axis=0).max() == 0


def test_neighbours_are_named_by_their_distance():
    near = GREY[:12].reshape(3, 4, 6, 5, 1)
    figure = plots.neighbour_grid(GREY[12:15], near, np.arange(12).reshape(3, 4) / 10)
    assert {"sample", "1", "4", "0.000", "0.400", "0.800"} <= set(texts(figure))
    np.testing.assert_allclose(pictures(figure)[0], GREY[12, ..., 0] / 255, rtol=1e-6)
    np.testing.assert_allclose(pictures(figure)[1], GREY[0, ..., 0] / 255, rtol=1e-6)


def test_traversals_name_dimension_and_value():
    figure = plots.traversal_grid(GREY[:6].reshape(2, 3, 6, 5, 1), [4, 17], [-3, 0, 3])
    assert {"z4", "z17", "-3.0", "+0.0", "+3.0"} <= set(texts(figure))


@pytest.mark.slow
@pytest.mark.parametrize("dimensions", [1, 2, 3, 40])
def test_latent_scatter(dimensions):
    means = RNG.normal(size=(200, dimensions)) * np.arange(dimensions, 0, -1) ** 2
    figure = plots.latent_scatter(means, np.arange(200) % 12, [f"$c_{i}" for i in range(12)])
    assert len(figure.legends[0].get_texts()) == 12
    points = np.concatenate([c.get_offsets() for c in figure.axes[0].collections])
    assert points.shape == (200, 2)
    if dimensions == 2:
        assert {tuple(p) for p in points} == {tuple(p) for p in means}
    if dimensions > 2:
        centred = means - means.mean(0)
        variances = np.linalg.svd(centred, compute_uv=False) ** 2
        share = f"({100 * variances[0] / variances.sum():.0f} % of the variance)"
        assert any(share in text for text in texts(figure))
        np.testing.assert_allclose((points[:, 0] ** 2).sum(), variances[0], rtol=1e-9)
    drawn(figure)
    drawn(plots.latent_scatter(means))
    drawn(plots.latent_scatter(means[:1]))
    drawn(plots.latent_scatter(means * 0, np.arange(200)))
    drawn(plots.latent_scatter(means[:3] * math.nan, np.arange(3)))


@pytest.mark.slow
def test_kl_bars_are_sorted_and_tell_the_active_units():
    figure = plots.kl_bars([0.5, 3.0, 0.001], [True, True, False])
    bars = figure.axes[0].patches
    assert [bar.get_height() for bar in bars] == [3.0, 0.5, 0.001]
    assert len({bar.get_facecolor() for bar in bars[:2]}) == 1
    assert bars[2].get_facecolor() != bars[0].get_facecolor()
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["1", "0", "2"]
    assert "3.5 nats; 2 of 3 units active" in texts(figure)
    for kl in ([], [math.nan, 1.0], np.zeros(500)):
        drawn(plots.kl_bars(kl))


def test_code_frequencies_are_sorted_beside_equal_use():
    figure = plots.code_frequencies([1, 0, 6, 1])
    assert [bar.get_height() for bar in figure.axes[0].patches] == [75.0, 12.5, 12.5, 0.0]
    assert list(figure.axes[0].lines[0].get_ydata()) == [25.0, 25.0]
    assert "3 of 4 codes occur" in texts(figure)
    drawn(figure)
    drawn(plots.code_frequencies([0, 0]))


@pytest.mark.slow
def test_bound_by_samples():
    figure = plots.bound_by_samples([1, 50, 5000], [233.1, 230.25, 228.7], [0.2] * 3, floor=189.86)
    assert {"233.10", "230.25", "228.70", "floor 189.86"} <= set(texts(figure))
    assert figure.axes[0].get_xscale() == "log"
    drawn(figure)
    drawn(plots.bound_by_samples([1], [math.inf]))


def gan_rows(epochs=5):
    return [
        {
            "epoch": i + 1,
            "generator_loss": 1.0 + i,
            "discriminator_loss": 0.5,
            "val_frechet": [9.0, 4.0, 7.0, 8.0, 6.0][i % 5],
            "kl": 0.1 * i,
            "val_kl": 0.2 * i,
            "learning_rate": 10.0**-i,
            "discriminator_learning_rate": 1e-3,
            "seconds": 3.0,
            "empty": math.nan,
        }
        for i in range(epochs)
    ]


@pytest.mark.slow
def test_every_recorded_quantity_gets_a_panel():
    figure = plots.training_curves(gan_rows(), monitor="val_frechet")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["Players", "Fréchet distance", "KL", "Learning rates"]
    assert [len(axes.lines) for axes in figure.axes] == [3, 2, 3, 3]  # one marks the best epoch
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [1, 2, 3, 4, 5])
    assert {axes.lines[-1].get_xdata()[0] for axes in figure.axes} == {2}
    assert figure.axes[-1].get_xlabel() == "Epoch (dotted: 2, kept)"
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == ["generator 5", "discriminator 0.5"]
    assert figure.axes[-1].get_yscale() == "log"
    drawn(figure)
    highest = plots.training_curves(gan_rows(), monitor="val_frechet", mode="max")
    assert highest.axes[0].lines[-1].get_xdata()[0] == 1


def test_panels_can_be_chosen():
    figure = plots.training_curves(gan_rows(), {"Quality": ["val_frechet"], "None": ["absent"]})
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Quality"]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        gan_rows(1),
        gan_rows(2),
        [{"epoch": 1, "loss": math.nan}],
        [{"loss": math.inf}, {"loss": 1e30}],
        [{"$\\bad$": 1.0, "_x": 2.0, "val__x": 3.0, "": 1.0}] * 4,
    ],
    ids=["none", "one", "two", "nan", "huge", "odd names"],
)
def test_odd_histories_are_drawn(rows):
    drawn(plots.training_curves(rows, monitor="loss"))


def test_tiles_stand_row_by_row():
    four = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1) * np.ones((3, 2, 3, 1), np.uint8)
    tiled = plots.tile(four)
    assert tiled.shape == (4, 6, 1) and tiled.dtype == np.uint8
    assert tiled[::2, ::3, 0].tolist() == [[0, 1], [2, 255]]
    np.testing.assert_array_equal(plots.tile(four, columns=3)[0, :, 0], [0] * 3 + [1] * 3 + [2] * 3)
    assert plots.tile(np.array([1.2, 0.5, math.nan]).reshape(3, 1, 1, 1)).ravel().tolist() == [
        255, 128, 0, 255
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["run.gif", "run.WebP"])
def test_animation_has_a_frame_per_epoch(tmp_path, name):
    grids = [np.full((4, 6, 5, 3), 25 * i, np.uint8) for i in range(5)]
    path = plots.save_animation(grids, tmp_path / "new" / name, [1, 2, 3, 4, 8], seconds=1)
    shares, shades, times = [], [], []
    with PIL.Image.open(path) as picture:
        assert picture.n_frames == 5 and picture.info["loop"] == 0
        for i in range(5):
            picture.seek(i)
            frame = np.asarray(picture.convert("RGB")).astype(int)
            times.append(picture.info["duration"])
            shades.append(round(frame[10, 10].mean() / 25))
            shares.append(np.mean(frame[-2, :, 2] > frame[-2, :, 0] + 50))
    assert shades == [0, 1, 2, 3, 4]
    assert times == [200] * 4 + [2000]
    np.testing.assert_allclose(shares, np.array([1, 2, 3, 4, 8]) / 8, atol=0.01)
    assert [p.name for p in path.parent.iterdir()] == [name]


@pytest.mark.slow
def test_long_animations_are_thinned_and_stay_small():
    rng = np.random.default_rng(0)
    grids = rng.integers(0, 256, (200, 16, 8, 8, 1), np.uint8)
    content = plots.animation_bytes(grids)
    assert len(content) < 1_000_000  # noise does not compress: this is the worst case
    with PIL.Image.open(io.BytesIO(content)) as picture:
        assert picture.format == "WEBP" and picture.n_frames == 40
        assert 300 < picture.width <= 480


@pytest.mark.parametrize("shape", [(1, 8, 8, 1), (4, 300, 200, 3), (2, 5, 5, 2), (3, 900, 1200, 1)])
def test_animations_of_every_size(shape):
    content = plots.animation_bytes([np.zeros(shape, np.uint8)] * 2, format="gif")
    with PIL.Image.open(io.BytesIO(content)) as picture:
        assert 300 < max(picture.size) < 1000


def test_animations_that_cannot_be():
    with pytest.raises(UserError, match="gif, webp"):
        plots.animation_bytes([GREY], format="mp4")
    with pytest.raises(ValueError, match="one grid"):
        plots.animation_bytes([])
