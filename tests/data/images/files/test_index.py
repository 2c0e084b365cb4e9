"""What is kept of a folder: nothing is decoded twice, and what has changed is noticed."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import programs
from kapps import cli, data
from kapps.data import pixel_file
from kapps.data.images.files import decoded, index, starts
from kapps.data.images.files.listing import list_folder
from kapps.errors import UserError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The cache directory; every file counts as settled."""
    monkeypatch.setenv("KAPPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(index, "SETTLED", -(10**18))
    return tmp_path / "cache"


@pytest.fixture
def folder(make_folder, noise):
    """Ten pictures in each of two classes; the last ones are of 16 bits, of which 12 are used."""
    files = {f"{name}/{i}.png": noise(10 * k + i) for k, name in enumerate("ab") for i in range(9)}
    deep = np.random.RandomState(0).randint(0, 4096, (2, 8, 8)).astype(np.uint16)
    deep[:, 0, 0] = 4095
    files |= {f"{n}/deep.png": Image.fromarray(x) for n, x in zip("ab", deep, strict=True)}
    return make_folder(files)


@pytest.fixture
def decodings(monkeypatch):
    """Counts the files that are decoded."""
    count, note = [0], index.FolderIndex.note

    def counting(*arguments):
        count[0] += 1
        note(*arguments)

    monkeypatch.setattr(index.FolderIndex, "note", counting)
    return count


def everything(loaded):
    """Pictures by name, with their split and class."""
    return {
        name: (split, int(label), picture.tobytes())
        for split, held in loaded.splits.items()
        for name, label, picture in zip(
            held.origins, held.labels, held.take(range(len(held))), strict=True
        )
    }


@pytest.mark.slow
def test_every_place_gives_the_same(folder, cache, decodings):
    plain = data.load(f"folder:{folder}", decoded="none")
    assert decodings == [20] and not cache.exists()
    for place in ("memory", "disk", "auto"):
        kept = data.load(f"folder:{folder}", decoded=place)
        assert everything(kept) == everything(plain)
        assert kept.fingerprint == plain.fingerprint and kept.notes == plain.notes
        assert kept.reading == plain.reading == data.Reading(white=4095)
    assert decodings == [20 + 3 * 20]
    assert len(list(cache.rglob("*.pixels"))) == 1


@pytest.mark.slow
def test_a_second_start_decodes_nothing_and_opens_no_picture(folder, cache, decodings, monkeypatch):
    first = data.load(f"folder:{folder}", decoded="disk")
    decodings[0] = 0
    for name in ("read_start", "read_ahead"):
        monkeypatch.setattr(index, name, lambda path, _: pytest.fail(f"{path} was opened"))
    monkeypatch.setattr(index, "measure", lambda pictures: [pytest.fail(str(p)) for p in pictures])
    monkeypatch.setattr(index.FolderIndex, "read", lambda _, path: pytest.fail(f"{path} was read"))
    again = data.load(f"folder:{folder}", decoded="disk")
    assert decodings == [0] and everything(again) == everything(first)
    assert again.fingerprint == first.fingerprint and again.notes == first.notes
    monkeypatch.undo()


@pytest.mark.slow
def test_pictures_that_are_streamed_are_checked_once(folder, cache, decodings, monkeypatch):
    monkeypatch.setattr(decoded, "FEWEST", 10**9)
    first = data.load(f"folder:{folder}", memory_limit=0)
    assert decodings == [20]
    assert any("decoded again in every epoch" in note for note in first.notes)
    again = data.load(f"folder:{folder}", memory_limit=0)
    assert decodings == [20] and everything(again) == everything(first)


@pytest.mark.slow
def test_files_that_change_come_and_go_are_noticed(folder, cache, decodings, noise):
    before = everything(data.load(f"folder:{folder}", decoded="disk"))
    decodings[0] = 0
    changed, gone, new = folder / "a/0.png", folder / "b/1.png", folder / "b/new.png"
    status = changed.stat()
    Image.fromarray(noise(100)).save(changed)
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))  # as `cp -p` does
    gone.unlink()
    Image.fromarray(noise(101)).save(new)
    for place in ("disk", "memory", "none"):
        found = everything(data.load(f"folder:{folder}", decoded=place))
        assert set(found) == set(before) - {"b/1.png"} | {"b/new.png"}
        assert found["a/0.png"][2] == noise(100).tobytes() != before["a/0.png"][2]
        assert found["b/new.png"][2] == noise(101).tobytes()
        assert found["a/1.png"][2] == before["a/1.png"][2]


