import subprocess
import sys

import numpy as np
import pytest

from kapps.data import check
from kapps.data.spec import PICTURES, Spec, parse
from kapps.errors import UserError


def test_kind_and_argument():
    assert parse("digits") == Spec("digits")
    assert parse("fashion_mnist") == Spec("fashion_mnist")
    assert parse("tfds:cats_vs_dogs:4.0.1") == Spec("tfds", "cats_vs_dogs:4.0.1")
    assert parse("tfds:imagenet_v2/matched-frequency") == Spec(
        "tfds", "imagenet_v2/matched-frequency"
    )
    assert parse("folder:C:/my pictures") == Spec("folder", "C:/my pictures")
    assert parse("npz:~/a.npz").path.is_absolute()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("mnistt", "unknown dataset 'mnistt'"),
        ("", "unknown dataset ''"),
        ("digit", "perhaps 'digits'"),
        ("fashion-mnist", "perhaps 'fashion_mnist'"),
        ("csv:x", "unknown dataset 'csv:x'"),
        ("digits:8", "'digits' takes nothing after it"),
        ("folder:", "lacks its PATH: write folder:PATH"),
        ("tfds", "lacks its NAME: write tfds:NAME"),
        ("tfds:no such", "'no such' is no name"),
        ("tfds:mnist:3", "write tfds:NAME, tfds:NAME/CONFIG or tfds:NAME:1.2.3"),
    ],
)
def test_what_is_wrong_with_a_spec(spec, said):
    with pytest.raises(UserError) as error:
        parse(spec)
    assert said in str(error.value)


def test_an_unknown_dataset_is_answered_with_the_known_ones():
    with pytest.raises(UserError) as error:
        parse("imagenet")
    for known in PICTURES:
        assert known in str(error.value)
    assert "folder:PATH" in str(error.value)


def test_a_recipe_names_what_it_reads(tmp_path):
    kinds, names = ("csv", "digits"), ("adding",)
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    assert parse("csv:a.csv", kinds) == Spec("csv", "a.csv")
    assert parse("adding", kinds, names) == Spec("adding")
    check(f"csv:{tmp_path}/a.csv", None, kinds)
    for spec, said in [
        ("folder:x", "unknown dataset 'folder:x'; known are adding, csv:PATH, digits"),
        ("addin", "perhaps 'adding'"),
        ("adding:3", "'adding' takes nothing after it"),
        (f"{tmp_path}/a.csv", f"perhaps 'csv:{tmp_path}/a.csv'"),
        (f"csv:{tmp_path}/b.csv", "csv:PATH wants a .csv file"),
        (f"csv:{tmp_path}", "is a folder; csv:PATH wants a file"),
    ]:
        with pytest.raises(UserError) as error:
            check(spec, None, kinds, names)
        assert said in str(error.value)


def test_paths_are_checked(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "hidden/.git").mkdir(parents=True)
    (tmp_path / "good/cat").mkdir(parents=True)
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "good.npz", x=1)
    check("digits", tmp_path / "not yet there")
    check(f"folder:{tmp_path}/good")
    check(f"npz:{tmp_path}/good.npz")
    for spec, said in [
        (f"folder:{tmp_path}/none", f"no folder '{tmp_path}/none'"),
        (f"folder:{tmp_path}/empty", f"'{tmp_path}/empty' has no sub-folders"),
        (f"folder:{tmp_path}/hidden", "has no sub-folders"),
        (f"folder:{tmp_path}/good.npz", f"perhaps 'npz:{tmp_path}/good.npz'"),
        (f"npz:{tmp_path}/none.npz", f"no file '{tmp_path}/none.npz'"),
        (f"npz:{tmp_path}/good", f"Perhaps 'folder:{tmp_path}/good'"),
        (f"npz:{tmp_path}/text.npz", f"'{tmp_path}/text.npz' is no .npz archive"),
        (f"{tmp_path}/good", f"perhaps 'folder:{tmp_path}/good'"),
    ]:
        with pytest.raises(UserError) as error:
            check(spec)
        assert said in str(error.value)
    with pytest.raises(UserError, match="is a file; give a directory"):
        check("digits", tmp_path / "good.npz")


def test_checking_imports_nothing_heavy():
    code = (
        "import sys; from kapps import data; data.check('digits'); "
        "print([m for m in ('tensorflow', 'keras', 'sklearn', 'numpy') if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
