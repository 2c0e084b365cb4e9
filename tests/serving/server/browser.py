"""Headless Chromium by its debugging pipe: a page is opened, asked and photographed."""

import base64
import json
import os
import select
import shutil
import subprocess
import time

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


class Browser:
    """One window."""

    def __init__(self, profile):
        read_theirs, self._write = os.pipe()
        self._read, write_theirs = os.pipe()
        flags = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run"
        command = (
            f'exec "{CHROMIUM}" {flags} --remote-debugging-pipe --user-data-dir="{profile}" '
            f"--window-size=1100,1400 about:blank 3<&{read_theirs} 4>&{write_theirs}"
        )
        self._process = subprocess.Popen(
            ["bash", "-c", command],
            pass_fds=[read_theirs, write_theirs],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_theirs)
        os.close(write_theirs)
        self._last, self._buffer, self.errors = 0, b"", []
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + 90
        while True:
            while b"\0" not in self._buffer:
                left = until - time.monotonic()
                if left <= 0 or not select.select([self._read], [], [], left)[0]:
                    raise AssertionError(f"the browser does not answer {method}")
                more = os.read(self._read, 2**20)
                if not more:
                    raise AssertionError("the browser has ended")
                self._buffer += more
            text, _, self._buffer = self._buffer.partition(b"\0")
            said = json.loads(text)
            if said.get("method") == "Runtime.exceptionThrown":
                self.errors.append(said["params"]["exceptionDetails"])
            if said.get("id") == self._last:
                assert "error" not in said, said
                return said["result"]

    def open(self, url):
        self.call("Page.navigate", url=url)

    def run(self, script):
        """The value of an expression in the page; promises are waited for."""
        said = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def wait(self, script, seconds=60):
        """Until an expression is true."""
        until = time.monotonic() + seconds
        while not (said := self.run(f"!!({script})")):
            status = self.run("document.getElementById('status')?.textContent")
            assert time.monotonic() < until, (script, status)
            time.sleep(0.1)
        return said

    def choose_file(self, selector, file):
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def screenshot(self, file):
        said = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(said["data"]))

    def close(self):
        self._process.terminate()
        self._process.wait(20)
        os.close(self._read)
        os.close(self._write)