@pytest.mark.slow
def test_a_touched_file_is_read_and_not_decoded(folder, cache, decodings, monkeypatch):
    first = data.load(f"folder:{folder}", decoded="disk")
    os.utime(folder / "a/0.png", ns=(1, 1))
    again = data.load(f"folder:{folder}", decoded="disk")
    assert decodings == [20] and everything(again) == everything(first)
    monkeypatch.setattr(index, "SETTLED", 10**18)  # everything was written just now
    data.load(f"folder:{folder}", decoded="disk", image_size=9)  # so that the index is written
    decodings[0] = 0
    assert everything(data.load(f"folder:{folder}", decoded="disk")) == everything(first)
    assert decodings == [0]


@pytest.mark.slow
def test_broken_files_are_known_to_be_broken(folder, cache, decodings):
    (folder / "a/broken.png").write_bytes((folder / "a/0.png").read_bytes()[:-40])
    with pytest.raises(UserError, match="a/broken.png .broken or truncated PNG"):
        data.load(f"folder:{folder}", decoded="disk")
    assert decodings == [21]
    decodings[0] = 0
    for _ in range(2):
        loaded = data.load(f"folder:{folder}", decoded="disk", skip_broken=True)
        assert sum(loaded.counts.values()) == 20 and "a/broken.png" not in everything(loaded)
    assert decodings == [0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["index.npz", "*.pixels"])
def test_a_damaged_file_is_made_again(folder, cache, name):
    first = everything(data.load(f"folder:{folder}", decoded="disk"))
    (path,) = cache.rglob(name)
    content = path.read_bytes()
    for damaged in (content[:-5], b"", bytes(32) + content[32:-32] + bytes(32)):
        path.write_bytes(damaged)
        assert everything(data.load(f"folder:{folder}", decoded="disk")) == first


@pytest.mark.slow
def test_another_version_of_the_decoder_decodes_anew(folder, cache, decodings, monkeypatch):
    data.load(f"folder:{folder}", decoded="disk")
    monkeypatch.setattr(index, "_version", lambda: bytes(32))
    data.load(f"folder:{folder}", decoded="disk")
    assert decodings == [40]


@pytest.mark.slow
def test_auto_takes_the_disk_memory_or_neither(folder, cache, monkeypatch):
    def place(**settings):
        loaded = data.load(f"folder:{folder}", **settings)
        found = bool(list(cache.rglob("*.pixels"))), len(loaded.notes)
        data.clean()
        return found

    assert place() == (False, 1)  # few; the note is of the pictures of 16 bits
    monkeypatch.setattr(decoded, "FEWEST", 20)
    assert place() == (True, 1)
    size = 20 * 8 * 8 * 3
    monkeypatch.setattr(decoded, "LARGEST", size - 1)
    assert place() == (False, 1) and place(memory_limit=size - 1) == (False, 2)
    monkeypatch.setattr(decoded, "LARGEST", size)
    free = decoded.shutil._ntuple_diskusage(0, 0, 2 * size - 1)
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda _: free)
    assert place() == (False, 1)
    with pytest.raises(UserError, match="take 0.0 MiB, and 0.0 MiB of memory are allowed"):
        data.load(f"folder:{folder}", decoded="memory", memory_limit=size - 1)
    with pytest.raises(UserError, match="decoded 'here': it is one of auto, memory, disk, none"):
        data.load(f"folder:{folder}", decoded="here")


@pytest.mark.slow
def test_a_full_disk(folder, cache, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pixel_file.os, "posix_fallocate", full)
    with pytest.raises(UserError, match=r"take 0\.0 MiB, and .* has .* free: make room"):
        data.load(f"folder:{folder}", decoded="disk")
    assert not list(cache.rglob("*.pixels*")) and not list(cache.rglob("*.tmp"))
    monkeypatch.setattr(decoded, "FEWEST", 1)
    loaded = data.load(f"folder:{folder}")  # in memory instead
    assert any("free: make room" in note for note in loaded.notes)
    assert len(everything(loaded)) == 20


