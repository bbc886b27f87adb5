"""The pace of a device's rounds is found again from samples that were made with a known one."""

from statistics import median

import numpy as np
import pytest

from profiler_agent.pace import LEAST_MODELS, PaceKeeper
from profiler_agent.schedule import mixed_parts

ROUNDS = 16


def job(rng, own_ms, pace, noise=0.05):
    """Samples of models (by their own latency) in rounds of the given paces, with noise on each sample."""
    return {
        model_id: [ms * slow * float(np.exp(noise * rng.standard_normal())) for slow in pace]
        for model_id, ms in own_ms.items()
    }


def wandering(rng, level=1.0):
    return level * np.exp(np.cumsum(0.02 * rng.standard_normal(ROUNDS)))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def models(count):
    return {f"m{index}": 0.01 * 1.3**index for index in range(count)}


def test_rounds_are_told_apart_better_than_any_one_model_could(rng):
    paces = [wandering(rng, level) for level in (1.0, 1.1, 0.95)]
    keeper = PaceKeeper(0.25)
    jobs = [keeper.add(job(rng, models(30), pace)) for pace in paces]
    found = np.log([keeper.of(number) for number in jobs]) - np.log(paces)
    assert np.ptp(found.mean(axis=1)) < 0.01  # one scale for all jobs
    assert found.std() < 0.02  # noise of a sample: 0.05


def test_a_pace_of_1_is_the_low_quantile(rng):
    keeper = PaceKeeper(0.25)
    number = keeper.add(job(rng, models(30), np.linspace(1.0, 1.2, 17), noise=0.0))
    assert keeper.of(number) == pytest.approx(np.linspace(1.0, 1.2, 17) / 1.05)


def test_later_jobs_keep_the_scale_of_the_first(rng):
    keeper = PaceKeeper(0.25)
    first = keeper.add(job(rng, models(20), [1.0] * ROUNDS, noise=0.0))
    assert keeper.of(first) == pytest.approx([1.0] * ROUNDS)
    later = [keeper.add(job(rng, models(20), [1.4] * ROUNDS, noise=0.0)) for _ in range(2)]
    assert keeper.of(first) == pytest.approx([1.0] * ROUNDS, rel=1e-3)
    assert [keeper.of(number) for number in later] == [pytest.approx([1.4] * ROUNDS, rel=1e-3)] * 2


def test_jobs_of_other_models_are_on_one_scale_through_those_that_they_share(rng):
    all_models = models(20)
    some = {name: all_models[name] for name in list(all_models)[:8]}
    keeper = PaceKeeper(0.25)
    whole = keeper.add(job(rng, all_models, [1.0] * ROUNDS, noise=0.0))
    part = keeper.add(job(rng, some, [1.25] * ROUNDS, noise=0.0))
    assert median(keeper.of(part)) / median(keeper.of(whole)) == pytest.approx(1.25, rel=1e-3)


def test_jobs_that_mix_their_models_from_turn_to_turn_end_on_one_scale(rng):
    all_models = models(150)
    keeper = PaceKeeper(0.25)
    told, true = [], []
    for turn in range(3):
        for part in mixed_parts(list(all_models), 40, turn):
            true.append(wandering(rng, float(np.exp(0.05 * rng.standard_normal()))))
            told.append(keeper.add(job(rng, {name: all_models[name] for name in part}, true[-1])))
    errors = np.log([keeper.of(number) for number in told]) - np.log(true)
    assert errors.mean(axis=1).std() < 0.005  # jobs of one turn share no model: they differ by 0.05
    assert errors.std() < 0.015


def test_a_model_that_goes_its_own_way_does_not_move_the_others(rng):
    samples = job(rng, models(12), [1.0] * ROUNDS, noise=0.0)
    samples["m3"] = [ms * (1 + number) for number, ms in enumerate(samples["m3"])]
    keeper = PaceKeeper(0.25)
    assert keeper.of(keeper.add(samples)) == pytest.approx([1.0] * ROUNDS)


def test_preempted_samples_tell_nothing(rng):
    samples = job(rng, models(9), [1.0] * ROUNDS, noise=0.0)
    whole = {name: list(column) for name, column in samples.items()}
    for name in list(samples)[:3]:
        samples[name][2] = None
    keeper = PaceKeeper(0.25)
    assert keeper.of(keeper.add(samples)) == pytest.approx([1.0] * ROUNDS)
    for name in list(whole)[:4]:  # five are left of that round: it has the pace of the job's other rounds
        whole[name][2] = None
    number = keeper.add(whole)
    assert keeper.of(number) == pytest.approx([1.0] * ROUNDS)


@pytest.mark.parametrize("count", [0, 1, LEAST_MODELS - 1])
def test_few_models_tell_no_pace(rng, count):
    keeper = PaceKeeper(0.25)
    assert keeper.of(keeper.add(job(rng, models(count), [1.0] * ROUNDS))) is None
    assert keeper.of(keeper.add(job(rng, models(LEAST_MODELS), [1.0] * ROUNDS))) is not None
