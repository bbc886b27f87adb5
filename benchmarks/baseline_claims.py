"""Recipes for whole networks, judged on the same held-out networks: claims of ours over each of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.claims import Claim, at_most
from latency_model.calibration import fit_affine
from latency_model.evaluate import ErrorFigures, error_figures, flops_baseline
from latency_model.features import FloatArray, op_columns, op_costs
from latency_model.ops import OpSpec

OURS = "ours"
BY_MACS = "multiply-accumulates alone"
BY_SUM = "the plain sum of the op table"
BY_FORESTS = "nn-Meter's recipe"
BY_CORRECTED_FORESTS = "nn-Meter's recipe with our affine correction"


@dataclass(frozen=True)
class WholeNetworks:
    """Networks as ops, and their measured latency; milliseconds."""

    networks: tuple[tuple[OpSpec, ...], ...]
    latency_ms: FloatArray

    def __len__(self) -> int:
        return len(self.networks)

    @property
    def macs(self) -> FloatArray:
        return np.array([op_costs(op_columns(ops)).macs.sum() for ops in self.networks])

    @property
    def kernel_count(self) -> FloatArray:
        return np.array([op_costs(op_columns(ops)).kernel_count.sum() for ops in self.networks])

    def sums_ms(self, op_latency_ms: Callable[[Sequence[OpSpec]], FloatArray]) -> FloatArray:
        """(n,) plain sum of what an op predictor says, each distinct op asked for once."""
        distinct = list(dict.fromkeys(op for ops in self.networks for op in ops))
        known = dict(zip(distinct, op_latency_ms(distinct), strict=True))
        return np.array([sum(known[op] for op in ops) for ops in self.networks])


@dataclass(frozen=True, kw_only=True)
class Run:
    """One set of held-out networks as every recipe predicted it. ``where`` groups runs in notes."""

    where: str
    figures: dict[str, ErrorFigures]


def macs_affine_ms(calibration: WholeNetworks, judged: WholeNetworks) -> FloatArray:
    """a * MACs + b, least squares of the relative error on the calibration networks."""
    return flops_baseline(calibration.macs, calibration.latency_ms, judged.macs)


def corrected_sums_ms(
    op_latency_ms: Callable[[Sequence[OpSpec]], FloatArray], calibration: WholeNetworks, judged: WholeNetworks
) -> FloatArray:
    """a * sum + b * kernels + c, for any op predictor: how much of our lead is the correction alone."""
    a, b, c = fit_affine(calibration.sums_ms(op_latency_ms), calibration.kernel_count, calibration.latency_ms)
    return a * judged.sums_ms(op_latency_ms) + b * judged.kernel_count + c


def judged_run(where: str, judged: WholeNetworks, predicted_ms: dict[str, FloatArray]) -> Run:
    return Run(
        where=where, figures={name: error_figures(judged.latency_ms, each) for name, each in predicted_ms.items()}
    )


def comparison_claims(setting: str, runs: Sequence[Run], note: str) -> Iterator[Claim]:
    """MAPE of ours over that of each other recipe, and in how many of the other figures one of them is ahead."""
    ours = _mean_figures(runs, OURS)
    others = [name for name in runs[0].figures if name != OURS]
    for name in others:
        ratios = [run.figures[OURS].mape / run.figures[name].mape for run in runs]
        its = _mean_figures(runs, name)
        yield at_most(
            f"{setting}: MAPE of ours over {name}",
            ours["MAPE"] / its["MAPE"],
            1.0,
            unit="ratio",
            spread=(min(ratios), max(ratios)) if len(runs) > 1 else None,
            note=f"ours {_text(ours)}; {name} {_text(its)}{_by_place(runs, name)}; {note}",
        )
    ahead = [
        f"{name} in {figure} ({_mean_figures(runs, name)[figure]:.4g} against {ours[figure]:.4g})"
        for name in others
        for figure in ("within 5 %", "within 10 %", "Spearman")
        if _mean_figures(runs, name)[figure] > ours[figure]
    ]
    yield at_most(
        f"{setting}: shares within 5 and 10 % and Spearman in which another is ahead of ours",
        float(len(ahead)),
        0.0,
        unit="figures",
        note="; ".join(ahead) or f"of {3 * len(others)}",
    )


def _mean_figures(runs: Sequence[Run], name: str) -> dict[str, float]:
    """Means over the runs. A rank correlation that constant predictions do not have counts as none."""
    of_name = [run.figures[name] for run in runs]
    return {
        "MAPE": float(np.mean([each.mape for each in of_name])),
        "within 5 %": float(np.mean([each.within_5_percent for each in of_name])),
        "within 10 %": float(np.mean([each.within_10_percent for each in of_name])),
        "Spearman": float(np.mean([each.spearman or 0.0 for each in of_name])),
    }


def _text(figures: dict[str, float]) -> str:
    return (
        f"MAPE {figures['MAPE']:.2%}, within 5 %: {figures['within 5 %']:.0%}, within 10 %: "
        f"{figures['within 10 %']:.0%}, Spearman {figures['Spearman']:.4f}"
    )


def _by_place(runs: Sequence[Run], name: str) -> str:
    """MAPE of both, for each of several places."""
    places = dict.fromkeys(run.where for run in runs)
    if len(places) == 1:
        return ""
    figures = []
    for place in places:
        there = [run for run in runs if run.where == place]
        ours, its = _mean_figures(there, OURS)["MAPE"], _mean_figures(there, name)["MAPE"]
        figures.append(f"{place} {ours:.1%} against {its:.1%}")
    return f" ({', '.join(figures)})"
