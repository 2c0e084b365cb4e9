"""`kapps doctor`: each finding against an installation, a disk or an environment made for it."""

import json
import subprocess
import sys

import pytest

from kapps import cli
from kapps.cli import doctor
from kapps.data.sources import fashion


def test_it_answers_without_tensorflow_and_finds_all_that_kapps_declares():
    code = (
        "import sys; from kapps import cli; cli.main(['doctor', '--no-devices', '--json']);"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {"python", "tensorflow", "keras", "tyro", "disk"} <= {line["what"] for line in found}
    assert not [line for line in found if line["level"] == "missing"]


def test_a_package_that_is_missing_and_one_that_is_too_old():
    wanted = ["no-such-package-here>=2", "pytest>=9999", "pytest>=1", 'pytest>=9999; extra == "x"']
    missing, old, fine = doctor.about_packages(wanted)
    assert (missing.level, missing.told) == ("missing", "not installed")
    assert missing.remedy == "pip install 'no-such-package-here>=2'"
    assert (old.level, old.remedy) == ("missing", "pip install 'pytest>=9999'")
    assert old.told == f"{pytest.__version__}; kapps needs >=9999"
    assert (fine.level, fine.told, fine.remedy) == ("ok", pytest.__version__, "")


def test_the_lighter_tensorflow_is_one(monkeypatch):
    known = {"tensorflow-cpu": "2.21.0"}
    monkeypatch.setattr(doctor, "_version", known.get)
    (found,) = doctor.about_packages(["tensorflow>=2.21"])
    assert (found.level, found.told) == ("ok", "2.21.0")


def test_extras_are_told_but_that_for_developers():
    found = list(
        doctor.about_extras(
            [
                'pytest; extra == "serve"',
                'no-such-package-here; extra == "optuna"',
                'no-such-package-here; extra == "dev"',
                "pytest",
            ]
        )
    )
    assert [(each.what, each.level) for each in found] == [
        ("extra optuna", "note"),
        ("extra serve", "ok"),
    ]
    assert found[0].remedy == "pip install 'kapps[optuna]'"


@pytest.mark.parametrize(
    ("version", "level"), [((3, 9), "missing"), ((3, 10), "ok"), ((3, 13), "ok"), ((3, 99), "note")]
)
def test_pythons(version, level):
    assert next(doctor.about_python(version)).level == level


def test_disks(tmp_path, monkeypatch):
    (fine,) = doctor.about_disk([tmp_path])
    assert fine.level == "ok" and str(tmp_path) in fine.told
    (absent,) = doctor.about_disk([tmp_path / "absent"])
    assert absent.level == "note" and "cannot be written to" in absent.told
    usage = doctor.shutil.disk_usage(tmp_path)._replace(free=10**8)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)
    (full,) = doctor.about_disk([tmp_path])
    assert full.level == "note" and "0.1 GB free" in full.told and full.remedy


def test_variables_that_matter():
    found = list(doctor.about_environment({"KERAS_BACKEND": "torch", "HOME": "/nowhere"}))
    assert [each.remedy for each in found] == ["unset KERAS_BACKEND"]
    assert list(doctor.about_environment({"KERAS_BACKEND": "tensorflow"}))[0].remedy == ""


def test_a_tensorflow_that_cannot_be_imported_is_a_finding(monkeypatch):
    def broken():
        raise ImportError("libsomething.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor.command_line, "import_tensorflow", broken)
    (found,) = doctor.about_devices()
    assert found.level == "missing" and "libsomething.so.1" in found.told and found.remedy


def test_what_is_missing_makes_the_exit_code_1(monkeypatch, capsys):
    lack = doctor.Finding("missing", "tyro", "not installed", "pip install tyro")
    monkeypatch.setattr(doctor, "about_packages", lambda: [lack])
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor", "--no-devices"])
    assert ended.value.code == 1
    out = capsys.readouterr().out
    assert "! tyro" in out and "->  pip install tyro" in out
    assert out.splitlines()[-1] == "missing: tyro"


def test_the_place_of_debians_package_is_that_of_the_loader():
    assert doctor.DEBIAN == fashion.DEBIAN
