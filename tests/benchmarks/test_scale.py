"""Scale on paper is arithmetic that can be checked by hand."""

from __future__ import annotations

import pytest

from benchmarks.scale_fleet import PhoneJob, ProfileClock, RunnerCost, few_shot_share, mean_cost, process_count, run_ms
from benchmarks.scale_fleet_rows import Lowered, PhoneWork, phone_claims
from benchmarks.scale_model import cluster_claims, preset_schedule
from benchmarks.scale_search import (
    RELEASED,
    Cluster,
    Schedule,
    architecture_step_macs,
    gpu_memory_bytes,
    path_gradient_bytes,
    path_mean,
    ring_bytes,
    supernet_sum,
    weight_step_macs,
)
from latency_model.kernels import macs
from profiler_agent.device import TimingPlan
from search.spaces.imagenet import imagenet_space
from search.spaces.small import small_space

PLAN = TimingPlan(warmup_runs=5, burst_ms=2.5, round_count=10)


def schedule(**changes: float) -> Schedule:
    plain = {"image_count": 1000, "warmup_epochs": 4, "search_epochs": 10, "batch_size": 10, "training_epochs": 20}
    return Schedule(**{**plain, "weight_steps_per_architecture_step": 5, **changes})


def cluster(gpu_count: int) -> Cluster:
    return Cluster(gpu_count=gpu_count, images_per_s=1000.0, reference_macs=3e8, link_bytes_per_s=1e10)


def test_steps_are_counted_from_passes():
    one = schedule()
    assert (one.weight_step_count, one.architecture_step_count) == (1400, 200)
    assert schedule(epochs_without_architecture_steps=5).architecture_step_count == 100


def test_a_search_of_steps_as_costly_as_plain_ones_costs_its_passes():
    one = schedule()
    assert one.plain_passes(1.0, 1.0) == pytest.approx(14 + 2)
    assert one.plain_passes(1.0, 3.0) == pytest.approx(14 + 6)


def test_larger_batches_for_the_architecture_cost_as_many_more_images():
    assert schedule(architecture_batch_share=4.0).architecture_epochs == pytest.approx(
        4 * schedule().architecture_epochs
    )


def test_the_released_schedule_has_160_passes_of_weight_steps_and_one_fifth_of_119_for_the_architecture():
    assert RELEASED.weight_epochs == 160
    assert RELEASED.architecture_epochs == pytest.approx(119 / 5, rel=1e-4)


def test_our_preset_takes_as_many_images_for_the_architecture_as_for_the_weights_of_the_search():
    preset = preset_schedule()
    assert preset.architecture_epochs == pytest.approx(preset.search_epochs, rel=0.01)


def test_a_sampled_path_costs_between_the_smallest_and_the_largest_network():
    space = small_space((3, 32, 32), 10)
    totals = [sum(map(macs, space.network(choices).ops)) for choices in extremes(space)]
    assert totals[0] < path_mean(space, macs) < totals[1]


def extremes(space):
    costs = [[macs(candidate.op) for candidate in position.candidates] for position in space.positions]
    return [tuple(one.index(pick(one)) for one in costs) for pick in (min, max)]


def test_a_path_has_one_candidate_of_each_position_and_the_supernet_all():
    space = small_space((3, 32, 32), 10)
    fixed = len(space.fixed_layers)
    assert path_mean(space, lambda op: 1.0) == pytest.approx(fixed + len(space.positions))
    assert supernet_sum(space, lambda op: 1.0) == fixed + sum(space.candidate_counts)


def test_two_path_runs_one_other_candidate_and_full_all_others():
    space = imagenet_space()
    active = path_mean(space, macs)
    fixed = sum(macs(op) for _, op in space.fixed_layers)
    assert architecture_step_macs(space, "two-path") == pytest.approx(2 * active + (active - fixed))
    full = architecture_step_macs(space, "full")
    assert full == pytest.approx(2 * active + 6 * (active - fixed), rel=0.2)  # and the active one, again
    assert weight_step_macs(space) == pytest.approx(3 * active)
    with pytest.raises(ValueError, match="reinforce"):
        architecture_step_macs(space, "reinforce")


def test_one_gpu_sends_nothing_and_many_send_each_byte_twice():
    assert ring_bytes(100.0, 1) == 0
    assert ring_bytes(100.0, 8) == pytest.approx(175)
    assert ring_bytes(100.0, 10_000) == pytest.approx(200, rel=1e-3)


def test_gpus_share_the_computing_but_not_the_averaging():
    space = imagenet_space()
    one, eight = cluster(1), cluster(8)
    assert one.exchange_s(space) == 0
    assert eight.compute_s(space, 256) == pytest.approx(one.compute_s(space, 256) / 8)
    assert one.gpu_hours(space, RELEASED, "full") == eight.gpu_hours(space, RELEASED, "full")


def test_where_it_stops_scaling_both_take_as_long():
    space = imagenet_space()
    even = round(cluster(8).even_gpu_count(space, 256))
    at_even = cluster(even)
    assert at_even.exchange_s(space) == pytest.approx(at_even.compute_s(space, 256), rel=0.05)


