"""What needs no worker: keys, queues that are full, roots without models."""

import asyncio
import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("starlette")
uvicorn = pytest.importorskip("uvicorn")

from kapps.errors import UserError  # noqa: E402
from kapps.serving import check_root, find_models  # noqa: E402
from kapps.serving.server import connections, run  # noqa: E402
from kapps.serving.server.catalogue import Catalogue  # noqa: E402
from kapps.serving.server.http_app import Server  # noqa: E402
from kapps.serving.server.limits import Limits  # noqa: E402
from kapps.serving.server.metrics import Metrics  # noqa: E402
from kapps.serving.server.refusals import Refused  # noqa: E402
from kapps.serving.server.served import Version  # noqa: E402
from kapps.serving.server.work.workers import Nursery  # noqa: E402


def asked(app, path, method="GET", **headers):
    """Status and body."""
    sent = []
    scope = {
        "type": "http", "http_version": "1.1", "method": method, "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": b"", "root_path": "", "server": ("x", 1),
        "headers": [(key.encode(), value.encode()) for key, value in headers.items()],
    }  # fmt: skip

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def test_a_key_is_asked_for_but_not_of_probes(tmp_path):
    catalogue = Catalogue(tmp_path, Version)
    app = Server(catalogue, Limits(), Metrics(), key="s3cret").app()
    for path in ("/v1/models/m", "/v2", "/models", "/models/m/card", "/metrics", "/openapi.json"):
        for headers in ({}, {"authorization": "Bearer wrong"}, {"x-api-key": ""}):
            status, body = asked(app, path, **headers)
            assert status == 401 and "API key" in json.loads(body)["error"]
    assert asked(app, "/models", authorization="Bearer s3cret") == (200, b"{}")
    assert asked(app, "/models", **{"x-api-key": "s3cret"})[0] == 200
    assert asked(app, "/healthz")[0] == 200
    assert asked(app, "/readyz")[0] == 503  # nothing is served
    assert b"page.js" in asked(app, "/")[1]


def test_a_full_queue_and_a_time_that_is_over(tmp_path):
    limits = Limits(queue=1, seconds=0.2)

    async def run():
        version = Version("m", 1, tmp_path, Nursery(), limits, Metrics())
        first = asyncio.create_task(version.ask({}, b""))
        await asyncio.sleep(0)
        with pytest.raises(Refused) as refused:
            await version.ask({}, b"")
        assert (refused.value.code, refused.value.status) == ("RESOURCE_EXHAUSTED", 503)
        with pytest.raises(Refused) as refused:
            await first
        assert (refused.value.code, refused.value.status) == ("DEADLINE_EXCEEDED", 504)

    asyncio.run(run())


class SlowWorker:
    """Answers each request after a while, with what was asked."""

    process = 1

    async def ask(self, parts, on_start, on_answer, seconds):
        await asyncio.sleep(0.05)
        for number, (_, body) in enumerate(parts):
            on_answer(number, {}, body)

    def close(self):
        pass


def test_what_waits_is_answered_before_a_version_goes(tmp_path):
    async def run():
        version = Version("m", 1, tmp_path, Nursery(), Limits(together=1), Metrics())
        version.about = {"statistics": {}, "out_of_distribution": {}}
        version._tasks = [asyncio.create_task(version._serve(0, SlowWorker()))]
        asked = [asyncio.create_task(version.ask({}, body)) for body in (b"a", b"b", b"c")]
        await asyncio.sleep(0.01)
        await version.drain()
        assert version.state == "END"
        assert await asyncio.gather(*asked) == [({}, b"a"), ({}, b"b"), ({}, b"c")]

    asyncio.run(run())


def version(root, name, number):
    directory = root / name / str(number)
    directory.mkdir(parents=True)
    (directory / "saved_model.pb").write_bytes(b"x")
    return directory


def test_models_under_a_root(tmp_path):
    with pytest.raises(UserError, match="no model below it"):
        check_root(tmp_path)
    with pytest.raises(UserError, match="no such directory"):
        check_root(tmp_path / "nowhere")
    for name, number in (("a", 1), ("a", 12), ("b", 3), (".hidden", 1)):
        version(tmp_path, name, number)
    (tmp_path / "a" / "13").mkdir()  # not copied yet
    (tmp_path / "notes").mkdir()
    found = {name: list(versions) for name, (_, versions) in find_models(tmp_path).items()}
    assert found == {"a": [1, 12], "b": [3]}
    assert list(find_models(tmp_path / "a")) == ["a"]


def test_links_that_lead_out_are_not_followed(tmp_path):
    outside = version(tmp_path / "outside", "m", 1)
    root = tmp_path / "root"
    inside = version(root, "good", 1)
    (root / "whole").symlink_to(outside.parent)
    (root / "good" / "2").symlink_to(outside)
    (root / "good" / "3").symlink_to(inside)
    version(root, "file", 1).joinpath("secret").symlink_to(tmp_path / "outside")
    found = {name: list(versions) for name, (_, versions) in find_models(root).items()}
    assert found == {"good": [1, 3]}


