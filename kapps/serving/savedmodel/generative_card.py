"""`model_card.md` of a model that is no image classifier: its signatures, and what names mean."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kapps.serving.savedmodel.card import beginning, calls_block, python_block, rest_block

_MEANINGS = {
    "image": "pixels 0..255",
    "pixels": "0..1",
    "image_bytes": "encoded PNG or JPEG files, of any size",
    "z": "latent vectors",
    "codes": "indices of codebook vectors",
    "mean": "of the posterior; the same as z",
    "log_var": "logarithm of the posterior's variance",
    "error": "anomaly score: mean squared error of the image's pixels in 0..1",
    "count": "how many images",
    "seed": "the same seed gives the same answer",
    "prompt": "UTF-8, the beginning of a text; all unknown characters count as the same one",
    "length": "how many characters to add",
    "temperature": "the logits are divided by it; 0 takes the most probable character",
    "top_k": "draw only from the k most probable characters; 0 draws from all",
    "text": "UTF-8",
    "continuation": "what was added to the prompt; `text` holds both",
    "characters": "how many there are in a text",
    "bits_per_character": "cost of a text under the model, preceded by a new line",
    "sequence": "series as they are, not standardized; shorter ones end in steps of NaN",
    "points": "coordinates as they are, not standardized",
    "probabilities": "of the classes, in the order of assets/labels.txt",
    "prediction": "the predicted number",
    "labels": "those whose probabilities are above their thresholds, separated by |",
    "value": "the predicted number, in its units",
}
_EXAMPLES = {  # the first of these signatures that there is: a call, and the body of a request
    "sample": (
        'answer = model.signatures["sample"](count=tf.constant(16), seed=tf.constant(1){label})\n'
        'answer["image"]  # uint8 [16, H, W, C]',
        '{{"signature_name": "sample", "inputs": {{"count": 16, "seed": 1{label}}}}}',
        (", label=tf.constant(-1)", ', "label": -1'),
    ),
    "from_bytes": (
        'contents = tf.io.read_file("image.png")\n'
        'answer = model.signatures["from_bytes"](image_bytes=contents[None]{label})\n'
        'answer["{answer}"]',
        '{{"signature_name": "from_bytes", '
        '"instances": [{{"image_bytes": {{"b64": "..."}}{label}}}]}}',
        (", label=tf.constant([0])", ', "label": 0'),
    ),
}


_ALONE = ("sequence", "points", "text")  # inputs that are alone: an instance is their value


def generative_card(
    name: str,
    kind: str,
    signatures: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]],
    class_names: Sequence[str] = (),
    card: str | None = None,
) -> str:
    """The card of a model that is no classifier of images, in Markdown.

    Args:
        name: What the server calls the model.
        kind: What it is, in words.
        signatures: By name, the tensors (or their specs) that each takes and returns, by name.
        class_names: Of a conditional model.
        card: What comes first: trained on what, with which result.
    """
    rows = [
        f"| `{signature}` | {_tensors(takes)} | {_tensors(returns)} |"
        for signature, (takes, returns) in signatures.items()
    ]
    used = {key for pair in signatures.values() for tensors in pair for key in tensors}
    label_given = any("label" in takes for takes, _ in signatures.values())
    meanings = [f"- `{key}`: {words}" for key, words in _MEANINGS.items() if key in used]
    if "label" in used:
        meanings.append(f"- `label`: {'number' if label_given else 'name'} of a class")
    parts = [
        beginning(name, card),
        "## How to call it",
        f"{_article(kind)} {kind}. It is deterministic"
        + (": randomness comes only from the seed in a request." if "seed" in used else "."),
        "\n".join(["| signature | takes | returns |", "|---|---|---|", *rows]),
        "\n".join(meanings),
    ]
    if "prompt" in signatures["serving_default"][0]:
        call = (
            'answer = model.signatures["generate"](\n'
            '    prompt=tf.constant(["The "]), length=tf.constant(200),\n'
            "    temperature=tf.constant(0.8), top_k=tf.constant(0), seed=tf.constant(1),\n"
            ")\n"
            'print(answer["text"][0].numpy().decode())'
        )
        body = (
            '{"signature_name": "generate", "inputs": {"prompt": ["The "], "length": 200, '
            '"temperature": 0.8, "top_k": 0, "seed": 1}}'
        )
        parts += [python_block(call), rest_block(name, body)]
    parts += [
        rest_block(name, json.dumps({"instances": [_example(key, tensor)]}))
        for key, tensor in signatures["serving_default"][0].items() if key in _ALONE
    ]  # fmt: skip
    for signature, (call, body, label) in _EXAMPLES.items():
        if signature in signatures:
            labels = label if "label" in signatures[signature][0] else ("", "")
            returns = signatures[signature][1]
            answer = next(n for n in ("pixels", "labels", "value", *returns) if n in returns)
            parts.append(python_block(call.format(label=labels[0], answer=answer)))
            parts.append(rest_block(name, body.format(label=labels[1])))
            break
    parts.append(calls_block({key: takes for key, (takes, _) in signatures.items()}))
    if label_given:
        named = f" (`assets/labels.txt`): {', '.join(class_names)}." if class_names else "."
        parts.append(
            "Labels count the classes from 0" + named + " For `sample`, -1 draws a class for each "
            "picture."
        )
    return "\n\n".join(parts) + "\n"


def _example(name: str, tensor: Any) -> Any:
    """An instance in JSON: of a series two steps."""
    if name == "text":
        return "a text"
    value: Any = 0.0
    for length in reversed(tensor.shape[1:]):
        value = [value] * (length or 2)
    return value


def _tensors(tensors: Mapping[str, Any]) -> str:
    return ", ".join(
        f"`{name}` {tensor.dtype.name} {_shape(tensor.shape)}" for name, tensor in tensors.items()
    )


def _shape(shape: Any) -> str:
    if shape.rank is None:
        return "[] or [1]"
    # The first axis counts examples; one more that is open counts the steps of series.
    lengths = [("T" if axis else "N") if n is None else str(n) for axis, n in enumerate(shape)]
    return f"[{', '.join(lengths)}]"


def _article(noun: str) -> str:
    return "An" if noun[:1] in "aeiou" else "A"
