"""Paths lead into two levels of names and nowhere else."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conch_pipe.errors import Code, PipeError
from conch_pipe.sftp import tree
from conch_pipe.sftp.tree import FileName, Outside, Root, SchemaFolder

DOSE = int(os.environ.get("PIPE_DOSE", "1"))
SCHEMAS = ("orgShifts", "orgTransactions")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (b"", Root()),
        (b".", Root()),
        (b"/", Root()),
        (b"//", Root()),
        (b"/..", Root()),
        (b"../../..", Root()),
        (b"~", Root()),
        (b"~/orgShifts", SchemaFolder("orgShifts")),
        (b"orgShifts", SchemaFolder("orgShifts")),
        (b"/orgShifts/", SchemaFolder("orgShifts")),
        (b"/orgShifts/.", SchemaFolder("orgShifts")),
        (b"/./orgShifts//.//", SchemaFolder("orgShifts")),
        (b"/orgShifts/../orgTransactions", SchemaFolder("orgTransactions")),
        (b"/orgShifts/a.csv", FileName("orgShifts", "a.csv")),
        (b"orgShifts//a.csv/", FileName("orgShifts", "a.csv")),
        (b"/orgShifts/x/../a.csv", FileName("orgShifts", "a.csv")),
        (b"/../orgShifts/a.csv", FileName("orgShifts", "a.csv")),
        ("/orgShifts/\u017bółw.csv".encode(), FileName("orgShifts", "\u017bółw.csv")),
        (b"/orgShifts/...", FileName("orgShifts", "...")),
        (b"/orgShifts/ a.csv ", FileName("orgShifts", " a.csv ")),
        (b"/orgShifts/C:\\x.csv", FileName("orgShifts", "C:\\x.csv")),
        (b"/orgShifts/~", FileName("orgShifts", "~")),
        (b"/a.csv", Outside("a.csv")),
        (b"/ORGSHIFTS", Outside("ORGSHIFTS")),
    ],
)
def test_a_path_leads_where_a_client_means(path, place):
    assert tree.resolve(path, SCHEMAS) == place


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        (b"/other/a.csv", Code.NOT_FOUND, "no such schema; yours are orgShifts, orgTransactions"),
        (b"/other/a/b", Code.NOT_FOUND, "no such schema; yours are orgShifts, orgTransactions"),
        (b"/orgShifts/a/b.csv", Code.NOT_FOUND, "a schema folder holds files only, no folders"),
        (b"/orgShifts/\xff.csv", Code.INVALID, "the name is not UTF-8"),
        (b"/orgShifts/\xed\xa0\x80.csv", Code.INVALID, "the name is not UTF-8"),
        (b"/orgShifts/\xc0\xaf.csv", Code.INVALID, "the name is not UTF-8"),
        (b"/orgShifts/a\0.csv", Code.INVALID, "the name has control characters"),
        (b"/orgShifts/a\r\n.csv", Code.INVALID, "the name has control characters"),
        (b"/orgShifts/\x1b[2J.csv", Code.INVALID, "the name has control characters"),
        ("/orgShifts/a\u2028.csv".encode(), Code.INVALID, "the name has control characters"),
        ("/orgShifts/a\u0085.csv".encode(), Code.INVALID, "the name has control characters"),
        (b"/orgShifts/" + b"a" * 256, Code.INVALID, "the name is longer than 255 bytes"),
        (b"/orgShifts/" + b"./" * 600, Code.INVALID, "the path is longer than 1024 bytes"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused_with_the_reason(path, code, words):
    with pytest.raises(PipeError) as refused:
        tree.resolve(path, SCHEMAS)

    assert (refused.value.code, refused.value.message) == (code, words)


@pytest.mark.parametrize(
    ("path", "schemas", "code", "words"),
    [
        (b"/", SCHEMAS, Code.NOT_ALLOWED, "put files into a schema folder: orgShifts, orgTransactions"),
        (b"/a.csv", SCHEMAS, Code.NOT_ALLOWED, "put files into a schema folder: orgShifts, orgTransactions"),
        (b"/orgShifts", SCHEMAS, Code.NOT_ALLOWED, "orgShifts is a folder: put files into it under a name"),
        (b"/a.csv", (), Code.NOT_FOUND, "no schema is enabled for your organisation"),
        (b"/orgShifts/a.csv", (), Code.NOT_FOUND, "no schema is enabled for your organisation"),
    ],
)
def test_a_put_outside_a_folder_is_told_where_to_go(path, schemas, code, words):
    with pytest.raises(PipeError) as refused:
        tree.target(path, schemas)

    assert (refused.value.code, refused.value.message) == (code, words)


def test_a_refusal_stays_one_readable_line_however_many_schemas_there_are():
    words = tree.no_such_schema([f"schema{number:03}" for number in range(200)]).message

    assert words.endswith("schema019 and 180 more")


pieces = st.sampled_from(
    [
        b"",
        b".",
        b"..",
        b"~",
        b"orgShifts",
        b"orgTransactions",
        b"other",
        b"a.csv",
        b"\xff",
        b"a\nb",
        b"\xc3\xa9",
        b"...",
    ]
)
paths = st.one_of(
    st.binary(max_size=1100),
    st.lists(pieces, max_size=8).map(b"/".join),
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
)


@settings(max_examples=100 * DOSE, deadline=None)
@given(path=paths)
def test_any_path_is_a_place_or_a_declared_refusal(path):
    """No path raises anything else, leaves the tree, or gives a name that could be taken for a path."""
    try:
        place = tree.resolve(path, SCHEMAS)
    except PipeError as error:
        assert error.code in (Code.NOT_FOUND, Code.INVALID)
        assert error.message.isascii()
        return

    assert tree.resolve(tree.real(path), SCHEMAS) == place
    if isinstance(place, FileName):
        assert place.schema in SCHEMAS
        assert tree.target(path, SCHEMAS) == place
    if isinstance(place, FileName | Outside):
        assert place.name not in ("", ".", "..")
        assert "/" not in place.name
        assert 1 <= len(place.name.encode()) <= 255
        assert place.name.isprintable() or not any(c in place.name for c in "\0\r\n\x1b\x85\u2028\u2029")


@settings(max_examples=100 * DOSE, deadline=None)
@given(path=paths.filter(lambda path: len(path) <= 1024))
def test_the_real_path_is_absolute_normal_and_its_own_real_path(path):
    real = tree.real(path)

    assert real.startswith(b"/")
    assert not {b".", b".."} & set(real.split(b"/"))
    assert b"//" not in real
    assert tree.real(real) == real


@settings(max_examples=100 * DOSE, deadline=None)
@given(path=st.binary(max_size=3000))
def test_a_label_for_the_log_is_one_printable_line(path):
    label = tree.label(path)

    assert label.isprintable()
    assert len(label) <= 255
