import dataclasses

import numpy as np
import pytest

from kapps import evaluation
from kapps.evaluation.report import search
from kapps.tuning.results import Record, Results

SPACE = {"space": [{"config": {"name": name}} for name in ("rate", "kind", "idle", "extra")]}


def results(count=40, direction="max", cost=None):
    """The objective depends on rate, a little on kind, and not on idle; some fail."""
    rng, records = np.random.default_rng(0), []
    for number in range(count):
        values = {
            "rate": float(10 ** rng.uniform(-4, -1)),
            "kind": str(rng.choice(["a", "b", "c"])),
            "idle": int(rng.integers(1, 5)),
        }
        if values["kind"] == "b":
            values["extra"] = bool(rng.integers(2))
        record = Record(number, values, [number], status="failed", reason="out of memory")
        if number % 10 != 9:
            score = 0.9 - 0.1 * abs(np.log10(values["rate"]) + 2) + 0.02 * (values["kind"] == "a")
            score = score if direction == "max" else 1 - score
            record = dataclasses.replace(
                record,
                status="completed",
                reason=None,
                score=score,
                epochs=2,
                facts={"multiply_adds": 1000 * (1 + number)},
                curves={0: [{"epoch": e, "val_accuracy": score - 0.1 / e} for e in (1, 2)]},
            )
        records.append(record)
    return Results(records, "val_accuracy", direction, cost, SPACE, 1.0, True)


@pytest.mark.slow
def test_what_mattered_is_found():
    found = results(80)
    values = [r.values for r in found.ended_well]
    scores = [r.score for r in found.ended_well]
    names, means, spread, explained = search.importance(
        values, scores, ["idle", "kind", "rate", "extra"]
    )
    assert names[0] == "rate" and means[0] > 5 * abs(means[1])
    assert dict(zip(names, means, strict=True))["idle"] < 0.1
    assert explained > 0.5 and (spread >= 0).all()
    shuffled = np.random.default_rng(1).permutation(scores)
    assert search.importance(values, shuffled, names)[3] < 0.2


@pytest.fixture(scope="module")
def told():
    found = results(20, "min")
    return found, evaluation.explain_search(found)


@pytest.mark.slow
def test_the_whole_report(tmp_path, told):
    _, explained = told
    titles = [title for title, _, _ in explained.figures]
    assert titles == [
        "Progress",
        "Learning curves of all trials",
        "What mattered",
        "Parallel coordinates",
        "Slices",
        "Accuracy and cost",
    ]
    (best, columns, rows), (failures, _, reasons) = explained.tables
    assert best == "Best points" and columns[:3] == ("trial", "accuracy", "epochs")
    scores = [row[1] for row in rows]
    assert scores == sorted(scores) and len(rows) == 10
    assert failures == "Failures by reason" and reasons == [("out of memory", 2, "9, 19")]
    page = evaluation.write_report(
        tmp_path / "report.html", title="x", figures=explained.figures, tables=explained.tables
    ).read_text()
    assert "out of memory" in page and page.count("<img") + page.count("<svg") == len(titles)


@pytest.mark.slow
def test_the_best_curve_stands_out_and_the_front_is_the_front(told):
    found, explained = told
    figures = {title: figure for title, figure, _ in explained.figures}
    (axes,) = figures["Learning curves of all trials"].axes
    thick = max(axes.lines, key=lambda line: line.get_linewidth())
    best = found.best_first()[0]
    np.testing.assert_allclose(thick.get_ydata(), [best.score - 0.1, best.score - 0.05])
    (axes,) = figures["Accuracy and cost"].axes
    front = axes.lines[-1].get_xdata()
    assert list(front) == [r.facts["multiply_adds"] for r in found.front("multiply_adds")]


