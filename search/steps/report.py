"""Step 8, report: the run's card, its summary, and the page that shows both."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib import metadata
from typing import Any

import numpy as np
from rich.console import Console

from profiler_agent.errors import ProxylessError
from search.files import read_json, read_json_lines, read_record, write_json
from search.report import write_report
from search.report.recipe import start_of
from search.report.run_folder import network_names
from search.report.terminal import summary_table
from search.run import NETWORK_NAMES, Run, read_target
from search.run_settings import read_started
from search.shared_search import seen_from, share_of
from search.smoothing import MISJUDGED_SHARE, smoothed_losses
from search.steps.device_loop import planned_visits
from search.steps.search import settings_of_search
from search.steps.verify import is_outdated, read_verification
from search.train_network import TrainFiles, read_result
from search.trainer import SearchFiles

LIBRARIES = ("torch", "onnxruntime", "ai-edge-litert", "numpy", "xgboost", "scikit-learn")


def report(run: Run, console: Console) -> None:
    """Write run.json and report.html of a run, finished or not; with everything trained and verified, summary.json too.
    Where the images or the device file are gone by now, or a network is trained anew, what was written stays."""
    lost = _lost_source(run)
    if lost is None:
        write_card(run)
    elif run.folder.card.exists():
        console.print(f"run.json stays as it was: {lost}", highlight=False, markup=False, emoji=False, soft_wrap=True)
    else:
        raise lost
    if lost is None and all(_is_finished(run, name) for name in NETWORK_NAMES):
        write_json(run.folder.summary, make_summary(run))
    page = write_report(run.folder.path)
    if run.folder.summary.exists():
        console.print(summary_table(read_json(run.folder.summary)))
    console.print(f"report: {page}", highlight=False, markup=False, emoji=False, soft_wrap=True)


def _lost_source(run: Run) -> ProxylessError | None:
    """Why the run's device file, images or space cannot be read any more; None where all can."""
    try:
        _ = run.device, run.space
    except ProxylessError as error:
        return error
    return None


def write_card(run: Run) -> None:
    """What the run is about: space, device, data, target, seed, versions."""
    settings, data = run.settings, run.data
    target = read_target(run.folder) if run.folder.target.exists() else {"target_ms": None, "reference_ms": None}
    identity = run.predictor.provenance.identity if run.folder.predictor.is_dir() else None
    card = {
        "schema": 1,
        "space": {"name": run.space.name, "hash": run.space.hash},
        "device": {
            "name": run.device.name,
            "fingerprint": None if identity is None else identity.fingerprint,
            "config": settings.device,
            "session_count": run.device.plan.session_count,
        },
        "runtime": {
            "name": run.device.runtime.name,
            "version": None if identity is None else identity.runtime_version,
            "thread_count": run.device.runtime.thread_count,
        },
        "data": {
            "name": data.name,
            "train_count": len(data.train_labels),
            "test_count": len(data.test_labels),
            "class_names": list(data.class_names),
            "image_shape": list(data.image_shape),
        },
        "target": {
            "text": None if settings.target is None else settings.target.text,
            "target_ms": target["target_ms"],
            "reference_ms": target["reference_ms"],
        },
        "shared_search": shared_search_card(run),
        "preset": settings.preset,
        "search": search_card(run),
        "training": asdict(run.train_settings),
        "outdated": [name for name in network_names(run.folder.path) if is_outdated(run, name)],
        "seed": settings.seed,
        "started": read_started(run.folder.settings),
        "versions": versions(),
    }
    write_json(run.folder.card, card)


def search_card(run: Run) -> dict[str, Any]:
    """What was chosen for the search and the derivation, and how often the device was asked during the search."""
    return {
        "estimator": run.settings.estimator,
        "latency_weight_per_ms": run.settings.latency_weight_per_ms,
        "least_budget_share": run.settings.least_budget_share,
        "ranking": _ranking_of(run),
        "device_visits": device_visits(run),
    }


def _ranking_of(run: Run) -> dict[str, float] | None:
    if not run.folder.derivation.exists():
        return None
    return read_ranking(read_record(run.folder.derivation, {"derived": dict, "judged": list}))


