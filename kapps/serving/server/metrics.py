"""Counters in Prometheus' text format."""

from __future__ import annotations

import bisect
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BATCHES = (1, 2, 4, 8, 16, 32, 64)
_INPUTS = (
    ("kapps_input_examples_total", "counter", "Examples served, by feature."),
    ("kapps_input_far_total", "counter", "Of those, over four training deviations from the mean."),
    ("kapps_input_sum", "gauge", "Sum of a feature's values; divide by the examples for the mean."),
    ("kapps_input_training_mean", "gauge", "Mean of a feature over the training examples."),
    ("kapps_input_training_std", "gauge", "Standard deviation of a feature over them."),
)
_SCORES = (
    ("kapps_scored_examples_total", "counter", "Examples with an out-of-distribution score."),
    ("kapps_out_of_distribution_total", "counter", "Of those, above the threshold: 5 % expected."),
    ("kapps_out_of_distribution_score_sum", "gauge", "Sum of the scores."),
    ("kapps_out_of_distribution_threshold", "gauge", "95th percentile of validation examples."),
)
_Labels = tuple[tuple[str, str], ...]


class _Histogram:
    def __init__(self, bounds: tuple[float, ...]):
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)  # between two bounds; the last is above all
        self._sum, self._count = 0.0, 0

    def observe(self, value: float) -> None:
        self._sum += value
        self._count += 1
        self._counts[bisect.bisect_left(self._bounds, value)] += 1

    def lines(self, name: str, labels: _Labels) -> Iterable[str]:
        up_to = itertools.accumulate(self._counts[:-1])
        for bound, count in zip(self._bounds, up_to, strict=True):
            yield _line(f"{name}_bucket", (*labels, ("le", f"{bound:g}")), count)
        yield _line(f"{name}_bucket", (*labels, ("le", "+Inf")), self._count)
        yield _line(f"{name}_sum", labels, self._sum)
        yield _line(f"{name}_count", labels, self._count)


class Metrics:
    """What has happened since the server was started."""

    def __init__(self) -> None:
        self._requests: Counter[_Labels] = Counter()
        self._restarts: Counter[_Labels] = Counter()
        self._inputs: dict[_Labels, tuple[float, ...]] = {}
        self._scores: dict[_Labels, tuple[float, ...]] = {}
        self._seconds: dict[_Labels, _Histogram] = defaultdict(lambda: _Histogram(_SECONDS))
        self._batches: dict[_Labels, _Histogram] = defaultdict(lambda: _Histogram(_BATCHES))

    def request(self, model: str, method: str, code: str, seconds: float) -> None:
        """A request was answered, well or not."""
        self._requests[(("model", model), ("method", method), ("code", code))] += 1
        self._seconds[(("model", model), ("method", method))].observe(seconds)

    def batch(self, model: str, size: int) -> None:
        """So many requests went to a worker together."""
        self._batches[(("model", model),)].observe(size)

    def restarted(self, model: str, version: int) -> None:
        """A worker had to be replaced."""
        self._restarts[(("model", model), ("version", str(version)))] += 1

    def inputs(
        self, model: str, version: int, trained: Mapping[str, Any], seen: Mapping[str, Any]
    ) -> None:
        """Inputs were served, of a version that knows what they were like in training.

        Args:
            model: its name.
            version: its number.
            trained: by input, `mean` and `std` of each feature.
            seen: by input, examples, those far off, and the sum of values, of each feature.
        """
        for name, columns in seen.items():
            means, stds = trained[name]["mean"], trained[name]["std"]
            for feature, numbers in enumerate(zip(*columns, means, stds, strict=True)):
                key = (
                    ("model", model), ("version", str(version)),
                    ("input", name), ("feature", str(feature)),
                )  # fmt: skip
                *counts, mean, std = numbers
                before = self._inputs.get(key, (0.0,) * len(numbers))
                self._inputs[key] = (*map(sum, zip(before, counts, strict=False)), mean, std)

    def scores(self, model: str, version: int, threshold: float, counts: Sequence[float]) -> None:
        """Answers had out-of-distribution scores.

        Args:
            model: its name.
            version: its number.
            threshold: of the scores.
            counts: examples, those above the threshold, and the sum of scores.
        """
        key = (("model", model), ("version", str(version)))
        before = self._scores.get(key, (0.0,) * len(counts))
        self._scores[key] = (*map(sum, zip(before, counts, strict=False)), threshold)

    def text(self, states: Iterable[tuple[str, int, str, int]]) -> str:
        """All of it.

        Args:
            states: of each version its model, number, state and how many requests wait.
        """
        states = list(states)
        lines = [
            "# HELP kapps_requests_total Requests that were answered, by gRPC's code.",
            "# TYPE kapps_requests_total counter",
            *(_line("kapps_requests_total", key, n) for key, n in self._requests.items()),
            "# HELP kapps_request_seconds Time from a request to its answer.",
            "# TYPE kapps_request_seconds histogram",
        ]
        for key, histogram in self._seconds.items():
            lines += histogram.lines("kapps_request_seconds", key)
        lines += [
            "# HELP kapps_batch_requests Requests that a worker was given together.",
            "# TYPE kapps_batch_requests histogram",
        ]
        for key, histogram in self._batches.items():
            lines += histogram.lines("kapps_batch_requests", key)
        lines += [
            "# HELP kapps_worker_restarts_total Workers that ended and were replaced.",
            "# TYPE kapps_worker_restarts_total counter",
            *(_line("kapps_worker_restarts_total", key, n) for key, n in self._restarts.items()),
            "# HELP kapps_version_available Whether a version is served.",
            "# TYPE kapps_version_available gauge",
        ]
        for columns, rows in ((_INPUTS, self._inputs), (_SCORES, self._scores)):
            for place, (name, kind, words) in enumerate(columns):
                lines += [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]
                lines += [_line(name, key, float(row[place])) for key, row in rows.items()]
        waiting = []
        for model, number, state, count in states:
            labels = (("model", model), ("version", str(number)))
            lines.append(_line("kapps_version_available", labels, int(state == "AVAILABLE")))
            waiting.append(_line("kapps_queued_requests", labels, count))
        lines += [
            "# HELP kapps_queued_requests Requests that wait.",
            "# TYPE kapps_queued_requests gauge",
            *waiting,
        ]
        return "\n".join(lines) + "\n"


def _line(name: str, labels: _Labels, value: float) -> str:
    inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    return f"{name}{{{inner}}} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
