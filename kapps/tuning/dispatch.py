"""The loop of a search: trials go to free workers, results to the journal, until all is done."""

from __future__ import annotations

from typing import Any

from kapps.errors import UserError
from kapps.tuning.state import SearchState
from kapps.tuning.workers.trial import SearchError

ATTEMPTS = 3  # how often a trial is begun whose worker is killed
STARTS = 5  # workers in a row that end before they are ready


class Dispatcher:
    """Hands out trials and takes up what workers say.

    Args:
        state: of the search.
        crew: what runs trials; one of `workers.inline.InThisProcess`, `workers.pool.Processes`,
            `workers.chief.Machines`. It has `workers`, and the methods `fill` (start as many as
            there is work for), `listen` (wait for messages and pass them on), `released` (a worker
            has ended a trial) and `remove`.
    """

    def __init__(self, state: SearchState, crew: Any):
        self.state, self.crew = state, crew
        self._lost: dict[str, int] = {}  # how many workers ended with a trial
        self._false_starts = 0

    def run(self) -> None:
        """Until the budget is used up, the space is exhausted or the time is over.

        It ends whatever is killed: there is always a worker to listen to, or one is started, as
        long as a trial runs or can be created.
        """
        while not self.state.out_of_time:
            self._hand_out()
            busy = self._busy()
            if not busy and not self.state.has_next():
                return
            self.crew.fill(len(busy) + self.state.most_further())
            self.crew.listen(self._hear, self.state.seconds_left())
        self.state.pause(self._busy())

    def _busy(self) -> list[str]:
        return [one.trial for one in self.crew.workers if one.trial is not None]

    def _hand_out(self) -> None:
        for one in self.crew.workers:
            if one.ready and one.trial is None:
                job = self.state.next()
                if job is None:
                    return
                one.trial = job["id"]
                one.send({"do": "run", "trial": job})

    def _hear(self, one: Any, message: dict[str, Any] | None) -> None:
        """Take up a message of a worker; None if it is gone."""
        if message is None:
            self._replace(one)
        elif message["is"] == "ready":
            one.ready, self._false_starts = True, 0
        elif message["is"] == "broken":
            raise UserError(f"a worker cannot load the trial's code: {message['reason']}")
        elif one.trial is None:
            pass  # of a trial that is no longer its own
        elif message["is"] == "rows":
            go_on = self.state.heard(one.trial, message)
            one.send({"do": "go" if go_on else "stop"})
        elif message["is"] in ("ended", "failed", "fatal"):
            if message["is"] == "fatal":
                raise SearchError(f"the search cannot go on: {message['reason']}")
            trial, one.trial = one.trial, None
            self.state.end(trial, message)
            self.crew.released(one)

    def _replace(self, one: Any) -> None:
        """A worker is gone: its trial is begun again, unless it has ended or kills its workers."""
        why, trial = one.why_gone(), one.trial
        self.crew.remove(one)
        if not one.ready and not one.remote:
            self._false_starts += 1
            if self._false_starts >= STARTS:
                raise UserError(f"no worker process starts: {why}. Its output: {one.log}")
        if trial is None:
            return
        self._lost[trial] = self._lost.get(trial, 0) + 1
        answer = self.state.kept(trial)
        if answer is None and self._lost[trial] >= ATTEMPTS:
            answer = {"is": "failed", "reason": f"{why}, {ATTEMPTS} times"}
        if answer is None:
            self.state.requeue(trial)
        else:
            self.state.end(trial, answer)
