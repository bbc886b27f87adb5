"""Campaigns that cannot measure everything: what they choose, and that the time is kept."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from latency_model.active_campaign import affordable_count, first_choice, least_sure_ops, run_active_campaign
from latency_model.campaign_targets import CampaignTargets, plan_targets, run_targets
from latency_model.errors import MixedMeasurementsError
from latency_model.experiment_design import choose_ops, spread_rows
from latency_model.measurement import OVERHEAD_PROBE, paid_ops
from latency_model.measurement_file import append_measurement, read_measurements
from latency_model.model_files import write_model
from latency_model.network import single_op_network
from latency_model.ops import ConvSpec, DepthwiseConvSpec
from profiler_agent.device import Device, LocalLink, RuntimeOptions, TimingPlan
from profiler_agent.errors import ModelsFailed

OPS = [
    ConvSpec(in_channels=i, in_height=side, in_width=side, out_channels=o, kernel_size=k)
    for side in (7, 14)
    for i in (8, 16, 32, 64)
    for o in (8, 16, 32, 64)
    for k in (1, 3, 5)
]


def test_everything_is_measured_when_it_fits(make_networks):
    networks = make_networks(5)
    first, more = first_choice(OPS, networks, TimingPlan(), minutes=60)
    assert len(first) == len(OPS) + 5
    assert more == 0


def test_a_short_campaign_takes_networks_and_ops_that_stand_for_the_rest(make_networks):
    networks = make_networks(30)
    first, more = first_choice(OPS, networks, TimingPlan(), minutes=0.25)
    whole = [network for network in first if len(paid_ops(network)) > 1]
    assert 1 <= len(whole) <= 10
    assert more > 0
    assert len(first) + more == affordable_count([*map(single_op_network, OPS), *networks], TimingPlan(), 0.25)


def test_a_short_campaign_has_an_op_of_every_kind_and_what_must_always_be_timed(make_networks):
    depthwise = DepthwiseConvSpec(in_channels=8, in_height=7, in_width=7, kernel_size=3)
    networks = make_networks(12)
    first, _ = first_choice([*OPS, depthwise], networks, TimingPlan(), minutes=0.05, always=networks[3:4])
    assert first[0] == networks[3]
    assert networks[3] not in first[1:]
    assert depthwise in [op for network in first for op in network.ops if len(network.ops) == 1]


def test_chosen_ops_lie_near_all_others():
    chosen = choose_ops(OPS, 20)
    assert len(set(chosen)) == 20
    logs = np.log([[op.in_height, op.in_channels, op.out_channels, op.kernel_size] for op in OPS])
    picked = np.log([[op.in_height, op.in_channels, op.out_channels, op.kernel_size] for op in chosen])
    nearest = np.linalg.norm(logs[:, None] - picked[None], axis=2).min(axis=1)
    by_order = np.linalg.norm(logs[:, None] - logs[None, :20], axis=2).min(axis=1)
    assert nearest.mean() < 0.8 * by_order.mean()


def test_then_come_the_ops_whose_intervals_are_widest_and_kinds_that_nobody_measured(device):
    measured = device.measure([single_op_network(op) for op in choose_ops(OPS, 40)])
    depthwise = DepthwiseConvSpec(in_channels=8, in_height=7, in_width=7, kernel_size=3)
    chosen = least_sure_ops([*OPS, depthwise], measured, 5)
    assert chosen[0] == depthwise
    assert len(set(chosen)) == 5
    left = [op for op in OPS if op not in measured.op_timings().ops]
    assert np.mean([device.op_ms(op) for op in chosen[1:]]) > np.mean([device.op_ms(op) for op in left])


def test_ops_in_a_dtype_that_nobody_measured_come_before_those_of_wide_intervals(device):
    measured = device.measure([single_op_network(op) for op in choose_ops(OPS, 40)])
    in_8_bits = dataclasses.replace(OPS[0], dtype="int8")
    assert least_sure_ops([*OPS, in_8_bits], measured, 3)[0] == in_8_bits


def test_an_active_campaign_measures_as_much_as_the_time_allows(device, make_networks, tmp_path):
    networks = make_networks(20)
    by_bytes = {}

    class Session:
        device = Device(
            name="made-up",
            transport=LocalLink(),
            runtime=RuntimeOptions(name="onnxruntime"),
            source_file=Path("made-up.yaml"),
        )
        facts = SimpleNamespace(fingerprint="f00d", runtime_name="onnxruntime", runtime_version="1.0")

        def time_models(self, models, *, canary, company=(), plan=None, on_progress=None):
            for model in models:
                by_bytes[model.path.read_bytes()] = None
                yield device.timing(single_op_network(OPS[len(by_bytes) % len(OPS)]), model.model_id)

    measured = run_active_campaign(Session(), OPS, networks, tmp_path / "m.jsonl", minutes=0.25)
    allowed = affordable_count([*map(single_op_network, OPS), *networks], TimingPlan(), 0.25)
    assert allowed - 5 <= len(measured) <= allowed + 1  # the overhead probe comes on top
    assert len(measured.network_measurements()) == 10


class StoppableSession:
    """Recognises a network by its file; stops like a user's interrupt after ``stop_after`` timings."""

    def __init__(self, analytic, networks, folder, stop_after=None, fail=()):
        self.analytic, self.stop_after, self.timed = analytic, stop_after, []
        self.device = DEVICE
        self.facts = SimpleNamespace(fingerprint="f00d", runtime_name="onnxruntime", runtime_version="1.0")
        self.fail = set(fail)
        self.by_bytes = {
            write_model(network, "onnxruntime", folder / "known").read_bytes(): network
            for network in (OVERHEAD_PROBE, *map(single_op_network, OPS), *networks)
        }

    def time_models(self, models, *, canary, company=(), plan=None, on_progress=None):
        failed = {}
        for model in models:
            if self.stop_after is not None and len(self.timed) >= self.stop_after:
                raise KeyboardInterrupt
            network = self.by_bytes[model.path.read_bytes()]
            if network.ops in self.fail:
                failed[model.model_id] = "crashed"
                continue
            self.timed.append(network)
            yield self.analytic.timing(network, model.model_id)
        if failed:
            raise ModelsFailed(failed)


