"""The JSON files of a run, written by several at once or not at all."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from search.files import read_json, write_json, write_text

WRITERS = 8
WRITES = 40


def test_what_several_write_at_once_is_whole_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "data.json"
    rows = [[writer] * 1000 for writer in range(WRITERS)]

    def write(row):
        for _ in range(WRITES):
            write_json(path, row)
            assert read_json(path) in rows

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, rows))
    assert list(tmp_path.iterdir()) == [path]


def test_a_text_that_cannot_be_written_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "data.json"
    write_json(path, {"kept": True})
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "a lone surrogate: \ud800")
    assert read_json(path) == {"kept": True} and list(tmp_path.iterdir()) == [path]
