"""How long a device that slowed down is left alone, and what is told of the time that took."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from profiler_agent.agent_run import JobResult
from profiler_agent.batch_timing import BatchTimer, ModelBatch, Progress
from profiler_agent.bundle import DeviceFile
from profiler_agent.device import TimingPlan
from profiler_agent.errors import AgentFailed
from profiler_agent.runner import BatchSamples
from profiler_agent.stability import judge_timing
from profiler_agent.timing import SessionSamples

PLAN = TimingPlan(session_count=2, max_sessions=5)


class FakeRunner:
    """Gives each job's models the latencies that ``latency_of(model, job)`` and ``canary_of(job)`` say."""

    def __init__(self, latency_of, canary_of):
        self.latency_of, self.canary_of, self.jobs = latency_of, canary_of, 0

    def launcher(self, folder):
        return ""

    def job_content(self, batch):
        return repr(batch).encode()

    def expected_job_s(self, plan, model_count):
        return 1.0 + model_count

    def job_limit_s(self, batch):
        return 60

    def read(self, output, batch):
        self.jobs += 1
        canary_ms = (self.canary_of(self.jobs),) * 3
        sessions = tuple(
            SessionSamples(
                samples_ms=(self.latency_of(path.rpartition("/")[2], self.jobs),) * 3,
                runs_per_burst=1,
                involuntary_switches=(0, 0, 0),
                canary_ms=canary_ms,
            )
            for path in batch.model_paths[:-1]
        )
        return BatchSamples(sessions=sessions, ran_on="fake", runner_s=2.0, start_up_s=0.5)


class FakeQueue:
    """Every job succeeds at once."""

    conditions = "f00d"
    store = SimpleNamespace(forget=lambda used: None)

    def results(self, jobs, launcher, before_run, take):
        before_run(jobs)
        for job in jobs:
            take(JobResult(id=job.id, return_code=0, hit_limit=False, output=b"", stderr=""))


@pytest.fixture
def time_two(local_device, tmp_path):
    """Time the models ``calm`` and ``wild``; gives back the timer and the pauses it made."""

    def run(latency_of, canary_of, facts=lambda: {}, device=local_device):
        pauses_s = []
        folder = SimpleNamespace(path="/d", put=lambda files, place: 0, remove_place=lambda place: None)
        timer = BatchTimer(
            device=device,
            folder=folder,
            runner=FakeRunner(latency_of, canary_of),
            queue=FakeQueue(),
            models_place="models",
            read_state=facts,
            sleep=pauses_s.append,
        )
        files = {name: DeviceFile(sha256=name, path=tmp_path / name) for name in ("calm", "wild")}
        batch = ModelBatch(files=files, canary=DeviceFile(sha256="canary", path=tmp_path), plan=PLAN)
        timer.begin()
        list(timer.time(batch, Progress(4, None)))
        return timer, pauses_s

    return run


def only_wild_varies(model, job):
    return 1.0 + 0.5 * job if model == "wild" else 1.0


def test_a_model_that_settled_while_the_device_was_slow_pauses_no_later_round(time_two):
    timer, pauses_s = time_two(only_wild_varies, lambda job: 2.0 if job <= 2 else 1.0)
    assert timer.runner.jobs == 5
    assert pauses_s == []


def test_a_slow_job_pauses_the_next_round_only(time_two):
    timer, pauses_s = time_two(only_wild_varies, lambda job: 2.0 if job == 2 else 1.0)
    assert timer.runner.jobs == 5
    assert pauses_s == [0.5]


def test_pauses_grow_while_the_device_stays_slow_and_none_follows_the_last_session(time_two):
    timer, pauses_s = time_two(only_wild_varies, lambda job: 1.0 if job == 1 else 2.0)
    assert pauses_s == [0.5, 1.0, 2.0]
    assert timer.waited_s == 3.5


def test_a_steady_canary_costs_no_pause(time_two):
    timer, pauses_s = time_two(only_wild_varies, lambda job: 1.0)
    assert pauses_s == []
    assert (timer.runner_s, timer.start_up_s, timer.waited_s) == (10.0, 2.5, 0.0)


def test_waiting_for_a_hot_device_is_counted(time_two, local_device):
    device = replace(local_device, guard=replace(local_device.guard, max_start_temperature_c=45.0))
    readings_mc = iter([60_000, *[40_000] * 9])
    timer, pauses_s = time_two(
        only_wild_varies, lambda job: 1.0, facts=lambda: {"temperature_mc": next(readings_mc)}, device=device
    )
    assert pauses_s == [timer.waited_s]
    assert timer.waited_s > 0


def test_a_runtime_that_never_opens_is_given_up_before_its_models_are_suspected(local_device, tmp_path):
    class Opens(FakeRunner):
        def has_begun(self, output):
            return b"begin" in output

    class Ends(FakeQueue):
        def results(self, jobs, launcher, before_run, take):
            for job in jobs:
                ran.append(job.id)
                take(JobResult(id=job.id, return_code=1, hit_limit=False, output=b"hello", stderr="no such library"))

    ran = []
    timer = BatchTimer(
        device=local_device,
        folder=SimpleNamespace(path="/d"),
        runner=Opens(only_wild_varies, lambda job: 1.0),
        queue=Ends(),
        models_place="models",
        read_state=dict,
    )
    timer.runner.culprit = lambda output: None
    files = {f"m{index}": DeviceFile(sha256=f"m{index}", path=tmp_path) for index in range(96)}
    batch = ModelBatch(files=files, canary=DeviceFile(sha256="canary", path=tmp_path), plan=PLAN)
    timer.begin()
    with pytest.raises(AgentFailed, match=r"ends before it opens a model: .*no such library"):
        list(timer.time(batch, Progress(4, None)))
    assert len(ran) == 2


def test_company_runs_beside_few_models_and_is_not_yielded(local_device, tmp_path):
    asked = []

    class Asked(FakeRunner):
        def read(self, output, batch):
            asked.append(batch.model_ids)
            return super().read(output, batch)

    def file(name):
        return DeviceFile(sha256=name, path=tmp_path / name)

    pushed = []
    timer = BatchTimer(
        device=local_device,
        folder=SimpleNamespace(
            path="/d", put=lambda files, place: pushed.extend(files), remove_place=lambda place: None
        ),
        runner=Asked(lambda model, job: 1.0 + 0.05 * job, lambda job: 1.0 + 0.05 * job),
        queue=FakeQueue(),
        models_place="models",
        read_state=dict,
        sleep=lambda seconds: None,
    )
    company = {f"company{index}": file(f"company{index}") for index in range(5)}
    batch = ModelBatch(files={"net": file("net")}, canary=file("canary"), plan=PLAN, company=company)
    timer.begin()
    progress = []
    (timing,) = timer.time(batch, Progress(2, lambda done, total: progress.append(done)))
    assert progress[:2] == [1, 2]
    assert timing.model_id == "net"
    assert timer.failures == {}
    assert set(asked[0]) == {"net", "company0", "company1", "company2", "company3", "canary"}
    assert {"company0", "net"} <= {file.sha256 for file in pushed}
    assert judge_timing(timing, PLAN).verdict == "accepted"  # slower from job to job, as all are
