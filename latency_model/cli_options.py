"""The arguments and options that several verbs of this room share, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PredictorArgument = Annotated[Path, typer.Argument(help="A folder as `fit` writes it.")]
PredictorOutOption = Annotated[Path, typer.Option("--out", help="Folder to write the predictor into.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]
ConfidenceOption = Annotated[
    float | None,
    typer.Option(
        "--confidence",
        min=0.01,
        max=0.999,
        help="The share of networks that intervals shall hold, such as 0.8; by default what the predictor was fitted "
        "for, 0.9.",
    ),
]
InputShapeOption = Annotated[
    str | None,
    typer.Option(
        "--input-shape",
        help="What a torch module or a network of the zoo takes: 1,3,224,224. Its batch also fills an open one.",
    ),
]
