"""`model_card.md`: what was trained on what, with which result, and how the model is called."""

from collections.abc import Mapping, Sequence
from typing import Any


def run_card(facts: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """What a run directory knows of its model, in Markdown: the `card` that `export` takes.

    Args:
        facts: What config.json holds: recipe, config, versions, git, data.
        metrics: What metrics.json holds: flat.
    """
    config, versions = facts.get("config", {}), facts.get("versions", {})
    subject = " on ".join(
        str(config[name]) for name in ("model", "backbone", "dataset") if name in config
    )
    parts = [f"# {facts['recipe']}" + (f": {subject}" if subject else "")]
    if metrics:
        parts.append("## Result\n\n" + _table("measure", "value", metrics))
    data = {k: v for k, v in facts.get("data", {}).items() if k != "class_names"}
    if data:
        parts.append("## Data\n\n" + _table("fact", "value", data))
    if config:
        parts.append("## Configuration\n\n" + _table("field", "value", config))
    made_with = dict(versions) | ({"git": facts["git"]} if facts.get("git") else {})
    if made_with:
        parts.append("## Made with\n\n" + _table("package", "version", made_with))
    return "\n\n".join(parts) + "\n"


def _table(left: str, right: str, rows: Mapping[str, Any]) -> str:
    lines = [f"| {left} | {right} |", "|---|---|"]
    for name, value in rows.items():
        if value is None:
            continue
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        lines.append(f"| {name} | {text.replace('|', chr(92) + '|')} |")
    return "\n".join(lines)


def model_card(
    name: str,
    image_shape: tuple[int, int, int],
    class_names: Sequence[str],
    temperature: float,
    signatures: Mapping[str, Mapping[str, Any]],
    card: str | None = None,
    webp: bool = False,
    threshold: float | None = None,
) -> str:
    """The card of an image classifier, in Markdown.

    Args:
        name: What the server calls the model.
        image_shape: (H, W, C).
        class_names: One per probability.
        temperature: What the logits are divided by.
        signatures: Those the SavedModel has: by name, the specs of what each takes, by name.
        card: What comes first: trained on what, with which result.
        webp: Whether WebP is decoded.
        threshold: Of the out-of-distribution score, where there is one.
    """
    height, width, channels = image_shape
    shape = f"[N, {height}, {width}, {channels}]"
    rows = [f"| `serving_default` | `image`: uint8 {shape}, 0..255 |"]
    if "from_bytes" in signatures:
        files = (
            "PNG, JPEG or WebP files (TensorFlow 2.20 or newer)" if webp else "PNG or JPEG files"
        )
        rows.append(f"| `from_bytes` | `image_bytes`: encoded {files} [N], of any size |")
    if "explain" in signatures:
        rows.append("| `explain` | `image_bytes`: the same |")
    parts = [
        beginning(name, card),
        "## How to call it",
        "\n".join(
            [
                "| signature | takes |",
                "|---|---|",
                *rows,
                "",
                f"{'The first two return' if 'explain' in signatures else 'Each returns'} "
                f"`probabilities` float32 [N, {len(class_names)}] and `label` string [N].",
                *_explain_lines(signatures, image_shape),
                "Pixels are scaled inside the model. The logits are divided by the temperature"
                f" {temperature:g} before the softmax.",
                *_score_lines(threshold),
            ]
        ),
        _python_example(signatures, shape),
        _rest_example(name, signatures),
        calls_block(signatures),
        "Classes, in the order of the probabilities (`assets/labels.txt`): "
        + ", ".join(class_names)
        + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _explain_lines(signatures: Mapping[str, Any], image_shape: tuple[int, ...]) -> list[str]:
    if "explain" not in signatures:
        return []
    height, width, channels = image_shape
    return [
        f"`explain` returns `heat_map` float32 [N, {height}, {width}] of 0..1: Grad-CAM"
        " (arXiv:1610.02391), which part of the image speaks for the `label`; and `image` uint8"
        f" [N, {height}, {width}, {channels}], what the network sees of the file.",
    ]


def _score_lines(threshold: float | None) -> list[str]:
    if threshold is None:
        return []
    return [
        "",
        "`out_of_distribution_score` float32 [N] is the Mahalanobis distance of the network's last"
        " features to the nearest class (arXiv:1807.03888): the higher, the less an image is like"
        f" those of training. 95 % of the validation images have at most {threshold:.4g}.",
    ]


def beginning(name: str, card: str | None) -> str:
    """What comes before the chapter on calling a model: `card`, under a title if it has none."""
    return card.strip() if card and card.startswith("#") else f"# {name}\n\n{card or ''}".strip()


def python_block(call: str) -> str:
    """A program in Markdown that loads the SavedModel as `model` and then does `call`."""
    return (
        "```python\n"
        "import tensorflow as tf  # nothing else is needed\n\n"
        'model = tf.saved_model.load("DIRECTORY OF THIS FILE")\n'
        f"{call}\n"
        "```"
    )


def calls_block(signatures: Mapping[str, Mapping[str, Any]]) -> str:
    """A call of each signature that runs as it stands, in Markdown.

    Args:
        signatures: By name, the specs of what each takes, by name. Without a rank: numbers [] or
            [1], or columns of a table [N] or [N, 1].
    """
    lines = []
    for name, specs in signatures.items():
        given = ", ".join(f"{key}={_example(key, spec)}" for key, spec in specs.items())
        lines.append(f'model.signatures["{name}"]({given})')
    return "A call of each signature:\n\n" + python_block("\n".join(lines))


_EXAMPLES = {"count": "4", "seed": "1", "length": "20", "temperature": "0.8", "top_k": "0"}


def _example(name: str, spec: Any) -> str:
    if name in _EXAMPLES:
        return f"tf.constant({_EXAMPLES[name]})"
    if name == "label":
        return "tf.constant(0)" if spec.shape.rank is None else "tf.constant([0])"
    if name == "image_bytes":
        return 'tf.io.read_file("image.png")[None]'
    if spec.dtype.name == "string":
        return 'tf.constant(["The "])' if name in ("prompt", "text") else 'tf.constant([""])'
    if spec.shape.rank is None:
        return f"tf.constant([0], tf.{spec.dtype.name})"
    shape = [1, *(20 if length is None else length for length in spec.shape[1:])]
    return f"tf.zeros({shape}, tf.{spec.dtype.name})"


def rest_block(name: str, body: str) -> str:
    """A request to TensorFlow Serving in Markdown."""
    return f"```\nPOST /v1/models/{name}:predict\n{body}\n```"


def _python_example(signatures: Mapping[str, Any], shape: str) -> str:
    if "from_bytes" in signatures:
        call = (
            'contents = tf.io.read_file("image.png")\n'
            'answer = model.signatures["from_bytes"](image_bytes=contents[None])'
        )
    else:
        call = (
            f"images = ...  # uint8 {shape}\n"
            'answer = model.signatures["serving_default"](image=tf.constant(images))'
        )
    return python_block(f'{call}\nanswer["label"], answer["probabilities"]')


def _rest_example(name: str, signatures: Mapping[str, Any]) -> str:
    if "from_bytes" in signatures:
        body = '{"signature_name": "from_bytes", "instances": [{"image_bytes": {"b64": "..."}}]}'
    else:
        body = '{"instances": [{"image": [[[0, ...], ...], ...]}]}'
    return rest_block(name, body)
