import dataclasses
import json
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from kapps import data, evaluation, models, serving
from kapps.command_line import call
from kapps.errors import UserError
from recipes import char_rnn
from recipes.char_rnn import Config

ROOT = pathlib.Path(char_rnn.__file__).parents[1]
SMALL = dict(units=12, embedding=6, k1=16, batch_size=8, sample_length=30)


def command(*flags):
    return [sys.executable, str(ROOT / "recipes/char_rnn.py"), *map(str, flags)]


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """Words with a little memory: which one follows depends on the one before."""
    rng = np.random.default_rng(0)
    words, found = ["ant", "bee", "cow", "dog", "elk"], [0]
    for _ in range(3000):
        found.append((found[-1] * 2 + 1) % 5 if rng.random() < 0.8 else int(rng.integers(5)))
    path = tmp_path_factory.mktemp("book") / "book.txt"
    path.write_text(" ".join(words[i] for i in found))
    return str(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, book):
    root = tmp_path_factory.mktemp("recipe")
    config = Config(
        dataset=f"text:{book}",
        run_dir=str(root / "run"),
        export_dir=str(root / "served"),
        epochs=4,
        learning_rate=0.02,
        dropout=0.05,
        k2=24,
        gradient_flow=True,
        **SMALL,
    )
    return config, call(char_rnn, config)


def test_the_run_directory_holds_what_the_design_says(finished, book):
    config, metrics = finished
    run = pathlib.Path(config.run_dir)
    assert json.loads((run / "metrics.json").read_text()) == metrics
    # The next word is the expected one with 0.84, each other with 0.04: 0.954 bits a word, 0.239
    # a character. Over the 150 words of the test part that has a standard deviation of 0.033.
    assert (
        0.239 - 3 * 0.033
        < metrics["test_bits_per_character"]
        < metrics["unigram_bits_per_character"] / 2
    )
    for name in ("best_epoch", "parameters", "train_seconds", "characters_per_second"):
        assert metrics[name] > 0
    facts = json.loads((run / "config.json").read_text())
    text = data.load_text(config.dataset)
    assert facts["data"]["fingerprint"] == text.fingerprint and len(text.fingerprint) == 64
    assert text.vocabulary == "\ufffd" + "".join(sorted(set(pathlib.Path(book).read_text())))
    assert len(evaluation.read_history(run)) == 4
    pictures = {path.stem for path in (run / "plots").glob("*.png")}
    assert pictures == {
        "bits_per_character",
        "where_the_bits_go",
        "samples_by_epoch",
        "gradient_flow",
    }
    page = (run / "report.html").read_text()
    assert metrics["verdict"] in page and "kapps train char_rnn" in page and "5-gram" in page
    assert 'src="http' not in page and "<script" not in page
    assert len(list((run / "samples").glob("*.npy"))) == 4


def test_model_keras_and_the_saved_model_give_the_reported_figure(finished):
    config, metrics = finished
    text = data.load_text(config.dataset)
    model = serving.load_model(pathlib.Path(config.run_dir, "model.keras"))
    stream = np.append(text.before("test"), text.splits["test"])
    bits = evaluation.character_bits(model, stream).mean()
    assert bits == pytest.approx(metrics["test_bits_per_character"], rel=1e-6)
    served = tf.saved_model.load(str(pathlib.Path(config.export_dir, "1")))
    found = served.signatures["score"](text=tf.constant([text.text("test")]))
    # The one differs by what stands before the first character.
    assert float(found["bits_per_character"][0]) == pytest.approx(bits, abs=0.03)
    wanted = models.generate_text(model, ["ant "], 12, 0.5, 3)["text"].numpy()
    said = served.signatures["generate"](
        prompt=tf.constant(["ant "]),
        length=tf.constant(12),
        temperature=tf.constant(0.5),
        top_k=tf.constant(0),
        seed=tf.constant(3),
    )["text"].numpy()
    assert said == wanted


def test_the_last_sample_is_of_the_words_of_the_book(finished):
    config, _ = finished
    path = pathlib.Path(config.run_dir, "samples/epoch-00004.npy")
    words = str(np.load(path)[0]).split()[1:-1]
    assert len(words) >= 4
    assert np.mean([word in ("ant", "bee", "cow", "dog", "elk") for word in words]) > 0.6


def test_again_is_quick_and_another_config_is_refused(finished):
    config, metrics = finished
    assert call(char_rnn, config) == metrics
    with pytest.raises(UserError, match="units"):
        call(char_rnn, dataclasses.replace(config, units=13))


