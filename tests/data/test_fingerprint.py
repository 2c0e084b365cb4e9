import os
import subprocess
import sys

import pytest

from kapps.data import quick_fingerprint


def test_it_moves_with_the_files(tmp_path):
    file = tmp_path / "a" / "t.csv"
    file.parent.mkdir()
    file.write_text("x\n1\n")
    seen = {quick_fingerprint(f"csv:{file}")}
    assert quick_fingerprint(f"csv:{file}") in seen
    file.write_text("x\n2\n")  # as many bytes
    os.utime(file, ns=(1, 1))
    seen.add(quick_fingerprint(f"csv:{file}"))
    file.write_text("x\n22\n")
    os.utime(file, ns=(1, 1))
    seen.add(quick_fingerprint(f"csv:{file}"))
    other = tmp_path / "test.csv"
    other.write_text("x\n")
    seen.add(quick_fingerprint(f"csv:{file}", other))
    file.unlink()
    seen.add(quick_fingerprint(f"csv:{file}"))
    assert len(seen) == 5


@pytest.mark.parametrize("change", ["add", "remove", "rename", "touch"])
def test_folders(tmp_path, change):
    for name in ("cat/1.png", "dog/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"1")
    os.symlink(tmp_path, tmp_path / "cat" / "up")
    before, file = quick_fingerprint(f"folder:{tmp_path}"), tmp_path / "cat/1.png"
    assert quick_fingerprint(f"folder:{tmp_path}") == before
    if change == "add":
        (tmp_path / "dog/2.png").write_bytes(b"2")
    elif change == "remove":
        file.unlink()
    elif change == "rename":
        file.rename(tmp_path / "dog/0.png")
    else:
        os.utime(file, ns=(1, 1))
    assert quick_fingerprint(f"folder:{tmp_path}") != before


def test_both_halves(tmp_path):
    for half in ("TRAIN", "TEST"):
        (tmp_path / f"A_{half}.ts").write_text("1")
    spec = f"ts:{tmp_path / 'A_TRAIN.ts'}"
    before = quick_fingerprint(spec)
    (tmp_path / "A_TEST.ts").write_text("22")
    assert quick_fingerprint(spec) != before
    assert quick_fingerprint("digits") == quick_fingerprint("digits") != quick_fingerprint("iris")


def test_without_tensorflow():
    code = (
        "import sys\nfrom kapps.data import quick_fingerprint\nquick_fingerprint('digits')\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_parquet_file_that_changes(tmp_path):
    path = tmp_path / "t.parquet"
    path.write_bytes(b"one")
    before = quick_fingerprint(f"parquet:{path}")
    assert before == quick_fingerprint(f"csv:{path}")
    path.write_bytes(b"other")
    assert quick_fingerprint(f"parquet:{path}") != before
