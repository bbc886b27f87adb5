"""The report as a file: what it holds, what it says of missing parts, and what it refuses."""

import json
import re
from dataclasses import replace

import pytest

from latency_model.ops import ConvSpec, IdentitySpec, LinearSpec, MBConvSpec, PoolSpec
from search.report import REPORT_NAME, ReportError, write_comparison, write_report
from search.report.blocks import block_of, describe_network, merged_names
from search.report.layers import layer_table
from search.report.network_figure import draw_tall, draw_wide
from search.report.path_map import entropy_share, path_map
from search.report.run_folder import LayerLatency, read_run
from tests.search.report.page_dom import section, text_of


def own_part(page: str) -> str:
    """The page without the plotting library."""
    return re.sub(r"<script>.*?plotly\.js.*?</script>", "", page, count=1, flags=re.DOTALL)


def test_the_page_is_one_file_below_six_megabytes_that_loads_nothing(run_folder):
    path = write_report(run_folder.finish())

    page = own_part(path.read_text())
    assert path == run_folder.folder / REPORT_NAME
    assert path.stat().st_size < 6_000_000
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page)
    assert "url(" not in page and "@import" not in page
    assert "default-src 'none'" in page


def test_the_page_speaks_of_a_finished_run(run_folder):
    page = write_report(run_folder.finish()).read_text()

    top = text_of(page.split("<main>")[0])
    assert "The derived network takes 0.118 ms on local-cpu-onnxruntime, 1.4 % under the budget" in top
    assert "Meets the budget" in top
    assert "24 held-out networks" in text_of(section(page, "predictor"))
    assert "Mean absolute error 1.6 % 11.8 %" in text_of(section(page, "predictor"))
    assert "Derived ONNX 861 kB 3.1e-06 91.3 % 0.0 2,000" in text_of(section(page, "exports"))
    assert "Derived ONNX int8 232 kB 4.1e-02 90.6 % \u22120.7 2,000" in text_of(section(page, "exports"))
    layers = text_of(section(page, "layers"))
    assert "Share of the network, predicted, µs Alone, measured, µs" in layers
    costs = text_of(section(page, "cost"))
    assert "In all 10 min 55 s 1 min 19 s" in costs and "derive 21.0 s 12.6 s train 6 min 42 s — " in costs
    assert "Not recorded" not in costs
    assert "12.0 passes in 2 min 31 s" in costs
    assert "3f9a1c07" in text_of(section(page, "run"))
    assert "Started 2026-03-01 09:30 UTC" in text_of(section(page, "run"))


def test_of_a_run_that_did_not_record_its_device_time_the_page_says_so(run_folder):
    run_folder.finish()
    run_folder.write("summary.json", run_folder.summary() | {"device_seconds": {"verify": 8.0}})

    costs = text_of(section(write_report(run_folder.folder).read_text(), "cost"))

    assert "In all 10 min 55 s — " in costs and "verify 9.7 s 8.0 s" in costs
    assert "Not recorded for profile, derive: done by a version that did not keep it." in costs


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("network", "proxyless derive"),
        ("trade-off", "proxyless verify"),
        ("search", "proxyless search"),
        ("layers", "proxyless verify"),
        ("predictor", "proxyless run"),
        ("training", "proxyless train"),
        ("exports", "proxyless export"),
        ("cost", "proxyless run"),
    ],
)
def test_a_section_without_data_names_the_command_that_makes_it(run_folder, name, command):
    page = write_report(run_folder.folder).read_text()

    assert f"This makes it: {command}" in text_of(section(page, name))


@pytest.mark.parametrize(
    "step", ["add_predictor", "add_search", "add_derived", "add_training", "add_exports", "add_verification"]
)
def test_any_one_part_alone_makes_a_page(run_folder, step):
    getattr(run_folder, step)()

    assert "</html>" in write_report(run_folder.folder).read_text()


def test_before_anything_is_derived_the_leading_candidates_are_drawn(run_folder):
    run_folder.add_search()

    page = write_report(run_folder.folder).read_text()

    assert "Leading at step 1190" in section(page, "network")
    assert "This makes it: proxyless derive" in text_of(section(page, "network"))


def test_a_page_without_plots_leaves_the_plotting_library_out(run_folder):
    path = write_report(run_folder.folder)

    assert path.stat().st_size < 100_000


def test_names_from_outside_cannot_become_markup(run_folder):
    run_folder.finish()
    card = json.loads((run_folder.folder / "run.json").read_text())
    card["device"]["name"] = "<script>alert(1)</script>"
    run_folder.write("run.json", card)

    assert "<script>alert(1)" not in write_report(run_folder.folder).read_text()


