"""Sample quality beside its floor; the callback that selects the best epoch by it."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from crashes import Crash, Crashed
from kapps import data, evaluation, training
from kapps.errors import UserError

SHAPE = (6, 6, 1)
FIGURES = ("frechet", "kid", "precision", "recall", "density", "coverage")


class Few:
    """An extractor of three features: means of three rows; two classes by their brightness."""

    width, classes, sha256 = 3, 2, "abc"

    def features(self, pictures):
        assert pictures.dtype == np.uint8
        return pictures[:, :3].mean(axis=(2, 3)).astype(np.float32) / 255

    def both(self, pictures):
        found = self.features(pictures)
        bright = found.mean(axis=1, keepdims=True)
        return found, np.concatenate([bright, 1 - bright], axis=1) if self.classes else None


class Unlabelled(Few):
    classes = 0


def pictures(count, seed, level=256):
    generator = np.random.default_rng(seed)
    # Pictures differ in brightness, so that features vary.
    bright = generator.random((count, 1, 1, 1))
    return (generator.integers(0, level, (count, *SHAPE)) * bright).astype(np.uint8)


def test_each_figure_is_the_functions_own():
    samples, real, floor = pictures(50, 1, 200), pictures(50, 2), pictures(50, 3)
    found = evaluation.sample_quality(Few(), samples, real, floor, k=3, seed=4)
    few = Few()
    for end, shown in (("", samples), ("_floor", floor)):
        s, r = few.features(shown), few.features(real)
        assert found[f"frechet{end}"] == evaluation.frechet_distance(s, r)
        kid = evaluation.kernel_distance(s, r, seed=4)
        assert (found[f"kid{end}"], found[f"kid_error{end}"]) == kid[:2]
        assert (found[f"kid_low{end}"], found[f"kid_high{end}"]) == kid[2:]
        precision_recall = evaluation.precision_recall(r, s, 3)
        assert (found[f"precision{end}"], found[f"recall{end}"]) == precision_recall
        density_coverage = evaluation.density_coverage(r, s, 3)
        assert (found[f"density{end}"], found[f"coverage{end}"]) == density_coverage
        neighbours = evaluation.nearest_neighbour_test(r, s, seed=4)
        assert found[f"nn_accuracy{end}"] == neighbours.accuracy
        probabilities = few.both(shown)[1]
        score = evaluation.classifier_score(probabilities, seed=4)
        assert found[f"classifier_score{end}"] == score.value
        balance = evaluation.class_balance_kl(probabilities, few.both(real)[1])
        assert found[f"class_balance_kl{end}"] == balance
    assert (found["samples"], found["real_examples"], found["floor_examples"]) == (50, 50, 50)
    assert found["extractor"] == "abc"
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("counts", [(40, 50, 500), (500, 40, 50), (50, 500, 40)])
def test_all_three_sets_have_the_same_count(counts):
    samples, real, floor = (pictures(count, i) for i, count in enumerate(counts))
    found = evaluation.sample_quality(Few(), samples, real, floor)
    assert [found[n] for n in ("samples", "real_examples", "floor_examples")] == [40, 40, 40]
    assert evaluation.sample_quality(Few(), samples, real, floor) == found
    assert evaluation.quality_table(found)[2][0][3] == 40


def test_what_is_cut_comes_from_all_over():
    many = pictures(500, 3)
    many[:250] = 0  # sorted: the first forty would all be black
    real = pictures(50, 2)
    found = evaluation.sample_quality(Few(), pictures(40, 1), real, many)
    black = evaluation.frechet_distance(Few().features(many[:40]), Few().features(real))
    assert 0 < found["frechet_floor"] < 0.9 * black


@pytest.mark.slow
def test_real_images_reach_their_floor():
    """Simulation: as many of each, so that coverage is 1 - 2^-5 for both (arXiv:2002.09797)."""
    found = evaluation.sample_quality(Few(), pictures(2000, 1), pictures(2000, 2), pictures(900, 3))
    for end in ("", "_floor"):
        assert found[f"coverage{end}"] == pytest.approx(1 - 2**-5, abs=0.025)


@pytest.mark.slow
def test_collapsed_and_noisy_samples_are_seen():
    real, floor = pictures(300, 2), pictures(300, 3)
    good = evaluation.sample_quality(Few(), pictures(300, 1), real, floor)
    one = evaluation.sample_quality(Few(), np.repeat(real[:1], 300, axis=0), real, floor)
    assert good["frechet"] < 2 * good["frechet_floor"] < 0.1 * one["frechet"]
    assert good["coverage"] > 0.85 and one["coverage"] < 0.1
    assert good["kid"] < 4 * good["kid_error"] and one["kid"] > 5 * one["kid_error"]
    assert abs(good["nn_accuracy"] - 0.5) < 0.1 and one["nn_accuracy"] > 0.9


def test_without_classes_there_is_no_score():
    found = evaluation.sample_quality(
        Unlabelled(), pictures(30, 1), pictures(30, 2), pictures(30, 3)
    )
    assert "frechet" in found and "classifier_score" not in found
    _, columns, rows = evaluation.quality_table(found)
    assert len(rows) == 7 and all(len(row) == len(columns) for row in rows)


def test_the_table_of_a_report(tmp_path):
    found = evaluation.sample_quality(Few(), pictures(60, 1), pictures(60, 2), pictures(60, 3))
    title, columns, rows = evaluation.quality_table(found)
    assert columns == ("figure", "samples", "real against real", "N of each", "good is")
    by_name = {row[0]: row for row in rows}
    assert by_name["Fréchet distance"][1:4] == (found["frechet"], found["frechet_floor"], 60)
    assert by_name["class balance (KL, nats)"][2] == found["class_balance_kl_floor"]
    kernel = by_name["kernel distance (95 % interval)"]
    assert kernel[1].startswith(f"{found['kid']:.3g} ({found['kid_low']:.2g} to ")
    assert kernel[2].endswith(f" to {found['kid_high_floor']:.2g})")
    path = evaluation.write_report(
        tmp_path / "report.html", title="samples", metrics=found, tables=[(title, columns, rows)]
    )
    assert "real against real" in path.read_text()


class Brightness(keras.Model):
    """A "generator" with one weight: how bright its pictures are."""

    def __init__(self, begin=0.1):
        super().__init__()
        self.level = self.add_weight(
            name="level", shape=(), initializer=keras.initializers.Constant(begin)
        )
        self.calls = []

    def call(self, x):
        return self.level + 0.0 * keras.ops.mean(keras.ops.cast(x, "float32"), axis=(1, 2, 3))

    def sample(self, count, seed=0):
        self.calls.append((count, seed, float(self.level.numpy())))
        return (pictures(count, 100 + seed) * np.clip(self.level.numpy(), 0, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def real():
    return pictures(80, 2)


def fit(real, *, epochs=3, every=1, run=None, ema=0.0, crash=None, **settings):
    split = data.Split(np.zeros(len(real), np.int32), lambda rows: keras.ops.take(real, rows, 0))
    model = Brightness()
    model(real[:1])
    model.compile(optimizer=keras.optimizers.SGD(0.05), loss="mean_squared_error")
    callback = evaluation.SampleQuality(Few(), model.sample, real, every=every, **settings)
    batches = data.TrainingBatches(
        split, 40, prepare=lambda x, labels, seed: (x, np.ones((40,), np.float32))
    )
    validation = data.evaluation_batches(
        split, 40, prepare=lambda x, labels: (x, keras.ops.ones_like(labels, "float32"))
    )
    history = training.fit(
        model,
        batches,
        validation,
        epochs=epochs,
        run=run,
        ema=ema,
        monitor="val_frechet",
        mode="min",
        callbacks=[callback, *([crash] if crash else [])],
        save_steps=1,
        verbose=0,
    )
    return model, history


@pytest.mark.slow
def test_the_best_epoch_is_chosen_by_the_samples(real):
    model, history = fit(real)
    assert {f"val_{name}" for name in FIGURES} < set(history.rows[0])
    values = [row["val_frechet"] for row in history.rows]
    assert values == sorted(values, reverse=True) and history.best_epoch == 3
    # Always as many, from the same seed; once in an epoch.
    assert [call[:2] for call in model.calls] == [(80, 0)] * 3
    shown = Few().features(model.sample(80, 0))
    expected = evaluation.frechet_distance(shown, Few().features(real))
    assert values[-1] == pytest.approx(expected)


@pytest.mark.slow
def test_epochs_that_are_not_measured_are_never_the_best(real):
    model, history = fit(real, epochs=5, every=2, count=30, seed=7)
    measured = [np.isfinite(row["val_frechet"]) for row in history.rows]
    assert measured == [False, True, False, True, False]
    assert history.best_epoch == 4
    assert [call[:2] for call in model.calls] == [(30, 7)] * 2


@pytest.mark.slow
def test_the_averages_are_measured_where_they_are_validated(real):
    model, _ = fit(real, epochs=2, ema=0.5)
    plain, _ = fit(real, epochs=2)
    # The average lags behind the weights, which rise.
    assert model.calls[0][2] < plain.calls[0][2] - 1e-3


@pytest.mark.slow
def test_without_validation_data_it_measures_all_the_same(real):
    model = Brightness()
    model.compile(optimizer="sgd", loss="mean_squared_error")
    callback = evaluation.SampleQuality(Few(), model.sample, real)
    history = model.fit(real, np.ones(80, np.float32), epochs=2, callbacks=[callback], verbose=0)
    assert len(history.history["val_frechet"]) == 2 and len(model.calls) == 2


@dataclasses.dataclass(frozen=True)
class Config:
    run_dir: str
    overwrite: bool = False


@pytest.mark.slow
@pytest.mark.parametrize("step", [4, 5])
def test_a_resumed_training_sees_the_same_figures(real, tmp_path, step):
    whole_model, whole = fit(real, epochs=4, every=2)
    with training.open_run("small", Config(str(tmp_path / "run"))) as run:
        with pytest.raises(Crashed):
            fit(real, epochs=4, every=2, run=run, crash=Crash(step))
    with training.open_run("small", Config(str(tmp_path / "run"))) as run:
        resumed_model, resumed = fit(real, epochs=4, every=2, run=run)
    np.testing.assert_equal(resumed.rows, whole.rows)
    assert resumed_model.calls[-1] == whole_model.calls[-1]


@pytest.mark.parametrize(("count", "counted"), [(None, 40), (30, 30), (100, 80)])
def test_after_an_epoch_there_are_as_many_samples_as_real_pictures(
    real, count, counted, monkeypatch
):
    """More of the one than of the other, and coverage or the Fréchet distance say another thing."""
    monkeypatch.setattr("kapps.evaluation.generative.samples.quality.MOST_SAMPLES", 40)
    seen = []

    class Counting(Few):
        def features(self, pictures):
            seen.append(len(pictures))
            return super().features(pictures)

    callback = evaluation.SampleQuality(
        Counting(), lambda count, seed: pictures(count, seed), real, count=count
    )
    callback.on_epoch_begin(0)
    logs = {}
    callback.on_epoch_end(0, logs)
    assert seen == [counted, counted] and np.isfinite(logs["val_coverage"])


def test_what_cannot_be_measured_is_told_at_once(real):
    model = Brightness()
    with pytest.raises(UserError, match="too few.*more than 3"):
        evaluation.SampleQuality(Few(), model.sample, real[:3])
    with pytest.raises(UserError, match="80 real pictures and 3 samples"):
        evaluation.SampleQuality(Few(), model.sample, real, count=3)
    with pytest.raises(UserError, match="every 0"):
        evaluation.SampleQuality(Few(), model.sample, real, every=0)


@pytest.mark.parametrize(
    "split, words", [("validation", "--validation-fraction"), ("test", "60 test")]
)
def test_too_few_pictures_are_refused_before_the_training(split, words):
    """Of 300 pictures 60 are the test split: fewer than 64 features."""

    class Extractor:
        width = 64

    counts = {"train": 200, "validation": 65, "test": 65}
    evaluation.check_enough(Extractor(), counts)
    with pytest.raises(UserError, match=words):
        evaluation.check_enough(Extractor(), counts | {split: 60})
