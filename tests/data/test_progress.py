import pytest

from kapps.data import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that each item moves on by a second."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def items(count):
        for item in range(count):
            now[0] += 1
            yield item

    return items


def test_short_work_is_silent(clock, capsys):
    assert list(progress.track(clock(2), "Reading", 2)) == [0, 1]
    assert capsys.readouterr() == ("", "")


def test_piped_output_has_plain_lines(clock, capsys):
    assert list(progress.track(clock(25), "Reading", 1200, weight=lambda _: 48)) == list(range(25))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"Reading: {done} of 1,200" for done in ("96", "576", "1,056", "1,200")
    ]


def test_a_terminal_has_a_bar(clock, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert len(list(progress.track(clock(5), "Reading", 5))) == 5
    assert "5/5" in capsys.readouterr().err
