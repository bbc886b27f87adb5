"""Times any exported file on any device: what it takes there, beside what a predictor says and what is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from latency_model.campaign import identity_of
from latency_model.measurement import append_measurement, measurement_of
from latency_model.network import NetworkSpec, network_from_json
from latency_model.network_latency import LatencyEstimate, load_network_latency
from profiler_agent.device import Device
from profiler_agent.session import ModelFile, open_session
from profiler_agent.stability import StabilityReport, judge_timing
from search.errors import BudgetMissed, RunFolderError
from search.files import read_json
from search.progress import Update
from search.steps.verify import MODEL_SUFFIX, TOLERANCE, time_files


@dataclass(frozen=True, kw_only=True)
class KnownNetwork:
    """What network a file holds, and what that is good for: a prediction, a place among other measurements."""

    network: NetworkSpec
    predictor: Path | None = None
    measurements: Path | None = None


@dataclass(frozen=True, kw_only=True)
class VerifiedFile:
    """What the device said of one file. ``predicted`` is None where no predictor was named."""

    path: Path
    device: str
    report: StabilityReport
    predicted: LatencyEstimate | None
    target_ms: float | None

    def __str__(self) -> str:
        words = f"{self.path.name} on {self.device}: measured {self.report.latency_ms:.4g} ms"
        words += f" ({self.report.verdict}, spread {self.report.spread:.1%})"
        if self.predicted is not None:
            gap = self.report.latency_ms / self.predicted.latency_ms - 1
            words += f", predicted {self.predicted}, {gap:+.1%} from it"
        return words if self.target_ms is None else f"{words}, budget {self.target_ms:.4g} ms"

    def require_budget(self) -> None:
        """Raise when the file takes more than 3 % above the budget.

        Raises:
            BudgetMissed: it does.
        """
        if self.target_ms is not None and self.report.latency_ms > (1 + TOLERANCE) * self.target_ms:
            raise BudgetMissed(
                f"{self.path} takes {self.report.latency_ms:.4g} ms on {self.device}; the budget is "
                f"{self.target_ms:.4g} ms. Time it again when the device is cool and quiet, or ship a smaller network."
            )


def verify_file(
    path: Path,
    device: Device,
    *,
    target_ms: float | None = None,
    known: KnownNetwork | None = None,
    update: Update | None = None,
) -> VerifiedFile:
    """Time one file through the agent.

    Raises:
        RunFolderError: no such file, or one that the device's runtime does not execute.
        DeviceNotReady: the device is absent or busy.
        UnknownOpError: a prediction was asked for, and the predictor does not know an op of the network.
    """
    suffix = MODEL_SUFFIX[device.runtime.name]
    if not path.is_file():
        raise RunFolderError(f"{path} is not there; give an exported file, such as RUN/export/derived{suffix}.")
    if path.suffix != suffix:
        raise RunFolderError(f"{device.name} runs {device.runtime.name}, which takes {suffix} files, not {path.name}.")
    predictor = None if known is None or known.predictor is None else load_network_latency(known.predictor)
    predicted = None if predictor is None or known is None else predictor.predict_network(known.network.ops)
    with open_session(device) as session:
        timing = time_files(session, [ModelFile(model_id=path.stem, path=path)], update)[path.stem]
        identity = identity_of(session)
    if known is not None and known.measurements is not None:
        append_measurement(known.measurements, measurement_of(known.network, identity, device.plan, timing))
    return VerifiedFile(
        path=path,
        device=device.name,
        report=judge_timing(timing, device.plan),
        predicted=predicted,
        target_ms=target_ms,
    )


def network_beside(path: Path, network: Path | None) -> NetworkSpec:
    """The network that a file holds: as named, or from the JSON file that ``export`` writes beside it.

    Raises:
        RunFolderError: there is none.
    """
    return network_from_json(read_json(network if network is not None else path.with_suffix(".json")))
