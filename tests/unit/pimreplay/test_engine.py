"""Jobs, retries and the order of failures, with workers made of a script."""

from dataclasses import replace

import pytest

from pimreplay.replay.kv_head import HeadFailure
from pimreplay.study.cache import MemoryParts
from pimreplay.study.dispatch import work
from pimreplay.study.jobs import make_jobs, units_of
from pimreplay.study.parts import Part
from pimreplay.study.plan import refuse_double
from pimreplay.study.runs import RunRequest, plan_run
from pimreplay.study.workers import Died
from tracegen.base.errors import UserError


class ScriptedCrew:
    """Workers that answer at once, by a function of the job."""

    def __init__(self, workers, answer):
        self.workers = workers
        self.answer = answer
        self.sent = []
        self._waiting = []

    def send(self, worker, job):
        self.sent.append(job)
        self._waiting.append((worker, job))

    def answers(self, timeout_s):
        worker, job = self._waiting.pop()
        return [(worker, self.answer(job))]

    def close(self):
        pass


def done(job):
    return [Part((point, job.layer, job.kv_head), b"") for point in job.points]


@pytest.fixture
def study(tiny_trace):
    """Return four points, two budgets of two policies, and their settings."""
    policies = ("dense", "topk")
    small, settings = plan_run(RunRequest(tiny_trace.where, policies, "8"))
    large, _ = plan_run(RunRequest(tiny_trace.where, policies, "16"))
    return [*small, *large], settings


def test_a_job_is_one_policy_on_one_head_with_all_its_budgets(study):
    points, settings = study
    jobs = make_jobs(points, settings, lambda unit: False)
    assert len(jobs) == 2 * 2 * 2  # policies x layers x KV heads
    assert {job.points for job in jobs} == {(0, 2), (1, 3)}


def test_all_devices_share_one_selection(study, tmp_path):
    points, settings = study
    other = replace(points[1], hardware=replace(points[1].hardware, name="other"))
    jobs = make_jobs([points[1], other], settings, lambda unit: False)
    assert len(jobs) == 4
    for job in jobs:
        ((_, targets),) = job.budgets
        assert [target.hardware.name for target in targets] == ["attacc_hbm3_bank", "other"]


def test_parts_that_are_there_are_not_asked_for(study):
    points, settings = study
    jobs = make_jobs(points, settings, lambda unit: unit[0] != 3)
    assert {job.points for job in jobs} == {(3,)}


def test_every_part_is_kept(study):
    points, settings = study
    parts = MemoryParts()
    jobs = make_jobs(points, settings, parts.has)
    assert work(jobs, ScriptedCrew(2, done), parts, lambda count: None) == {}
    assert all(
        parts.has(unit)
        for number, one in enumerate(points)
        for unit in units_of(number, one, settings)
    )


def test_a_worker_goes_on_with_the_head_it_has_read(study):
    points, settings = study
    crew = ScriptedCrew(1, done)
    work(make_jobs(points, settings, lambda unit: False), crew, MemoryParts(), lambda count: None)
    heads = [(job.layer, job.kv_head) for job in crew.sent]
    assert heads == sorted(heads)


def test_dense_layers_are_done_last_because_they_are_short(study):
    points, settings = study
    jobs = make_jobs(points, replace(settings, dense_layers=1), lambda unit: False)
    layers = [job.layer for job in jobs]
    assert layers == sorted(layers, reverse=True)
    assert set(layers) == {0, 1}


def test_after_a_death_each_budget_is_tried_once_more_by_itself(study):
    points, settings = study
    jobs = make_jobs(points, settings, lambda unit: False)
    guilty = 3  # topk at 16

    def answer(job):
        return Died("gone") if guilty in job.points else done(job)

    crew = ScriptedCrew(2, answer)
    parts = MemoryParts()
    failures = work(jobs, crew, parts, lambda count: None)
    assert list(failures) == [guilty]
    assert failures[guilty].sentence == "layer 0, kv_head 0: gone; tried twice"
    innocent = units_of(1, points[1], settings)
    assert all(parts.has(unit) for unit in innocent)
    tries = [
        job for job in crew.sent if guilty in job.points and (job.layer, job.kv_head) == (0, 0)
    ]
    assert [job.tries for job in tries] == [0, 1]


def test_a_death_that_does_not_happen_again_costs_nothing(study):
    points, settings = study
    deaths = []

    def answer(job):
        if not deaths:
            deaths.append(job)
            return Died("gone")
        return done(job)

    parts = MemoryParts()
    jobs = make_jobs(points, settings, lambda unit: False)
    assert work(jobs, ScriptedCrew(2, answer), parts, lambda count: None) == {}
    assert parts.has((deaths[0].points[0], deaths[0].layer, deaths[0].kv_head))


def test_the_failure_told_is_the_first_by_layer_not_by_time(study):
    points, settings = study

    def answer(job):
        return [HeadFailure(one, job.layer, job.kv_head, "no") for one in job.points]

    jobs = make_jobs(points, settings, lambda unit: False)
    failures = work(reversed(jobs), ScriptedCrew(2, answer), MemoryParts(), lambda count: None)
    assert {one.sentence for one in failures.values()} == {"layer 0, kv_head 0: no"}


def test_two_points_of_one_name_are_refused(study):
    points, _ = study
    with pytest.raises(UserError, match="two points have one name"):
        refuse_double([points[0], points[0]])


def test_work_that_stops_at_a_failure_leaves_the_rest_undone(study):
    points, settings = study

    def answer(job):
        return [HeadFailure(one, job.layer, job.kv_head, "no") for one in job.points]

    crew = ScriptedCrew(1, answer)
    jobs = make_jobs(points, settings, lambda unit: False)
    assert work(jobs, crew, MemoryParts(), lambda count: None, stop_at_failure=True)
    assert len(crew.sent) == 2  # the second was sent before the first failure was looked at
