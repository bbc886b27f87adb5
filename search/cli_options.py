"""The options that several verbs share, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search.settings import Estimator

RunArgument = Annotated[Path, typer.Argument(help="The run folder that --out named, such as runs/first.")]
DeviceOption = Annotated[Path, typer.Option("--device", help="A device file: device_configs/local_cpu_litert.yaml.")]
DataOption = Annotated[
    str,
    typer.Option(
        "--data",
        help="A folder of images (one folder per class), of IDX files, an .npz file, 'fashion-mnist', 'digits' "
        "(needs nothing), or module:function.",
    ),
]
OutOption = Annotated[
    Path, typer.Option("--out", help="The run folder; named again with the same options, the run is resumed.")
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        help="The budget as a fraction of a reference's latency as measured on the device: "
        "0.6xmobilenetv2, the only reference so far. This or --target-ms.",
    ),
]
TargetMsOption = Annotated[float | None, typer.Option("--target-ms", help="The budget in milliseconds: 0.8.")]
WithOption = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        help="Another run, profiled and fitted on its own device with the same data and space, that shares the search: "
        "runs/phone, or with its budget runs/phone=0.8ms, runs/phone=0.6xmobilenetv2. May be given several times.",
    ),
]
SpaceOption = Annotated[
    str,
    typer.Option(
        "--space",
        help="small (16 to 64 pixels), imagenet, imagenet-widths (searches the width, too; imagenet-w0.75,1 names "
        "them), cifar-tree, nas-bench-macro, or a .yaml file of yours.",
    ),
]
PresetOption = Annotated[
    str,
    typer.Option(
        "--preset",
        help="How long to train, and how much to measure: smoke (a minute or two; shows that it works), "
        "demo (minutes), standard (an hour or so for 50,000 small images), thorough (a night).",
    ),
]
DropoutOption = Annotated[
    float,
    typer.Option("--dropout", help="Train with this share dropped before the last layer, such as 0.2; 0 is none."),
]
EmaDecayOption = Annotated[
    float,
    typer.Option(
        "--ema-decay", help="Train, judge and ship a running average of the weights, such as 0.999; 0 is none."
    ),
]
MixupAlphaOption = Annotated[
    float,
    typer.Option(
        "--mixup-alpha", help="Train on images blended in pairs, such as by 0.2; more blends more, 0 is none."
    ),
]
MeasurementsOption = Annotated[
    Path | None,
    typer.Option("--measurements", help="A measurements file to use and add to; by default the run's own."),
]
MinutesOption = Annotated[
    float | None,
    typer.Option(
        "--minutes",
        min=0.01,
        help="Time budget of the profile, with what the file holds already. When not all ops fit, those that tell "
        "the most are timed and the others come from a regressor, with wider intervals. Without it, all.",
    ),
]
ImageSizeOption = Annotated[
    int | None,
    typer.Option(
        "--image-size",
        help="Resize images to this many pixels a side; by default they "
        "keep the size that they have, which must be one, and smaller ones grow to 16.",
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option(
        "--limit",
        help="Use at most this many images of each part, training and test, even over the classes; by default all.",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Decides every draw; the same seed repeats the run.")]
NameOption = Annotated[
    str, typer.Argument(help="Which network: derived, random, handmade, an added one such as random-2, or all.")
]
DryRunOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Only say how much there is to time and about how long it takes; writes nothing."),
]
EstimatorOption = Annotated[
    Estimator | None,
    typer.Option(
        "--estimator", help="How path logits learn: full (all gates, the default), two-path (the paper's), reinforce."
    ),
]
LatencyWeightOption = Annotated[
    float | None,
    typer.Option(
        "--latency-weight-per-ms",
        help="The paper's plain loss, this weight times the expected milliseconds, in place of the hard target; "
        "by default not used.",
    ),
]
LeastBudgetShareOption = Annotated[
    float | None,
    typer.Option(
        "--least-budget-share", help="Derive networks that use at least this share of the budget; 0.95 unless given."
    ),
]
DeviceLoopOption = Annotated[
    bool,
    typer.Option(
        "--device-in-the-loop",
        help="During the search, time what would be derived now six or seven times on the device and correct the "
        "predictor by it.",
    ),
]
