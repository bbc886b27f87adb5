"""The timing loop on the device, with made-up clocks and models."""

from contextlib import nullcontext

from profiler_agent.ondevice.rounds import Plan, Sample, Subject, prepare, sample_burst, take_rounds

PLAN = Plan(warmup_runs=3, burst_warmup_runs=3, burst_ns=1000, burst_retries=2, round_count=5, rest_s=0.0)
NEVER_AGAIN = PLAN._replace(burst_retries=0)  # or a busy machine's own preemptions add bursts


class FakeModel:
    """Takes ``run_ns`` per run on a clock of its own."""

    def __init__(self, run_ns: int) -> None:
        self.run_ns = run_ns
        self.now_ns = 0
        self.calls: list[int] = []

    def run_many(self, count: int) -> None:
        self.calls.append(count)
        self.now_ns += self.run_ns * count

    def clock_ns(self) -> int:
        return self.now_ns


def test_a_burst_holds_as_many_runs_as_fit_its_length():
    model = FakeModel(run_ns=100)
    assert prepare(model.run_many, PLAN, model.clock_ns).runs_per_burst == 10


def test_a_model_longer_than_the_burst_runs_once():
    model = FakeModel(run_ns=10_000)
    assert prepare(model.run_many, PLAN, model.clock_ns).runs_per_burst == 1


def test_every_warmup_run_is_made_before_the_burst_is_fitted():
    model = FakeModel(run_ns=100)
    prepare(model.run_many, PLAN, model.clock_ns)
    assert model.calls[:4] == [1, 1, 1, 1]


def test_each_subject_gets_one_sample_per_round_and_the_rounds_differ_in_order():
    order: list[int] = []
    subjects = [Subject(lambda count, i=i: order.append(i), 1) for i in range(8)]
    samples = take_rounds(subjects, NEVER_AGAIN, 7, nullcontext)
    assert [len(taken) for taken in samples] == [5] * 8
    rounds = [tuple(order[start : start + 16]) for start in range(0, len(order), 16)]
    assert all(sorted(one) == sorted(list(range(8)) * 2) for one in rounds)  # one run to warm, one burst
    assert len(set(rounds)) > 1


def test_the_same_seed_gives_the_same_order():
    def order_of(seed: int) -> list[int]:
        order: list[int] = []
        subjects = [Subject(lambda _, i=i: order.append(i), 1) for i in range(6)]
        take_rounds(subjects, NEVER_AGAIN, seed, nullcontext)
        return order

    assert order_of(3) == order_of(3)


def test_a_preempted_burst_is_tried_again_and_the_undisturbed_one_kept():
    model = FakeModel(run_ns=10)
    counts = iter([0, 2, 2, 2])
    sample = sample_burst(
        Subject(model.run_many, 5), PLAN._replace(burst_retries=3), model.clock_ns, lambda: next(counts)
    )
    assert sample == Sample(burst_ns=50, involuntary_switches=0)


def test_a_burst_that_is_always_preempted_keeps_its_count():
    model = FakeModel(run_ns=10)
    counts = iter([0, 3, 3, 4, 4, 6])
    sample = sample_burst(Subject(model.run_many, 5), PLAN, model.clock_ns, lambda: next(counts))
    assert sample.involuntary_switches == 1


def test_an_unreadable_count_stays_unknown():
    model = FakeModel(run_ns=10)
    sample = sample_burst(Subject(model.run_many, 5), PLAN, model.clock_ns, lambda: None)
    assert sample == Sample(burst_ns=50, involuntary_switches=None)
    assert model.calls == [3, 5]


def test_a_model_is_run_before_its_burst_until_it_has_found_its_caches_again_but_no_more_often_than_in_it():
    for runs, before in [(1, 1), (2, 2), (3, 3), (40, 3)]:
        model = FakeModel(run_ns=10)
        sample_burst(Subject(model.run_many, runs), NEVER_AGAIN, model.clock_ns, lambda: 0)
        assert model.calls == [before, runs]


def test_a_plan_without_untimed_runs_times_the_first_of_a_burst():
    model = FakeModel(run_ns=10)
    plan = NEVER_AGAIN._replace(burst_warmup_runs=0)
    sample_burst(Subject(model.run_many, 4), plan, model.clock_ns, lambda: 0)
    assert model.calls == [4]
