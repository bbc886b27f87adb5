"""The runner's clock starts where the kernel says that its process did."""

import subprocess
import sys

from profiler_agent.ondevice.process_start import age_s, start_up_s

STAT = "8388 (a (b) c) R 8384 8384 1353 0 -1 4194304 98 0 0 0 0 0 0 0 20 0 1 0 861430 3133440 363"


def test_the_age_is_read_behind_any_program_name():
    assert age_s(STAT, 100, 8616.0) == 8616.0 - 8614.30


def test_an_age_that_cannot_be_counts_as_none():
    assert age_s(STAT, 100, 8000.0) == 0.0
    assert age_s(STAT, 100, 86_400.0) == 0.0
    assert age_s("8388 (sh) R 1", 100, 9000.0) == 0.0
    assert age_s("", 100, 9000.0) == 0.0


def test_a_new_process_knows_its_interpreters_start():
    script = (
        "import time; time.sleep(0.3)\nfrom profiler_agent.ondevice.process_start import start_up_s as s; print(s())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 0.3 <= float(done.stdout) < 10
    assert start_up_s() >= 0.0
