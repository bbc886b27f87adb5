"""Exported files compute what torch computes, and a file that does not is caught."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from latency_model.lowering import read_metadata, write_onnx, write_tflite
from latency_model.network import NetworkSpec, network_from_json, with_dtype
from latency_model.ops import (
    ActivationSpec,
    ConvSpec,
    DepthwiseConvSpec,
    FusedMBConvSpec,
    IdentitySpec,
    LinearSpec,
    MBConvSpec,
    PoolSpec,
    SqueezeExciteSpec,
)
from search.data.batches import seeded_generator
from search.errors import ExportError
from search.export_formats import ALL_FORMATS, calibrated, check_file, reference_of
from search.exported_model import open_exported
from search.file_metadata import network_in_file
from search.plain_network import PlainNetwork, folded_weights
from search.plain_source import ImageFacts, plain_source, plain_state
from search.quiet import without_chatter
from search.settings import TrainSettings
from search.steps.export import export_network
from search.train_network import NetworkTrainer, TrainFiles, load_trained

CLASSES = 3


@pytest.fixture(scope="module")
def trained(request, tmp_path_factory):
    """A network that has learned its data, trained once for all tests here."""
    holder = {}

    def make(space, data):
        if not holder:
            files = TrainFiles(folder=tmp_path_factory.mktemp("training"))
            network = space.network((1, 0), "derived")
            settings = TrainSettings(epochs=12, batch_size=36, held_out_fraction=0.25)
            NetworkTrainer(network, data, settings, files).run()
            holder["model"] = load_trained(network, files)
        return holder["model"]

    return make


@pytest.fixture
def model(trained, space, data):
    return trained(space, data)


def test_every_format_agrees_with_torch_and_keeps_its_accuracy(model, data, tmp_path):
    checks = export_network(model, data, tmp_path, ALL_FORMATS, seed=0)
    assert list(checks) == ["onnx", "tflite", "onnx-fp16", "tflite-fp16", "onnx-int8", "tflite-int8"]
    limits = {"fp32": 1e-4, "fp16": 0.01, "int8": 0.2}
    for key, check in checks.items():
        assert check["max_relative_error"] <= limits[check["dtype"]], key
        assert abs(check["accuracy_loss"]) <= (0 if check["dtype"] == "fp32" else 0.04), key
        assert check["accuracy_images"] == len(data.data.test_labels)
        assert (tmp_path / check["path"].partition("/")[2]).stat().st_size == check["bytes"]


def test_the_accuracy_of_a_file_is_that_of_the_file_itself(model, data, tmp_path):
    checks = export_network(model, data, tmp_path, ALL_FORMATS[:1], seed=0)
    images, labels = data.test_batches(1000)[0]
    found = open_exported(tmp_path / "derived.onnx").logits(images.contiguous().numpy())
    assert checks["onnx"]["accuracy"] == pytest.approx((found.argmax(1) == labels.numpy()).mean())


def test_the_accuracy_is_that_of_all_classes_also_where_the_images_are_ordered_by_class(model, data, monkeypatch):
    order = data.data.test_labels.argsort(stable=True)
    ordered = replace(data.data, test_images=data.data.test_images[order], test_labels=data.data.test_labels[order])
    monkeypatch.setattr("search.export_formats.ACCURACY_IMAGES", 30)
    reference = reference_of(model, replace(data, data=ordered))
    labels = np.concatenate([labels for _, labels in reference.test])
    assert len(labels) == 30 and all(5 <= count <= 15 for count in np.bincount(labels, minlength=CLASSES))
    again = reference_of(model, replace(data, data=ordered))
    np.testing.assert_array_equal(reference.test[0][0], again.test[0][0])


def test_labels_preprocessing_and_the_network_itself_travel_in_every_file(model, data, tmp_path):
    checks = export_network(model, data, tmp_path, ALL_FORMATS, seed=0)
    for check in checks.values():
        metadata = read_metadata(tmp_path / check["path"].partition("/")[2])
        assert json.loads(metadata["proxyless.class_names"]) == ["low", "middle", "high"]
        assert metadata["proxyless.layout"] == ("NCHW" if check["path"].endswith(".onnx") else "NHWC")
        assert metadata["proxyless.channels"] == "grey"
        assert metadata["proxyless.resize"] == "cut the centred square, scale it to 8x8 (bilinear, antialiased)"
        assert network_in_file(tmp_path / check["path"].partition("/")[2]) == with_dtype(model.network, check["dtype"])
        assert torch.equal(torch.tensor(json.loads(metadata["proxyless.mean"])), data.mean)
        assert torch.equal(torch.tensor(json.loads(metadata["proxyless.std"])), data.std)


@pytest.mark.parametrize("write, suffix", [(write_onnx, ".onnx"), (write_tflite, ".tflite")])
def test_a_file_with_other_weights_is_caught(model, data, tmp_path, write, suffix):
    weights = folded_weights(model)
    weights["stem.bias"] = weights["stem.bias"] + 0.01
    write(model.network, weights, tmp_path / f"wrong{suffix}")
    with pytest.raises(ExportError, match="differs from torch"):
        check_file(tmp_path / f"wrong{suffix}", "fp32", reference_of(model, data))


def test_an_eight_bit_file_of_another_network_is_caught(model, space, data, tmp_path):
    other = PlainNetwork(space.network((0, 0), "derived"), seeded_generator(9, "other")).eval()
    with torch.no_grad():
        other.layers["head_linear"].linear.weight.mul_(1000)
    checks = export_network(other, data, tmp_path, ALL_FORMATS[-2:], seed=0)
    assert len(checks) == 2
    with pytest.raises(ExportError, match="int8"):
        check_file(tmp_path / "derived-int8.onnx", "int8", reference_of(model, data))


def test_calibration_sees_training_images_only(model, data, monkeypatch):
    seen = []

    def watch(network, weights, batches):
        seen.extend(torch.cat(list(batches)))
        return {}

    monkeypatch.setattr("search.export_formats.calibrate", watch)
    options = calibrated(model.network, {}, data, seed=0)
    assert options.io == "float" and len(seen) == len(data.train_index)
    held_out, _ = data.held_out_batch(0, len(data.held_out_index))
    assert not any(torch.equal(image, other) for image in seen for other in held_out)


def test_an_unknown_kind_of_file_is_refused(tmp_path):
    with pytest.raises(ExportError, match="neither"):
        open_exported(tmp_path / "derived.pb")


def test_a_runtimes_chatter_is_held_back_but_its_warnings_are_not(capfd):
    with without_chatter():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nWARNING: odd\n")
    assert capfd.readouterr().err == "WARNING: odd\n"


def run_alone(folder, name, code):
    """Run Python with torch but without our packages, from a folder that does not hold them."""
    script = f"import sys; sys.path[:0] = [{str(folder)!r}]; import torch, {name}\n" + code
    script += "\nassert not {'search', 'latency_model', 'profiler_agent', 'safetensors'} & set(sys.modules)"
    command = [sys.executable, "-I", "-c", script]
    done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_plain_file_needs_torch_alone_and_gives_the_same_logits(model, data, tmp_path):
    export_network(model, data, tmp_path, (), seed=0)
    images = data.data.test_images
    torch.save(images, tmp_path / "images.pt")
    run_alone(
        tmp_path,
        "derived",
        "images = derived.preprocess(torch.load('images.pt'))\n"
        "with torch.no_grad(): torch.save(derived.load()(images), 'logits.pt')\n"
        "assert derived.CLASS_NAMES == ['low', 'middle', 'high'] and derived.IMAGE_SHAPE == (1, 8, 8)",
    )
    with torch.no_grad():
        expected = torch.cat([model(batch) for batch, _ in data.test_batches(1000)])
    found = torch.load(tmp_path / "logits.pt")
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-6 * float(expected.abs().max()), rtol=0)


def test_the_plain_file_scales_pixels_by_the_very_numbers_of_the_training(model, data, tmp_path):
    odd = replace(data, mean=torch.tensor([0.30620465]), std=torch.tensor([0.31898873]))
    export_network(model, odd, tmp_path, (), seed=0)
    run_alone(
        tmp_path,
        "derived",
        "assert torch.equal(torch.tensor(derived.MEAN), torch.tensor([0.30620465])), derived.MEAN\n"
        "assert torch.equal(torch.tensor(derived.STD), torch.tensor([0.31898873])), derived.STD",
    )


def test_weights_are_readable_to_whom_the_other_files_are(model, data, tmp_path):
    export_network(model, data, tmp_path, (), seed=0)
    modes = {path.suffix: path.stat().st_mode for path in tmp_path.iterdir()}
    assert modes[".safetensors"] == modes[".py"] == modes[".json"]


def test_the_plain_file_describes_itself_when_run(model, data, tmp_path):
    export_network(model, data, tmp_path, (), seed=0)
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "derived.py")], capture_output=True, text=True, timeout=120, check=True
    )
    assert "parameters; a black image is" in done.stdout
    assert network_from_json(json.loads((tmp_path / "derived.json").read_text())) == model.network


def test_a_plain_file_runs_in_the_folder_where_all_of_a_run_are_written(space, data, tmp_path):
    for name in ("random.py", "random.safetensors"):  # as earlier versions wrote them
        (tmp_path / name).write_text("")
    for name in ("derived", "random", "handmade", "random-2"):
        network = PlainNetwork(space.network((1, 0), name), seeded_generator(1, name)).eval()
        export_network(network, data, tmp_path, (), seed=0)
    written = sorted(path.stem for path in tmp_path.glob("*.py"))
    assert written == ["derived", "handmade_network", "random_2_network", "random_network"]
    assert written == sorted(path.stem for path in tmp_path.glob("*.safetensors"))
    for name in ("derived", "random_network"):
        done = subprocess.run(
            [sys.executable, f"{name}.py"], cwd=tmp_path, check=False, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0 and "a black image is" in done.stdout, done.stderr


def facts_of(*class_names: str) -> ImageFacts:
    return ImageFacts(class_names=class_names, mean=(0.5,), std=(0.25,), channels="grey", resize="none")


def every_op() -> NetworkSpec:
    """One layer of each kind, and names that Python would not take as they are."""
    at = {"in_height": 8, "in_width": 8}
    block = {"in_channels": 8, "out_channels": 8, "kernel_size": 3, **at}
    return NetworkSpec(
        name="every-op",
        layers=(
            ("stem", ConvSpec(in_channels=1, out_channels=8, kernel_size=3, activation="hswish", **at)),
            ("1.class", DepthwiseConvSpec(in_channels=8, kernel_size=5, activation="relu", **at)),
            ("lambda", ConvSpec(in_channels=8, out_channels=8, kernel_size=3, groups=4, dilation=2, **at)),
            ("act", ActivationSpec(in_channels=8, activation="swish", **at)),
            ("se", SqueezeExciteSpec(in_channels=8, squeeze_channels=4, activation="relu6", gate="sigmoid", **at)),
            ("block", MBConvSpec(expand_channels=24, squeeze_channels=8, has_residual=True, **block)),
            ("flat", MBConvSpec(expand_channels=8, activation="hswish", **block)),
            ("fused", FusedMBConvSpec(expand_channels=16, has_residual=True, **block)),
            ("nothing", IdentitySpec(in_channels=8, **at)),
            ("max", PoolSpec(in_channels=8, pool="max", kernel_size=3, stride=2, **at)),
            ("mean", PoolSpec(in_channels=8, pool="average", kernel_size=3, in_height=4, in_width=4)),
            ("pool", PoolSpec(in_channels=8, pool="global_average", in_height=4, in_width=4)),
            ("hidden", LinearSpec(in_features=8, out_features=12, activation="relu6")),
            ("classifier", LinearSpec(in_features=12, out_features=CLASSES)),
        ),
    )


def test_every_kind_of_layer_can_be_written_as_plain_pytorch(tmp_path):
    network = every_op()
    model = PlainNetwork(network, seeded_generator(4, "test")).eval()
    facts = facts_of('a "quoted" one', "b\\c", "d")
    (tmp_path / "plain.py").write_text(plain_source(network, facts))
    torch.save(plain_state(network, model.state_dict()), tmp_path / "state.pt")
    images = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.save(images, tmp_path / "images.pt")
    run_alone(
        tmp_path,
        "plain",
        "model = plain.EveryOp()\nmodel.load_state_dict(torch.load('state.pt'), strict=False)\n"
        "with torch.no_grad(): torch.save(model.eval()(torch.load('images.pt')), 'logits.pt')",
    )
    with torch.no_grad():
        torch.testing.assert_close(torch.load(tmp_path / "logits.pt"), model(images), atol=1e-6, rtol=1e-6)


@pytest.mark.skipif(find_spec("ruff") is None, reason="ruff is not installed")
def test_the_plain_file_is_formatted_and_lint_free(model, tmp_path):
    facts = facts_of(*(f"class number {index}" for index in range(20)))
    for network in (model.network, every_op()):
        source = plain_source(network, facts)
        path = tmp_path / f"{network.name.replace('-', '_')}.py"
        path.write_text(source)
        for command in (["format", "--check", "--diff"], ["check"]):
            tool = [sys.executable, "-m", "ruff", *command, "--isolated", str(path)]
            done = subprocess.run(tool, check=False, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stdout + done.stderr


def test_the_weights_file_holds_the_names_of_the_plain_file(model, data, tmp_path):
    export_network(model, data, tmp_path, (), seed=0)
    names = set(load_file(tmp_path / "derived.safetensors"))
    assert "stem.conv.weight" in names and "head_linear.bias" in names
    assert not any(name.startswith("layers.") for name in names)
