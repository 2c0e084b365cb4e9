import keras
import numpy as np
import pytest
from scipy.signal import lfilter

from kapps import data, evaluation, models
from kapps.errors import UserError
from kapps.evaluation import plots


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "a.txt"
    words = np.random.default_rng(0).choice(["ant ", "bee ", "cow ", "dog\n"], 1500)
    path.write_text("".join(words) + "é")
    return data.load_text(f"text:{path}")


@pytest.fixture(scope="module")
def model(text):
    keras.utils.set_random_seed(0)
    model = models.char_rnn(text.vocabulary, units=6, layers=2, embedding=4, dropout=0.2, lanes=4)
    model.compile("sgd")
    return model


def rows(*values, train=None):
    """A history of these validation figures, in bits."""
    train = values if train is None else train
    return [
        {
            "epoch": i + 1,
            "loss": t * np.log(2),
            "train_loss": t * np.log(2),
            "val_loss": v * np.log(2),
            "val_bits_per_character": v,
            "learning_rate": 1e-3,
        }
        for i, (v, t) in enumerate(zip(values, train, strict=True))
    ]


def verdict(*values, train=None):
    return evaluation.language_verdict(
        rows(*values, train=train),
        unigram=4.5,
        five_gram=2.0,
        validation_characters=50_000,
        train_characters=50_000,
    )


@pytest.mark.slow
def test_bits_are_those_of_one_stream_whatever_the_parts(text, model):
    symbols = text.splits["test"]
    whole = evaluation.character_bits(model, symbols, steps=10_000)
    assert len(whole) == len(symbols) - 1
    np.testing.assert_allclose(evaluation.character_bits(model, symbols, 37), whole, rtol=1e-4)
    found = model.evaluate(data.text_stream(symbols), verbose=0, return_dict=True)
    assert found["bits_per_character"] == pytest.approx(whole.mean(), rel=1e-5)


@pytest.mark.slow
def test_looking_changes_no_random_state(text, model):
    before = [np.array(v) for v in model.non_trainable_variables if "seed" in v.path]
    evaluation.character_bits(model, text.splits["test"])
    model.test_step(next(iter(data.text_stream(text.splits["test"]))))
    after = [np.array(v) for v in model.non_trainable_variables if "seed" in v.path]
    assert before
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_broken_models_are_told(text, model):
    broken = models.char_rnn(text.vocabulary, units=3, lanes=2)
    broken.network.get_layer("logits").bias.assign([np.nan] * len(text.vocabulary))
    with pytest.raises(UserError, match="not finite"):
        evaluation.character_bits(broken, text.splits["test"])


def test_baselines_of_words_in_a_row(text):
    found = evaluation.text_baselines(text)
    # Two bits for each word of four letters, the first of which tells the rest.
    assert found["5-gram"] == pytest.approx(0.5, abs=0.05)
    assert found["unigram"] > 2.5 > 1.0 > found["xz"] > 0.45


def test_verdicts():
    assert verdict(2.6, 2.2, 1.95, 1.90, 1.89, 1.89).label == "well fitted"
    train = (2.5, 1.9, 1.5, 1.2, 1.0, 0.9, 0.8)
    rising = verdict(2.6, 2.2, 2.0, 2.1, 2.3, 2.5, 2.6, train=train)
    assert "over-fitted" in rising.label and rising.kept_epoch == rising.best_epoch == 3
    assert verdict(2.6, 2.2, 2.0, 2.02, 2.08, 2.12, 2.15, train=train).label in (
        "slightly over-fitted",
        "over-fitted",
    )
    bad = verdict(2.6, 2.5, 2.45, 2.44, 2.44, 2.44)
    assert bad.label == "under-fitted" and "5-gram needs 2.00 bits" in bad.sentence
    assert verdict(2.6, 2.5).label == "too short to say"
    assert verdict(2.6, np.nan).label == "diverged"
    assert verdict(4.0, 3.5, 3.1, 2.8, 2.5, 2.2).label == "still improving"


