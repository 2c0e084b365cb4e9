"""oneDNN where TensorFlow leaves it off, and nowhere against the user's word."""

import os
import subprocess
import sys

import pytest

from kapps import onednn

AVX2 = "processor\t: 0\nflags\t\t: fpu sse4_1 avx avx2 bmi2\n"


@pytest.fixture(name="fresh", autouse=True)
def _fresh(monkeypatch):
    """An environment that says nothing about oneDNN, and no TensorFlow yet."""
    monkeypatch.setenv(onednn.VARIABLE, "")  # so that it is put back
    monkeypatch.delenv(onednn.VARIABLE)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (AVX2, True),
        (AVX2.replace("avx2", "avx2x"), False),
        ("flags: sse4_1 avx\n", False),
        ("", False),
    ],
)
def test_where_there_is_avx2(tmp_path, cpuinfo, expected):
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert onednn.turn_on(tmp_path / "cpuinfo") is expected
    assert os.environ.get(onednn.VARIABLE) == ("1" if expected else None)


def test_not_where_the_processor_is_not_described(tmp_path):
    assert not onednn.turn_on(tmp_path / "absent")
    assert onednn.VARIABLE not in os.environ


def test_the_environment_has_the_last_word(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(AVX2)
    monkeypatch.setenv(onednn.VARIABLE, "0")
    assert not onednn.turn_on(tmp_path / "cpuinfo")
    assert os.environ[onednn.VARIABLE] == "0"


def test_not_after_tensorflow(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(AVX2)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert not onednn.turn_on(tmp_path / "cpuinfo")
    assert onednn.VARIABLE not in os.environ


@pytest.mark.skipif(not onednn._has(onednn.NEEDED, onednn.CPUINFO), reason="no AVX2 here")
def test_tensorflow_takes_it_from_an_import_of_kapps():
    code = "import kapps.onednn, tensorflow; assert kapps.onednn.is_on()"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
