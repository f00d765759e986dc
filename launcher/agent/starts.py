"""An agent's runs on their way: what its runners were asked to start, until they say how that went. A start takes its
time (a program is loaded, an image is pulled), in which the agent looks after its other runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue

from launcher.agent.runs import Prepared
from launcher.errors import RunnerError
from launcher.runners import Handle


class Starts:
    """Starts whose answers are awaited, by the tokens of their leases; `wake` is called when one has come."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._awaited: dict[str, Prepared] = {}
        self._answers: SimpleQueue[tuple[str, Handle | RunnerError]] = SimpleQueue()

    def __len__(self) -> int:
        return len(self._awaited)

    def submit(self, prepared: Sequence[Prepared]) -> None:
        """Ask the runners of these to start them."""
        self._awaited |= {each.lease.token: each for each in prepared}
        for runner in dict.fromkeys(each.runner for each in prepared):
            runner.submit([each.request for each in prepared if each.runner is runner], self._answer)

    def answered(self) -> Iterator[tuple[Prepared, Handle | RunnerError]]:
        """What was answered since, each once: the handle of a run, or why there is none."""
        while True:
            try:
                token, answer = self._answers.get_nowait()
            except Empty:
                return
            yield self._awaited.pop(token), answer

    def awaited(self) -> list[Prepared]:
        """What was asked for and is not answered."""
        return list(self._awaited.values())

    def _answer(self, token: str, answer: Handle | RunnerError) -> None:
        self._answers.put((token, answer))
        self._wake()
