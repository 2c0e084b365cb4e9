import dataclasses
import shlex

import pytest
import tyro

from kapps import training
from kapps.errors import UserError


@dataclasses.dataclass(frozen=True)
class Config(training.CommonConfig):
    widths: tuple[int, ...] = (4, 2)
    augment: bool = True
    image_size: int | None = None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        dict(widths=(1, 2, 3), augment=False, image_size=32),
        dict(dataset="folder:/a folder/with 'quotes'", learning_rate=0.1, export=False),
    ],
)
def test_the_command_gives_the_config_back(changes):
    config = Config(**changes)
    python, script, *flags = shlex.split(training.command(config, "recipe.py"))
    assert (python, script) == ("python", "recipe.py")
    assert tyro.cli(Config, args=flags) == config
    assert len(flags) >= len(changes) and (flags or not changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(epochs=0), "--epochs"),
        (dict(batch_size=0), "--batch-size"),
        (dict(learning_rate=0.0), "--learning-rate"),
        (dict(seed=-1), "--seed"),
        (dict(devices="gpu:0"), "cpu:N"),
        (dict(dataset="nothing"), "fashion_mnist"),
        (dict(run_dir=f"{__file__}/run"), "is a file"),
    ],
)
def test_mistakes_are_found_before_anything_is_imported(changes, words):
    with pytest.raises(UserError, match=words):
        training.check_common(Config(**changes))


def test_several_machines_are_refused_for_now(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(UserError, match="TF_CONFIG"):
        training.check_common(Config())
