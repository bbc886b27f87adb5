"""An open device that times nothing: models take what it says."""

from __future__ import annotations

from types import SimpleNamespace

from profiler_agent.timing import SessionSamples, Timing


class MadeUpSession:
    """Each model takes 2 ms; the first ``throttled`` times that a model is timed, its canary becomes slower.

    Args:
        session_count: how often each model is timed by itself.
    """

    def __init__(self, device, throttled=None, session_count=2):
        self.device, self.throttled, self.timed = device, throttled or {}, []
        self.session_count = session_count
        self.canary_ms = 0.1
        self.facts = SimpleNamespace(fingerprint="f00d", runtime_name="onnxruntime", runtime_version="1.0")

    def time_models(self, models, *, canary, company=(), plan=None, on_progress=None):
        for model in models:
            is_throttled = self.timed.count(model.model_id) < self.throttled.get(model.model_id, 0)
            self.timed.append(model.model_id)
            canaries_ms = (self.canary_ms, (1 + is_throttled) * self.canary_ms)
            sessions = (
                SessionSamples(
                    samples_ms=(2.0,) * 5, runs_per_burst=1, involuntary_switches=(0,) * 5, canary_ms=(canary_ms,) * 5
                )
                for canary_ms in canaries_ms[: self.session_count]
            )
            yield Timing(model_id=model.model_id, sessions=tuple(sessions))
