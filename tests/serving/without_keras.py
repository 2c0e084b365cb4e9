"""Published models in TensorFlow without kapps and Keras, as servers have it: a process for all.

    python without_keras.py ASKED ANSWERS ODD

ASKED holds, pickled, name -> (version, requests: signature and inputs). ANSWERS gets, pickled,
name -> what is answered to each. ODD gets a line of JSON for each call with a tensor of another
shape, or with no examples at all: name, signature, what is wrong, its shape, what was said. Should
the process die, the lines of the calls that were not answered are missing.
"""

import json
import pickle
import sys

# Made impossible to import: TensorFlow loads Keras by itself where it can.
sys.modules["kapps"] = sys.modules["keras"] = None
import tensorflow as tf  # noqa: E402

SCALARS = {"count": 2, "seed": 1, "length": 3, "top_k": 0, "temperature": 1.0, "label": 0}


def right(spec):
    if spec.shape.rank is None:
        return tf.constant(SCALARS.get(spec.name, 1.0), spec.dtype)
    filler = "a" if spec.dtype == tf.string else 0
    return tf.cast(tf.fill([2 if n is None else n for n in spec.shape], filler), spec.dtype)


def odd_shapes(spec, value):
    """Tensors that a signature has to refuse in the place of `value`."""
    if spec.shape.rank is None:
        # A column of a table is taken in any rank.
        return [tf.stack([value, value])] if spec.name in SCALARS else []
    wider = spec.shape.rank > 1 and spec.shape[-1] is not None
    return [value[0], value[None], *([tf.concat([value, value], axis=-1)] if wider else [])]


def no_examples(specs):
    return {
        key: tf.constant(0, spec.dtype)
        if spec.shape.rank is None and key == "count"
        else right(spec)[:0]
        if spec.shape.rank
        else right(spec)
        if key in SCALARS
        else tf.zeros([0], spec.dtype)
        for key, spec in specs.items()
    }


def odd_calls(signature):
    """What is wrong, the shape that it has, and what a signature says to it."""
    specs = signature.structured_input_signature[1]
    for wrong, spec in specs.items():
        given = {key: right(other) for key, other in specs.items()}
        for odd in odd_shapes(spec, given[wrong]):
            try:
                answer = signature(**{**given, wrong: odd})
                said = "answered " + str({k: v.shape for k, v in answer.items()})
            except Exception as error:
                said = type(error).__name__
            yield wrong, odd.shape.as_list(), said
    try:
        said = sorted({v.shape[0] for v in signature(**no_examples(specs)).values()})
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    yield "empty", said


def main(asked, answers, odd):
    with open(asked, "rb") as file:
        places = pickle.load(file)
    said = {}
    with open(odd, "w", encoding="utf-8") as lines:
        for place, (version, requests) in places.items():
            signatures = tf.saved_model.load(version).signatures
            said[place] = [
                {
                    n: x.numpy()
                    for n, x in signatures[name](
                        **{key: tf.constant(value) for key, value in inputs.items()}
                    ).items()
                }
                for name, inputs in requests
            ]
            with open(answers, "wb") as file:
                pickle.dump(said, file)
            for name, signature in signatures.items():
                for call in odd_calls(signature):
                    print(json.dumps([place, name, *call]), file=lines, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
