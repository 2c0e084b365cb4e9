import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import models
from kapps.errors import UserError
from kapps.models.text.char_rnn import UNKNOWN, Characters

VOCABULARY = UNKNOWN + "\n abcé"


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    model = models.char_rnn(VOCABULARY, units=6, layers=2, embedding=4, dropout=0.3, lanes=2)
    head = model.network.get_layer("logits")
    head.kernel.assign(4.0 * head.kernel)  # opinions
    return model


@pytest.fixture(scope="module")
def generate(model):
    numbers = [tf.TensorSpec([], dtype) for dtype in (tf.int32, tf.float32, tf.int32, tf.int32)]
    graph = tf.function(
        lambda *given: models.generate_text(model, *given),
        input_signature=[tf.TensorSpec([None], tf.string), *numbers],
    )

    def call(prompts, length=20, temperature=1.0, seed=0, top_k=0):
        found = graph(prompts, length, temperature, seed, top_k)
        return {name: [t.decode() for t in value.numpy()] for name, value in found.items()}

    return call


def logits(model, text):
    """Of what comes after a text, by a loop of NumPy and one pass over the whole."""
    symbols = np.array([[VOCABULARY.index("\n"), *map(VOCABULARY.index, text)]], np.int32)
    return model.answer(symbols, model.fresh_states(1))[0].numpy()[0]


def test_characters_become_symbols_and_characters_again():
    characters = Characters(UNKNOWN + "zaé€😀")  # in no order
    texts = ["az😀", "", "é?€", b"a\xff"]
    symbols, lengths = characters.symbols(tf.constant(texts))
    assert symbols.numpy().tolist() == [[2, 1, 5], [0, 0, 0], [3, 0, 4], [2, 0, 0]]
    assert lengths.numpy().tolist() == [3, 0, 3, 2]
    back = [text.decode() for text in characters.texts(symbols, lengths).numpy()]
    assert back == ["az😀", "", f"é{UNKNOWN}€", f"a{UNKNOWN}"]


def test_what_stands_before_a_text():
    assert Characters(UNKNOWN + "ab \n").start == 4
    assert Characters(UNKNOWN + "ab ").start == 3
    assert Characters(UNKNOWN + "ab").start == 1


@pytest.mark.slow
def test_without_temperature_the_most_probable_character_follows(model, generate):
    text = ""
    for _ in range(12):
        last = logits(model, text)[-1]
        text += VOCABULARY[1 + last[1:].argmax()]
    assert generate([""], 12, 0.0)["text"] == [text]
    assert generate([text[:5]], 7, 0.0, seed=5)["text"] == [text]
    assert generate([""], 12, 3.0, seed=8, top_k=1)["text"] == [text]


@pytest.mark.slow
def test_texts_depend_on_prompt_row_and_seed_alone(generate):
    both = generate(["ab", "a long cab\n"], 20, seed=4)
    assert both == generate(["ab", "a long cab\n"], 20, seed=4)
    assert both != generate(["ab", "a long cab\n"], 20, seed=5)
    assert generate(["ab"], 20, seed=4)["text"] == both["text"][:1]
    longer = generate(["ab", "a long cab\n"], 33, seed=4)
    for short, long, prompt in zip(
        both["text"], longer["text"], ["ab", "a long cab\n"], strict=True
    ):
        assert long.startswith(short) and short.startswith(prompt)
        assert len(short) == len(prompt) + 20
    twice = generate(["ab", "ab"], 20, seed=4)["text"]
    assert twice[0] != twice[1]


@pytest.mark.slow
def test_prompt_and_continuation(generate):
    found = generate(["ab", "", "über"], 3)
    for text, added, prompt in zip(*found.values(), ["ab", "", "über"], strict=False):
        text, added = (text, added) if len(text) >= len(added) else (added, text)
        assert text == prompt + added and len(added) == 3
        assert UNKNOWN not in added
    nothing = generate(["ab"], 0)
    assert nothing == {"text": ["ab"], "continuation": [""]}
    assert generate(["ab"], -5) == nothing


@pytest.mark.slow
def test_draws_follow_the_softmax(model):
    """Many rows with the same prompt: shares within 4.5 standard errors of the probabilities."""
    rows, temperature = 4000, 0.7
    z = logits(model, "ab")[-1][1:] / temperature
    probabilities = np.exp(z - z.max())
    probabilities /= probabilities.sum()
    for top_k in (0, 3):
        expected = probabilities.copy()
        if top_k:
            expected[np.argsort(expected)[:-top_k]] = 0.0
            expected /= expected.sum()
        found = models.generate_text(model, ["ab"] * rows, 1, temperature, 7, top_k)
        drawn = [text.decode() for text in found["continuation"].numpy()]
        shares = np.array([drawn.count(c) for c in VOCABULARY[1:]]) / rows
        errors = np.sqrt(expected * (1 - expected) / rows)
        assert (np.abs(shares - expected) <= 4.5 * errors + 1e-9).all()


def test_scores_are_the_cross_entropy_in_bits(model):
    texts = ["ab c", "", "é", "bbbbbbbbb"]
    found = models.score_text(model, texts)
    for text, bits, count in zip(
        texts, found["bits_per_character"].numpy(), found["characters"].numpy(), strict=True
    ):
        assert count == len(text)
        if text:
            z = logits(model, text)[:-1]
            log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
            own = log_p[np.arange(len(text)), [VOCABULARY.index(c) for c in text]]
            assert bits == pytest.approx(-own.mean() / np.log(2), rel=1e-4)
        else:
            assert bits == 0.0


@pytest.mark.slow
def test_it_learns_what_repeats():
    """A cycle of four characters is foreseen after a hundred updates."""
    keras.utils.set_random_seed(0)
    model = models.char_rnn(UNKNOWN + "abc", units=12, embedding=4, k1=8, lanes=4, cell="gru")
    model.compile(keras.optimizers.Adam(0.02))
    cycle = np.array([1, 2, 1, 3] * 100, np.int32)  # after an a, memory says what follows
    rows = np.stack([cycle[i : i + 9] for i in range(4)])
    x, y = np.tile(rows[:, :-1], (100, 1)), np.tile(rows[:, 1:], (100, 1))
    model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    text = models.generate_text(model, ["aba"], 12, 0.0)["text"].numpy()[0].decode()
    assert text == "abacabacabacaba"


@pytest.mark.slow
def test_in_sixteen_bits_it_trains_and_writes():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = models.char_rnn(VOCABULARY, units=4, embedding=3, k1=3, k2=5, lanes=2)
        model.compile("sgd")
        tokens = np.int32([[1, 2, 3], [4, 5, 6]])
        assert np.isfinite(model.fit(tokens, tokens, verbose=0).history["loss"][0])
        graph = tf.function(lambda: models.generate_text(model, ["a"], 5))
        assert len(graph()["continuation"].numpy()[0].decode()) == 5
    finally:
        keras.config.set_dtype_policy(before)
    assert all(state.dtype == "float32" for state in model.memory.states)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(vocabulary="abc"), "U\\+FFFD"),
        (dict(vocabulary=UNKNOWN), "at least one character"),
        (dict(vocabulary=UNKNOWN + "aa"), "each of them once"),
        (dict(layers=0), "layers"),
        (dict(units=0), "units"),
        (dict(embedding=0), "embedding"),
        (dict(cell="rnn"), "cell"),
    ],
)
def test_mistakes(settings, words):
    with pytest.raises(UserError, match=words):
        models.char_rnn(**{"vocabulary": VOCABULARY, **settings})