def test_the_interval_of_bits_holds_the_truth():
    """Simulation: bits whose neighbours go together, by an autoregression of 0.8."""
    rng, held, single = np.random.default_rng(0), 0, 0
    for seed in range(300):
        bits = 2 + lfilter([1.0], [1.0, -0.8], rng.normal(size=3200))[200:]
        found = evaluation.bits_interval(bits, resamples=300, seed=seed)
        held += found.low <= 2 <= found.high
        single += abs(bits.mean() - 2) <= 1.96 * bits.std() / np.sqrt(3000)
    assert 0.915 <= held / 300 <= 0.98 and single / 300 < 0.6
    # 1 / (1 - 0.8) is the deviation of the mean times the root of the count; the mean is 2.
    assert found.spread == pytest.approx(5 / 2, rel=0.4)


def test_how_much_harder_the_validation_part_is(text, tmp_path):
    assert evaluation.harder_by(text) == pytest.approx(0.0, abs=0.05)
    # The second half has twice as many words, and none of them easier.
    rng = np.random.default_rng(1)
    words = [a + b + " " for a in "abcdefgh" for b in "ijkl"]
    easy, hard = rng.choice(words[:2], 4000), rng.choice(words, 4000)
    (tmp_path / "a").write_text("".join([*easy, *hard]))
    found = evaluation.harder_by(data.load_text(f"text:{tmp_path / 'a'}"))
    assert found == pytest.approx((5 - 1) / 3 / 2, abs=0.25)  # 5 bits a word; 1 in half the text


def test_what_is_hard_by_itself_is_no_gap():
    train = (1.6, 1.4, 1.35, 1.33, 1.32, 1.32)
    values = [v + 0.65 for v in train]
    settings = dict(
        unigram=4.5, five_gram=2.4, validation_characters=50_000, train_characters=50_000
    )
    history = rows(*values, train=train)
    # Fourteen points from the first epoch on: harder, and nothing learned by heart.
    assert evaluation.language_verdict(history, **settings).label == "validation differs"
    fair = evaluation.language_verdict(history, **settings, harder=0.6)
    assert fair.label == "well fitted" and fair.gap == pytest.approx(0.05 / 4.5)
    assert "0.60 bits" in fair.sentence


@pytest.mark.slow
def test_a_whole_explanation(text, model, tmp_path):
    found = evaluation.explain_text(
        model,
        text,
        rows(2.6, 2.2, 2.1),
        samples=["one\n  two <b>", "", "$x^2$ longer than a line " * 4],
        sample_epochs=[1, 2, 3],
        train_characters=100,
    )
    metrics = found.metrics
    assert metrics["test_loss"] == pytest.approx(metrics["test_bits_per_character"] * np.log(2))
    assert metrics["test_characters"] == text.counts["test"]
    assert metrics["five_gram_bits_per_character"] < metrics["unigram_bits_per_character"]
    titles = [title for title, _, _ in found.figures]
    assert titles == ["Bits per character", "Where the bits go", "Samples by epoch"]
    page = evaluation.write_report(
        tmp_path / "report.html",
        title="text",
        verdict=found.verdict,
        metrics=metrics,
        figures=found.figures,
        tables=found.tables,
    ).read_text()
    assert "two &lt;b&gt;" in page and "5-gram" in page
    table = found.tables[0][2]
    assert [row[2] for row in table] == sorted(row[2] for row in table)
    assert ("this network", 2.1, metrics["test_bits_per_character"]) in table


def test_pictures():
    figure = plots.coloured_text("ab\nc", np.array([0.0, 1.0, 8.0, 4.0]))
    assert len(figure.axes[0].texts) == 4
    costs = figure.axes[0].images[0].get_array()
    assert costs.shape[0] == 2 and costs[0, 2] == 8.0 and costs[1, 0] == 4.0
    with pytest.raises(ValueError):
        plots.coloured_text("ab", np.zeros(3))
    figure = plots.bits_curves(rows(2.0, 1.5), {"5-gram": 1.9, "xz": 2.1})
    levels = [line.get_ydata()[0] for line in figure.axes[0].lines]
    assert 1.9 in levels and 2.1 in levels
    plots.png_bytes(plots.bits_curves(rows(2.0)), dpi=40)
    plots.png_bytes(plots.text_samples(["a\nb", "c"], [1, 2]), dpi=40)
