"""The journal is read strictly: what the agent could not have written is an error, what a kill leaves is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler_agent.errors import AgentOutputError
from profiler_agent.journal import MAX_LINE_BYTES, Bye, Hello, JournalReader, Result, Start
from profiler_agent.remote_shell import printable

HELLO = b'{"t":"hello","protocol":1,"agent":"' + b"a" * 64 + b'","session":"s1","pid":42}\n'
START = b'{"t":"start","id":"j1"}\n'
RESULT = (
    b'{"t":"res","id":"j1","rc":0,"limit":false,"out_bytes":3,"out_sha256":"' + b"b" * 64 + b'",'
    b'"before":{"load_1min":0.5,"frequencies_khz":[1800000,null]},"after":null}\n'
)
BYE = b'{"t":"bye","why":"done"}\n'
WHOLE = HELLO + START + RESULT + BYE


def test_a_whole_journal_is_read_record_by_record():
    hello, start, result, bye = JournalReader().feed(WHOLE)
    assert hello == Hello(protocol=1, agent="a" * 64, session="s1", pid=42)
    assert start == Start(id="j1")
    assert isinstance(result, Result)
    assert result.return_code == 0
    assert result.before == {"load_1min": 0.5, "frequencies_khz": [1800000, None]}
    assert bye == Bye(why="done")


def test_fixed_performance_is_the_only_fact_in_words_and_has_three_of_them():
    told = RESULT.replace(b'"load_1min":0.5', b'"fixed_performance":"refused"')
    (result,) = JournalReader().feed(told)
    assert result.before["fixed_performance"] == "refused"
    with pytest.raises(AgentOutputError):
        JournalReader().feed(told.replace(b"refused", b"often"))


def test_the_last_record_tells_whether_fixed_clocks_were_let_go():
    assert JournalReader().feed(BYE.replace(b"}", b',"let_go_rc":0}')) == [Bye(why="done", let_go_rc=0)]
    with pytest.raises(AgentOutputError):
        JournalReader().feed(BYE.replace(b"}", b',"let_go_rc":"no"}'))


@given(st.lists(st.integers(0, len(WHOLE)), max_size=8))
def test_it_does_not_matter_where_the_link_cuts_the_journal(cuts):
    reader = JournalReader()
    records = []
    for end in [*sorted(cuts), len(WHOLE)]:
        records += reader.feed(WHOLE[reader.offset : end])  # the host asks from the offset on
    assert records == JournalReader().feed(WHOLE)


def test_a_line_that_a_killed_agent_tore_is_allowed_before_the_next_hello():
    records = JournalReader().feed(HELLO + START + b'{"t":"res","id":"j\n' + HELLO + START)
    assert [type(record) for record in records] == [Hello, Start, Hello, Start]


def test_a_torn_line_anywhere_else_is_an_error():
    with pytest.raises(AgentOutputError):
        JournalReader().feed(HELLO + b'{"t":"res","id":"j\n' + START)


@pytest.mark.parametrize(
    "line",
    [
        b"Segmentation fault",
        b'{"t":"rm","id":"j1"}',
        b'{"t":"start","id":"../../etc"}',
        b'{"t":"start","id":"j1","extra":1}',
        b'{"t":"start"}',
        b'{"t":"start","id":"' + b"x" * 65 + b'"}',
        RESULT.replace(b'"rc":0', b'"rc":NaN').strip(),
        RESULT.replace(b'"rc":0', b'"rc":-1').strip(),
        RESULT.replace(b'"rc":0', b'"rc":"0"').strip(),
        RESULT.replace(b'"out_bytes":3', b'"out_bytes":1e99').strip(),
        RESULT.replace(b"0.5", b"Infinity").strip(),
        RESULT.replace(b"0.5", b'"hot"').strip(),
        RESULT.replace(b"0.5", b"1" + b"0" * 400).strip(),
        RESULT.replace(b"0.5", b"[0.5]").strip(),
        RESULT.replace(b"[1800000,null]", b"1800000").strip(),
        RESULT.replace(b"load_1min", b"\\u001b]0;owned").strip(),
        RESULT.replace(b'"id":"j1"', b'"id":"j1","id":"j2"').strip(),
        RESULT.replace(b"bbbb", b"zzzz").strip(),
        b'{"t":"bye","why":"\x1b[2J"}',
        b'{"t":"hello","protocol":1,"agent":"short","session":"s1","pid":42}',
        b"[" * 5000 + b"}",
        b"\xff\xfe}",
    ],
)
def test_a_line_that_the_protocol_does_not_allow_is_an_error_in_printable_words(line):
    with pytest.raises(AgentOutputError) as error:
        JournalReader().feed(HELLO + line + b"\n" + START)
    assert all(char.isprintable() or char == "\n" for char in str(error.value))


@pytest.mark.parametrize("tail", [b"\n", b""])
def test_an_oversized_line_is_an_error_whether_it_ends_or_not(tail):
    with pytest.raises(AgentOutputError, match="longer than"):
        JournalReader().feed(b"x" * (MAX_LINE_BYTES + 1) + tail)


@given(st.binary(max_size=300))
def test_no_bytes_whatever_do_anything_but_parse_or_raise_our_error(junk):
    try:
        JournalReader().feed(junk + b"\n" + HELLO)
    except AgentOutputError as error:
        assert all(char.isprintable() or char == "\n" for char in str(error))


def test_control_characters_are_stripped_before_anything_is_shown():
    assert printable(b"\x1b]0;owned\x07 ok\n") == "?]0;owned? ok\n"
