"""Every family in every runtime: what it answers there, or why it is not to be had.

TensorFlow without Keras and the C program read the published version, signature by signature. ONNX
Runtime, OpenVINO and LiteRT read the files that `convert_signatures` writes, for each signature
that can have one. All are asked what the warm-up requests of the version ask; of series also padded
ones.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from kapps import serving
from kapps.models.text.char_rnn import UNKNOWN
from kapps.serving.formats.conversion import quietly
from kapps.serving.savedmodel.onnx_files import name_in_file, read_labels
from serving import small_families
from serving.small_classifier import CLASS_NAMES
from serving.small_families import CLASSES, FAMILIES, THRESHOLDS

pytestmark = pytest.mark.slow
SAME, LOWER = 1e-5, 1e-4  # LOWER: other kernels, other order of summation
CLIENT = Path(__file__).parents[2] / "deploy" / "clients" / "client.c"
CHARACTERS = UNKNOWN + "\n ab"


def softmax(model, x):
    """Probabilities, by NumPy, of what `predict` says."""
    logits = model.predict(x, verbose=0).astype(float)
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return {"probabilities": exponentials / exponentials.sum(-1, keepdims=True)}


def of_image(model, inputs):
    return softmax(model, inputs["image"].astype("f4"))


def several(model, inputs):
    logits = model.predict(inputs["image"].astype("f4"), verbose=0)
    return {"probabilities": 1 / (1 + np.exp(-logits))}


def number(model, inputs):
    return {"value": model.predict(inputs["image"].astype("f4"), verbose=0)[:, 0]}


def reconstructed(model, inputs):
    pixels = np.asarray(model.reconstruct(inputs["image"])).clip(0, 1)
    return {"pixels": pixels, "image": np.rint(255 * pixels).astype(np.uint8)}


@dataclass(frozen=True)
class Row:
    """What is expected of a family.

    Attributes:
        predict: (model, inputs) -> what Keras says to those of `serving_default`; None where
            nothing but the functions that are published says so.
        made: the signatures that have a file.
        left: of the others, part of the reason.
        unread: which runtime cannot read the file, and part of what it says.
    """

    predict: Callable[[Any, dict], dict[str, np.ndarray]] | None
    made: tuple[str, ...] = ("serving_default",)
    left: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)


CODER = ("reconstruct", "encode", "decode")
BYTES = {"from_bytes": "takes strings (image_bytes)"}
DRAWS = {"sample": "draws random numbers from a seed, for which there is no operation"}
# A GRU that masks is a loop in ONNX, which uses more of what lies outside than OpenVINO allows.
LOOPS = {"openvino": "Conversion is failed for: Loop"}

ROWS = {
    "image classifier": Row(of_image),
    "several labels": Row(several),
    "number of an image": Row(number),
    "autoencoder": Row(reconstructed, CODER, BYTES),
    "VAE": Row(reconstructed, CODER, BYTES | DRAWS),
    "conditional VAE": Row(None, CODER, BYTES | DRAWS),
    "VQ-VAE": Row(reconstructed, CODER, BYTES | DRAWS),
    "GAN": Row(
        lambda model, inputs: {"pixels": np.clip(model.generate(inputs["z"]), 0, 1)},
        ("generate",),
        DRAWS,
    ),
    "conditional GAN": Row(None, ("generate",), DRAWS),
    "perceptron": Row(lambda model, inputs: softmax(model, inputs["points"])),
    "points": Row(lambda model, inputs: softmax(model, inputs["points"])),
    "table": Row(softmax),
    "regression": Row(lambda model, inputs: {"prediction": model.predict(inputs, verbose=0)[:, 0]}),
    "series": Row(lambda model, inputs: softmax(model, inputs["sequence"]), unread=LOOPS),
    "numbers of series": Row(
        lambda model, inputs: {"prediction": model.predict(inputs["sequence"], verbose=0)}
    ),
    "text": Row(None),
    "text classifier": Row(lambda model, inputs: softmax(model, tf.constant(inputs["text"]))),
}


def test_every_family_has_a_row():
    assert set(FAMILIES) - set(ROWS) == {"images as points"}  # a classifier of images


def assert_same(said, expected, tolerance, where):
    """What a runtime answers, and what the SavedModel does; `said` may lack some of it."""
    assert said, where
    for name, answer in said.items():
        wanted, answer = np.asarray(expected[name]), np.asarray(answer)
        assert answer.shape == wanted.shape, (where, name)
        if wanted.dtype.kind == "f":
            scale = max(1.0, np.max(np.abs(wanted), initial=0.0))
            np.testing.assert_allclose(
                answer / scale, wanted / scale, rtol=0, atol=tolerance, err_msg=f"{where} {name}"
            )
        elif wanted.dtype == np.uint8:  # a rounding
            assert np.abs(answer.astype(int) - wanted).max(initial=0) <= 1, (where, name)
        else:
            np.testing.assert_array_equal(answer, wanted, f"{where} {name}")


# TensorFlow without Keras, and the C program: the version as it is -------------------------------


@pytest.fixture(scope="module")
def savedmodel(without_keras):
    """Name of a family -> what its version is asked, and what it answers without Keras."""
    assert without_keras.code == 0, without_keras.errors
    return without_keras.answers.__getitem__


@pytest.mark.parametrize("family", [family for family, row in ROWS.items() if row.predict])
def test_a_version_answers_what_keras_predicts(family, savedmodel):
    model = small_families.model_of(family)
    for name, inputs, said in savedmodel(family):
        if name == "serving_default":
            assert_same(ROWS[family].predict(model, inputs), said, SAME, family)


@pytest.mark.parametrize("family", ROWS)
def test_signatures_answer_as_in_the_process_that_published(family, family_version, savedmodel):
    """Files as the pictures in them; what has a test of its own above is not asked again."""
    signatures = tf.saved_model.load(str(family_version(family))).signatures
    pictures = [said for name, _, said in savedmodel(family) if name == "serving_default"]
    files = [said for name, _, said in savedmodel(family) if name == "from_bytes"]
    for said, wanted in zip(files, pictures if files else [], strict=True):
        assert said.keys() == wanted.keys()
        assert_same(said, wanted, SAME, family)
    for name, inputs, said in savedmodel(family):
        if name == "from_bytes" or (name == "serving_default" and ROWS[family].predict):
            continue
        answer = signatures[name](**{key: tf.constant(x) for key, x in inputs.items()})
        assert answer.keys() == said.keys()
        assert_same(said, answer, SAME, (family, name))


def test_what_is_augmented_and_normalized(savedmodel, published):
    names = [CLASS_NAMES[best].encode() for best in published.expected.argmax(-1)]
    for _, _, answer in savedmodel("small classifier"):
        np.testing.assert_allclose(answer["probabilities"], published.expected, rtol=0, atol=SAME)
        assert answer["label"].tolist() == names


def tensors_of(version, signature):
    """Names of inputs and outputs in the graph, by name in the signature."""
    contents = (version / "saved_model.pb").read_bytes()
    saved = saved_model_pb2.SavedModel.FromString(contents)
    definition = saved.meta_graphs[0].signature_def[signature]
    return tuple(
        {name: tensor.name for name, tensor in side.items()}
        for side in (definition.inputs, definition.outputs)
    )


def printed(lines, count):
    """What the C program prints of `count` outputs, by name."""
    found = {}
    for _ in range(count):
        name, kind, *shape = next(lines).split(" ")
        shape = [int(length) for length in shape[0].split(",")] if shape else []
        rows = [next(lines) for _ in range(shape[0] if shape else 1)]
        if kind == "string":
            rows = [re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), row) for row in rows]
            found[name] = np.array([row.encode() for row in rows], object)
        else:
            found[name] = np.array([row.split() for row in rows], float).reshape(shape)
    return found


def arguments_of(inputs, tensors, folder):
    """INPUT TYPE SHAPE FILE of each input, the files written."""
    for place, (name, value) in enumerate(inputs.items()):
        file, value = folder / str(place), np.asarray(value)
        if value.dtype.kind in "OS":
            kind = "lines" if value.size > 1 else "file"
            file.write_bytes(b"".join(x + b"\n" * (kind == "lines") for x in value.ravel()))
        else:
            kind = value.dtype.name
            file.write_bytes(value.tobytes())
        yield from (tensors[name], kind, ",".join(map(str, value.shape)), str(file))


# Of what the program reads and prints: files alone and with labels, one tensor and several, numbers
# of each type, lines, texts that are empty. That the others are served without Keras is known.
ASKED_FROM_C = (
    "several labels", "conditional VAE", "conditional GAN", "table", "numbers of series", "text",
    "text classifier",
)  # fmt: skip


def test_the_c_program(family_version, savedmodel, tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    wheel = Path(tf.__file__).parent
    libraries = [wheel / f"libtensorflow_{part}.so.2" for part in ("cc", "framework")]
    if compiler is None or not all(library.exists() for library in libraries):
        pytest.skip("there is no C compiler, or no library in the wheel")
    program = tmp_path / "client"
    subprocess.run(
        [compiler, "-Wall", "-Werror", CLIENT, f"-I{wheel / 'include'}", *libraries,
         f"-Wl,-rpath,{wheel}", "-o", program],
        check=True, timeout=120,
    )  # fmt: skip
    for family in ASKED_FROM_C:
        # One signature each: that of files, or that of prompts, where there is one.
        rows = {name: (inputs, said) for name, inputs, said in reversed(savedmodel(family))}
        name = next(n for n in ("from_bytes", "generate", "serving_default") if n in rows)
        inputs, wanted = rows[name]
        if family == "text classifier":  # several strings: of a batch of eight, without new lines
            _, inputs, wanted = savedmodel(family)[-1]
            lines = [text.replace(b"\n", b" ") for text in inputs["text"]]
            inputs = {"text": np.array(lines, object)}
        given, outputs = tensors_of(family_version(family), name)
        done = subprocess.run(
            [program, family_version(family), ",".join(outputs.values()),
             *arguments_of(inputs, given, tmp_path)],
            capture_output=True, text=True, timeout=120,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip
        assert done.returncode == 0, (family, done.stderr)
        said = printed(iter(done.stdout.split("\n")), len(outputs))
        assert_same({n: said[tensor] for n, tensor in outputs.items()}, wanted, SAME, family)


# ONNX Runtime, OpenVINO and LiteRT: a file per signature -----------------------------------------


def by_onnxruntime(path):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def by_openvino(path):
    onnx = pytest.importorskip("onnx")
    core = pytest.importorskip("openvino").Core()
    model = core.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    # In the order of the file; there an output has further names, those of what computes it.
    names = [output.name for output in onnx.load(path).graph.output]

    def ask(inputs):
        said = model(inputs)
        return {name: np.array(said[place]) for place, name in enumerate(names)}

    return ask


def by_litert(path):
    with quietly():
        runner = tf.lite.Interpreter(str(path)).get_signature_runner()

    def ask(inputs):
        fixed = any(d["shape_signature"][0] == 1 for d in runner.get_input_details().values())
        count = len(next(iter(inputs.values())))
        if not fixed:
            return runner(**inputs)
        alone = [runner(**{n: x[i : i + 1] for n, x in inputs.items()}) for i in range(count)]
        return {name: np.concatenate([one[name] for one in alone]) for name in alone[0]}

    return ask


RUNTIMES = {  # by format: what reads the file, and how far it may be off
    "onnx": {"onnxruntime": (by_onnxruntime, SAME), "openvino": (by_openvino, SAME)},
    "litert": {"litert": (by_litert, LOWER)},
}


def bits_per_character(ask, model, inputs):
    """What a text costs, by the file of a character model: the next character, step by step."""
    found = []
    for text in inputs["text"]:
        places = [max(CHARACTERS.find(c), 0) for c in text.decode()]
        if not places:
            found.append(0.0)
            continue
        states = {
            f"state_{i}": np.zeros((1, x.shape[-1]), "f4")
            for i, x in enumerate(model.network.inputs[1:])
        }
        before = [CHARACTERS.index("\n"), *places[:-1]]
        logits = ask({"tokens": np.array([before], np.int32), **states})["logits"][0].astype(float)
        nats = np.log(np.exp(logits).sum(-1)) - logits[range(len(places)), places]
        found.append(nats.mean() / np.log(2))
    return {"bits_per_character": np.float32(found)}


def places_of(inputs, words):
    """Texts as the numbers of their words, by regular expressions; padded to the longest."""
    texts = [re.findall(r"\w+|[^\w\s]", text.decode().lower()) for text in inputs["text"]]
    steps = max(1, *map(len, texts))
    rows = [[words.index(w) + 2 if w in words else 1 for w in text] for text in texts]
    return {"places": np.array([row + [0] * (steps - len(row)) for row in rows], np.int32)}


def answers_of(ask, family, model, labels, inputs):
    """What a file says to the inputs of a signature, as the signature says it."""
    if family == "text":
        return bits_per_character(ask, model, inputs)
    if family == "text classifier":
        inputs = places_of(inputs, small_families.WORDS)
    said = ask({key: np.asarray(value) for key, value in inputs.items()})
    said = {next((k for k in inputs if name_in_file(k, [k]) == n), n): x for n, x in said.items()}
    if family == "several labels":
        given = said.pop("given")
        words = ["|".join(n for n, g in zip(CLASSES, row, strict=True) if g) for row in given]
        said["labels"] = np.array([text.encode() for text in words], object)
    elif "probabilities" in said:
        names = np.array([name.encode() for name in labels], object)
        said["label"] = names[said["probabilities"].argmax(-1)]
    return said


@pytest.mark.parametrize("format", RUNTIMES)
@pytest.mark.parametrize("family", ROWS)
def test_files_of_other_runtimes(family, format, family_version, savedmodel, tmp_path):
    if format == "onnx":
        pytest.importorskip("tf2onnx")
    row, model = ROWS[family], small_families.model_of(family)
    labels = read_labels(family_version(family))
    settings = {
        "several labels": {"target_kind": "labels", "thresholds": THRESHOLDS},
        "number of an image": {"target_kind": "number"},
    }.get(family, {})
    names = () if serving.is_generative(model) else labels
    made, left = serving.convert_signatures(model, tmp_path, format, names, **settings)
    assert set(made) == set(row.made), left
    assert set(left) == set(row.left)
    assert all(words in left[name] for name, words in row.left.items()), left
    for runtime, (read, tolerance) in RUNTIMES[format].items():
        for name, path in made.items():
            if runtime in row.unread:
                with pytest.raises(RuntimeError, match=row.unread[runtime]):
                    read(path)
                continue
            ask = read(path)
            signature = "score" if family == "text" else name
            asked = [(x, y) for n, x, y in savedmodel(family) if n == signature]
            assert asked
            for inputs, expected in asked:
                said = answers_of(ask, family, model, labels, inputs)
                assert_same(said, expected, tolerance, (runtime, family, name))
