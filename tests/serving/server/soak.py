"""Clients that ask the counter again and again, and note whatever is not as it has to be."""

import http.client
import itertools
import json
import threading
import time
from urllib.parse import urlsplit

COUNTER = "/v1/models/counter"


class Client(threading.Thread):
    """One of them.

    Attributes:
        over: set it, and the client ends.
        failed: answers that are none.
        mixed: answers that are another request's, of several versions, or of one that was over.
        numbers: of the versions that answered, in their order.
        times: seconds of the requests.
    """

    def __init__(self, url, seed=0):
        super().__init__()
        self.over = threading.Event()
        self.failed, self.mixed, self.numbers, self.times = [], [], [], []
        self._address, self._seed = urlsplit(url).netloc, seed

    def run(self):
        connection = http.client.HTTPConnection(self._address, timeout=120)
        for turn in itertools.count():
            if self.over.is_set():
                break
            # Below 2**24: whole numbers beyond are not all there in float32.
            own = [float(1000 * (turn % 16_000) + 10 * self._seed + row) for row in range(3)]
            began = time.perf_counter()
            try:
                connection.request("POST", f"{COUNTER}:predict", json.dumps({"instances": own}))
                answer = connection.getresponse()
                status, text = answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()
                continue
            self.times.append(time.perf_counter() - began)
            if status == 200:
                self._check(own, json.loads(text)["predictions"])
            else:
                self.failed.append((status, text))
        connection.close()

    def _check(self, own, rows):
        numbers = {row["number"] for row in rows}
        before = self.numbers[-1] if self.numbers else 0.0
        if [row["x"] for row in rows] != own or len(numbers) > 1 or min(numbers) < before:
            self.mixed.append((own, rows, before))
        if numbers != {before}:
            self.numbers.append(max(numbers))
