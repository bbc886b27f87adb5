"""Progress with time left, as all verbs show it."""

from latency_model.progress import Update, progress

__all__ = ["Update", "progress"]
