"""What NNI's ProxylessNAS runs, exports and lands on; runs in the peers' environment (``peers_search`` starts it).

``python -m benchmarks.peers_nni_search forwards plain-6`` counts the candidates that a weight step and an architecture
step run; ``land --target-ms 0.5`` searches digits toward a latency. Both print one line of JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import pytorch_lightning as pl
import torch
from nni.mutable import MutableExpression
from nni.nas.oneshot.pytorch.supermodule.differentiable import DifferentiableMixedLayer
from nni.nas.profiler import ExpressionProfiler
from nni.nas.strategy import Proxyless
from torch import Tensor

from benchmarks.peers_forwards import ForwardCounter
from benchmarks.peers_nni import LEARNING_RATE, PeerNetwork, Recipe, one_quiet_thread, search
from benchmarks.peers_space import BATCH, digits, peer_data, peer_space
from benchmarks.peers_turns import say
from benchmarks.search_setting import analytic_target
from search.allocator import keep_freed_memory
from search.architecture_step import LatencyTarget
from search.spaces.small import small_space

COUNTED_BATCHES = 1
EXPORTS = 1000
LANDING_LEARNING_RATE, LARGEST_GRADIENT_NORM = 0.1, 5.0


class TableProfiler(ExpressionProfiler):  # type: ignore[misc]
    """The additive latency table as NNI's profilers have it: a sum of cases over the choices."""

    def __init__(self, network: PeerNetwork, target: LatencyTarget) -> None:
        self.expression = target.fixed_ms + sum(
            MutableExpression.switch_case(
                choice.choice, {value: float(ms) for value, ms in zip(choice.choice.values, costs, strict=True)}
            )
            for choice, costs in zip(network.choices, target.path_latency_ms, strict=True)
        )


def probabilities_with_gradient(layer: Any, memo: dict[str, Any]) -> dict[str, Any]:
    """What NNI's ``export_probs`` gives, still attached to the logits."""
    if layer.label in memo:
        return {}
    return {layer.label: dict(zip(layer.names, layer._softmax(layer._arch_alpha), strict=True))}


def count_forwards(options: argparse.Namespace) -> None:
    data = peer_data()
    count = COUNTED_BATCHES * BATCH
    few = dataclasses.replace(data, train_index=data.train_index[:count], held_out_index=data.held_out_index[:count])
    network = PeerNetwork(peer_space(options.space, data))
    counter = ForwardCounter(network.stem, [choice.candidates for choice in network.choices])
    search(Proxyless(), network, Recipe(LEARNING_RATE, torch.channels_last), few, 1, pl.Callback())
    say({"architecture": counter.per_position(0), "weight": counter.per_position(1)})


def land(options: argparse.Namespace) -> None:
    """One search; says how its most probable network and its exports stand to the target."""
    torch.manual_seed(0)
    data = digits()
    space = small_space(data.data.image_shape, data.data.class_count)
    target = analytic_target(space, options.target_ms)
    network = PeerNetwork(space)
    if options.repaired:
        # As shipped the probabilities reach the penalty as plain numbers, and no gradient can come back.
        DifferentiableMixedLayer.export_probs = probabilities_with_gradient
    strategy = Proxyless(
        arc_learning_rate=options.logit_rate,
        gradient_clip_val=LARGEST_GRADIENT_NORM,
        warmup_epochs=options.warmup_epochs,
        penalty={
            "profiler": TableProfiler(network, target),
            "baseline": options.target_ms,
            "scale": options.scale,
            "nonlinear": "absolute",
        },
    )
    recipe = Recipe(LANDING_LEARNING_RATE, torch.channels_last)
    search(strategy, network, recipe, data, options.warmup_epochs + options.search_epochs, pl.Callback())
    module = strategy.oneshot_module
    module.set_model(strategy.supernet)
    layers = [m for m in module.supernet_modules() if isinstance(m, DifferentiableMixedLayer)]
    argmax = tuple(int(layer._arch_alpha.argmax()) for layer in layers)
    exports = [tuple(int(choice) for choice in module.export().values()) for _ in range(EXPORTS)]
    expected = module.penalty.profile(module.export_probs())
    say(
        {
            "argmax": target.network_ms(argmax) / options.target_ms,
            "exports": [target.network_ms(choices) / options.target_ms for choices in exports],
            "argmax_share": sum(choices == argmax for choices in exports) / EXPORTS,
            "expected": float(expected) / options.target_ms,
            "has_gradient": isinstance(expected, Tensor) and expected.requires_grad,
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    modes = parser.add_subparsers(required=True)
    forwards = modes.add_parser("forwards")
    forwards.set_defaults(run=count_forwards)
    forwards.add_argument("space")
    landing = modes.add_parser("land")
    landing.set_defaults(run=land)
    landing.add_argument("--target-ms", type=float, required=True)
    landing.add_argument("--logit-rate", type=float, required=True)
    landing.add_argument("--warmup-epochs", type=int, required=True)
    landing.add_argument("--search-epochs", type=int, required=True)
    landing.add_argument("--scale", type=float, default=1.0)
    landing.add_argument("--repaired", action="store_true", help="let the penalty's gradient reach the logits")
    options = parser.parse_args()
    keep_freed_memory()
    options.run(options)


if __name__ == "__main__":
    with one_quiet_thread():
        main()
