import numpy as np
import pytest

from kapps.training.fitting import state as states
from kapps.training.fitting.state import State


def example(number):
    return State({"model/0:kernel": np.full(1000, number, "float32")}, {"epoch": number})


def numbers(directory):
    return sorted(int(p.stem.split("-")[1]) for p in directory.glob("state-*.npz"))


def test_the_newest_two_are_kept(tmp_path):
    for number in range(5):
        states.save(tmp_path, number, example(number))
    assert numbers(tmp_path) == [3, 4]
    state, damaged = states.load_newest(tmp_path)
    assert state.meta == {"epoch": 4} and damaged == []
    np.testing.assert_array_equal(state.arrays["model/0:kernel"], 4.0)


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "encrypted", "other"])
def test_a_damaged_one_is_noticed_and_the_one_before_used(tmp_path, damage):
    for number in range(2):
        path = states.save(tmp_path, number, example(number))
    content = bytearray(path.read_bytes())
    if damage == "flipped":  # a bit of the array's data
        content[len(content) // 2] ^= 1
    if damage == "encrypted":  # a bit of the zip directory that says so
        content[content.rindex(b"PK\x01\x02") + 8] ^= 1
    path.write_bytes(
        {
            "empty": b"",
            "truncated": content[:-1],
            "flipped": content,
            "encrypted": content,
            "other": b"hello",
        }[damage]
    )
    state, damaged = states.load_newest(tmp_path)
    assert state.meta == {"epoch": 0} and damaged == [path.name]


@pytest.mark.slow
def test_every_truncation_is_noticed(tmp_path):
    path = tmp_path / "x.npz"
    states.write(path, State({"a": np.arange(3)}, {}))
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert states.read(path) is None


def test_nothing_there(tmp_path):
    assert states.load_newest(tmp_path) == (None, [])
