"""From a YAML file to a ``Device``: strict keys, nearest spelling, and words that a person can act on."""

from __future__ import annotations

import difflib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from profiler_agent.device import (
    Device,
    Guard,
    Link,
    PythonRunner,
    RunnerOptions,
    RuntimeOptions,
    TimingPlan,
)
from profiler_agent.errors import ConfigError

KNOWN_SCHEMAS = (1,)
_KIND_CLASSES: dict[str, dict[str, type]] = {
    section: {get_args(get_type_hints(cls)["kind"])[0]: cls for cls in get_args(union)}
    for section, union in {"transport": Link, "runner": RunnerOptions}.items()
}
_TOP_KEYS = ("schema", "name", "transport", "runner", "runtime", "plan", "guard", "directory", "fingerprint")


class _DeviceFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: int = Field(alias="schema")
    name: str
    transport: Annotated[Link, Field(discriminator="kind")]
    runtime: RuntimeOptions
    runner: Annotated[RunnerOptions, Field(discriminator="kind")] = PythonRunner()
    plan: TimingPlan = TimingPlan()
    guard: Guard = Guard()
    directory: str | None = None
    fingerprint: str | None = None


def read_device_file(path: Path) -> Device:
    """See ``profiler_agent.device.load_device``."""
    data = _read_yaml(path)
    _refuse_unknown_keys(path, "", data, _TOP_KEYS)
    for section, cls in {"runtime": RuntimeOptions, "plan": TimingPlan, "guard": Guard}.items():
        _refuse_unknown_section_keys(path, section, data.get(section), cls)
    for section, classes in _KIND_CLASSES.items():
        if section in data:
            _refuse_unknown_section_keys(path, section, data[section], _class_of_kind(path, section, data, classes))
    if data.get("schema") not in KNOWN_SCHEMAS:
        raise ConfigError(
            f"{path}: schema is {data.get('schema')!r}; this version reads schema "
            f"{', '.join(map(str, KNOWN_SCHEMAS))}. Write `schema: 1` as its first line."
        )
    try:
        parsed = _DeviceFile.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_explain(path, error)) from error
    try:
        return Device(**{name: getattr(parsed, name) for name in _TOP_KEYS if name != "schema"}, source_file=path)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


class _OnceOnlyLoader(yaml.SafeLoader):
    """YAML's safe loader, but that a key given twice is an error, where it would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key '{twice}' is given twice; keep one", node.start_mark
            )
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _OnceOnlyLoader)
    except FileNotFoundError as error:
        raise ConfigError(
            f"There is no device file {path}. The ready ones are in device_configs/; copy one and edit it."
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} could not be read as YAML: {error}") from error
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise ConfigError(f"{path} holds no keys; compare it with device_configs/local_cpu_onnxruntime.yaml.")
    return data


def _class_of_kind(path: Path, section: str, data: dict[str, Any], classes: dict[str, type]) -> type:
    value = data[section]
    kind = value.get("kind") if isinstance(value, dict) else value
    if not isinstance(value, dict) or kind not in classes:
        guess = _nearest(str(kind), classes)
        raise ConfigError(f"{path}: {section}.kind is {kind!r}{guess}; it is one of {', '.join(classes)}.")
    return classes[str(kind)]


def _refuse_unknown_section_keys(path: Path, section: str, value: Any, cls: type) -> None:
    assert is_dataclass(cls)
    if isinstance(value, dict):
        _refuse_unknown_keys(path, f"{section}.", value, [f.name for f in fields(cls)])
        _refuse_yes_for_a_number(path, section, value, cls)


def _refuse_yes_for_a_number(path: Path, section: str, value: dict[str, Any], cls: type) -> None:
    """YAML reads yes, on and true alike as true, which would pass for a 1."""
    for name, kind in get_type_hints(cls).items():
        if isinstance(value.get(name), bool) and bool not in (kind, *get_args(kind)):
            raise ConfigError(f"{path}: {section}.{name} was read as {value[name]}; write a number, or text in quotes.")


def _refuse_unknown_keys(path: Path, prefix: str, data: dict[str, Any], known: Any) -> None:
    for key in data:
        if key not in known:
            guess = _nearest(str(key), known)
            raise ConfigError(f"{path}: unknown key '{prefix}{key}'{guess}. Known: {', '.join(known)}.")


def _nearest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _explain(path: Path, error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"] if part not in _kind_names())
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "string_type" and isinstance(item["input"], int | float):
            message = f"{item['input']!r} was read as a number; put it in quotes"
        lines.append(f"{path}: {place}: {message}")
    return "\n".join(lines)


def _kind_names() -> set[str]:
    return {kind for classes in _KIND_CLASSES.values() for kind in classes}
