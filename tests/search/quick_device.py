"""A device file for tests: a moment's worth of timing, and no verdict on a machine that tests keep busy."""

QUICK_DEVICE = """
schema: 1
name: quick_cpu
transport: {kind: local}
runner: {kind: python}
runtime: {name: onnxruntime, thread_count: 1, accelerator: cpu}
plan: {warmup_runs: 1, burst_ms: 1, round_count: 5, session_count: 1, spread_limit: 9, max_sessions: 1, canary_limit: 9}
guard: {max_cpu_pressure_percent: 100, min_free_mb: 1, wait_limit_s: 300}
"""