def test_every_switch_together(tmp_path, book):
    config = Config(
        dataset=f"text:{book}",
        run_dir=str(tmp_path),
        epochs=2,
        cell="gru",
        layers=2,
        residual=True,
        dropout=0.1,
        k2=8,
        clip=0.5,
        ema=0.9,
        optimizer="nesterov",
        schedule="one-cycle",
        patience=3,
        prompt="bee",
        temperature=0.0,
        top_k=3,
        export=False,
        **SMALL,
    )
    metrics = call(char_rnn, config)
    assert np.isfinite(metrics["test_bits_per_character"]) and metrics["exported"] is None
    assert str(np.load(tmp_path / "samples/epoch-00001.npy")[0]).startswith("bee")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(dataset="digits"), "python_topics"),
        (dict(dataset="text:/does/not/exist"), "/does/not/exist"),
        (dict(units=0), "--units"),
        (dict(k1=0), "--k1"),
        (dict(k2=0), "--k2"),
        (dict(clip=-1.0), "--clip"),
        (dict(dropout=1.0), "--dropout"),
        (dict(temperature=-1.0), "--temperature"),
        (dict(top_k=-1), "--top-k"),
        (dict(test_fraction=0.5), "--test-fraction"),
        (dict(schedule="step", warmup=0.2), "--warmup"),
        (dict(devices="cpu:2", batch_size=63), "62 or 64"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(tmp_path, settings, words):
    with pytest.raises(UserError, match=words):
        call(char_rnn, Config(run_dir=str(tmp_path / "run"), **settings))
    assert not (tmp_path / "run").exists()


def test_a_text_too_short_for_the_lanes(tmp_path):
    (tmp_path / "a.txt").write_text("some words " * 120)
    with pytest.raises(UserError, match="smaller --batch-size or --k1"):
        call(char_rnn, Config(dataset=f"text:{tmp_path / 'a.txt'}", run_dir=str(tmp_path / "run")))


def test_a_mistake_is_one_message_and_exit_code_2(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe" * 2000)
    answer = subprocess.run(
        command("--dataset", f"text:{tmp_path / 'a.txt'}", "--run-dir", tmp_path / "run"),
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert answer.returncode == 2
    assert "no text in UTF-8" in answer.stderr and "Traceback" not in answer.stderr


@pytest.mark.slow
def test_killed_it_ends_with_the_same_bits_what_it_remembers_included(tmp_path, book):
    """Once inside an epoch, where a checkpoint is written every few steps; with k2 > k1."""
    program = (
        "import sys; sys.path.insert(0, {root!r})\n"
        "import functools\n"
        "from kapps import training\n"
        "from kapps.command_line import call\n"
        "from recipes import char_rnn\n"
        "training.fit = functools.partial(training.fit, save_steps=7)\n"
        "call(char_rnn, char_rnn.Config(dataset={book!r}, run_dir=sys.argv[1], epochs=2, k2=20,\n"
        "    dropout=0.2, ema=0.9, export=False, **{small!r}))\n"
    ).format(root=str(ROOT), book=f"text:{book}", small=SMALL)

    def start(run):
        return subprocess.Popen(
            [sys.executable, "-c", program, str(run)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    assert start(tmp_path / "whole").wait() == 0
    run = tmp_path / "killed"
    process = start(run)

    def places():
        return {int(path.stem.split("-")[1]) for path in run.glob("checkpoints/state-*.npz")}

    steps = 12_000 * 90 // 100 // 8 // 16  # of an epoch, about
    while process.poll() is None and max(places(), default=0) < steps + 15:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert start(run).wait() == 0
    assert (run / "metrics.csv").read_bytes() == (tmp_path / "whole/metrics.csv").read_bytes()
    newest = [sorted(p.glob("checkpoints/state-*.npz"))[-1] for p in (run, tmp_path / "whole")]
    assert newest[0].name == newest[1].name
    found, wanted = (np.load(path) for path in newest)
    assert any(name.endswith("past") for name in wanted.files)
    assert sum("state" in name for name in wanted.files) >= 4
    for name in wanted.files:
        if name != "meta.json":
            np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)
    models_ = [serving.load_model(path / "model.keras") for path in (run, tmp_path / "whole")]
    for one, other in zip(models_[0].weights, models_[1].weights, strict=True):
        np.testing.assert_array_equal(one, other)
