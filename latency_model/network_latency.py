"""NetworkLatency: the latency of a whole network from its ops, plus what their sum misses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from latency_model.array_files import read_arrays
from latency_model.correction import (
    Correction,
    contributions_ms,
    network_row,
    network_total_ms,
    op_parts,
    unseen_variance,
)
from latency_model.errors import PredictorMismatchError, UnknownOpError
from latency_model.features import FloatArray
from latency_model.growth import NO_GROWTH, Growth
from latency_model.measurement import DeviceIdentity
from latency_model.op_json import op_from_json, op_to_json
from latency_model.ops import OpSpec
from latency_model.other_confidence import KeptScores
from latency_model.posterior import LinearPosterior
from latency_model.predictors.measured_first import MeasuredFirstPredictor
from latency_model.predictors.protocol import LatencyPredictor
from latency_model.predictors.store import load_predictor, read_json, save_predictor, whole_folder, write_json

SCHEMA = 5
# Schema 1 named neither accelerator nor cores, 2 knew no cost of weights, 3 no growth, 4 no untimed runs before bursts.
_READS = (1, 2, 3, 4, 5)
_BEFORE_WEIGHTS = 2
_BEFORE_WARM_BURSTS, _RUNS_THEN = 4, 1
_CARD_SCHEMA = 1
_FILE = "network_latency.json"
_ARRAYS = "network_latency.npz"


@dataclass(frozen=True)
class LatencyEstimate:
    """A latency and the interval that holds it with the predictor's confidence; milliseconds."""

    latency_ms: float
    low_ms: float
    high_ms: float

    def __str__(self) -> str:
        return f"{format_ms(self.latency_ms)} ms ({format_ms(self.low_ms)}-{format_ms(self.high_ms)})"


