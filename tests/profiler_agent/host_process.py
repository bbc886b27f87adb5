"""A host in a process of its own, so that tests can kill it: times models and prints one line per timing.

usage: host_process.py DEVICE_DIRECTORY FAKE_PYTHON WORK_DIR LEASE_S CANARY MODEL...
"""

import sys
from pathlib import Path

from profiler_agent.device import Device, Guard, LocalLink, PythonRunner, RuntimeOptions, TimingPlan
from profiler_agent.session import ModelFile, open_session

directory, python, work_dir, lease_s, canary, *paths = sys.argv[1:]
device = Device(
    name="killed-host",
    transport=LocalLink(),
    runtime=RuntimeOptions(name="onnxruntime"),
    runner=PythonRunner(python=python),
    plan=TimingPlan(warmup_runs=1, round_count=4, session_count=2, max_sessions=2),
    guard=Guard(lease_s=int(lease_s), min_free_mb=1.0, wait_limit_s=20.0),
    directory=directory,
    source_file=Path("device.yaml"),
)
models = [ModelFile(model_id=Path(path).name, path=Path(path)) for path in paths]
with open_session(device, work_dir=Path(work_dir)) as session:
    for timing in session.time_models(models, canary=ModelFile(model_id="canary", path=Path(canary))):
        sys.stdout.write(f"{timing.model_id} {len(timing.sessions)}\n")
        sys.stdout.flush()
