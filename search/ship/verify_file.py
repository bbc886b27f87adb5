"""Times any exported file on any device: what it takes there, beside what a predictor says and what is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from latency_model.campaign import identity_of, run_campaign
from latency_model.errors import PredictorMismatchError
from latency_model.measurement import measurement_of, paid_ops
from latency_model.measurement_file import append_measurement
from latency_model.network import NetworkSpec, with_dtype
from latency_model.network_latency import (
    LatencyEstimate,
    NetworkLatency,
    check_predictor_matches,
    load_network_latency,
)
from latency_model.predictors.fitted_on import measured_ops
from profiler_agent.device import Device
from profiler_agent.errors import ModelsFailed
from profiler_agent.session import ModelFile, Session, open_session
from profiler_agent.stability import StabilityReport, judge_timing
from profiler_agent.timing import Timing
from search.errors import BudgetMissed, RunFolderError
from search.file_metadata import network_in_file
from search.network_file import read_network_file
from search.progress import Update
from search.steps.verify import MODEL_SUFFIX, TOLERANCE, may_be_noise, usable_timings


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
            report = self.report
            mend = "Ship a smaller network."
            if may_be_noise(report.latency_ms, self.target_ms, report.spread, report.verdict):
                mend = "Time it again when the device is quiet, or ship a smaller network."
            raise BudgetMissed(
                f"{self.path} takes {report.latency_ms:.4g} ms on {self.device}; the budget is "
                f"{self.target_ms:.4g} ms. {mend}"
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
        DeviceThrottled: it was throttled whenever the file was timed.
        UnknownOpError: a prediction was asked for, and the predictor does not know an op of the network.
        PredictorMismatchError: the predictor is another device's, or knows the ops in other numbers only.
        MixedMeasurementsError: the measurements are another device's.
    """
    suffix = MODEL_SUFFIX[device.runtime.name]
    if not path.is_file():
        raise RunFolderError(f"{path} is not there; give an exported file, such as RUN/export/derived{suffix}.")
    if path.suffix != suffix:
        raise RunFolderError(f"{device.name} runs {device.runtime.name}, which takes {suffix} files, not {path.name}.")
    predictor = None if known is None or known.predictor is None else load_network_latency(known.predictor)
    predicted = None
    if predictor is not None and known is not None:
        require_numbers(predictor, known.network)
        predicted = predictor.predict_network(known.network.ops)
    with open_session(device) as session:
        identity = identity_of(session)
        if predictor is not None:
            check_predictor_matches(predictor, identity)
        if known is not None and known.measurements is not None:
            run_campaign(session, (), known.measurements)  # times nothing; refuses a set of another device
        timing = _timed(session, path, update)
    if known is not None and known.measurements is not None:
        append_measurement(known.measurements, measurement_of(known.network, identity, device.plan, timing))
    return VerifiedFile(
        path=path,
        device=device.name,
        report=judge_timing(timing, device.plan),
        predicted=predicted,
        target_ms=target_ms,
    )


def _timed(session: Session, path: Path, update: Update | None) -> Timing:
    """The file's timing; one that the runtime refuses beside models that it takes is no model of its.

    Raises:
        RunFolderError: it does.
    """
    try:
        (timing,) = usable_timings(session, [ModelFile(model_id=path.stem, path=path)], update)
    except ModelsFailed as error:
        if error.failures.keys() != {path.stem}:
            raise
        device = session.device
        raise RunFolderError(
            f"{path} does not run under {device.runtime.name} on {device.name}: {error.failures[path.stem].strip()}"
        ) from error
    return timing


def known_network(path: Path, named: Path | None) -> NetworkSpec:
    """The network that a file says it holds.

    Args:
        named: a network file of which the user says that it is this one.
    Raises:
        RunFolderError: the file does not say, or holds another than the named one.
    """
    held = network_in_file(path)
    if named is not None:
        other = read_network_file(named)
        if (_in_fp32(held).layers, held.wiring) != (_in_fp32(other).layers, other.wiring):
            raise RunFolderError(
                f"{path} holds the network {held.name!r} with other layers than those of {named}. Name the network "
                f"that it was exported from, or leave --network out: the file says itself what it holds."
            )
    return held


def require_numbers(predictor: NetworkLatency, network: NetworkSpec) -> None:
    """Raise when a predictor was fitted on ops of other numbers only: of 8-bit ops single precision tells nothing.

    Raises:
        PredictorMismatchError: it was.
    """
    fitted = {op.dtype for op in (*measured_ops(predictor.op_predictor), *predictor.correction.ops)}
    unknown = {op.dtype for op in paid_ops(network)} - fitted
    if fitted and unknown:
        raise PredictorMismatchError(
            f"The file holds {network.name!r} in {', '.join(sorted(unknown))}; the predictor was fitted on "
            f"{', '.join(sorted(fitted))} alone, which says nothing about it. Leave --predictor out, or fit one on "
            f"measurements of such ops."
        )


def _in_fp32(network: NetworkSpec) -> NetworkSpec:
    return with_dtype(network, "fp32")
