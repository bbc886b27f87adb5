"""Latency over width: through the points, never falling, with a derivative that finite differences confirm."""

import numpy as np
import pytest
import torch

from latency_model.errors import LatencyModelError
from latency_model.op_timings import OpTimings
from latency_model.ops import MBConvSpec
from latency_model.predictors import TablePredictor
from latency_model.smooth_width import SmoothWidthLatency, smooth_width_latency

WIDTHS = [16, 24, 32, 48, 64]
LATENCIES = [0.1, 0.13, 0.2, 0.22, 0.4]


def test_the_curve_goes_through_its_points():
    curve = SmoothWidthLatency(WIDTHS, LATENCIES)
    assert curve(torch.tensor(WIDTHS, dtype=torch.double)).tolist() == pytest.approx(LATENCIES)


def test_widths_given_as_whole_numbers_have_latencies_that_are_none():
    assert SmoothWidthLatency(WIDTHS, LATENCIES)(torch.tensor(WIDTHS)).tolist() == pytest.approx(LATENCIES)


def test_the_derivative_agrees_with_finite_differences():
    curve = SmoothWidthLatency(WIDTHS, LATENCIES)
    width = torch.tensor([10.0, 17.3, 24.0, 31.9, 40.0, 63.0, 70.0], dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(curve, (width,), eps=1e-5, atol=1e-6)


def test_the_derivative_has_no_jumps_at_the_points():
    curve = SmoothWidthLatency(WIDTHS, LATENCIES)
    for width in WIDTHS:
        slopes = []
        for side in (-1e-6, 1e-6):
            at = torch.tensor(width + side, dtype=torch.double, requires_grad=True)
            curve(at).backward()
            slopes.append(at.grad.item())
        assert slopes[0] == pytest.approx(slopes[1], abs=1e-6)


def test_more_width_never_costs_less_even_where_it_was_measured_so():
    curve = SmoothWidthLatency(WIDTHS, [0.1, 0.2, 0.15, 0.18, 0.4])
    values = curve(torch.linspace(8, 72, 500, dtype=torch.double))
    assert (values.diff() >= -1e-12).all()


def test_a_search_that_pays_for_latency_narrows_the_op():
    curve = SmoothWidthLatency(WIDTHS, LATENCIES)
    width = torch.tensor(50.0, requires_grad=True)
    curve(width).backward()
    assert width.grad > 0


def test_a_table_becomes_smooth_in_width(device):
    def block(width):
        return MBConvSpec(
            in_channels=16, in_height=14, in_width=14, out_channels=16, expand_channels=width, kernel_size=3
        )

    ops = tuple(block(width) for width in WIDTHS)
    latency = np.array([device.op_ms(op) for op in ops])
    table = TablePredictor.fit(OpTimings(ops=ops, latency_ms=latency, relative_error=np.zeros(len(ops))))
    curve = smooth_width_latency(lambda asked: table.predict_ms(asked).mean_ms, block, WIDTHS)
    assert curve(torch.tensor(32.0, dtype=torch.double)).item() == pytest.approx(device.op_ms(block(32)))


@pytest.mark.parametrize(
    ("widths", "latencies"),
    [([16], [0.1]), ([16, 16], [0.1, 0.2]), ([16, 24], [0.1]), ([16, 24], [0.1, float("nan")]), ([1, 2], [-1, 1])],
)
def test_points_that_make_no_curve_are_refused(widths, latencies):
    with pytest.raises(LatencyModelError):
        SmoothWidthLatency(widths, latencies)