@pytest.mark.parametrize(
    ("own", "peer", "words"),
    [
        ("test_accuracy", "linear_accuracy", "a linear model"),
        ("test_r2", "constant_r2", "a constant"),
        ("test_mse", "trivial_mse", "without memory"),
    ],
)
def test_a_winner_that_is_no_better_than_a_seconds_work_is_told(own, peer, words):
    sign = -1 if own == "test_mse" else 1
    for ahead, is_told in ((0.0, True), (-0.01, True), (0.01, False), (float("nan"), True)):
        metrics = {own: 0.5 + sign * ahead, peer: 0.5}
        notes = search.against(results(2), results(2).best_first()[0], metrics)
        assert any("no better than" in note and words in note for note in notes) == is_told


def test_the_peer_is_in_the_report():
    explained = evaluation.explain_search(results(2), {"test_r2": 0.1, "linear_r2": 0.2})
    assert any("no better than a linear model" in note for note in explained.notes)


def trial(number, score, epochs, *, past=None, x=None, round=0, **others):
    values = {"x": number if x is None else x}
    fields = {"status": "completed", "bracket": 1} | others
    return Record(number, values, [0], score=score, epochs=epochs, past=past, round=round, **fields)


def of_the_default(*records):
    found = Results(list(records), "val_accuracy", "max", None, SPACE, 1.0, True)
    return search.against(found, found.best_first()[0], {})


def test_the_default_settings_are_not_lost_without_a_word():
    """Hyperband in two rounds, 2 and 6 epochs: what became of trial 0."""
    others = [trial(1, 0.6, 2), trial(2, 0.5, 2)]
    promoted = of_the_default(trial(0, 0.4, 2), *others, trial(3, 0.9, 6, past=1, x=1, round=1))
    (note,) = promoted
    assert "(trial 0) were not promoted after 2 epochs, with val_accuracy 0.4" in note
    assert "the winner was trained for 6" in note
    # They went on, and were beaten after as many epochs: nothing is unknown.
    went_on = [trial(3, 0.8, 6, past=0, x=0, round=1), trial(4, 0.9, 6, past=1, x=1, round=1)]
    assert of_the_default(trial(0, 0.7, 2), *others, *went_on) == []
    # They went on and won, under another number.
    (note,) = of_the_default(trial(0, 0.7, 2), *others, trial(3, 0.95, 6, past=0, x=0, round=1))
    assert note.startswith("No trial was better than the first one")


def test_default_settings_that_were_pruned_or_failed_are_told():
    rows = {"bracket": None}
    (note,) = of_the_default(trial(0, 0.4, 2, status="pruned", **rows), trial(1, 0.6, 6, **rows))
    assert "were stopped early after 2 epochs" in note
    failed = trial(0, None, 0, status="failed", reason="out of memory", **rows)
    assert of_the_default(failed, trial(1, 0.6, 6, **rows)) == [
        "The default settings (trial 0) failed: out of memory."
    ]
    assert of_the_default(trial(0, 0.4, 6, **rows), trial(1, 0.6, 6, **rows)) == []
    assert of_the_default(trial(0, 0.4, 6, **rows)) == []


def test_few_trials_say_so():
    explained = evaluation.explain_search(results(2))
    assert [title for title, _, _ in explained.figures][:1] == ["Progress"]
    assert any("at least 12" in note for note in explained.notes)
    assert evaluation.explain_search(results(1)).figures


def test_hparams_of_every_trial_are_written(tmp_path):
    import tensorflow as tf
    from tensorboard.backend.event_processing import event_accumulator

    from kapps import tuning

    found = results(6)
    tuning.write_hparams(tmp_path / "hparams", found)
    tuning.write_hparams(tmp_path / "hparams", found)  # again replaces
    runs = sorted(path.name for path in (tmp_path / "hparams").iterdir() if path.is_dir())
    assert runs == [f"{r.number:04d}" for r in found.ended_well]
    events = event_accumulator.EventAccumulator(str(tmp_path / "hparams" / runs[2]))
    events.Reload()
    record = found.ended_well[2]
    written = tf.make_ndarray(events.Tensors("val_accuracy")[0].tensor_proto)
    assert written == pytest.approx(record.score, abs=1e-6)
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"rate" in content and b"kind" in content
