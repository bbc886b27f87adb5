"""Scale on paper, from unit costs measured here: ``python -m benchmarks.scale_model [--quick] [--json] [--data DIR]``.

The search: what its steps cost beside plain training steps of the same path is measured (CPU time of one thread, batch
64 at 32 pixels, 6 candidates); steps are counted for the released ImageNet schedule and compared with one training of
the network found. GPU hours, communication and memory on 8 GPUs follow from a published throughput and stated inputs.
The fleet: some blocks of the ImageNet space are profiled on this processor, and what that costs beside the runs
themselves is fitted, then checked against the clock on other blocks. A phone's minutes follow with the published
latencies of a Pixel 1. Rows whose inputs were not measured here say "on paper" and do not hold. Aims that no issue sets
are ours: "close to one training" is at most 1.25 of it. ``--quick`` takes fewer steps and blocks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import torch

from benchmarks.claims import Claim, Options, at_most, not_measured, run_benchmark
from benchmarks.memory import probe as memory_probe
from benchmarks.scale_fleet_rows import fleet_claims
from benchmarks.scale_search import (
    FORWARD_BACKWARD,
    RELEASED,
    Cluster,
    Schedule,
    architecture_step_macs,
    gpu_memory_bytes,
    path_gradient_bytes,
    path_mean,
    supernet_sum,
    weight_step_macs,
)
from benchmarks.search_setting import BATCH
from benchmarks.step_cost import paired, probe
from latency_model.kernels import macs, parameter_count
from search.presets import PRESETS
from search.settings import Estimator, SearchSettings
from search.spaces.imagenet import imagenet_space, imagenet_widths_space
from search.zoo import build_network

CLOSE_TO_ONE = 1.25
TURNS, QUICK_TURNS = 25, 6
PUBLISHED_GPU_HOURS = 200
FOUND = "proxyless-mobile"
PRESET = "standard"
PRESET_IMAGES = 50_000
GIGABYTE, MEGABYTE = 1e9, 1e6
GPU_BYTES = 24 * GIGABYTE
CLUSTER = Cluster(gpu_count=8, images_per_s=2313.1, reference_macs=300.8e6, link_bytes_per_s=10e9)
CLUSTER_SOURCE = (
    "inputs: 2,313 training images/s of MobileNetV2 on one RTX 3090 (mixed precision, batch 512; pytorch-image-models, "
    "results/benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv), time in proportion to multiply-accumulates, 10 GB/s "
    "between GPUs (assumed)"
)


def measure(options: Options) -> Iterator[Claim]:
    yield from search_claims(options.quick)
    yield from cluster_claims()
    with tempfile.TemporaryDirectory() as folder:
        yield from fleet_claims(Path(folder), options)


def search_claims(quick: bool) -> Iterator[Claim]:
    """The released schedule, and a preset of ours, in trainings of the network found."""
    times = probe("kept", ("plain", "weight", "full", "two-path"), QUICK_TURNS if quick else TURNS)
    weight = median(paired(times, "weight", "plain"))
    share = path_share()
    estimators: tuple[Estimator, ...] = ("full", "two-path")
    for estimator in estimators:
        costs = paired(times, estimator, "plain")
        ratios = [RELEASED.plain_passes(weight, cost) * share / RELEASED.training_epochs for cost in costs]
        yield at_most(
            f"search over one training of the network found, released ImageNet schedule, {estimator}",
            median(ratios),
            CLOSE_TO_ONE,
            unit="ratio",
            spread=(ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]),
            note=f"{RELEASED.weight_step_count:,} weight steps at {weight:.2f} plain steps and "
            f"{RELEASED.architecture_step_count:,} architecture steps at {median(costs):.2f}; a sampled path has "
            f"{share:.2f} x the multiply-accumulates of {FOUND}, which trains for {RELEASED.training_epochs:g} epochs; "
            f"a training of 150 would double the ratio; quartiles",
        )
    schedule = preset_schedule()
    passes = schedule.plain_passes(weight, median(paired(times, "full", "plain")))
    yield at_most(
        f"search over one training, our preset {PRESET!r}, full",
        passes / schedule.training_epochs,
        CLOSE_TO_ONE,
        unit="ratio",
        note=f"{schedule.weight_epochs:g} passes in weight steps, {schedule.architecture_epochs:.3g} in architecture "
        f"steps of {SearchSettings(warmup_steps=0, search_steps=1).architecture_batch_size} images; "
        f"{schedule.training_epochs:g} epochs of training; a path as costly as the network found",
    )
    space = imagenet_space()
    plain = RELEASED.training_epochs * FORWARD_BACKWARD * found_macs()
    for estimator in estimators:
        architecture = RELEASED.architecture_epochs * architecture_step_macs(space, estimator)
        yield at_most(
            f"search over one training, multiply-accumulates counted in the ImageNet space, {estimator}",
            (RELEASED.weight_epochs * weight_step_macs(space) + architecture) / plain,
            CLOSE_TO_ONE,
            unit="ratio",
            note=f"an image of a weight step {2 * weight_step_macs(space) / 1e9:.2f} GFLOP, of an architecture step "
            f"{2 * architecture_step_macs(space, estimator) / 1e9:.2f}, of training {FOUND} "
            f"{2 * FORWARD_BACKWARD * found_macs() / 1e9:.2f}",
        )


def found_macs() -> int:
    return sum(map(macs, build_network(FOUND).ops))


def path_share() -> float:
    """Multiply-accumulates of a uniformly sampled path of the ImageNet space over those of the network found."""
    return path_mean(imagenet_space(), macs) / found_macs()


def preset_schedule() -> Schedule:
    """Our preset on as many images as CIFAR-10 has."""
    preset, settings = PRESETS[PRESET], SearchSettings(warmup_steps=0, search_steps=1)
    return Schedule(
        image_count=PRESET_IMAGES,
        warmup_epochs=preset.warmup_passes,
        search_epochs=preset.search_passes,
        batch_size=settings.batch_size,
        weight_steps_per_architecture_step=preset.weight_steps_per_architecture_step,
        architecture_batch_share=settings.architecture_batch_size / settings.batch_size,
        training_epochs=preset.train_epochs,
    )


def cluster_claims() -> Iterator[Claim]:
    """The ImageNet search on 8 GPUs: on paper, but for the bytes, which are counted."""
    space, widths = imagenet_space(), imagenet_widths_space().widths
    path_bytes, all_bytes = path_gradient_bytes(space), 4 * supernet_sum(space, parameter_count)
    yield at_most(
        "bytes averaged between GPUs in a weight step, one path over the whole supernet, ImageNet space",
        path_bytes / all_bytes,
        0.5,
        unit="ratio",
        note=f"{path_bytes / MEGABYTE:.1f} MB against {all_bytes / MEGABYTE:.1f} MB, counted; an architecture step "
        f"averages {4 * sum(space.candidate_counts)} bytes",
    )
    hours = {name: CLUSTER.gpu_hours(space, RELEASED, name) for name in ("full", "two-path")}
    wider = sum(path_mean(one, macs) for one in widths) / len(widths) / path_mean(space, macs)
    yield not_measured(
        "GPU hours of the ImageNet search",
        f"<= {PUBLISHED_GPU_HOURS}, the published figure",
        f"on paper: {hours['full']:.0f} (full), {hours['two-path']:.0f} (two-path), on {CLUSTER.gpu_count} GPUs "
        f"{hours['full'] / CLUSTER.gpu_count:.1f} hours without communication; with the width searched {wider:.2f} x; "
        f"{CLUSTER_SOURCE}",
    )
    compute_s, exchange_s = CLUSTER.compute_s(space, RELEASED.batch_size), CLUSTER.exchange_s(space)
    even = CLUSTER.even_gpu_count(space, RELEASED.batch_size)
    yield not_measured(
        f"share of a weight step spent on averaging gradients, {CLUSTER.gpu_count} GPUs, batch {RELEASED.batch_size}",
        "<= 0.25",
        f"on paper: {exchange_s / (compute_s + exchange_s):.2f}, {1000 * compute_s:.0f} ms of computing, then "
        f"{1000 * exchange_s:.1f} ms; the two are even at {even:.0f} GPUs of {RELEASED.batch_size / even:.1f} images: "
        "there it stops scaling, and sooner where so few images leave a GPU idle, which is not modelled; next: average "
        "while backward runs, and larger batches",
    )
    saved_bytes = memory_probe("imagenet", 6, "weight")["saved_bytes"] / BATCH["imagenet"]
    images = RELEASED.batch_size / CLUSTER.gpu_count
    yield not_measured(
        f"memory of each of {CLUSTER.gpu_count} GPUs, batch {RELEASED.batch_size}",
        f"<= {GPU_BYTES / GIGABYTE:g} GB",
        f"on paper: {gpu_memory_bytes(space, saved_bytes, images) / GIGABYTE:.1f} GB in fp32 without the libraries' "
        f"workspaces; measured here: {saved_bytes / MEGABYTE:.0f} MB kept for backward per image of the path of all "
        f"3x3 and expansion 6",
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_benchmark("scale_model", measure)