def read_ranking(derivation: dict[str, Any]) -> dict[str, float] | None:
    """How the networks of a derivation were ranked, as its own losses show: another version may have derived it. None
    for a derivation that ranked by plain losses.

    ``logit_voice`` is what a standard deviation of log probability was worth, in those of the losses
    (``ranking.LOGIT_VOICE``); 0 where the logits had no say or preferred nothing.
    """
    width = derivation["derived"].get("width", 0)
    judged = [one for one in derivation["judged"] if one.get("width", 0) == width and "ranked_loss" in one]
    losses = [one["held_out_loss"] for one in judged]
    if len(set(losses)) < 2:  # noqa: PLR2004 - nothing was ranked
        return None
    smoothed = smoothed_losses([tuple(one["choices"]) for one in judged], losses)
    moved = np.std(smoothed - [one["ranked_loss"] for one in judged])
    return {"logit_voice": round(float(moved / np.std(losses)), 3), "misjudged_share": MISJUDGED_SHARE}


def device_visits(run: Run) -> dict[str, int] | None:
    """How often the device loop asked this run's device, and how often it is to; None without a device loop."""
    share = share_of(run.folder)
    holder = run.folder if share is None else share.search.holder
    own = None if share is None else {target.name for target in share.own.targets}
    asked = read_json_lines(SearchFiles(folder=holder.search).device_loop)
    steps = {visit["step"] for visit in asked if own is None or visit["target"] in own}
    return {"planned": planned_visits(settings_of_search(run)), "done": len(steps)} if steps else None


def shared_search_card(run: Run) -> dict[str, Any] | None:
    """Where the search lies that this run shares with others, under which names it logged this run's targets (by the
    width of the space), and what it cost; None for a search of the run's own."""
    share = share_of(run.folder)
    if share is None:
        return None
    holder, widths = share.search.holder, run.space.widths
    return {
        "folder": seen_from(run.folder.path, holder.path),
        "targets": {widths[target.width].name: target.name for target in share.own.targets},
        "runs": [{"device": one.device, "budget": one.budget, "folder": one.folder} for one in share.search.sharers],
        "cost": read_json(holder.shared_cost) if holder.shared_cost.exists() else None,
    }


def make_summary(run: Run) -> dict[str, Any]:
    """What a run came to (see the design of run folders in search/README.md)."""
    card = read_json(run.folder.card)
    return {
        "schema": 1,
        **network_figures(run),
        "seconds": run.seconds(),
        "device_seconds": run.device_seconds(),
        "shared_search": card["shared_search"] and card["shared_search"]["cost"],
        "runtime": f"{card['runtime']['name']} {card['runtime']['version']}",
        "seed": run.settings.seed,
        "versions": card["versions"],
    }


def network_figures(run: Run) -> dict[str, Any]:
    """What the last table shows: a run's own networks, all of which are verified, and added baselines that are."""
    verified = {
        name: read_verification(run, name)
        for name in network_names(run.folder.path)
        if name in NETWORK_NAMES or _is_finished(run, name)
    }
    derived = verified["derived"]
    baselines = {name: record for name, record in verified.items() if name != "derived"}
    trained = {name: read_result(TrainFiles(folder=run.folder.training(name))) for name in verified}
    return {
        "device": run.device.name,
        "target_ms": derived["target_ms"],
        "predicted_ms": derived["predicted_ms"],
        "predicted_interval_ms": derived["predicted_interval_ms"],
        "predicted_ms_baselines": {name: record["predicted_ms"] for name, record in baselines.items()},
        "measured_ms": derived["measured_ms"],
        "accuracy": {name: result["accuracy"] for name, result in trained.items()},
        "start": {name: start_of(result) for name, result in trained.items()},
        "measured_ms_baselines": {name: record["measured_ms"] for name, record in baselines.items()},
        "verdict": {name: record["verdict"] for name, record in verified.items()},
        "pace": {name: record.get("pace") for name, record in verified.items()},
    }


def _is_finished(run: Run, name: str) -> bool:
    """Trained and verified."""
    return TrainFiles(folder=run.folder.training(name)).result.exists() and run.folder.verification(name).exists()


def versions() -> dict[str, str]:
    """Of Python, of this package, and of the libraries that decide a result; what is absent is left out."""
    found = {"python": platform.python_version()}
    for name in ("proxyless", *LIBRARIES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
