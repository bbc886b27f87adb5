"""The latency loss: gradients, targets, state."""

import numpy as np
import pytest
import torch

from latency_model.loss import (
    HingeLatencyLoss,
    LatencyLoss,
    SeveralDevicesLatencyLoss,
    expected_latency_ms,
)

TWO_POSITIONS = (torch.tensor([1.0, 3.0]), torch.tensor([0.0, 2.0, 5.0]))


def uniform() -> list[torch.Tensor]:
    return [torch.full((2,), 1 / 2), torch.full((3,), 1 / 3)]


def test_the_expected_latency_of_a_certain_path_is_its_latency():
    assert expected_latency_ms(torch.tensor([0.0, 1.0]), torch.tensor([1.5, 2.5])).item() == 2.5


def test_one_latency_per_path_is_asked_for():
    with pytest.raises(ValueError, match="one latency per path"):
        expected_latency_ms(torch.tensor([1.0]), torch.tensor([1.0, 2.0]))


def test_a_slower_path_is_pushed_down():
    logits = torch.zeros(2, requires_grad=True)
    expected_latency_ms(logits.softmax(0), torch.tensor([1.0, 3.0])).backward()
    assert logits.grad[0] < 0 < logits.grad[1]


@pytest.mark.parametrize("kind", [LatencyLoss, HingeLatencyLoss])
def test_the_gradient_to_the_logits_agrees_with_finite_differences(kind):
    loss = kind(TWO_POSITIONS, fixed_ms=0.7, target_ms=2.0, multiplier=0.9).double()

    def of_logits(first, second):
        return loss([first.softmax(0), second.softmax(0)]).loss

    generator = torch.Generator().manual_seed(3)
    logits = [torch.randn(n, generator=generator, dtype=torch.double, requires_grad=True) for n in (2, 3)]
    assert torch.autograd.gradcheck(of_logits, logits)


def test_the_gradient_of_several_devices_agrees_with_finite_differences():
    phone = LatencyLoss(TWO_POSITIONS, fixed_ms=0.7, target_ms=2.0, multiplier=0.9)
    server = HingeLatencyLoss(TWO_POSITIONS, fixed_ms=0.1, target_ms=1.0, multiplier=0.4)
    loss = SeveralDevicesLatencyLoss([phone, server]).double()
    generator = torch.Generator().manual_seed(4)
    logits = [torch.randn(n, generator=generator, dtype=torch.double, requires_grad=True) for n in (2, 3)]
    assert torch.autograd.gradcheck(lambda a, b: loss([a.softmax(0), b.softmax(0)])[0], logits)


def test_the_parts_are_the_fixed_cost_plus_each_mean_and_its_ratio_to_the_target():
    parts = LatencyLoss(TWO_POSITIONS, fixed_ms=0.5, target_ms=4.0, multiplier=0.25)(uniform())
    expected = 0.5 + 2.0 + 7.0 / 3.0
    assert parts.expected_ms.item() == pytest.approx(expected)
    assert parts.ratio.item() == pytest.approx(expected / 4.0)
    assert parts.loss.item() == pytest.approx(0.25 * expected / 4.0)


def test_the_multiplier_rises_above_the_target_and_falls_below_it_but_not_under_zero():
    loss = LatencyLoss(TWO_POSITIONS, fixed_ms=0.0, target_ms=2.0)
    loss.ascend(derived_ms=3.0, rate=0.1)
    assert loss.multiplier.item() == pytest.approx(0.05)
    loss.ascend(derived_ms=0.0, rate=1.0)
    assert loss.multiplier.item() == 0.0


def test_the_multiplier_and_the_latencies_are_saved_and_restored():
    saved = LatencyLoss(TWO_POSITIONS, fixed_ms=0.5, target_ms=2.0)
    saved.ascend(derived_ms=3.0, rate=0.1)
    restored = LatencyLoss((torch.zeros(2), torch.zeros(3)), fixed_ms=0.0, target_ms=9.0)
    restored.load_state_dict(saved.state_dict())
    assert restored(uniform()).loss.item() == saved(uniform()).loss.item() > 0
    assert not list(saved.parameters())


def test_a_hinge_asks_nothing_below_the_target():
    assert HingeLatencyLoss(TWO_POSITIONS, fixed_ms=0.0, target_ms=1.0)(uniform()).loss > 0, "without a multiplier too"
    parts = HingeLatencyLoss(TWO_POSITIONS, fixed_ms=0.0, target_ms=100.0, multiplier=1.0)(uniform())
    assert parts.loss.item() == 0.0


def test_several_devices_are_summed_and_each_keeps_its_multiplier():
    phone = LatencyLoss(TWO_POSITIONS, fixed_ms=0.0, target_ms=2.0, multiplier=0.5)
    server = HingeLatencyLoss(TWO_POSITIONS, fixed_ms=0.0, target_ms=1.0, multiplier=1.0)
    total, parts = SeveralDevicesLatencyLoss([phone, server])(uniform())
    assert total.item() == pytest.approx(parts[0].loss.item() + parts[1].loss.item())
    assert len(parts) == 2


@pytest.mark.parametrize(
    ("latency", "fixed_ms", "target_ms", "multiplier", "why"),
    [
        ([], 0.0, 1.0, 0.0, "No positions"),
        ([torch.tensor([float("nan")])], 0.0, 1.0, 0.0, "finite milliseconds"),
        ([torch.tensor([-1.0])], 0.0, 1.0, 0.0, "finite milliseconds"),
        ([torch.ones(1, 1)], 0.0, 1.0, 0.0, "not \\(paths,\\)"),
        ([torch.ones(1)], -1.0, 1.0, 0.0, "fastest network 0 ms"),
        ([torch.ones(1)], float("inf"), 1.0, 0.0, "fixed_ms"),
        ([torch.ones(1)], 0.0, 0.0, 0.0, "target_ms"),
        ([torch.ones(1)], 0.0, 1.0, -1.0, "multiplier"),
    ],
)
def test_nonsense_constants_are_refused(latency, fixed_ms, target_ms, multiplier, why):
    with pytest.raises(ValueError, match=why):
        LatencyLoss(latency, fixed_ms, target_ms, multiplier)


def test_what_every_network_saves_is_taken_off():
    assert LatencyLoss([torch.ones(1), torch.ones(1)], -0.5, 1.0)([torch.ones(1), torch.ones(1)]).expected_ms == 1.5


def test_as_many_probability_vectors_as_positions_are_asked_for():
    with pytest.raises(ValueError, match="1 probability vectors for 2 positions"):
        LatencyLoss(TWO_POSITIONS, 0.0, 1.0)([torch.ones(2) / 2])


def test_a_derived_latency_that_is_no_number_does_not_move_the_multiplier():
    loss = LatencyLoss(TWO_POSITIONS, 0.0, 1.0)
    with pytest.raises(ValueError, match="dual ascent"):
        loss.ascend(derived_ms=float("nan"), rate=0.1)
    assert loss.multiplier.item() == 0.0


def test_latencies_may_be_arrays_as_predictors_give_them():
    arrays = [np.array([1.0, 2.0]), np.array([3.0, 5.0])]
    loss = LatencyLoss(arrays, fixed_ms=1.0, target_ms=4.0)
    assert loss.expected_ms([torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5])]).item() == pytest.approx(6.0)
