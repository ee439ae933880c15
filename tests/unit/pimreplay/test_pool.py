"""Worker processes: answers, deaths, replacements."""

import os
import time

import pytest

from pimreplay.study.workers import Died, InlineCrew, LocalCrew


@pytest.fixture
def crew():
    """Return a crew of two whose job is the exit code that they die with."""
    crew = LocalCrew(2, os._exit)
    yield crew
    crew.close()


def answers_of(crew, count):
    found = []
    for _ in range(100):
        found += crew.answers(timeout_s=1.0)
        if len(found) >= count:
            return dict(found)
    raise AssertionError("no answer")


def test_a_worker_answers_what_its_work_returns():
    crew = LocalCrew(2, len)
    try:
        crew.send(0, "abc")
        crew.send(1, "ab")
        assert answers_of(crew, 2) == {0: 3, 1: 2}
        crew.send(0, "")
        assert answers_of(crew, 1) == {0: 0}
    finally:
        crew.close()


def test_a_death_is_an_answer_and_the_next_job_gets_another_worker(crew):
    for code in (3, 4):
        crew.send(1, code)
        assert answers_of(crew, 1) == {1: Died(f"a worker process ended with exit code {code}")}


def test_a_killed_worker_is_told_from_one_that_ended():
    crew = LocalCrew(1, time.sleep)
    try:
        crew.send(0, 60)
        crew._crew[0][0].kill()
        died = answers_of(crew, 1)[0]
        assert "SIGKILL" in died.reason
        assert "out of memory" in died.reason
    finally:
        crew.close()


def test_closing_ends_workers_in_the_middle_of_their_work():
    crew = LocalCrew(1, time.sleep)
    crew.send(0, 60)
    process = crew._crew[0][0]
    start_s = time.monotonic()
    crew.close()
    assert not process.is_alive()
    assert time.monotonic() - start_s < 10


def test_without_processes_the_work_is_done_here():
    crew = InlineCrew(len)
    crew.send(0, "abcd")
    assert crew.answers(timeout_s=0) == [(0, 4)]
