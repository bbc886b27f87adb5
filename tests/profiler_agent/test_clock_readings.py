"""The clusters' clocks as the agent reads them beside a session, and the verdicts that follow."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

from fake_android import FIXED_KHZ, FREE_KHZ
from watching import time_all

from profiler_agent.stability import judge_timing


def test_the_clocks_are_read_while_the_runner_works(phone, android, models):
    clock = android.cluster(4) / "scaling_cur_freq"
    timings, _ = time_all(phone, models(f"write:{clock}=2000000", "until:1000000,2000000;"))
    clocks = timings[0].sessions[-1].clocks
    assert clocks.working_khz[-1] == (1_000_000, 2_000_000)
    assert clocks.allowed_khz == ((FIXED_KHZ, FIXED_KHZ), (FIXED_KHZ, FIXED_KHZ))


def test_no_more_than_the_last_three_clocks_are_told(phone, android, models):
    clock = android.cluster(4) / "scaling_cur_freq"
    orders = [order for khz in range(1, 5) for order in (f"write:{clock}={khz}", f"until:1000000,{khz};")]
    timings, _ = time_all(phone, models(*orders))
    readings = timings[0].sessions[-1].clocks.working_khz
    assert len(readings) == 3
    assert readings[-1] == (1_000_000, 4)


def test_a_clock_that_is_capped_in_mid_run_makes_a_throttled_verdict(phone, android, models):
    cap = f"write:{android.cluster(4) / 'scaling_max_freq'}=1000000"
    device = replace(phone, runtime=replace(phone.runtime, core_mask=None))
    (timing,), _ = time_all(device, models(cap))
    report = judge_timing(timing, device.plan)
    assert report.verdict == "throttled"
    assert "cores 4, 5, 6, 7 were allowed 1.00 GHz at one time and 1.40 GHz at another" in report.reason


def test_a_cap_on_a_cluster_that_the_core_mask_leaves_out_is_no_throttling(phone, android, models):
    cap = f"write:{android.cluster(4) / 'scaling_max_freq'}=1000000"
    device = replace(phone, runtime=replace(phone.runtime, core_mask="1"))
    (timing,), _ = time_all(device, models(cap))
    assert timing.sessions[0].clocks.allowed_khz == ((FIXED_KHZ, FIXED_KHZ), (FIXED_KHZ, 1_000_000))
    assert judge_timing(timing, device.plan).verdict == "accepted"


def test_a_job_too_short_for_a_reading_has_no_working_clocks(phone, android, models):
    (timing,), _ = time_all(phone, models("ok"))
    assert timing.facts_after["working_frequencies_khz"] is None
    assert timing.sessions[0].clocks.working_khz == ()


def test_a_device_without_readable_clocks_tells_none(local_device, models):
    (timing,), _ = time_all(local_device, models("ok"))
    if not Path("/sys/devices/system/cpu/cpufreq/policy0").exists():
        assert timing.facts_after["max_frequencies_khz"] == []
        assert timing.sessions[0].clocks is None


def test_a_clock_file_that_is_unreadable_or_holds_junk_is_null_and_shifts_nothing(android, tmp_path):
    (android.cluster(0) / "scaling_max_freq").write_text("<unsupported>\n")
    (android.cluster(4) / "scaling_cur_freq").unlink()
    facts = subprocess.run(["sh", android.agent, "facts", tmp_path], capture_output=True, check=True)
    told = json.loads(facts.stdout)
    assert told["max_frequencies_khz"] == [None, FREE_KHZ]
    assert told["frequencies_khz"] == [1_000_000, None]
