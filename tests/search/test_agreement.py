"""Workers begin one search with the same space, images, settings, targets, weights and logits, or not at all."""

from __future__ import annotations

import dataclasses

import pytest

from search.agreement import require_shares
from search.errors import RunFolderError
from search.settings import SearchSettings
from search.workers import Workers
from tests.search.two_workers import found_by_two

SETTINGS = SearchSettings(warmup_steps=2, search_steps=4, batch_size=32, architecture_batch_size=64)
BEGIN = """
    import dataclasses, json, os, sys
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    from search import trainer as module
    from search.errors import WorkersDiffer
    from search.settings import SearchSettings
    from search.workers import join_workers
    from tests.search.conftest import target_from_macs
    from tests.search.small_search import small_data, tiny_space

    folder, differ = Path(sys.argv[1]), sys.argv[2]
    is_other = os.environ["RANK"] == "1"
    settings, space, data = SearchSettings(warmup_steps=2, search_steps=4), tiny_space(), small_data()
    target = target_from_macs(space, 0.06)
    if is_other and differ == "images":
        data = dataclasses.replace(data, data=dataclasses.replace(data.data, hash="rows-2"))
    if is_other and differ == "seed":
        settings = dataclasses.replace(settings, seed=4)
    if is_other and differ == "last digits":
        target = target.with_latencies([ms * (1 + 1e-15) for ms in target.path_latency_ms], target.fixed_ms)
        exact = module.build_supernet
        def rounded_otherwise(*arguments):
            supernet = exact(*arguments)
            with torch.no_grad():
                for weight in supernet.parameters():
                    weight.mul_(1 + 1e-6)
            return supernet
        module.build_supernet = rounded_otherwise
    with join_workers() as workers:
        try:
            trainer = module.SearchTrainer(space, data, [target], settings, module.SearchFiles(folder=folder), workers)
            found = {
                "weights": [w.tolist() for w in trainer.supernet.parameters()],
                "latencies": [ms.tolist() for ms in trainer.states[0].target.path_latency_ms],
            }
        except WorkersDiffer as error:
            found = str(error)
        (folder / f"found{workers.rank}.json").write_text(json.dumps(found))
"""


@pytest.mark.slow
def test_last_digits_that_another_processor_finds_otherwise_are_the_first_workers(tmp_path):
    first, second = found_by_two(BEGIN, tmp_path, "last digits")
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize(("differ", "named"), [("images", "data"), ("seed", "settings")])
def test_workers_with_other_images_or_settings_are_refused_by_all_with_what_differs(tmp_path, differ, named):
    first, second = found_by_two(BEGIN, tmp_path, differ)
    assert first == second
    assert f"Worker 1 of 2 has another {named} than the first one. Give every machine the same" in first


def test_more_workers_than_a_batch_has_images_for_are_refused_with_how_many_may_be(data):
    few = dataclasses.replace(data, held_out_index=data.held_out_index[:9])
    require_shares(Workers(0, 4), SETTINGS, few)
    with pytest.raises(RunFolderError, match=r"5 workers share batches of 32 training and 9 held-out .* 4 or fewer"):
        require_shares(Workers(0, 5), SETTINGS, few)


def test_one_process_needs_no_share(data):
    require_shares(Workers(), SETTINGS, dataclasses.replace(data, held_out_index=data.held_out_index[:1]))
