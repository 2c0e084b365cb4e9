"""The end of a recipe: a version is published, and the report says where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kapps import evaluation
from kapps.serving.publishing.from_run import publish

if TYPE_CHECKING:
    import keras

    from kapps.training import History, Run


def publish_and_close(
    model: keras.Model,
    run: Run,
    data: Any,
    history: History,
    found: evaluation.Explanation,
    *,
    what: str,
    title: str,
    caveats: Sequence[str] = (),
    kind: str | None = None,
    **report: Any,
) -> dict[str, Any]:
    """`publish`, then `evaluation.close`: how the `main` of most recipes ends.

    Args:
        model: what was trained, for inference.
        run: the run.
        data: what it was trained on.
        history: of the training.
        found: what was found about the model.
        what: a noun phrase for the card: "A dense VAE with 16 latents".
        title: of the report: what was trained on what.
        caveats: further sentences for the card.
        kind: of what is published, where its family has several.
        **report: further arguments of `evaluation.close`: `predict`, `commands`, and figures for
            metrics.json.

    Returns:
        What metrics.json holds.

    Raises:
        UserError: the model cannot be served. Nothing is published.
        RuntimeError: the reloaded SavedModel disagrees with the model. Nothing is published.
    """
    settings = {} if kind is None else {"kind": kind}
    published = publish(model, run, data, found, what=what, caveats=caveats, **settings)
    return evaluation.close(run, data, history, found, published, title=title, **report)
