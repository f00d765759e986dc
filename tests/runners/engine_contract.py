"""What every runner of an engine must do beside the runners' contract: its runs go on without an agent, so whoever
comes later finds them."""

from __future__ import annotations

from launcher.outcome import Cancelled, Finished
from launcher.runners import Handle, Runner
from tests.conftest import until
from tests.runners.contract import Place, RunnerContract, outcome

WAIT = 'echo begun; until [ -e "$LAUNCHER_RUN_DIR/go" ]; do sleep 0.05; done; echo over'


def begun(place: Place, runner: Runner, number: int = 1, **fields: object) -> tuple[str, Handle]:
    """A run that waits for a file `go`, and prints `begun` before."""
    token, handle = place.start(runner, "sh", "-c", WAIT, **fields)
    until(lambda: place.paths(number).log.is_file() and "begun" in place.log(number), "its start")
    return token, handle


def go(place: Place, number: int = 1) -> None:
    (place.paths(number).folder / "go").touch()


class EngineContract(RunnerContract):
    def test_a_run_whose_submission_nobody_heard_of_is_found_by_its_lease(self, place: Place) -> None:
        with place.runner() as runner:
            token, handle = begun(place, runner)
            with place.runner() as other:
                assert other.submitted(token, place.root) == handle
                assert other.submitted("none", place.root) is None
            go(place)
            assert outcome(runner, token, handle) == Finished(None)

    def test_a_run_that_has_ended_is_found_by_its_lease_too(self, place: Place) -> None:
        with place.runner() as runner:
            token, handle = place.start(runner, "true")
            assert outcome(runner, token, handle) == Finished(None)
        with place.runner() as other:
            assert other.submitted(token, place.root) == handle, "else it would be started again"

    def test_who_comes_to_collect_needs_one_look(self, place: Place) -> None:
        with place.runner() as runner:
            token, handle = place.start(runner, "true")
            assert outcome(runner, token, handle) == Finished(None)
        with place.runner() as other:
            assert other.poll({token: handle}) == {token: Finished(None)}

    def test_a_run_goes_on_when_its_runner_has_left(self, place: Place) -> None:
        with place.runner() as runner:
            token, handle = begun(place, runner)
        go(place)
        with place.runner() as other:
            assert outcome(other, token, handle) == Finished(None)
            assert place.log() == "begun\nover\n"

    def test_what_has_ended_is_cancelled_in_vain(self, place: Place) -> None:
        with place.runner() as runner:
            token, handle = place.start(runner, "true")
            ended = outcome(runner, token, handle)
            runner.cancel(token, handle)
            assert ended == Finished(None)
            assert isinstance(outcome(runner, token, handle), Finished | Cancelled)
