"""The report card in a real browser: it says what the JSON says, draws every point and complains of nothing."""

import json
import re

import pytest

from latency_model.fit import fit_predictor
from latency_model.network_latency import format_ms
from latency_model.report_page import report_page

FIGURES = ("count", "mape", "within_5_percent", "within_10_percent", "spearman", "coverage", "mean_half_width")
PROBE = (
    "{width: inner.documentElement.scrollWidth, plots: [...inner.querySelectorAll('svg')].map((svg) => {"
    " const box = svg.querySelector('.frame').getBoundingClientRect(); return {right: box.right, dots:"
    " [...svg.querySelectorAll('.dot')].filter((dot) => { const d = dot.getBoundingClientRect(); return d.width > 2 &&"
    " d.right > box.left && d.left < box.right && d.bottom > box.top && d.top < box.bottom; }).length}; })}"
)


@pytest.fixture(scope="module")
def predictor(make_networks, make_space_ops, make_device):
    networks = make_networks(12)
    return fit_predictor(make_device().measure([*make_space_ops(networks), *networks]), "forest")


@pytest.fixture
def page_file(predictor, tmp_path):
    path = tmp_path / "card.html"
    path.write_text(report_page(predictor.report_card, predictor.provenance, "latency = a < b & c"))
    return path


def table_values(table: str) -> list[list[float]]:
    """The numbers of each row after the head."""
    return [[float(v) for v in re.findall(r'<data value="([^"]+)"', row)] for row in table.split("<tr>")[2:]]


@pytest.mark.slow
def test_the_card_says_what_its_json_says_and_the_console_is_quiet(predictor, page_file, browser):
    page = browser.open(page_file)

    card = json.loads(json.dumps(predictor.report_card))
    assert page.console == []
    for what in ("networks", "ops"):
        table = re.search(rf'<table id="figures-{what}">.*?</table>', page.dom, re.DOTALL)[0]
        rows = [card[what], *card.get(f"{what}_by_kind", {}).values(), *card[f"{what}_by_size"].values()]
        rows.append(card[f"{what}_flops_baseline"])
        assert table_values(table) == [[row[name] for name in FIGURES if row[name] is not None] for row in rows]
    worst = [table_values(table) for table in re.findall(r'<table class="worst">.*?</table>', page.dom, re.DOTALL)]
    for what, found in zip(("worst_networks", "worst_ops"), worst, strict=True):
        assert found == [[row["measured_ms"], row["predicted_ms"], row["error"]] for row in card[what]]
    for points in (card["network_points"], card["op_points"]):
        for measured, predicted in zip(points["measured_ms"], points["predicted_ms"], strict=True):
            assert f"measured {format_ms(measured)} ms, predicted {format_ms(predicted)} ms" in page.dom


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_every_point_is_drawn_inside_its_frame_and_nothing_is_wider_than_the_window(
    predictor, page_file, browser, width
):
    page = browser.open_framed(page_file, width=width, ready="inner.querySelector('svg')", probe=PROBE)

    assert page.console == []
    assert page.probed["width"] <= width
    card = predictor.report_card
    assert [plot["dots"] for plot in page.probed["plots"]] == [card["networks"]["count"], card["ops"]["count"]]
    assert max(plot["right"] for plot in page.probed["plots"]) <= width
