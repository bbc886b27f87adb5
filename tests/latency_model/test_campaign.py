"""Campaigns: nothing is measured twice, nothing measured is lost, budgets are kept."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

from latency_model.campaign import (
    BATCH_SIZE,
    UNHURRIED_BATCH_SIZE,
    mixed_batches,
    plan_campaign,
    run_campaign,
    split_batches,
)
from latency_model.errors import MeasurementError, MixedMeasurementsError
from latency_model.experiment_design import choose_networks
from latency_model.measurement import OVERHEAD_PROBE
from latency_model.measurement_file import read_measurements
from latency_model.network import NetworkSpec, single_op_network
from latency_model.ops import ConvSpec, ZeroSpec
from profiler_agent.device import Device, LocalLink, RuntimeOptions, TimingPlan, load_device
from profiler_agent.errors import ModelsFailed
from profiler_agent.runners import job_seconds

CONFIGS = Path(__file__).parents[2] / "device_configs"


def conv(width: int) -> NetworkSpec:
    return single_op_network(ConvSpec(in_channels=4, in_height=4, in_width=4, out_channels=width, kernel_size=1))


class FakeSession:
    """Times models by a formula. It sees files only, so it recognises a network by the order of asking."""

    def __init__(self, analytic, fail=(), stop_after=None):
        self.analytic = analytic
        self.fail = fail
        self.stop_after = stop_after
        self.timed: list[str] = []
        self.clock_s = 0.0
        self.device = Device(
            name="made-up",
            transport=LocalLink(),
            runtime=RuntimeOptions(name="onnxruntime"),
            source_file=Path("made-up.yaml"),
        )
        self.facts = SimpleNamespace(fingerprint="f00d", runtime_name="onnxruntime", runtime_version="1.0")

    def time_models(self, models, *, canary, company=(), plan=None, on_progress=None):
        assert canary.path.is_file()
        for number, model in enumerate(models):
            assert model.path.stat().st_size > 0
            if model.model_id in self.fail:
                continue
            if self.stop_after is not None and len(self.timed) >= self.stop_after:
                raise KeyboardInterrupt
            self.timed.append(model.model_id)
            self.clock_s += 1.0
            yield self.analytic.timing(conv(number + 1), model.model_id)
            if on_progress is not None:
                on_progress((number + 1) * plan.session_count, len(models) * plan.session_count)
        if failed := [m.model_id for m in models if m.model_id in self.fail]:
            raise ModelsFailed(dict.fromkeys(failed, "crashed"))


def test_a_campaign_measures_each_distinct_network_once_after_the_overhead_probe(device, tmp_path):
    session = FakeSession(device)
    measured = run_campaign(session, [conv(1), conv(2), conv(1)], tmp_path / "m.jsonl")
    assert [m.network for m in measured.measurements] == [OVERHEAD_PROBE, conv(1), conv(2)]


def test_a_campaign_that_was_stopped_goes_on_where_it_was(device, tmp_path):
    path, networks = tmp_path / "m.jsonl", [conv(width) for width in range(1, 6)]
    with pytest.raises(KeyboardInterrupt):
        run_campaign(FakeSession(device, stop_after=3), networks, path)
    assert len(read_measurements(path)) == 3
    second = FakeSession(device)
    measured = run_campaign(second, networks, path)
    assert len(second.timed) == 3
    assert [m.network for m in measured.measurements] == [OVERHEAD_PROBE, *networks]


def test_nothing_is_timed_that_could_not_be_kept(device, tmp_path):
    (tmp_path / "file").write_text("no folder")
    session = FakeSession(device)
    with pytest.raises(OSError, match="file"):
        run_campaign(session, [conv(1)], tmp_path / "file" / "m.jsonl")
    assert session.timed == []


def test_no_batch_starts_that_would_end_after_the_budget(device, tmp_path):
    session = FakeSession(device)
    networks = [conv(width) for width in range(1, 4 * BATCH_SIZE)]
    minutes = 2.2 * BATCH_SIZE / 60
    run_campaign(session, networks, tmp_path / "m.jsonl", minutes=minutes, clock_s=lambda: session.clock_s)
    assert len(session.timed) == 2 * BATCH_SIZE


def test_networks_that_fail_are_named_and_do_not_keep_others_from_being_measured(device, tmp_path):
    session = FakeSession(device, fail=["net0001"])
    with pytest.raises(ModelsFailed, match="out_channels=1"):
        run_campaign(session, [conv(1), conv(2)], tmp_path / "m.jsonl")
    assert [m.network for m in read_measurements(tmp_path / "m.jsonl").measurements] == [OVERHEAD_PROBE, conv(2)]


def test_a_file_of_another_device_is_not_continued(device, tmp_path):
    run_campaign(FakeSession(device), [conv(1)], tmp_path / "m.jsonl")
    other = FakeSession(device)
    other.facts = SimpleNamespace(fingerprint="beef", runtime_name="onnxruntime", runtime_version="1.0")
    with pytest.raises(MixedMeasurementsError, match="give another file"):
        run_campaign(other, [conv(2)], tmp_path / "m.jsonl")
    assert other.timed == []


def test_progress_counts_timings_up_to_the_whole(device, tmp_path):
    seen = []
    run_campaign(
        FakeSession(device),
        [conv(width) for width in range(1, BATCH_SIZE + 10)],
        tmp_path / "m.jsonl",
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == ((BATCH_SIZE + 10) * 3, (BATCH_SIZE + 10) * 3)


def test_a_dry_run_tells_counts_and_time_and_skips_what_is_known(device, make_networks):
    networks = make_networks(4)
    measured = device.measure(networks[:1])
    plan = plan_campaign([*networks, conv(1)], TimingPlan(), measured)
    assert (plan.op_count, plan.network_count, plan.measured_count) == (2, 3, 1)
    assert str(plan).startswith("2 ops and 3 whole networks to time (1 more measured already), in 1 batch, about ")
    assert str(plan_campaign(networks[:1], TimingPlan())).startswith("0 ops and 1 whole network to time, in 1 batch, ")
    assert "in 2 batches, " in str(plan_campaign([conv(index) for index in range(1, BATCH_SIZE + 2)], TimingPlan()))
    assert plan.estimated_seconds > 0


def test_a_dry_run_knows_that_a_phone_starts_a_process_for_every_round():
    phone = load_device(CONFIGS / "android_adb.yaml")
    networks = [conv(index) for index in range(1, 101)]
    on_phone = plan_campaign(networks, phone.plan, job_s=job_seconds(phone))
    sessions = len(on_phone.networks) * phone.plan.session_count * phone.plan.round_count
    assert on_phone.estimated_seconds > 0.1 * sessions
    assert plan_campaign(networks, phone.plan).estimated_seconds < 0.1 * on_phone.estimated_seconds
    assert plan_campaign([], phone.plan, job_s=job_seconds(phone)).estimated_seconds == 0


def test_a_throttled_measurement_is_made_again(device):
    measured = device.measure([conv(1)])
    hot = dataclasses.replace(measured.measurements[0].report, verdict="throttled")
    throttled = type(measured)((dataclasses.replace(measured.measurements[0], report=hot),))
    assert conv(1) in plan_campaign([conv(1)], TimingPlan(), throttled).networks


def test_a_network_that_costs_nothing_cannot_be_timed():
    nothing = single_op_network(ZeroSpec(in_channels=4, in_height=4, in_width=4))
    with pytest.raises(MeasurementError, match="nothing to time"):
        plan_campaign([nothing], TimingPlan())


def test_what_a_session_adds_to_every_model_is_taken_off_single_ops(device):
    plain = device.measure([conv(1), conv(50)])
    with_probe = device.measure([OVERHEAD_PROBE, conv(1), conv(50)])
    overhead_ms = with_probe.session_overhead_ms
    assert overhead_ms > 0 == plain.session_overhead_ms
    taken = plain.op_timings().latency_ms - with_probe.op_timings().latency_ms
    assert taken[1] == pytest.approx(overhead_ms, rel=0.1)
    assert len(with_probe.op_timings()) == 2
    assert (with_probe.op_timings().latency_ms > 0).all()


def test_batches_keep_the_order_and_are_of_nearly_equal_size():
    networks = [conv(width) for width in range(1, BATCH_SIZE + 12)]
    batches = split_batches(networks)
    assert [net for batch in batches for net in batch] == networks
    assert max(map(len, batches)) - min(map(len, batches)) <= 1
    assert split_batches([]) == []


def test_without_a_time_limit_every_batch_is_a_mixture(make_networks):
    networks = [conv(width) for width in range(1, 361)] + make_networks(40)
    batches = mixed_batches(networks)
    assert sorted(n.name for batch in batches for n in batch) == sorted(n.name for n in networks)
    shares = [sum(len(n.layers) > 1 for n in batch) / len(batch) for batch in batches]
    assert len(batches) == 2
    assert max(map(len, batches)) <= UNHURRIED_BATCH_SIZE
    assert max(shares) - min(shares) < 0.1
    assert mixed_batches([]) == []


def test_chosen_networks_hold_every_op_of_the_pool_sooner_than_the_first_ones_do(make_networks):
    pool = make_networks(60)
    every_op = {op for network in pool for op in network.ops}
    chosen = choose_networks(pool, 10)
    assert len(set(chosen)) == 10
    held = {op for network in chosen for op in network.ops}
    assert len(held) > len({op for network in pool[:10] for op in network.ops})
    assert len(held) >= 0.95 * len(every_op)


def test_a_network_that_costs_nothing_is_not_chosen():
    nothing = NetworkSpec(name="nothing", layers=(("z", ZeroSpec(in_channels=4, in_height=7, in_width=7)),))
    others = [conv(width) for width in (8, 16, 24)]
    assert set(choose_networks([nothing, *others], 4)) == set(others)