def test_memory_grows_with_images_and_holds_the_supernet_once_with_its_momentum():
    space = imagenet_space()
    without_images = gpu_memory_bytes(space, 1e8, 0)
    assert without_images == pytest.approx(2 * 63.7e6 + path_gradient_bytes(space), rel=0.01)
    assert gpu_memory_bytes(space, 1e8, 32) - without_images == pytest.approx(3.2e9)


@pytest.mark.parametrize(("latency_ms", "run_count"), [(1.25, 7 + 10 * 4), (0.5, 7 + 10 * 8), (100.0, 7 + 10 * 2)])
def test_a_round_warms_its_burst_up_and_then_runs_it_once_at_least(latency_ms, run_count):
    assert run_ms(latency_ms, PLAN) == pytest.approx(run_count * latency_ms)


def test_what_was_fitted_on_a_profile_gives_its_clock_back():
    clock = ProfileClock(clock_s=30.0, start_up_s=3.0, latency_ms=[1.0, 20.0, 3.0], session_counts=[3, 3, 3], plan=PLAN)
    assert clock.cost().profile_s(clock.latency_ms, PLAN) == pytest.approx(30.0)


def test_profiles_before_and_after_count_alike():
    before = RunnerCost(model_session_s=0.1, sessions_per_model=3.0, process_s=0.2)
    after = RunnerCost(model_session_s=0.3, sessions_per_model=4.0, process_s=0.4)
    both = mean_cost(before, after)
    assert (both.model_session_s, both.sessions_per_model) == (pytest.approx(0.2), 3.5)
    assert both.process_s == pytest.approx(0.3)


def test_a_clock_shorter_than_the_runs_is_an_error():
    clock = ProfileClock(clock_s=1.0, start_up_s=0.5, latency_ms=[100.0], session_counts=[3], plan=PLAN)
    with pytest.raises(ValueError, match="but the clock says"):
        clock.cost()


def test_a_process_a_round_loads_and_warms_up_in_each():
    one = RunnerCost(model_session_s=0.0, sessions_per_model=1.0, start_ms=50.0)
    each = RunnerCost(model_session_s=0.0, sessions_per_model=1.0, start_ms=50.0, has_process_per_round=True)
    assert one.profile_s([100.0], PLAN) == pytest.approx(0.05 + 2.7)
    assert each.profile_s([100.0], PLAN) == pytest.approx(10 * (0.05 + 0.5) + 1.0)


def test_many_models_share_a_process():
    assert [process_count(count) for count in (1, 48, 49)] == [1, 1, 2]


def test_a_host_serves_as_many_phones_as_its_scarcest_part():
    job = PhoneJob(phone_s=100.0, host_s=10.0, pushed_bytes=1e6)
    assert job.per_host(2, 1e6) == (20, "the host's processor")
    assert job.per_host(2, 1e5) == (11, "the link")


def test_a_fleet_goes_in_turns_of_what_one_host_serves():
    job = PhoneJob(phone_s=60.0, host_s=1.0, pushed_bytes=1.0)
    assert [job.fleet_minutes(100, at_once) for at_once in (1, 32, 100)] == [100, 4, 1]


def test_the_first_phone_of_a_fleet_is_profiled_in_full():
    full = PhoneJob(phone_s=100.0, host_s=1.0, pushed_bytes=1.0)
    few = PhoneJob(phone_s=10.0, host_s=1.0, pushed_bytes=1.0)
    assert few_shot_share(full, few, 1) == 1
    assert few_shot_share(full, few, 11) == pytest.approx(200 / 1100)


def test_a_phones_job_holds_ops_and_whole_networks():
    work = PhoneWork(op_ms=(1.0, 2.0), network_ms=100.0, network_count=3)
    lowered = Lowered(op_s=0.01, op_bytes=10.0, network_s=0.2, network_bytes=1000.0)
    runner = RunnerCost(model_session_s=0.1, sessions_per_model=3.0)
    job = work.job(runner, 0.05, lowered)
    assert job.pushed_bytes == 3020
    assert job.host_s == pytest.approx(5 * 0.05 + 3 * 0.2)
    assert job.phone_s == pytest.approx(runner.profile_s([1.0, 2.0, 100.0, 100.0, 100.0], TimingPlan()))


def test_without_a_phones_latencies_its_minutes_are_not_guessed(tmp_path):
    runner = RunnerCost(model_session_s=0.1, sessions_per_model=3.0)
    (claim,) = phone_claims(tmp_path, runner, 0.05, tmp_path / "none.yaml")
    assert claim.value is None and not claim.holds


def test_what_was_not_measured_here_says_on_paper_and_does_not_hold(monkeypatch):
    monkeypatch.setattr("benchmarks.scale_model.memory_probe", lambda *_: {"saved_bytes": 8 * 10**8})
    counted, *on_paper = cluster_claims()
    assert counted.value == pytest.approx(0.24, abs=0.01)
    for claim in on_paper:
        assert claim.value is None and not claim.holds and claim.note.startswith("on paper: ")
