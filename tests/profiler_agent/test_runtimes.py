"""The real runtimes on this machine, each through the whole chain, and the zipapp that carries them."""

import ast
import copy
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from profiler_agent.bundle import ONDEVICE, file_sha256, runner_bytes, write_runner
from profiler_agent.check_models import check_model
from profiler_agent.device import NativeRunner, PythonRunner, RuntimeOptions, TimingPlan
from profiler_agent.errors import AgentFailed, ConfigError, ModelsFailed, RuntimeMissing
from profiler_agent.ondevice.runtimes import onnxruntime_runtime
from profiler_agent.ondevice.runtimes.litert_runtime import open_runtime as open_litert
from profiler_agent.ondevice.runtimes.litert_runtime import places_of
from profiler_agent.remote_shell import ShellResult
from profiler_agent.runner import Batch
from profiler_agent.runners import make_runner
from profiler_agent.runners.native import NativeHostRunner
from profiler_agent.session import ModelFile, open_session

BUILT = Path(__file__).parents[2] / "build" / "profiler_tests"
NATIVE_RUNNER = {
    "schema": 1,
    "machine": "any",
    "loader": "ld.so",
    "litert": "1.0",
    "source_sha256": file_sha256(Path(__file__).parents[2] / "profiler_agent" / "native" / "runner.c"),
}
"""A description as ``native/build.sh`` writes it."""


def time_check_model(device):
    models = [ModelFile(model_id=name, path=check_model(name, device.runtime.name)) for name in ("check", "canary")]
    with open_session(device) as session:
        timings = {timing.model_id: timing for timing in session.time_models(models, canary=models[1])}
        return timings, session


def test_the_same_sources_give_the_same_zipapp():
    assert runner_bytes() == runner_bytes()


def test_the_zipapp_needs_nothing_but_the_standard_library(tmp_path):
    zipapp = write_runner(tmp_path).path
    done = subprocess.run(
        [sys.executable, "-I", "-S", zipapp, "probe", "onnxruntime"], capture_output=True, text=True, check=False
    )
    assert json.loads(done.stdout)["version"] is None  # no site-packages, so no runtime; but it ran
    assert done.returncode == 65


@pytest.mark.parametrize("path", sorted(ONDEVICE.rglob("*.py")), ids=lambda path: path.stem)
def test_what_travels_is_python_3_8(path):
    ast.parse(path.read_text(), feature_version=(3, 8))
    assert "from __future__ import annotations" in path.read_text() or not path.read_text()


def test_the_check_models_are_what_lowering_writes_today(tmp_path):
    from latency_model.lowering import random_weights, write_onnx, write_tflite
    from latency_model.lowering.torchscript import write_torchscript
    from latency_model.network import NetworkSpec
    from latency_model.ops import ConvSpec, MBConvSpec

    pixels = {"in_height": 14, "in_width": 14}
    block = MBConvSpec(in_channels=16, out_channels=16, expand_channels=64, kernel_size=3, has_residual=True, **pixels)
    conv = ConvSpec(in_channels=8, out_channels=8, kernel_size=3, activation="relu", **pixels)
    for name, op in (("check", block), ("canary", conv)):
        network = NetworkSpec(name=name, layers=(("op", op),))
        writers = {"onnxruntime": write_onnx, "litert": write_tflite, "torch": write_torchscript}
        for runtime, write in writers.items():
            kept = check_model(name, runtime)
            write(network, random_weights(network, seed=0), tmp_path / kept.name)
            # TorchScript's archive has a folder in it that is named after the file; the kept one tells no source's path
            tolerance_bytes = 6000 if runtime == "torch" else 512
            assert abs(kept.stat().st_size - (tmp_path / kept.name).stat().st_size) < tolerance_bytes


