"""Kernels and networks on phone GPUs: any devices, damaged lines said by number, sums only of whole networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.claims import Options
from benchmarks.phone_noise import network_levels
from benchmarks.public_convolutions import convolution_claims
from benchmarks.public_files import Absent
from benchmarks.public_kernel_data import PhoneGpus, read_phone_gpus
from benchmarks.public_kernels import network_claims

NETWORKS, KERNELS = 30, 8
QUICK = Options(quick=True)


def kernel_lines(device: str = "watch") -> list[str]:
    rng = np.random.default_rng(0)
    lines = [f"model,operation,feature,{device}|gpu|float,{device}|gpu|kernel"]
    for network in range(NETWORKS):
        for kernel in range(KERNELS):
            shape = {"Input_channel": 8 + network, "Output_shape": "14", "Stride": "1", "Kernel": "3", "Filter": "16"}
            us = 50.0 * (1 + network) * rng.uniform(0.9, 1.1)
            lines.append(f'net{network:02d},{"CONV_2D" if kernel else "ADD"},"{shape}",{us:.4f},some_kernel')
    return lines


def network_lines(kernels: list[str], device: str = "watch") -> list[str]:
    lines = [f"model,FLOPS,{device}|gpu|float|mean"]
    for network in range(NETWORKS):
        name = f"net{network:02d}"
        total = sum(float(line.split(",")[-2]) for line in kernels if line.startswith(name))
        lines.append(f"{name},1,{0.8 * total + 300:.3f}")
    return lines


def write(folder: Path, kernels: list[str], networks: list[str] | None) -> None:
    root = folder / "phone_gpu_kernels"
    root.mkdir()
    (root / "tflite_cnn_ops_gpu.csv").write_text("\n".join(kernels) + "\n")
    if networks is not None:
        (root / "tflite_cnn_e2e.csv").write_text("\n".join(networks) + "\n")


def read(folder: Path) -> PhoneGpus:
    gpus = read_phone_gpus(folder)
    assert isinstance(gpus, PhoneGpus)
    return gpus


def test_a_device_of_any_name_is_judged(tmp_path: Path):
    write(tmp_path, kernel_lines(), network_lines(kernel_lines()))
    gpus = read(tmp_path)
    assert gpus.left_out == ()
    claims = list(network_claims(gpus, QUICK))
    assert claims[0].claim == "phone GPU watch, kernels to networks, MAPE"
    assert claims[0].holds
    assert "each network calibrated on all others: 0.0%" in (claims[0].note or "")


def test_a_phone_that_wanders_between_networks_is_told_by_the_kernels_that_they_share(tmp_path: Path):
    lines = ["model,operation,feature,watch|gpu|float,watch|gpu|kernel"]
    paces = np.exp(0.05 * np.random.default_rng(0).standard_normal(40))
    for network, pace in enumerate(paces):
        for kernel in range(KERNELS):
            shape = {"Input_channel": 8, "Output_shape": "14", "Stride": "1", "Kernel": "3", "Filter": 16 + kernel}
            lines.append(f'net{network:02d},CONV_2D,"{shape}",{100.0 * (1 + kernel) * pace:.4f},some_kernel')
    write(tmp_path, lines, None)
    levels = network_levels(read(tmp_path), "watch")
    assert levels == pytest.approx(np.log(paces / np.median(paces)), abs=1e-4)


def test_a_phone_whose_networks_share_no_kernels_tells_nothing_of_its_noise(tmp_path: Path):
    write(tmp_path, kernel_lines(), network_lines(kernel_lines()))
    claims = list(network_claims(read(tmp_path), QUICK))
    assert "too few kernels stand in several networks" in (claims[0].note or "")


def test_damaged_lines_are_named_and_networks_that_lack_a_kernel_are_not_summed(tmp_path: Path):
    kernels = kernel_lines()
    networks = network_lines(kernels)
    kernels[3] = 'junk " with a lone quote'  # of net00
    kernels[20] = kernels[20].rsplit(",", 2)[0] + ",oops,some_kernel"  # of net02
    networks[6] = "net05"
    networks.append(networks[8])
    write(tmp_path, kernels, networks)
    gpus = read(tmp_path)
    found = gpus.devices["watch"]
    assert set(found.incomplete) == {"net00", "net02", "net05"}
    assert found.networks.models[:3] == ("net01", "net03", "net04")
    assert found.networks.kernel_count.tolist() == [KERNELS] * (NETWORKS - 3)
    assert found.networks.sums_ms[0] == pytest.approx(sum(float(line.split(",")[-2]) for line in kernels[9:17]) / 1e3)
    of_kernels, of_networks = gpus.left_out
    assert of_kernels.file == "phone_gpu_kernels/tflite_cnn_ops_gpu.csv"
    assert "line 4: 1 fields instead of 5 (networks beside such lines are not summed: net00)" in of_kernels.what
    assert "line 21: watch|gpu|float is 'oops'" in of_kernels.what
    assert "line 7: 1 fields instead of 3" in of_networks.what
    assert "line 32: 'net07' stands twice" in of_networks.what


def test_a_convolution_that_cannot_be_read_is_named_and_its_time_still_counts_for_its_network(tmp_path: Path):
    kernels = kernel_lines()
    networks = network_lines(kernels)
    kernels[2] = kernels[2].replace("'Stride': '1'", "'Stride': '0'")
    kernels[5] = kernels[5].replace("{", "[", 1)
    write(tmp_path, kernels, networks)
    gpus = read(tmp_path)
    assert "line 3: no convolution" in gpus.left_out[0].what
    assert "line 6: no convolution" in gpus.left_out[0].what
    assert gpus.convolutions[1] is None
    assert len(gpus.devices["watch"].networks) == NETWORKS


def test_a_missing_file_or_column_is_named_and_what_is_there_is_kept(tmp_path: Path):
    missing = read_phone_gpus(tmp_path)
    assert isinstance(missing, Absent)
    assert str(tmp_path / "phone_gpu_kernels" / "tflite_cnn_ops_gpu.csv") in missing.why
    write(tmp_path, kernel_lines(), None)
    (claim,) = network_claims(read(tmp_path), QUICK)
    assert claim.value is None
    assert str(tmp_path / "phone_gpu_kernels" / "tflite_cnn_e2e.csv") in (claim.note or "")


def test_a_device_that_stands_in_one_of_the_files_alone_is_said(tmp_path: Path):
    write(tmp_path, kernel_lines("watch"), network_lines(kernel_lines("watch"), "fridge"))
    notes = {claim.claim: claim.note or "" for claim in network_claims(read(tmp_path), QUICK)}
    assert "watch|gpu|float|mean" in notes["phone GPU watch, kernels to networks, MAPE"]
    assert "no column fridge|gpu|float in" in notes["phone GPU fridge, kernels to networks, MAPE"]


def test_too_few_convolutions_are_counted_and_not_judged(tmp_path: Path):
    write(tmp_path, kernel_lines(), None)
    many, few = convolution_claims(read(tmp_path), QUICK)
    assert many.value is None
    assert few.value is None
    assert "30 convolutions were timed; 1050 are needed" in (many.note or "")


def test_a_convolution_with_a_window_of_nothing_is_said_and_one_with_an_even_window_is_no_fault(tmp_path: Path):
    kernels = kernel_lines()
    kernels[2] = kernels[2].replace("'Kernel': '3'", "'Kernel': '0'")
    kernels[3] = kernels[3].replace("'Kernel': '3'", "'Kernel': '2'")
    write(tmp_path, kernels, network_lines(kernels))
    (said,) = read(tmp_path).left_out
    assert said.used == said.of - 1
    assert "line 3: no convolution" in said.what


@pytest.mark.parametrize("network", ["net04", f"net{NETWORKS - 1:02d}"])
def test_a_network_whose_block_is_appended_once_more_is_summed_once_and_that_is_said(tmp_path: Path, network: str):
    kernels = kernel_lines()
    again = [line for line in kernels if line.startswith(network)]
    write(tmp_path, [*kernels, *again], network_lines(kernels))
    gpus = read(tmp_path)
    found = gpus.devices["watch"].networks
    assert found.kernel_count.tolist() == [KERNELS] * NETWORKS
    assert len(gpus.models) == NETWORKS * KERNELS
    (said,) = gpus.left_out
    assert (said.used, said.of) == (NETWORKS * KERNELS, (NETWORKS + 1) * KERNELS)
    lines = f"lines {len(kernels) + 1} to {len(kernels) + KERNELS}"
    assert f"{lines}: the block of '{network}' stands twice; the first is used" in said.what


def test_a_kernel_file_that_stands_twice_is_read_once(tmp_path: Path):
    kernels = kernel_lines()
    write(tmp_path, [*kernels, *kernels[1:]], network_lines(kernels))
    gpus = read(tmp_path)
    assert gpus.devices["watch"].networks.kernel_count.tolist() == [KERNELS] * NETWORKS
    assert gpus.left_out[0].used == NETWORKS * KERNELS


def test_a_network_whose_lines_are_parted_keeps_all_of_them(tmp_path: Path):
    kernels = kernel_lines()
    kernels.append(kernels.pop(12))  # of net01
    write(tmp_path, kernels, network_lines(kernels))
    gpus = read(tmp_path)
    assert gpus.left_out == ()
    assert gpus.devices["watch"].networks.kernel_count.tolist() == [KERNELS] * NETWORKS


def test_another_type_of_number_is_a_device_of_its_own(tmp_path: Path):
    kernels = [line.replace("|float", "|fp16") for line in kernel_lines()]
    networks = [line.replace("|float", "|fp16") for line in network_lines(kernels)]
    write(tmp_path, kernels, networks)
    gpus = read(tmp_path)
    assert gpus.left_out == ()
    assert list(gpus.devices) == ["watch fp16"]
    assert next(iter(network_claims(gpus, QUICK))).claim == "phone GPU watch fp16, kernels to networks, MAPE"


def test_columns_and_files_that_are_not_read_are_named_in_one_row(tmp_path: Path):
    kernels = [f"{line},1.0" for line in kernel_lines()]
    kernels[0] = kernels[0].replace(",1.0", ",watch|npu|int8")
    networks = [f"{line},1.0" for line in network_lines(kernel_lines())]
    networks[0] = networks[0].replace(",1.0", ",watch|1large|float|mean")
    write(tmp_path, kernels, networks)
    (tmp_path / "phone_gpu_kernels" / "more.CSV").write_text("a\n1\n")
    (said,) = read(tmp_path).left_out
    assert said.claim().claim == "data phone_gpu_kernels, columns and files used"
    assert said.what == "not read: tflite_cnn_ops_gpu.csv 'watch|npu|int8'; more.CSV"


def test_a_column_that_stands_twice_is_read_where_both_agree_and_named_where_they_differ(tmp_path: Path):
    kernels, networks = kernel_lines(), network_lines(kernel_lines())
    for name, again, is_read in (("alike", 1.0, True), ("apart", 1.01, False)):
        lines = [f"{networks[0]},watch|gpu|float|mean"]
        lines += [f"{line},{again * float(line.split(',')[-1]):.3f}" for line in networks[1:]]
        (tmp_path / name).mkdir()
        write(tmp_path / name, kernels, lines)
        gpus = read(tmp_path / name)
        assert (next(iter(network_claims(gpus, QUICK))).value is not None) == is_read
        said = [one.what for one in gpus.left_out]
        assert said == (
            [] if is_read else ["not read: tflite_cnn_e2e.csv 'watch|gpu|float|mean' (stands twice, and differs)"]
        )


def test_networks_in_another_unit_than_their_kernels_are_not_scaled_into_place(tmp_path: Path):
    header, *lines = network_lines(kernel_lines())
    in_ms = [f"{line.rsplit(',', 1)[0]},{float(line.rsplit(',', 1)[1]) / 1000}" for line in lines]
    write(tmp_path, kernel_lines(), [header, *in_ms])
    (claim,) = network_claims(read(tmp_path), QUICK)
    assert claim.value is None
    assert "phone_gpu_kernels/tflite_cnn_e2e.csv looks like milliseconds" in (claim.note or "")
    assert "phone_gpu_kernels/tflite_cnn_ops_gpu.csv like nanoseconds" in (claim.note or "")
