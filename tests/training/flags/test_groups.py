import dataclasses
import shlex
from typing import ClassVar

import pytest
import tyro

from kapps import training
from kapps.errors import UserError


@dataclasses.dataclass(frozen=True)
class Config(training.CommonFlags):
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
    python, script, *flags = shlex.split(training.command(config, "python recipe.py"))
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
        training.check(Config(**changes))


def test_several_machines_are_refused_for_now(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(UserError, match="TF_CONFIG"):
        training.check(Config(), several_machines=False)


@dataclasses.dataclass(frozen=True)
class Ranged(training.AugmentationFlags, training.OptimizationFlags, training.CommonFlags):
    share: training.OpenFraction | None = None
    units: tuple[training.PositiveInt, ...] = (3,)
    model: str = "a"

    EXCLUSIONS: ClassVar[training.Exclusions] = (
        *training.only_for("--model a, not {model}", lambda c: c.model == "a", ("units", "clip")),
        (lambda c: c.units == (7,), "--units 7 brings bad luck"),
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        (dict(share=0.5, units=(1, 2)), None),
        (dict(share=1.0), "--share 1.0: it must be between 0 and 1, ends excluded"),
        (dict(share=float("nan")), "--share nan"),
        (dict(units=(4, 0)), "--units 4 0: it must be 1 or more"),
        (dict(clip=0.0), None),
        (dict(clip=float("inf")), "--clip inf: it must be 0 or more"),
        (dict(rotation=180.0), None),
        (dict(rotation=180.1), "--rotation 180.1: it must be between 0 and 180"),
        (dict(model="b"), None),
        (dict(model="b", units=(5,)), "--units is for --model a, not b"),
        (dict(model="b", clip=0.5), "--clip is for --model a, not b"),
        (dict(units=(5,), clip=0.5), None),
        (dict(units=(7,)), "--units 7"),
        (dict(warmup=0.1), None),
        (dict(warmup=0.1, schedule="step"), "--schedule step has no --warmup"),
        (dict(augment=False), None),
        (dict(augment=False, mixup=0.2), "--mixup is part of what --no-augment switches off"),
    ],
)
def test_ranges_of_types_and_exclusions_of_all_groups(changes, words):
    if words is None:
        training.check(Ranged(**changes))
        return
    with pytest.raises(UserError) as refused:
        training.check(Ranged(**changes))
    assert str(refused.value).startswith(words)


def test_the_name_of_a_run_says_the_data_and_the_model():
    assert Ranged(dataset="tfds:mnist").run_name == "tfds-a"
    assert training.CommonFlags().run_name == "digits"


def test_mirrored_letters_are_other_letters():
    flags = training.AugmentationFlags()
    assert not flags.augmentation(["a", "b"]).flip and not flags.augmentation(["10", "11"]).flip
    assert flags.augmentation(["cat", "dog"]).flip
    forced = training.AugmentationFlags(flip="yes", crop=0.3)
    assert forced.augmentation(["a"]).flip and forced.augmentation(["a"]).crop == 0.3
    off = training.AugmentationFlags(augment=False)
    assert not off.augmentation(["cat", "dog"]).flip and off.augmentation(["cat"]).crop == 0