def test_a_budget_in_plain_milliseconds_needs_no_reference(run_folder):
    card = json.loads((run_folder.folder / "run.json").read_text())
    card["target"] = {"text": None, "target_ms": None, "reference_ms": None}
    run_folder.write("run.json", card)

    page = write_report(run_folder.folder).read_text()

    assert "looks for a network for fashion-mnist on local-cpu-onnxruntime." in text_of(page)


def test_a_torn_last_line_is_left_out(run_folder):
    run_folder.add_search()
    path = run_folder.folder / "search" / "events.jsonl"
    whole = path.read_text()
    path.write_text(whole + '{"step": 12')

    assert len(read_run(run_folder.folder).events) == len(whole.splitlines())


def test_steps_that_a_resumed_run_logged_again_count_once(run_folder):
    run_folder.add_search()
    path = run_folder.folder / "search" / "events.jsonl"
    path.write_text(path.read_text() + json.dumps({"step": 1190, "phase": "search", "loss": 7.5}) + "\n")

    events = read_run(run_folder.folder).events
    assert [event["step"] for event in events] == list(range(0, 1200, 10))
    assert events[-1]["loss"] == 7.5


def test_of_several_targets_the_runs_own_is_shown(run_folder):
    run_folder.add_search()
    path = run_folder.folder / "search" / "probabilities.jsonl"
    other = run_folder.frame(1195) | {"target": "pixel"}
    path.write_text(path.read_text() + json.dumps(other) + "\n")

    assert read_run(run_folder.folder).frames[-1].step == 1190


def test_of_a_search_that_another_run_holds_the_own_target_is_shown_with_what_it_cost(make_run_folder):
    holder, run = make_run_folder("holder"), make_run_folder("run")
    holder.add_search()
    run.add_derived()
    own = [holder.event(step) | {"target": "pixel at 2 ms", "derived_ms": 1.9} for step in range(300, 1200, 10)]
    path = holder.folder / "search" / "events.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    holder.write_lines("search/events.jsonl", sorted(events + own, key=lambda event: event["step"]))
    cost = {"runs": 2, "passes": 8.25, "separate_passes": 14.5, "seconds": 41.0, "separate_seconds": 75.0}
    shared = {"folder": "../holder", "targets": {"small": "pixel at 2 ms"}, "cost": cost}
    run.write("run.json", run.run_facts(0) | {"shared_search": shared})

    record = read_run(run.folder)
    assert {event["target"] for event in record.events} == {None, "pixel at 2 ms"}
    assert [event["step"] for event in record.events] == list(range(0, 1200, 10))
    assert len(record.positions) == 9
    costs = text_of(section(own_part(write_report(run.folder).read_text()), "cost"))
    assert "Search for 2 runs together 8.2 passes over the training images in 41.0 s" in costs
    assert "separate searches: 14.5 passes in 1 min 15 s" in costs


def test_a_broken_line_is_named(run_folder):
    run_folder.add_search()
    path = run_folder.folder / "search" / "events.jsonl"
    path.write_text("not json\n" + path.read_text())

    with pytest.raises(ReportError, match=r"events\.jsonl, line 1 is not JSON"):
        write_report(run_folder.folder)


def test_a_broken_file_is_named(run_folder):
    run_folder.write("summary.json", [1, 2])

    with pytest.raises(ReportError, match=r"summary\.json holds a list"):
        write_report(run_folder.folder)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ReportError, match=r"holds no run\.json"):
        write_report(tmp_path)


def test_a_run_of_another_schema_is_refused(run_folder):
    run_folder.write("run.json", {"schema": 2})

    with pytest.raises(ReportError, match="has schema 2; this version reads 1"):
        write_report(run_folder.folder)


def test_one_run_cannot_be_compared(run_folder, tmp_path):
    with pytest.raises(ReportError, match="name two or more"):
        write_comparison([run_folder.folder], tmp_path / "out.html")


def test_a_run_is_not_compared_with_itself(run_folder, tmp_path):
    with pytest.raises(ReportError, match="named twice"):
        write_comparison([run_folder.folder, run_folder.folder / ".." / "first"], tmp_path / "out.html")


def test_a_page_goes_into_a_new_folder_and_where_it_cannot_that_is_explained(run_folder, make_run_folder, tmp_path):
    folders = [run_folder.folder, make_run_folder("two").folder]
    assert write_comparison(folders, tmp_path / "new" / "out.html").is_file()
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match="cannot be written"):
        write_comparison(folders, tmp_path / "file" / "out.html")


