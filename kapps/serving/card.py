"""`model_card.md`: what the recipe says of the model, and how the model is called."""

from collections.abc import Sequence


def model_card(
    name: str,
    image_shape: tuple[int, int, int],
    class_names: Sequence[str],
    temperature: float,
    signatures: Sequence[str],
    card: str | None = None,
) -> str:
    """The card of an image classifier, in Markdown.

    Args:
        name: What the server calls the model.
        image_shape: (H, W, C).
        class_names: One per probability.
        temperature: What the logits are divided by.
        signatures: Those the SavedModel has.
        card: What comes first: trained on what, with which result.
    """
    height, width, channels = image_shape
    shape = f"[N, {height}, {width}, {channels}]"
    rows = [f"| `serving_default` | `image`: uint8 {shape}, 0..255 |"]
    if "from_bytes" in signatures:
        rows.append("| `from_bytes` | `image_bytes`: encoded PNG or JPEG strings [N], any size |")
    parts = [
        (card or f"# {name}").strip(),
        "## How to call it",
        "\n".join(
            [
                "| signature | takes |",
                "|---|---|",
                *rows,
                "",
                f"Each returns `probabilities` float32 [N, {len(class_names)}] and `label` string"
                " [N].",
                "Pixels are scaled inside the model. The logits are divided by the temperature"
                f" {temperature:g} before the softmax.",
            ]
        ),
        _python_example(signatures, shape),
        _rest_example(name, signatures),
        "Classes, in the order of the probabilities (`assets/labels.txt`): "
        + ", ".join(class_names)
        + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _python_example(signatures: Sequence[str], shape: str) -> str:
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
    return (
        "```python\n"
        "import tensorflow as tf  # nothing else is needed\n\n"
        'model = tf.saved_model.load("DIRECTORY OF THIS FILE")\n'
        f"{call}\n"
        'answer["label"], answer["probabilities"]\n'
        "```"
    )


def _rest_example(name: str, signatures: Sequence[str]) -> str:
    if "from_bytes" in signatures:
        body = '{"signature_name": "from_bytes", "instances": [{"image_bytes": {"b64": "..."}}]}'
    else:
        body = '{"instances": [{"image": [[[0, ...], ...], ...]}]}'
    return f"```\nPOST /v1/models/{name}:predict\n{body}\n```"