@pytest.fixture
def mixed_model(tmp_path):
    """The check model with one more op, of a kind that XNNPACK leaves to the built-in kernels."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    whole = Path(check_model("check", "litert")).read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(whole, 0))
    graph = model.subgraphs[0]
    made = copy.copy(graph.tensors[graph.outputs[0]])
    made.name = "normalized"
    code = schema.BuiltinOperator.L2_NORMALIZATION
    op = schema.OperatorT(
        opcodeIndex=len(model.operatorCodes),
        inputs=list(graph.outputs),
        outputs=[len(graph.tensors)],
        builtinOptionsType=schema.BuiltinOptions.L2NormOptions,
        builtinOptions=schema.L2NormOptionsT(),
    )
    model.operatorCodes.append(schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=code))
    graph.tensors.append(made)
    graph.operators.append(op)
    graph.outputs, model.signatureDefs = op.outputs, []
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "mixed.tflite"
    path.write_bytes(builder.Output())
    return ModelFile(model_id="mixed", path=path)


def test_a_model_that_a_delegate_runs_in_part_names_both_places(real_runner, mixed_model):
    with open_session(real_runner("litert")) as session:
        list(session.time_models([mixed_model], canary=mixed_model))
        assert session.ran_on == "XNNPACK, built-in kernels"


def test_a_broken_runtime_is_not_replaced_by_another_unseen(tmp_path, monkeypatch):
    for package, text in (
        ("ai_edge_litert", "raise ImportError('no libstdc++ of that age')"),
        ("tflite_runtime", "Interpreter = 1"),
    ):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
        (tmp_path / package / "interpreter.py").write_text(text + "\n")
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="no libstdc"):
        open_litert({"accelerator": "cpu", "thread_count": 1})


def test_a_model_without_a_delegate_ran_on_built_in_kernels():
    ops = [{"op_name": "ADD", "inputs": [0, 0], "outputs": [1]}, {"op_name": "ADD", "inputs": [1, 0], "outputs": [2]}]
    assert places_of(ops, [2]) == {"built-in kernels"}
    assert places_of([*ops, {"op_name": "DELEGATE", "inputs": [0], "outputs": [2]}], [2]) == {"XNNPACK"}
    assert places_of([*ops, {"op_name": "DELEGATE", "inputs": [0], "outputs": [1]}], [2]) == {
        "XNNPACK",
        "built-in kernels",
    }


def test_a_node_that_an_accelerator_leaves_to_the_cpu_is_an_error(monkeypatch):
    # Azure's provider is in every build of onnxruntime and takes no node of ours, like CUDA with an op that it lacks.
    if "AzureExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no second provider to try it with")
    monkeypatch.setitem(onnxruntime_runtime._PROVIDERS, "cuda", "AzureExecutionProvider")
    runtime = onnxruntime_runtime.open_runtime({"accelerator": "cuda", "thread_count": 1})
    with pytest.raises(Fail, match="assigned to the default CPU EP"):
        runtime.load(str(check_model("check", "onnxruntime")), 0)


def test_tflite_runtime_2_14_is_found_and_used(real_runner):
    python = BUILT / "tflite-runtime" / "bin" / "python"
    if not (BUILT / "tflite-runtime" / "ready").exists():
        pytest.skip("no environment with tflite-runtime; tests/profiler_agent/setup_system.sh makes it or says why not")
    device = replace(real_runner("litert"), runner=PythonRunner(python=str(python)))
    timings, session = time_check_model(device)
    assert session.facts.runtime_version == "tflite-runtime 2.14.0"
    assert session.ran_on == "XNNPACK"
    assert 0.0005 < min(timings["check"].sessions[0].samples_ms) < 5


def test_the_native_runner_agrees_with_the_python_runner(real_runner):
    folder = BUILT / "native-x86_64"
    if not (folder / "runner.json").exists():
        pytest.skip("the native runner is not built; tests/profiler_agent/setup_system.sh builds it or says why not")
    python, _ = time_check_model(real_runner("litert"))
    native, session = time_check_model(
        replace(real_runner("litert"), runner=NativeRunner(kind="native", folder=folder))
    )
    assert session.ran_on == "LiteRT CPU"
    fastest = [min(min(s.samples_ms) for s in timings["check"].sessions) for timings in (python, native)]
    assert max(fastest) / min(fastest) < 1.5  # the same kernels; a crowded machine blurs what four rounds tell


@pytest.mark.parametrize(("threads", "is_taken"), [(1, True), (4, False), ("null", False)])
def test_the_native_runner_times_one_thread_or_nothing(threads, is_taken):
    runner = NativeHostRunner(runtime=RuntimeOptions(name="litert"), machine="any", loader="", litert="", parts={})
    lines = [f'{{"t":"samples","m":{m},"runs":1,"burst_ns":[1000],"switches":[0]}}' for m in range(2)]
    end = f'{{"t":"end","models":2,"runtime":{{"threads":{threads},"ran_on":["LiteRT CPU"]}},"seconds":0.3}}'
    output = "\n".join([*lines, end, ""]).encode()
    plan = TimingPlan(round_count=1)
    batch = Batch(model_paths=("/a", "/b"), model_ids=("a", "canary"), seed=0, plan=plan, model_limit_s=1.0)
    if is_taken:
        assert runner.read(output, batch).sessions[0].samples_ms == (0.001,)
    else:
        with pytest.raises(AgentFailed, match=f"LiteRT ran on {threads if threads == 4 else None} threads"):
            runner.read(output, batch)


def test_a_native_runner_that_was_not_built_is_named_with_the_mend(local_device, tmp_path):
    device = replace(
        local_device, runner=NativeRunner(kind="native", folder=tmp_path), runtime=RuntimeOptions(name="litert")
    )
    with pytest.raises(ConfigError, match="make native-runner"), open_session(device):
        pass


def test_a_native_runner_of_another_version_is_named_with_the_mend(local_device, tmp_path):
    (tmp_path / "runner.json").write_text(json.dumps(NATIVE_RUNNER | {"source_sha256": "0" * 64}))
    device = replace(
        local_device, runner=NativeRunner(kind="native", folder=tmp_path), runtime=RuntimeOptions(name="litert")
    )
    with pytest.raises(ConfigError, match=r"another version .*make native-runner"), open_session(device):
        pass


def test_a_native_runner_of_another_machine_is_refused(real_runner, tmp_path):
    folder = BUILT / "native-aarch64"
    if not (folder / "runner.json").exists():
        pytest.skip("the native runner is not built; tests/profiler_agent/setup_system.sh builds it or says why not")
    shutil.copytree(folder, tmp_path / "native")
    device = replace(real_runner("litert"), runner=NativeRunner(kind="native", folder=tmp_path / "native"))
    with pytest.raises(RuntimeMissing, match="Is the machine the right one"), open_session(device):
        pass


def test_two_hosts_that_look_for_the_native_runner_do_not_step_on_each_other(local_device, tmp_path):
    (tmp_path / "runner.json").write_text(json.dumps(NATIVE_RUNNER))
    runtime = RuntimeOptions(name="litert")
    device = replace(local_device, runner=NativeRunner(kind="native", folder=tmp_path), runtime=runtime)
    stages = []

    def insist(script, root, stage):
        stages.append(stage)
        return ShellResult(return_code=0, stdout=b'{"t":"probe","runtime":"litert"}', stderr="")

    for _ in range(2):
        runner = make_runner(device, tmp_path)
        runner.probe(SimpleNamespace(insist=insist), SimpleNamespace(path="/d", cached=str))
    assert len(set(stages)) == 2
    assert all(stage.startswith("stage-") for stage in stages)  # what a lost host leaves of it is swept


@pytest.fixture(scope="module")
def torchscript(tmp_path_factory):
    """A small convolution as TorchScript, saved by another process: tracing warns, and warnings are errors here."""
    path = tmp_path_factory.mktemp("torch") / "conv.pt"
    script = (
        "import json, sys, warnings, torch\n"
        "warnings.simplefilter('ignore')\n"
        "net = torch.nn.Conv2d(8, 8, 3).eval()\n"
        "signature = json.dumps([{'shape': [1, 8, 14, 14], 'dtype': 'float32'}])\n"
        "traced = torch.jit.trace(net, torch.zeros(1, 8, 14, 14))\n"
        "torch.jit.save(traced, sys.argv[1], _extra_files={'signature.json': signature})\n"
        "torch.jit.save(traced, sys.argv[1] + '.bare')\n"
    )
    subprocess.run([sys.executable, "-c", script, path], check=True)
    return path


def test_torchscript_files_are_timed_by_torch(real_runner, torchscript):
    files = [ModelFile(model_id="conv", path=torchscript)]
    with open_session(real_runner("torch")) as session:
        (timing,) = session.time_models(files, canary=files[0])
        assert session.ran_on == "torch CPU"
        assert session.facts.runtime_name == "torch"
    assert 0.001 < min(timing.sessions[0].samples_ms) < 50


def test_torchscript_without_a_signature_is_refused_with_the_mend(real_runner, torchscript):
    bare = ModelFile(model_id="bare", path=Path(f"{torchscript}.bare"))
    with open_session(real_runner("torch")) as session, pytest.raises(ModelsFailed, match="carries no signature"):
        list(session.time_models([bare], canary=ModelFile(model_id="conv", path=torchscript)))


def test_cuda_on_a_machine_without_it_is_refused(real_runner, torchscript):
    device = replace(real_runner("torch"), runtime=RuntimeOptions(name="torch", accelerator="cuda"))
    files = [ModelFile(model_id="conv", path=torchscript)]
    with open_session(device) as session:
        if shutil.which("nvidia-smi") is not None:
            pytest.skip("this machine has CUDA; benchmarks and the gpu tests use it")
        with pytest.raises(ModelsFailed, match="sees no CUDA device"):
            list(session.time_models(files, canary=files[0]))


@pytest.mark.gpu
def test_torch_on_cuda_is_timed_by_its_events(real_runner, torchscript):
    device = replace(real_runner("torch"), runtime=RuntimeOptions(name="torch", accelerator="cuda"))
    files = [ModelFile(model_id="conv", path=torchscript)]
    with open_session(device) as session:
        (timing,) = session.time_models(files, canary=files[0])
        assert session.ran_on is not None
        assert session.ran_on != "torch CPU"
    assert 0.001 < min(timing.sessions[0].samples_ms) < 50


def test_a_file_that_is_no_model_is_named(real_runner, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    models = [
        ModelFile(model_id="broken", path=tmp_path / "broken.onnx"),
        ModelFile(model_id="check", path=check_model("check", "onnxruntime")),
    ]
    canary = ModelFile(model_id="canary", path=check_model("canary", "onnxruntime"))
    timings = []
    with open_session(real_runner("onnxruntime")) as session, pytest.raises(ModelsFailed, match=r"broken: .*exit code"):
        for timing in session.time_models(models, canary=canary):
            timings.append(timing.model_id)
    assert timings == ["check"]