def command(*argv):
    repository = Path(__file__).parents[3]
    return subprocess.run(
        [sys.executable, "-m", "kapps", *map(str, argv)],
        cwd=repository, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.slow
def test_versions_are_listed_taken_back_and_deleted(tmp_path):
    for number in (1, 2, 10):
        version(tmp_path, "m", number)
    listed = command("versions", "list", tmp_path).stdout.splitlines()
    assert [line.split()[:2] for line in listed] == [["m", "1"], ["m", "2"], ["m", "10"]]
    assert [line.endswith("served") for line in listed] == [False, False, True]
    assert command("versions", "rollback", tmp_path / "m").stdout == f"{tmp_path / 'm' / '2'}\n"
    assert (tmp_path / "m" / "withdrawn-10").is_dir()
    done = command("versions", "prune", tmp_path / "m", "--keep", 1)
    assert done.stdout == f"{tmp_path / 'm' / '1'}\n" and not (tmp_path / "m" / "1").exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["serve", "{root}"], "no model below it"),
        (["serve", "{root}/nowhere"], "no such directory"),
        (["serve", "{root}", "--port", "70000"], "0 to 65535 are ports"),
        (["serve", "{root}", "--queue", "0"], "at least 1 is needed"),
        (["serve", "{root}", "--timeout", "-1"], "more than 0 is needed"),
        (["versions", "list", "{root}"], "no published version"),
        (["bench", "{root}"], "no SavedModel here"),
        (["publish", "{root}"], "not a run directory"),
    ],
)
def test_mistakes_end_with_a_message(tmp_path, argv, words):
    done = command(*(word.format(root=tmp_path) for word in argv))
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr


CLASSES = tuple(dict.fromkeys((connections.H11, connections.HTTP)))  # two with httptools


@contextlib.asynccontextmanager
async def listening(http):
    """A server that answers 200 with nothing; its port."""

    async def app(scope, receive, send):
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
        )
        await send({"type": "http.response.body", "body": b""})

    bound = run._listen("127.0.0.1", 0)
    config = uvicorn.Config(app, http=http, lifespan="off", log_config=None, ws="none",
                            h11_max_incomplete_event_size=connections.HEAD_BYTES)  # fmt: skip
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield bound.getsockname()[1]
    finally:
        server.should_exit = True
        await serving


ASKED = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.slow
@pytest.mark.parametrize("http", CLASSES)
def test_connections_that_make_no_request_are_closed(monkeypatch, http):
    monkeypatch.setattr(connections, "HEADERS_SECONDS", 0.3)

    async def play():
        async with listening(http) as port:
            slow, slow_writer = await asyncio.open_connection("127.0.0.1", port)
            slow_writer.write(b"GET / HT")
            second, second_writer = await asyncio.open_connection("127.0.0.1", port)
            second_writer.write(ASKED)
            assert b"200 OK" in await second.readuntil(b"\r\n\r\n")
            second_writer.write(b"GET / HT")  # nor may the next request stop in the middle
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(2):  # one that asks may wait between its requests
                writer.write(ASKED)
                assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(0.6)
            assert await asyncio.wait_for(slow.read(), 20) == b""
            assert await asyncio.wait_for(second.read(), 20) == b""
            for each in (writer, slow_writer, second_writer):
                each.close()

    asyncio.run(play())


@pytest.mark.slow
@pytest.mark.parametrize("http", CLASSES)
@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nX: " + b"a" * 2**24,
        b"GET / HTTP/1.1\r\n" + b"X: aaaa\r\n" * 2**20,
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: aaaa\r\n" * 2**20,
    ],
    ids=["a long line", "many lines", "many lines after the body"],
)
def test_heads_that_do_not_end_are_cut_off(http, sent):
    async def play():
        async with listening(http) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.suppress(ConnectionError):
                writer.write(sent)
                await asyncio.wait_for(writer.drain(), 60)
                await asyncio.wait_for(reader.read(), 60)  # it is closed, whatever was answered
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(ASKED + ASKED.replace(b"x", b"x" * 60_000))
            for _ in range(2):
                assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
            writer.close()

    asyncio.run(play())


def test_an_answer_is_one_write():
    class Transport:
        def __init__(self):
            self.written, self.closed = [], False

        def write(self, data):
            assert not self.closed
            self.written.append(data)

        def close(self):
            self.closed = True

    async def run():
        sent = Transport()
        gathering = connections._AtOnce(sent, asyncio.get_running_loop())
        gathering.write(b"head ")
        gathering.write(b"body")
        assert sent.written == []
        gathering.flush()
        assert sent.written == [b"head body"]
        gathering.write(b"part of a stream")
        await asyncio.sleep(0)  # nobody has to say that this was all
        assert sent.written[1:] == [b"part of a stream"]
        gathering.write(b"last words")
        gathering.close()
        assert sent.written[2:] == [b"last words"] and sent.closed

    asyncio.run(run())


def test_counts_of_a_histogram_are_of_all_below_a_bound():
    metrics = Metrics()
    for requests in (1, 2, 2, 3, 65):
        metrics.batch("m", requests)
    said = dict(
        line.rsplit(" ", 1) for line in metrics.text([]).splitlines() if "kapps_batch" in line
    )
    bounds = {"1": 1, "2": 3, "4": 4, "8": 4, "16": 4, "32": 4, "64": 4, "+Inf": 5}
    for bound, count in bounds.items():
        line = f'kapps_batch_requests_bucket{{model="m",le="{bound}"}}'
        assert said[line] == str(count)


def test_methods_that_models_do_not_have(tmp_path):
    app = Server(Catalogue(tmp_path, Version), Limits(), Metrics()).app()
    assert asked(app, "/v1/models/m")[0] == 404
    assert asked(app, "/v2/models/m", method="DELETE") == (405, b"Method Not Allowed")
