"""The breaker: one try at a time, waits that grow, stragglers that say nothing, and a wait that is asked for."""

from llm_endpoint.breaker import Breaker


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def make(failures: int = 2) -> tuple[Breaker, Clock]:
    clock = Clock()
    return Breaker(failures, 10.0, clock, 30.0), clock


def test_it_opens_after_failures_in_a_row_and_a_success_begins_anew() -> None:
    breaker, _ = make()
    assert not breaker.failed()
    breaker.succeeded()
    assert not breaker.failed()
    assert breaker.failed()
    assert (breaker.state(), breaker.wait_seconds()) == ("open", 10.0)


def test_one_caller_tries_when_the_wait_is_over() -> None:
    breaker, clock = make()
    breaker.failed(at_once=True)
    assert not breaker.take_try()
    clock.now = 10.0
    assert breaker.state() == "half_open"
    assert [breaker.take_try(), breaker.take_try()] == [True, False]
    assert breaker.state() == "open"
    breaker.succeeded()
    assert breaker.state() == "closed"


def test_each_try_that_fails_doubles_the_wait_up_to_the_longest() -> None:
    breaker, clock = make()
    breaker.failed(at_once=True)
    waits = []
    for _ in range(3):
        clock.now += breaker.wait_seconds()
        assert breaker.take_try()
        breaker.failed()
        waits.append(breaker.wait_seconds())
    assert waits == [20.0, 30.0, 30.0]


def test_calls_that_had_begun_before_do_not_lengthen_the_wait() -> None:
    breaker, clock = make()
    breaker.failed(at_once=True)
    clock.now = 5.0
    assert breaker.failed()
    assert breaker.wait_seconds() == 5.0


def test_a_try_without_an_outcome_can_be_made_again() -> None:
    breaker, clock = make()
    breaker.failed(at_once=True)
    clock.now = 10.0
    assert breaker.take_try()
    breaker.forget_try()
    assert breaker.take_try()


def test_the_service_may_ask_for_a_longer_wait_but_for_no_shorter_one() -> None:
    breaker, _ = make()
    breaker.failed(at_once=True, wait_seconds=90.0)
    assert breaker.wait_seconds() == 90.0
    breaker.succeeded()
    breaker.failed(at_once=True, wait_seconds=1.0)
    assert breaker.wait_seconds() == 10.0
