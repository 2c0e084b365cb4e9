import json
import subprocess
import sys
import textwrap

import keras
import pytest
import tensorflow as tf

from kapps import models, serving
from kapps.errors import UserError
from kapps.models.text.char_rnn import UNKNOWN


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return models.char_rnn(UNKNOWN + "\n abcé", units=5, embedding=3, dropout=0.2, lanes=2)


@pytest.fixture(scope="module")
def published(model, tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    return serving.export_text(model, root / "char", card="# A title\n\nTrained on nothing.")


REQUEST = dict(prompt=["ab", "é "], length=15, temperature=0.9, top_k=3, seed=11)

PROGRAM = """
    import json, sys
    for name in ("kapps", "keras"):
        sys.modules[name] = None  # importing them would fail
    import tensorflow as tf
    model = tf.saved_model.load({path!r})
    given = {request!r}
    dtypes = dict(prompt=tf.string, temperature=tf.float32)
    given = {{k: tf.constant(v, dtypes.get(k, tf.int32)) for k, v in given.items()}}
    texts = model.signatures["serving_default"](**given)["text"].numpy()
    bits = model.signatures["score"](text=tf.constant(["abc"]))["bits_per_character"].numpy()
    print(json.dumps([[text.decode() for text in texts], float(bits[0])]))
"""


@pytest.mark.slow
def test_it_writes_the_same_text_without_kapps_and_keras(model, published):
    program = textwrap.dedent(PROGRAM).format(path=str(published), request=REQUEST)
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    texts, bits = json.loads(answer.stdout)
    expected = models.generate_text(model, REQUEST["prompt"], 15, 0.9, 11, 3)["text"].numpy()
    assert texts == [text.decode() for text in expected]
    assert bits == pytest.approx(
        float(models.score_text(model, ["abc"])["bits_per_character"][0]), rel=1e-5
    )


@pytest.mark.slow
def test_numbers_may_have_a_dimension_and_seeds_matter(published):
    loaded = tf.saved_model.load(str(published))
    assert set(loaded.signatures) == {"serving_default", "generate", "score"}

    def call(seed):
        return loaded.signatures["generate"](
            prompt=tf.constant(["a"]),
            length=tf.constant([30]),
            temperature=tf.constant([1.0]),
            top_k=tf.constant([0]),
            seed=tf.constant([seed]),
        )["continuation"].numpy()[0]

    assert call(1) == call(1) != call(2)
    assert len(call(1).decode()) == 30


@pytest.mark.slow
def test_a_text_has_an_end(published):
    loaded = tf.saved_model.load(str(published))
    given = {"prompt": tf.constant(["a"]), "length": tf.constant(10_001)}
    with pytest.raises(tf.errors.InvalidArgumentError, match="length is larger than 10000"):
        loaded.signatures["generate"](
            **given, temperature=tf.constant(1.0), top_k=tf.constant(0), seed=tf.constant(1)
        )


def test_the_card_says_how_to_call_it(published):
    card = (published / "model_card.md").read_text()
    assert card.startswith("# A title")
    for words in ("`generate`", "`score`", "`temperature` float32", "top_k=tf.constant(0)"):
        assert words in card
    assert (published / "assets.extra/tf_serving_warmup_requests").stat().st_size > 100


@pytest.mark.slow
def test_it_is_exported_as_any_generative_model(model, tmp_path):
    assert serving.is_generative(model)
    model.save(tmp_path / "model.keras")
    loaded = serving.load_model(tmp_path / "model.keras")
    assert loaded.vocabulary == model.vocabulary
    path = serving.export_any(loaded, tmp_path / "char")
    assert "generate" in tf.saved_model.load(str(path)).signatures


def test_streams_of_numbers_write_no_text(tmp_path):
    network = models.rnn(2, 1, units=3, return_sequences=True, carry_state=True)
    model = models.TruncatedBPTT(network, k1=3, lanes=2, loss="squared_error")
    assert not serving.is_generative(model)
    with pytest.raises(UserError, match="without a vocabulary"):
        serving.export_text(model, tmp_path)
