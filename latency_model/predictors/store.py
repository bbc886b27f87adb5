"""Saved predictors: a folder of JSON and arrays, with a schema version and no pickles."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from latency_model.errors import LatencyModelError, SchemaError
from latency_model.predictors.measured_first import MeasuredFirstPredictor
from latency_model.predictors.mlp import MlpPredictor
from latency_model.predictors.protocol import LatencyPredictor
from latency_model.predictors.random_forest import RandomForestPredictor
from latency_model.predictors.roofline import RooflinePredictor
from latency_model.predictors.table import TablePredictor
from latency_model.predictors.xgboost_trees import XGBoostPredictor

SCHEMA = 1
_FILE = "predictor.json"
PREDICTORS: dict[str, Any] = {
    cls.kind: cls
    for cls in (
        TablePredictor,
        RooflinePredictor,
        RandomForestPredictor,
        XGBoostPredictor,
        MlpPredictor,
        MeasuredFirstPredictor,
    )
}


def save_predictor(predictor: LatencyPredictor, folder: Path) -> None:
    """Write a predictor into ``folder``, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    predictor.save_arrays(folder)
    head = {
        "schema": SCHEMA,
        "kind": predictor.kind,
        "units": {"latency": "ms"},
        "confidence": predictor.confidence,
    }
    write_json(folder / _FILE, head | predictor.describe())


def load_predictor(folder: Path) -> LatencyPredictor:
    """Read a predictor back.

    Raises:
        SchemaError: no predictor in the folder, a damaged one, one of a later version, or of an unknown kind.
    """
    data = read_json(folder / _FILE, "predictor", SCHEMA)
    kind = data.get("kind")
    if kind not in PREDICTORS:
        raise SchemaError(f"{folder / _FILE} holds a {kind!r} predictor; this version knows {', '.join(PREDICTORS)}.")
    with whole_folder(folder):
        restored: LatencyPredictor = PREDICTORS[kind].restore(data, folder, float(data["confidence"]))
    return restored


@contextmanager
def whole_folder(folder: Path) -> Iterator[None]:
    """Says of files that are damaged, missing or without a field that they are.

    Raises:
        SchemaError: what is done within meets such a file.
    """
    try:
        yield
    except LatencyModelError:
        raise
    except (AttributeError, EOFError, LookupError, OSError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as e:
        what = (str(e).strip().splitlines() or [""])[0][:200]  # a library may show its stack below
        raise SchemaError(
            f"The predictor in {folder} is damaged or incomplete ({type(e).__name__}: {what}). Restore the folder, or "
            "fit the predictor again."
        ) from e


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write beside the file and rename, so that a broken write leaves the old file whole."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")
    part.replace(path)


def read_json(path: Path, what: str, *schemas: int) -> dict[str, Any]:
    """Read a JSON object of a known schema.

    Raises:
        SchemaError: no such file, no JSON object, or another schema.
    """
    if not path.is_file():
        raise SchemaError(f"No {what} at {path}. Make one with `proxyless fit`, or check the path.")
    try:
        data = json.loads(path.read_text())
    except ValueError as error:  # no JSON, or no text
        raise SchemaError(f"{path} is no JSON ({error}). Restore it, or fit the {what} again.") from error
    found = data.get("schema") if isinstance(data, dict) else None
    if found not in schemas:
        raise SchemaError(
            f"{path} has schema {found!r}; this version reads schema {' and '.join(map(str, schemas))}. "
            f"Update proxyless if the file is newer, or make the {what} again."
        )
    assert isinstance(data, dict)
    return data
