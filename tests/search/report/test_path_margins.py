"""How far each position's most probable candidate leads, and how undecided it is: on the page, on a phone as well."""

import json
import math

import pytest

from search.report import write_report
from search.report.path_map import entropy_share, margin_of, path_map
from search.report.run_folder import read_run
from tests.search.report.page_dom import READY, path_margins, section, text_of

CUT_OFF = (
    "[...inner.querySelectorAll('.scroll')].map((box) => [box.scrollWidth > box.clientWidth + 1, box.matches('.more')])"
)
SEEN = "[...inner.querySelectorAll('#path-map :is(.margin, .entropy) data')].map((one) => [one.value, one.offsetWidth])"


def keep_certainty(run_folder, **kept):
    path = run_folder.folder / "search" / "derivation.json"
    run_folder.write("search/derivation.json", json.loads(path.read_text()) | kept)


def test_a_margin_is_the_lead_over_the_next_candidate():
    assert margin_of([0.2, 0.5, 0.3]) == pytest.approx(0.2)
    assert margin_of([0.25] * 4) == 0
    assert margin_of([1.0]) == 1


def test_margin_and_entropy_are_those_that_the_derivation_kept(run_folder):
    run_folder.finish()
    count = len(run_folder.space.positions)
    margins = [0.01 * (index + 1) for index in range(count)]
    keep_certainty(run_folder, margin=margins, entropy=[math.log(2)] * count)

    page = write_report(run_folder.folder).read_text()

    assert path_margins(page) == margins
    for row, position in zip(path_map(read_run(run_folder.folder)).rows, run_folder.space.positions, strict=True):
        assert row.entropy == pytest.approx(math.log(2) / math.log(len(position.candidates)))
    assert "Margin: how far the most probable candidate leads the next" in text_of(section(page, "search"))


@pytest.mark.parametrize("kept", [{}, {"margin": [0.5], "entropy": [0.5]}])
def test_a_derivation_that_kept_none_leaves_those_of_the_last_probabilities(run_folder, kept):
    run_folder.finish()
    keep_certainty(run_folder, **kept)

    run = read_run(run_folder.folder)

    for row, shares in zip(path_map(run).rows, run.frames[-1].probabilities, strict=True):
        assert (row.margin, row.entropy) == (margin_of(shares), entropy_share(shares))


@pytest.mark.slow
def test_a_phone_shows_them_too_and_says_of_every_table_whether_it_is_cut_off(run_folder, browser):
    run_folder.finish()
    probe = f"[{SEEN}, {CUT_OFF}]"

    page = browser.open_framed(write_report(run_folder.folder), width=390, ready=READY, probe=probe)

    seen, cut_off = page.probed
    rows = path_map(read_run(run_folder.folder)).rows
    assert [float(value) for value, _ in seen] == [number for row in rows for number in (row.margin, row.entropy)]
    assert all(width > 0 for _, width in seen)
    assert any(is_cut for is_cut, _ in cut_off), "the table of exports has seven columns"
    assert all(is_cut == says_so for is_cut, says_so in cut_off)