@pytest.mark.slow
def test_a_cache_directory_that_cannot_be_made(folder, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KAPPS_CACHE", str(tmp_path / "file"))
    assert len(everything(data.load(f"folder:{folder}"))) == 20
    with pytest.raises(UserError, match="cannot be written"):
        data.load(f"folder:{folder}", decoded="disk")


@pytest.mark.slow
def test_labels_that_choose_some_pictures(folder, cache, decodings, tmp_path):
    table = tmp_path / "labels.csv"
    names = [f"{name}/{i}.png" for name in "ab" for i in range(5)]
    table.write_text("file_name,label\n" + "".join(f"{name},{name[0]}\n" for name in names))
    whole = everything(data.load(f"folder:{folder}", decoded="disk"))
    some = everything(data.load(f"folder:{folder}", decoded="none", labels=table))
    assert {name: row[2] for name, row in some.items()} == {n: whole[n][2] for n in names}
    decodings[0] = 0
    data.load(f"folder:{folder}", decoded="disk", labels=table)
    data.load(f"folder:{folder}", decoded="disk", labels=table)
    assert decodings == [10]  # another choice is another file


PROGRAM = """
import sys, hashlib
from kapps import data
from kapps.data.images.files.index import FolderIndex
note, count = FolderIndex.note, [0]
def counting(*arguments):
    count[0] += 1
    note(*arguments)
FolderIndex.note = counting
loaded = data.load(sys.argv[1], decoded="disk")
pixels = b"".join(s.take(range(len(s))).tobytes() for s in loaded.splits.values())
print(count[0], hashlib.sha256(pixels).hexdigest())
"""


def start(folder):
    """Another process that loads the folder, and says what it has decoded."""
    command = [sys.executable, "-c", PROGRAM, f"folder:{folder}"]
    return programs.Program(command, stdout=subprocess.PIPE)


@pytest.mark.slow
def test_two_processes_at_once_decode_once(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("KAPPS_CACHE", str(tmp_path / "cache"))
    said = [process.read().split() for process in [start(folder), start(folder)]]
    assert sorted(int(count) for count, _ in said) == [0, 20]
    assert said[0][1] == said[1][1]


@pytest.mark.slow
def test_one_that_is_killed_leaves_what_the_next_one_can_use(make_folder, cache, decodings):
    rng = np.random.RandomState(0)
    large = [rng.randint(0, 256, (400, 400, 3)).astype(np.uint8) for _ in range(2)]
    folder = make_folder({f"{'ab'[i % 2]}/{i}.png": large[i % 2] + i // 2 for i in range(200)})
    process, deadline = start(folder), time.monotonic() + 120
    while not list(cache.rglob(".*.pixels.*.tmp")):  # it has begun to write
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert list(cache.rglob("*.tmp"))
    assert not list(cache.rglob("*.pixels"))
    for _ in range(2):
        data.load(f"folder:{folder}", decoded="disk")
        assert decodings == [200]
    assert not list(cache.rglob("*.tmp"))


@pytest.mark.slow
def test_prepare_and_clean(folder, cache, decodings, capsys):
    cli.main(["data", "prepare", f"folder:{folder}", "--image-size", "6", "--channels", "3"])
    said = capsys.readouterr().out
    assert "is decoded to 6x6x3, and kept in" in said and decodings == [20]
    settings = {"image_size": 6, "channels": 3, "resize": "auto", "decoded": "disk"}
    data.load(f"folder:{folder}", **settings)
    assert decodings == [20]
    cli.main(["data", "clean", f"folder:{folder}"])
    said = capsys.readouterr().out
    assert said.startswith("deleted ") and os.path.realpath(folder) in said
    assert not list(cache.rglob("*.pixels")) and not list(cache.rglob("index.npz"))
    cli.main(["data", "clean"])
    assert "nothing is kept of any images" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["data", "clean", "digits"])


@pytest.mark.slow
def test_near_duplicates_are_looked_for_once(folder, cache, monkeypatch):
    from kapps.data.images import near_duplicates

    for i in range(4):
        (folder / f"b/copy{i}.png").write_bytes((folder / f"b/{i}.png").read_bytes())
    loaded = data.load(f"folder:{folder}", decoded="disk")
    found = data.twins_in_train(loaded)
    assert found == data.near_duplicates(loaded.splits["test"], loaded.splits["train"])
    monkeypatch.setattr(near_duplicates, "near_duplicates", lambda *_: pytest.fail("again"))
    assert data.twins_in_train(data.load(f"folder:{folder}", decoded="memory")) == found
    (kept,) = cache.rglob("twins-*.json")
    assert len(json.loads(kept.read_text())) == len(found)
    monkeypatch.undo()
    fewer = data.without_class(loaded, "a")  # whose fingerprint is the same
    assert data.twins_in_train(fewer) == data.near_duplicates(
        fewer.splits["test"], fewer.splits["train"]
    )


@pytest.mark.parametrize("room", [2**30, 0])
def test_new_files_are_read_ahead_of_the_first_look(folder, monkeypatch, room):
    seen = []

    def ahead(path, count):
        seen.append(path)
        counts.add(count)
        starts.read_ahead(path, count)

    def look(path, count):
        assert path in seen
        return starts.read_start(path, count)

    counts: set[int] = set()
    monkeypatch.setattr(index, "_ROOM", room)  # what is decoded much later would be read twice
    monkeypatch.setattr(index, "read_ahead", ahead)
    monkeypatch.setattr(index, "read_start", look)
    known = index.FolderIndex(folder)
    found = list_folder(folder, None, known.start, expect=known.expect)
    assert sorted(seen) == sorted(picture.path for picture in found.pictures)
    assert len(seen) == 20 and counts == {index._OF_FILE if room else index._LOOKED_AT}


def test_what_cannot_be_read_ahead_is_said_when_it_is_read(tmp_path):
    starts.read_ahead(tmp_path / "nowhere.png", 1)
    with pytest.raises(FileNotFoundError):
        starts.read_start(tmp_path / "nowhere.png")
