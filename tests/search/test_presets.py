"""Presets: enough images are searched as the preset says, few of them for more passes; none gets no search at all."""

from __future__ import annotations

import pytest

from search.presets import PRESETS


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("steps_per_pass", [1, 5, 12, 100])
def test_every_search_has_the_architecture_steps_that_its_preset_calls_the_least(name, steps_per_pass):
    preset = PRESETS[name]
    settings = preset.search_settings(steps_per_pass, seed=0)
    assert settings.architecture_steps(1) >= preset.least_architecture_steps > 0
    assert settings.search_steps >= settings.weight_steps_per_architecture_step * preset.least_architecture_steps


@pytest.mark.parametrize("name", PRESETS)
def test_more_passes_are_shared_out_as_the_preset_says(name):
    preset = PRESETS[name]
    settings = preset.search_settings(1, seed=0)
    share = settings.warmup_steps / settings.search_steps
    assert share == pytest.approx(preset.warmup_passes / preset.search_passes, rel=0.02)


@pytest.mark.parametrize(
    ("name", "steps_per_pass", "warmup", "search"),
    [("demo", 796, 995, 716), ("standard", 796, 4776, 9552), ("standard", 19, 114, 228), ("smoke", 19, 38, 38)],
)
def test_enough_images_are_searched_for_exactly_the_passes_of_the_preset(name, steps_per_pass, warmup, search):
    settings = PRESETS[name].search_settings(steps_per_pass, seed=0)
    assert PRESETS[name].more_passes(steps_per_pass) == 1
    assert (settings.warmup_steps, settings.search_steps) == (warmup, search)


@pytest.mark.parametrize("name", ["demo", "standard", "thorough"])
def test_networks_are_trained_for_steps_enough_on_few_images_and_for_the_epochs_of_the_preset_on_many(name):
    preset = PRESETS[name]
    few, many = (preset.train_settings(steps_per_epoch, seed=0) for steps_per_epoch in (3, 400))
    assert few.epochs * 3 >= preset.least_train_steps > 100
    assert many.epochs == preset.train_epochs
