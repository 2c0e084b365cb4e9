"""The REST requests on model cards are answered as they stand there."""

import json

import pytest

from kapps.serving.server.work import execution, worker

FAMILIES = (  # whose requests hold no file and no picture that is left out
    "table", "regression", "series", "numbers of series", "text", "text classifier", "points",
    "GAN",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_request_on_the_card_is_answered(family, family_version):
    version = family_version(family)
    card = (version / "model_card.md").read_text(encoding="utf-8")
    first, body = card.split("```\nPOST ")[1].split("```")[0].split("\n", 1)
    assert first == "/v1/models/served:predict"
    loaded = worker.Loaded(version, "tensorflow")
    head = {"protocol": "v1", "verb": "predict", "model": "served", "version": 1}
    asked = [(head, body.encode())]
    [(_, [(said, answer)])] = execution.run(asked, loaded.read, loaded.functions, 64)
    assert "code" not in said, answer
    [predictions] = json.loads(answer).values()
    assert predictions
