"""Campaigns that cannot measure everything: what they choose, and that the time is kept."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from latency_model.active_campaign import affordable_count, first_choice, least_sure_ops, run_active_campaign
from latency_model.experiment_design import choose_ops, spread_rows
from latency_model.measurement import paid_ops
from latency_model.network import single_op_network
from latency_model.ops import ConvSpec, DepthwiseConvSpec
from profiler_agent.device import Device, LocalLink, RuntimeOptions, TimingPlan

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

        def time_models(self, models, *, canary, plan=None, on_progress=None):
            for model in models:
                by_bytes[model.path.read_bytes()] = None
                yield device.timing(single_op_network(OPS[len(by_bytes) % len(OPS)]), model.model_id)

    measured = run_active_campaign(Session(), OPS, networks, tmp_path / "m.jsonl", minutes=0.25)
    allowed = affordable_count([*map(single_op_network, OPS), *networks], TimingPlan(), 0.25)
    assert allowed - 5 <= len(measured) <= allowed + 1  # the overhead probe comes on top
    assert len(measured.network_measurements()) == 10


@pytest.mark.parametrize("count", [1, 5, 10])
def test_spread_rows_cover_small_and_large(count):
    sizes = np.arange(100.0)[::-1]
    rows = spread_rows(sizes, count)
    assert len(rows) == count
    assert np.ptp(sizes[rows]) >= 100 * (count - 1) / count - 1
