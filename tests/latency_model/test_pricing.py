"""Networks of ops that nobody measured: priced where a regressor may speak, with what to know before believing it."""

from __future__ import annotations

import dataclasses

import pytest

from latency_model.cli_predict import notes_on
from latency_model.errors import UnknownOpError
from latency_model.fit import fit_predictor
from latency_model.ingest import NamedKernel, ingest_network
from latency_model.network import NetworkSpec, with_dtype
from latency_model.network_files import NamedNetwork
from latency_model.pricing import price_network


@pytest.fixture(scope="module")
def networks(make_networks):
    return make_networks(30)


@pytest.fixture(scope="module")
def predictor(make_device, networks, make_space_ops):
    return fit_predictor(make_device().measure([*make_space_ops(networks), *networks]), "auto")


def named(spec: NetworkSpec) -> NamedNetwork:
    layers = tuple(NamedKernel(name=name, op=op) for name, op in spec.layers)
    return NamedNetwork(name=spec.name, layers=layers, kernels=ingest_network(spec), spec=spec)


def with_first_block(network: NetworkSpec, **fields: object) -> NetworkSpec:
    """The same network, its first inverted block changed."""
    (stem, (name, block), *rest) = network.layers
    return dataclasses.replace(network, layers=(stem, (name, dataclasses.replace(block, **fields)), *rest))


def test_a_network_of_measured_ops_has_nothing_to_know_before_believing_it(predictor, networks):
    price = price_network(predictor, named(networks[0]))
    assert (price.unmeasured, price.out_of_reach, notes_on(price)) == ((), (), [])


def test_an_op_between_measured_ones_comes_from_the_regressor_and_is_within_reach(predictor, networks):
    price = price_network(predictor, named(with_first_block(networks[0], expand_channels=72)))
    assert [op.expand_channels for op in price.unmeasured] == [72]
    assert price.out_of_reach == ()
    (note,) = notes_on(price)
    assert "1 distinct ones were never measured" in note


@pytest.mark.parametrize(
    "fields", [{"expand_channels": 1600}, {"activation": "hswish"}, {"squeeze_channels": 8}, {"kernel_size": 31}]
)
def test_an_op_unlike_all_that_were_measured_is_named_as_one_that_the_interval_promises_nothing_for(
    predictor, networks, fields
):
    price = price_network(predictor, named(with_first_block(networks[0], **fields)))
    assert price.out_of_reach == price.unmeasured
    assert len(price.out_of_reach) == 1
    assert any(
        f"such as {price.out_of_reach[0].key}: the interval promises nothing" in note for note in notes_on(price)
    )


@pytest.mark.parametrize("dtype", ["fp16", "int8"])
def test_a_network_in_a_dtype_that_nobody_measured_is_refused_with_the_mend(predictor, networks, dtype):
    with pytest.raises(UnknownOpError, match=rf"no op of kind '.*' was measured in {dtype}\. .*proxyless campaign"):
        price_network(predictor, named(with_dtype(networks[0], dtype)))
