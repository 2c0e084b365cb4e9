"""What the server makes of what a worker says, and of one that says nothing."""

import asyncio
import socket
import subprocess
from pathlib import Path

import pytest

from kapps.serving.server.work import frames, workers
from kapps.serving.server.work.workers import CannotLoad, Died, Worker

ABOUT = {"signatures": {}}


def test_frames_are_put_together_whatever_comes_at_once():
    sent = [[({"a": 1}, b"\x00" * 10), ({"b": "é"}, b"")], [({}, b"x")]]
    stream = b"".join(map(frames.pack, sent))
    for size in (1, 3, 11, len(stream)):
        received, taken = bytearray(), []
        for start in range(0, len(stream), size):
            received += stream[start : start + size]
            while (parts := frames.take(received)) is not None:
                taken.append(parts)
        assert taken == sent and not received


class FakeNursery:
    """Hands out one end of a pair of sockets; the process is one that sleeps."""

    def __init__(self):
        self.ours, self.theirs = socket.socketpair()
        self.stream = self.ours.makefile("rb")
        self.process = subprocess.Popen(["sleep", "600"])

    async def fork(self):
        return self.theirs, self.process.pid

    def hang_up(self):
        self.stream.close()
        self.ours.close()


def play(steps, about=ABOUT, seconds=30):
    """Starts a worker that says `about`, and goes through the steps with it."""

    async def run():
        nursery = FakeNursery()
        try:
            nursery.ours.sendall(frames.pack([(about, b"")]))
            worker = await Worker.start(nursery, Path("x"), {"engine": "onnx"}, seconds)
            order = frames.receive(nursery.stream)
            assert order == [({"directory": "x", "engine": "onnx"}, b"")]
            await steps(worker, nursery)
        finally:
            nursery.process.kill()
            nursery.process.wait()
            nursery.hang_up()

    asyncio.run(run())


def ask(worker, seconds=30):
    said = []
    parts = [({"n": 1}, b"one"), ({"n": 2}, b"two")]
    return said, worker.ask(
        parts, lambda numbers: said.append(numbers), lambda *answer: said.append(answer), seconds
    )


def test_answers_come_in_any_order_and_in_pieces():
    async def steps(worker, nursery):
        assert worker.about == ABOUT
        said, asking = ask(worker)
        asking = asyncio.create_task(asking)
        await asyncio.sleep(0)
        assert await asyncio.to_thread(frames.receive, nursery.stream) == [
            ({"n": 1}, b"one"), ({"n": 2}, b"two")
        ]  # fmt: skip
        nursery.ours.sendall(frames.pack([({"started": [1]}, b"")]))
        whole = frames.pack([({"number": 1, "ok": 1}, b"second")])
        nursery.ours.sendall(whole[:7])
        await asyncio.sleep(0.05)
        nursery.ours.sendall(whole[7:] + frames.pack([({"number": 0}, b"first")]))
        await asking
        assert said == [[1], (1, {"ok": 1}, b"second"), (0, {}, b"first")]

    play(steps)


def test_one_that_says_nothing_and_one_that_ends():
    async def steps(worker, nursery):
        with pytest.raises(asyncio.TimeoutError):
            await ask(worker, 0.1)[1]
        nursery.hang_up()
        for _ in range(2):
            with pytest.raises(Died):
                await ask(worker)[1]

    play(steps)


def test_turns_of_the_warm_up_are_played_before_it_is_ready(monkeypatch):
    monkeypatch.setattr(workers, "_PLAYED_SECONDS", 30)
    asked = []

    async def run():
        nursery = FakeNursery()

        def answer():
            frames.receive(nursery.stream)  # the order
            nursery.ours.sendall(frames.pack([({**ABOUT, "played": 2}, b"")]))
            while parts := frames.receive(nursery.stream):
                asked.append(parts)
                nursery.ours.sendall(frames.pack([({"number": 0, "seen": {"x": 1}}, b"y")]))

        playing = asyncio.create_task(asyncio.to_thread(answer))
        try:
            worker = await Worker.start(nursery, Path("x"), {}, 30)
            worker.close()
            await playing
        finally:
            nursery.process.kill()
            nursery.process.wait()
            nursery.hang_up()

    asyncio.run(run())
    assert asked == [[({frames.TURN: turn}, b"")] for turn in range(workers._TURNS)]


def test_one_that_ends_in_its_warm_up():
    async def run():
        nursery = FakeNursery()

        def answer():
            frames.receive(nursery.stream)
            nursery.ours.sendall(frames.pack([({**ABOUT, "played": 1}, b"")]))
            frames.receive(nursery.stream)
            nursery.hang_up()

        ending = asyncio.create_task(asyncio.to_thread(answer))
        with pytest.raises(CannotLoad, match="warm-up"):
            await Worker.start(nursery, Path("x"), {}, 30)
        await ending
        assert nursery.process.wait(30) < 0  # killed

    asyncio.run(run())


def test_one_that_cannot_load():
    with pytest.raises(CannotLoad, match="no such file"):
        play(None, about={"error": "no such file"})
