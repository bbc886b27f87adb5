"""Which ops a runtime runs as one kernel: data for each runtime, seen in the runtime's own profile."""

from latency_model.fusion.rules import FusionRules, kernels_as_run, load_fusion_rules, observed_with, rules_doubt

__all__ = ["FusionRules", "kernels_as_run", "load_fusion_rules", "observed_with", "rules_doubt"]