@dataclass(frozen=True, kw_only=True)
class TableSource:
    """The file of somebody else's latencies that a predictor was made of, and the unit that they are in."""

    file: str
    sha256: str
    unit: str

    def __str__(self) -> str:
        return f"{self.file} (sha256 {self.sha256[:16]}, read as {self.unit})"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a predictor comes from: the device it speaks of, and what it was fitted on.

    Attributes:
        source: the table that the ops' latencies were read from; None where they were measured.
        fusion_rules: what the rules, by which blocks are broken into kernels, were observed on; None: not known.
        fusion_doubt: why they may not hold on this device; None where nothing speaks against it.
    """

    identity: DeviceIdentity
    plan: dict[str, Any]
    op_count: int
    network_count: int
    proxyless_version: str
    git_commit: str | None
    fitted_at: str
    source: TableSource | None = None
    fusion_rules: str | None = None
    fusion_doubt: str | None = None

    def __str__(self) -> str:
        if self.source is None:
            return str(self.identity)
        if self.network_count == 0:
            return f"the table {self.source}; its device, runtime and threads are not known"
        return f"{self.identity}, its ops from the table {self.source}"


@dataclass(frozen=True, kw_only=True)
class NetworkLatency:
    """``a * sum of ops + b * kernels + c``, then a shift per op where whole networks taught one, then growth.

    Still an additive table where networks do not grow: ``predict_network(ops) == op_contribution_ms(ops).sum() +
    constant_ms``, so the expected latency of a searched network keeps exact gradients (for all but the smallest
    networks, see there). Where they grow that line touches the predictions at a typical network, and
    ``path_latencies`` makes the one that meets them at a search's target.

    Attributes:
        growth: by how much networks take longer than that sum; all other attributes are of the sum.
        noise_share: spread of whole networks around the model, as a share of their latency.
        interval_factor: standard deviations that hold ``confidence`` of the networks the model did not see.
        unmeasured_factor: what the standard deviation of an op is multiplied by where it was never measured; learned
            from measured ops that were kept from the regressor. None, where there were too few of them, or a regressor
            stands alone: then the errors of such ops add up as if all went the same way.
        kept: the errors that the two factors come from, for intervals of another confidence; None: none were kept.
    """

    op_predictor: LatencyPredictor
    sum_factor: float
    kernel_ms: float
    affine_constant_ms: float
    correction: Correction
    noise_share: float
    interval_factor: float
    confidence: float
    provenance: Provenance
    report_card: dict[str, Any] = field(default_factory=dict)
    unmeasured_factor: float | None = None
    kept: KeptScores | None = None
    growth: Growth = NO_GROWTH

    @property
    def is_calibrated(self) -> bool:
        """Whether whole networks were measured for it; a plain sum of a table's ops has an assumed interval."""
        return self.provenance.network_count > 0

    @property
    def sum_constant_ms(self) -> float:
        """What stands in every network's sum, whatever its ops."""
        shift = self.correction.posterior.mean[-1] * self.correction.shared_scale[-1]
        return self.affine_constant_ms + float(shift)

    @property
    def constant_ms(self) -> float:
        """What every network pays, whatever its ops; negative where networks grow faster than the sums of their ops."""
        typical_ms, slope = self.growth.typical_ms, float(self.growth.slope(self.growth.typical_ms))
        return float(self.growth.latency_ms(typical_ms)) - slope * (typical_ms - self.sum_constant_ms)

    def op_contribution_ms(self, ops: Sequence[OpSpec]) -> FloatArray:
        """(ops,) what each op adds to a typical network's latency; 0 for free ops, never negative.

        Raises:
            UnknownOpError: an op that the op predictor cannot speak of.
        """
        return np.asarray(self.growth.slope(self.growth.typical_ms) * self.sum_contribution_ms(ops))

    def sum_contribution_ms(self, ops: Sequence[OpSpec]) -> FloatArray:
        """(ops,) what each op adds to a network's sum, before growth.

        Raises:
            UnknownOpError: an op that the op predictor cannot speak of.
        """
        parts = op_parts(self.op_predictor, ops, self.sum_factor, self.kernel_ms)
        return contributions_ms(self.correction, parts)

    def predict_network(self, ops: Sequence[OpSpec]) -> LatencyEstimate:
        """Latency of the network that is made of ``ops``, with its interval (``correction.network_total_ms``, then
        ``Growth.latency_ms``).

        Raises:
            UnknownOpError: an op that the op predictor cannot speak of.
        """
        sum_ms = network_total_ms(self.sum_contribution_ms(ops), self.sum_constant_ms)
        latency_ms = float(self.growth.latency_ms(sum_ms))
        half = self.interval_factor * float(self.growth.slope(sum_ms)) * self._sum_deviation_ms(ops)
        return LatencyEstimate(latency_ms, max(latency_ms - half, 0.0), latency_ms + half)

    def standard_deviation_ms(self, ops: Sequence[OpSpec]) -> float:
        """Uncalibrated spread of a network's latency: that of its ops, and of networks around the model."""
        sum_ms = network_total_ms(self.sum_contribution_ms(ops), self.sum_constant_ms)
        return float(self.growth.slope(sum_ms)) * self._sum_deviation_ms(ops)

    def _sum_deviation_ms(self, ops: Sequence[OpSpec]) -> float:
        parts = op_parts(self.op_predictor, ops, self.sum_factor, self.kernel_ms)
        row = network_row(self.correction, parts)[None, :]
        variance = float(self.correction.posterior.variance(row)[0])
        variance += unseen_variance(self.correction, parts, self.unmeasured_factor)
        level = float(parts.base_ms.sum()) + self.affine_constant_ms
        return float(np.sqrt(variance + (self.noise_share * level) ** 2))

    def save(self, folder: Path) -> None:
        """Write JSON and arrays into ``folder``; the op predictor into a folder of its own inside."""
        folder.mkdir(parents=True, exist_ok=True)
        save_predictor(self.op_predictor, folder / "op_predictor")
        with (folder / _ARRAYS).open("wb") as file:
            np.savez(
                file,
                mean=self.correction.posterior.mean,
                covariance=self.correction.posterior.covariance,
                shared_scale=self.correction.shared_scale,
                kept_networks=np.zeros(0) if self.kept is None else self.kept.networks,
                kept_hidden=np.zeros((0, 3)) if self.kept is None else self.kept.hidden,
            )
        write_json(folder / _FILE, self._describe())
        write_json(folder / "report_card.json", self.report_card | {"schema": _CARD_SCHEMA})

    def _describe(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "units": {"latency": "ms"},
            "provenance": dataclasses.asdict(self.provenance),
            "sum_factor": self.sum_factor,
            "kernel_ms": self.kernel_ms,
            "affine_constant_ms": self.affine_constant_ms,
            "noise_share": self.noise_share,
            "interval_factor": self.interval_factor,
            "confidence": self.confidence,
            "unmeasured_factor": self.unmeasured_factor,
            "growth": dataclasses.asdict(self.growth),
            "op_spread": self.correction.op_spread,
            "log_evidence": self.correction.posterior.log_evidence,
            "corrected_ops": [op_to_json(op) for op in self.correction.ops],
            "report_card": self.report_card,
        }


def load_network_latency(folder: str | Path) -> NetworkLatency:
    """Read a saved NetworkLatency back.

    Raises:
        SchemaError: none in the folder, a damaged one, or one of a version that this one does not read.
    """
    folder = Path(folder)
    data = read_json(folder / _FILE, "predictor", *_READS)
    op_predictor = load_predictor(folder / "op_predictor")
    with whole_folder(folder):
        return _restored(data, op_predictor, folder)


