import zlib

import numpy as np
import pytest

from kapps.errors import UserError
from kapps.tuning.workers.journal import Journal, read

ENTRIES = [{"event": "begin", "x": 1.5}, {"event": "created", "trial": "0000"}, {"clock": 2}]


def written(path):
    journal = Journal(path)
    for entry in ENTRIES:
        journal.append(entry)
    journal.close()
    return path.read_bytes()


def test_what_was_appended_is_read_in_order_and_more_can_follow(tmp_path):
    path = tmp_path / "j"
    content = written(path)
    assert read(path) == (ENTRIES, len(content))
    again = Journal(path)
    assert again.entries == ENTRIES
    again.append({"value": np.float32(0.5)}, flush=False)
    again.close()
    assert read(path)[0] == [*ENTRIES, {"value": 0.5}]


def test_the_checksum_is_that_of_zlib(tmp_path):
    line = written(tmp_path / "j").split(b"\n")[0]
    assert line == b"%08x " % zlib.crc32(line[9:]) + b'{"event":"begin","x":1.5}'


def test_cut_off_anywhere_the_whole_lines_remain(tmp_path):
    path = tmp_path / "j"
    content = written(path)
    ends = [i + 1 for i, byte in enumerate(content) if byte == 10]
    for length in range(len(content)):
        path.write_bytes(content[:length])
        whole = sum(end <= length for end in ends)
        journal = Journal(path)
        assert journal.entries == ENTRIES[:whole]
        journal.append({"after": length})
        journal.close()
        assert read(path)[0] == [*ENTRIES[:whole], {"after": length}]


def test_damage_before_the_end_is_refused_with_its_line(tmp_path):
    path = tmp_path / "j"
    content = written(path)
    for place in (3, 12):  # in the checksum, in the text
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(UserError, match="line 1 is damaged, and 2 follow"):
            read(path)


def test_no_file_is_an_empty_journal(tmp_path):
    assert read(tmp_path / "none") == ([], 0)
