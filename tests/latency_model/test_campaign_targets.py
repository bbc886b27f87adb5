"""What a campaign times for given networks: each as it is wired where it can be written, pieces of it where not."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from latency_model.campaign_targets import campaign_targets
from latency_model.errors import MeasurementError
from latency_model.ingest import IngestedNetwork, NamedKernel
from latency_model.measurement import paid_ops
from latency_model.network import NetworkSpec, network_to_json
from latency_model.network_files import NamedNetwork, read_network
from latency_model.ops import AddSpec, ConvSpec, OpSpec

IMAGE = {"in_channels": 8, "in_height": 8, "in_width": 8}
CONV = ConvSpec(**IMAGE, out_channels=8, kernel_size=3)
OTHER = ConvSpec(**IMAGE, out_channels=8, kernel_size=1)
WIDER = ConvSpec(**IMAGE, out_channels=16, kernel_size=1)
RUNTIME = "onnxruntime"


def foreign(name: str, *ops: OpSpec) -> NamedNetwork:
    layers = tuple(NamedKernel(name=f"node{index}", op=op) for index, op in enumerate(ops))
    return NamedNetwork(name=name, layers=layers, kernels=IngestedNetwork(kernels=layers), spec=None)


def test_networks_of_one_name_are_all_timed():
    networks = [foreign("derived", *ops) for ops in ((CONV, OTHER), (OTHER, CONV), (CONV, OTHER), (CONV, CONV))]
    targets = campaign_targets(networks, "networks", RUNTIME, 10)
    assert len(targets.networks) == 3
    assert {network.ops for network in targets.networks} == {(CONV, OTHER), (OTHER, CONV), (CONV, CONV)}


@pytest.mark.parametrize("grain", ["blocks", "kernels", "networks"])
def test_a_network_of_ours_is_timed_whole_as_it_is_wired(tmp_path, grain):
    wired = NetworkSpec(
        name="wired",
        layers=(("a", CONV), ("b", OTHER), ("sum", AddSpec(**IMAGE))),
        wiring=(("b", ("input",)), ("sum", ("a", "b"))),
    )
    path = tmp_path / "wired.json"
    path.write_text(json.dumps(network_to_json(wired)))
    targets = campaign_targets([read_network(path)], grain, RUNTIME, 1)
    assert [(network.layers, network.wiring) for network in targets.networks] == [(wired.layers, wired.wiring)]
    assert targets.unchained == ()
    assert targets.ops == (() if grain == "networks" else wired.ops)


def test_a_foreign_chain_is_timed_whole_whatever_its_layers_are_called():
    targets = campaign_targets([foreign("output", CONV, OTHER)], "blocks", RUNTIME, 1)
    assert [network.ops for network in targets.networks] == [(CONV, OTHER)]


def test_a_foreign_network_that_is_no_chain_is_named_and_pieces_of_it_are_timed():
    network = foreign("branched", CONV, OTHER, CONV, WIDER, CONV, OTHER, WIDER)
    targets = campaign_targets([network], "blocks", RUNTIME, 4)
    assert targets.unchained == ("branched",)
    assert set(targets.ops) == {CONV, OTHER, WIDER}
    assert len({paid_ops(piece) for piece in targets.networks}) == len(targets.networks) == 4
    for piece in targets.networks:
        assert len(piece.ops) >= 2
        assert all(after.input_shape == before.output_shape for before, after in pairwise(piece.ops))


def test_fewer_networks_than_asked_for_are_joined_by_pieces_of_them_and_all_are_told_apart(make_networks):
    networks = make_networks(2)
    named = [foreign(network.name, *network.ops) for network in networks]
    targets = campaign_targets(named, "blocks", RUNTIME, 8)
    assert [network.ops for network in targets.networks[:2]] == [network.ops for network in networks]
    assert len({paid_ops(network) for network in targets.networks}) == 8


def test_a_network_that_cannot_be_timed_whole_where_nothing_else_is_asked_for_is_refused_with_the_mend():
    with pytest.raises(MeasurementError, match=r"Nothing to time: branched .*--grain kernels"):
        campaign_targets([foreign("branched", CONV, WIDER, CONV)], "networks", RUNTIME, 4)