def _restored(data: dict[str, Any], op_predictor: LatencyPredictor, folder: Path) -> NetworkLatency:
    arrays = read_arrays(folder / _ARRAYS)
    if data["schema"] <= _BEFORE_WEIGHTS:
        arrays |= _with_weights_free(arrays)
    kept = None
    if "kept_networks" in arrays and len(arrays["kept_networks"]):
        kept = KeptScores(networks=arrays["kept_networks"], hidden=arrays["kept_hidden"])
    provenance = dict(data["provenance"])
    identity = DeviceIdentity(**provenance.pop("identity"))
    if data["schema"] <= _BEFORE_WARM_BURSTS and identity.thread_count is not None:  # it was measured, not published
        identity = dataclasses.replace(identity, burst_warmup_runs=_RUNS_THEN)
    source = provenance.pop("source", None)
    return NetworkLatency(
        op_predictor=op_predictor,
        sum_factor=data["sum_factor"],
        kernel_ms=data["kernel_ms"],
        affine_constant_ms=data["affine_constant_ms"],
        correction=Correction(
            ops=tuple(op_from_json(op) for op in data["corrected_ops"]),
            posterior=LinearPosterior(arrays["mean"], arrays["covariance"], float(data["log_evidence"])),
            op_spread=data["op_spread"],
            shared_scale=arrays["shared_scale"],
        ),
        noise_share=data["noise_share"],
        interval_factor=data["interval_factor"],
        confidence=data["confidence"],
        provenance=Provenance(
            identity=identity, source=None if source is None else TableSource(**source), **provenance
        ),
        report_card=data["report_card"],
        unmeasured_factor=data.get("unmeasured_factor"),
        kept=kept,
        growth=Growth(**data["growth"]) if "growth" in data else NO_GROWTH,
    )


def _with_weights_free(arrays: dict[str, Any]) -> dict[str, Any]:
    """The arrays of a Correction that had no "weights" term yet: one, before the constant, that costs nothing."""
    rows = np.insert(arrays["covariance"], -1, 0.0, axis=0)
    return {
        "mean": np.insert(arrays["mean"], -1, 0.0),
        "covariance": np.insert(rows, -1, 0.0, axis=1),
        "shared_scale": np.insert(arrays["shared_scale"], -1, 0.0),
    }


def check_predictor_matches(predictor: NetworkLatency, identity: DeviceIdentity, ops: Sequence[OpSpec] = ()) -> None:
    """Refuse a predictor of another device, runtime, version, thread count, accelerator or cores, or another space.

    Args:
        identity: of the device that is to be searched for now.
        ops: what will be asked of the predictor; all of them must have been measured for it, or, when it is a
            regressor alone, be of kinds that it knows.
    Raises:
        PredictorMismatchError: the predictor is foreign or stale.
        UnknownOpError: it does not know one of ``ops``.
    """
    own = predictor.provenance.identity
    if not predictor.is_calibrated and predictor.provenance.source is not None:
        raise PredictorMismatchError(
            f"The predictor is a plain sum of {predictor.provenance}; this is {identity}. Whether the table is of this "
            "device, nobody can tell: measure some whole networks here (`proxyless campaign --grain networks`) and "
            "calibrate it with `proxyless fit TABLE --networks FILE.jsonl`."
        )
    for name, what in (
        ("fingerprint", "device"),
        ("runtime", "runtime"),
        ("runtime_version", "runtime version"),
        ("thread_count", "thread count"),
        ("accelerator", "accelerator"),
        ("core_mask", "set of cores"),
        ("burst_warmup_runs", "number of untimed runs before each burst"),
    ):
        if getattr(own, name) != getattr(identity, name):
            raise PredictorMismatchError(
                f"The predictor was fitted on {own}; this is {identity}. Latencies of another {what} do not "
                "carry over: run `proxyless profile` and `proxyless fit` on this one."
            )
    op_predictor = predictor.op_predictor
    op_predictor.predict_ms(list(ops))
    if isinstance(op_predictor, MeasuredFirstPredictor) and (unmeasured := op_predictor.unmeasured(ops)):
        raise UnknownOpError(
            unmeasured, op_predictor.table.timings.ops, "it was not measured on this device; profile this space."
        )


def format_ms(value: float) -> str:
    """Three significant digits, without an exponent: 0.0123, 1.23, 12.3, 123, 1234."""
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    digits = max(2 - int(np.floor(np.log10(abs(value)))), 0)
    return f"{value:.{digits}f}"