MINUTES = 0.25
DEVICE = Device(
    name="made-up",
    transport=LocalLink(),
    runtime=RuntimeOptions(name="onnxruntime"),
    source_file=Path("made-up.yaml"),
)


def test_a_campaign_that_was_stopped_in_its_second_part_goes_on_there_and_once_finished_stays_so(
    device, make_networks, tmp_path
):
    networks, path = tuple(make_networks(12)), tmp_path / "m.jsonl"
    targets = CampaignTargets(ops=tuple(OPS), networks=networks, unchained=())
    first, more = first_choice(OPS, networks, TimingPlan(), MINUTES)
    dry, fits = plan_targets(targets, DEVICE, path, MINUTES)
    assert (fits, dry.later_op_count) == (False, more)
    assert dry.op_count + dry.network_count == len(first) + more + 1  # the overhead probe
    assert 0.8 * MINUTES * 60 < dry.estimated_seconds < 1.25 * MINUTES * 60

    with pytest.raises(KeyboardInterrupt):
        run_targets(
            StoppableSession(device, networks, tmp_path, stop_after=len(first) + 4), targets, path, minutes=MINUTES
        )
    left, _ = plan_targets(targets, DEVICE, path, MINUTES)
    assert (left.networks, left.later_op_count, left.is_finished) == ((), more - 3, False)

    again = StoppableSession(device, networks, tmp_path)
    measured = run_targets(again, targets, path, minutes=MINUTES)
    assert len(again.timed) == more - 3
    assert len({m.paid_ops for m in measured.measurements}) == len(measured) == len(first) + more + 1
    finished, _ = plan_targets(targets, DEVICE, path, MINUTES)
    assert finished.is_finished
    assert finished.measured_count == len(first) + more + 1


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"name": "another"}, "device_name another"),
        ({"runtime": RuntimeOptions(name="onnxruntime", thread_count=2)}, "thread_count 2"),
        ({"runtime": RuntimeOptions(name="onnxruntime", accelerator="cuda")}, "accelerator cuda"),
        ({"runtime": RuntimeOptions(name="litert")}, "runtime litert"),
        ({"runtime": RuntimeOptions(name="onnxruntime", core_mask="0F")}, "core_mask f"),
    ],
)
def test_a_campaign_that_another_device_or_other_settings_finished_is_not_taken_for_done(
    device, make_networks, tmp_path, other, what
):
    networks, path = tuple(make_networks(4)), tmp_path / "m.jsonl"
    for measurement in device.measure(networks).measurements:
        append_measurement(path, measurement)
    targets = CampaignTargets(ops=(), networks=networks, unchained=())
    assert plan_targets(targets, DEVICE, path, None)[0].is_finished
    with pytest.raises(MixedMeasurementsError, match=rf"m\.jsonl holds measurements of made-up .*asks for {what}"):
        plan_targets(targets, dataclasses.replace(DEVICE, **other), path, None)


def test_a_network_that_always_fails_does_not_keep_the_second_part_from_its_turn(device, make_networks, tmp_path):
    networks, path = make_networks(12), tmp_path / "m.jsonl"
    first, more = first_choice(OPS, networks, TimingPlan(), MINUTES)
    session = StoppableSession(device, networks, tmp_path, fail=[first[0].ops])
    with pytest.raises(ModelsFailed, match=first[0].name[:20].split("[")[0]):
        run_active_campaign(session, OPS, networks, path, minutes=MINUTES)
    assert len(read_measurements(path)) == len(first) + more


def test_the_second_part_does_not_start_when_the_first_took_all_the_time(device, make_networks, tmp_path):
    networks = make_networks(12)
    first, _ = first_choice(OPS, networks, TimingPlan(), MINUTES)
    session = StoppableSession(device, networks, tmp_path)
    run_active_campaign(
        session, OPS, networks, tmp_path / "m.jsonl", minutes=MINUTES, clock_s=lambda: float(len(session.timed))
    )
    assert len(session.timed) == len(first) + 1


@pytest.mark.parametrize("count", [1, 5, 10])
def test_spread_rows_cover_small_and_large(count):
    sizes = np.arange(100.0)[::-1]
    rows = spread_rows(sizes, count)
    assert len(rows) == count
    assert np.ptp(sizes[rows]) >= 100 * (count - 1) / count - 1