def test_a_network_that_changed_since_it_was_timed_is_named_at_the_top(run_folder):
    run_folder.finish()
    assert 'id="outdated"' not in write_report(run_folder.folder).read_text()
    run_folder.write("run.json", run_folder.run_facts(0) | {"outdated": ["derived"]})
    page = write_report(run_folder.folder).read_text()
    assert "Derived changed since it was timed" in page and f"proxyless export {run_folder.folder}" in page


MBCONV = MBConvSpec(
    in_channels=16, in_height=8, in_width=8, out_channels=24, kernel_size=5, stride=2, expand_channels=96
)


def test_a_block_is_described_by_kernel_expansion_width_and_size():
    block = block_of("b1", MBCONV)

    assert block.short == ("k5", "e6")
    assert block.words == "inverted bottleneck, kernel 5, expansion 6, 16 to 24 channels, 4x4 pixels, stride 2"


def test_layers_of_several_networks_share_their_columns():
    def blocks(*names):
        return [block_of(name, MBCONV) for name in names]

    assert merged_names([blocks("stem", "a", "head"), blocks("stem", "a", "b", "head")]) == ["stem", "a", "b", "head"]


def test_the_drawing_says_in_words_what_it_shows():
    conv = ConvSpec(in_channels=3, in_height=16, in_width=16, out_channels=16, kernel_size=3, stride=2)
    identity = IdentitySpec(in_channels=24, in_height=4, in_width=4)
    pool = PoolSpec(pool="global_average", in_channels=24, in_height=4, in_width=4)
    linear = LinearSpec(in_features=24, out_features=10)
    named = {"stem": conv, "b1": MBCONV, "b2": identity, "pool": pool, "fc": linear}
    blocks = [block_of(name, op) for name, op in named.items()]

    for draw in (draw_wide, draw_tall):
        drawing = draw("Derived network", blocks, list(named))
        assert "<title>Derived network</title>" in drawing
        assert describe_network(blocks) in drawing
        assert drawing.count('class="block ') == 5
        assert 'class="block skip"' in drawing and 'class="block k5"' in drawing
    assert "skipped: the input passes on" in describe_network(blocks)


def test_each_drawing_shows_the_channels_of_a_block_and_its_residual_as_the_legend_says():
    residual = replace(MBCONV, in_channels=24, stride=1, expand_channels=72, has_residual=True)
    blocks = [block_of("b1", MBCONV), block_of("b2", residual)]

    for draw in (draw_wide, draw_tall):
        drawing = draw("Derived network", blocks, ["b1", "b2"])
        assert re.findall(r'<text class="width"[^>]*>(\d+)<', drawing) == ["24", "24"]
        assert drawing.count('class="residual"') == 1


def test_probabilities_of_candidates_stand_in_the_column_of_their_label(run_folder):
    run_folder.add_search()
    run_folder.add_derived()
    run = read_run(run_folder.folder)

    table = path_map(run)

    last = run.frames[-1].probabilities
    for row, position, shares, choice in zip(table.rows, run.positions, last, run_folder.choices["derived"]):
        shown = {label: cell for label, cell in zip(table.labels, row.cells) if cell.index is not None}
        assert {label: cell.probability for label, cell in shown.items()} == dict(zip(position.labels, shares))
        assert [label for label, cell in shown.items() if cell.is_chosen] == [position.labels[choice]]


def test_entropy_is_one_when_undecided_and_zero_when_decided():
    assert entropy_share([0.25] * 4) == pytest.approx(1)
    assert entropy_share([1.0, 0.0]) == 0
    assert entropy_share([1.0]) == 0


def test_small_layers_are_shown_in_microseconds_and_skipped_ones_not_at_all():
    table = layer_table(
        [
            LayerLatency("a", "k3 e3", 0.010, 0.012),
            LayerLatency("b", "skip", 0.0, None),
            LayerLatency("c", "k5 e6", 0.020, None),
        ]
    )

    assert [bar.layer.name for bar in table.bars] == ["a", "c"]
    assert (table.unit, table.text(0.0125)) == ("µs", "12.5")
    assert table.predicted_total_ms == pytest.approx(0.03)
    assert table.measured_total_ms is None


def test_how_noisy_the_predictors_timings_are_stands_beside_how_wrong_it_is(run_folder):
    run_folder.finish()
    page = write_report(run_folder.folder).read_text()
    assert "Noise: the sessions of all 64 timings agree within 3% (0.6% in the median, 2.1% at most)." in page
