"""The catalogue, the emitters and the document agree."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from string import Formatter

from conch_pipe import events
from conch_pipe.events import CATALOGUE, Event, Events

ROOT = Path(__file__).parents[2]


def emissions() -> list[tuple[str, set[str]]]:
    """(constant, keyword names) of every ``….note(events.KIND, …)`` in the package.

    A call with ``**fields``, or through a room's own ``_note`` that adds fields, gives an empty set of names: it cannot
    be checked by reading.
    """
    found = []
    for path in (ROOT / "conch_pipe").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            kind = node.args[0]
            name = kind.attr if isinstance(kind, ast.Attribute) else getattr(kind, "id", "")
            if node.func.attr not in ("note", "_note") or not name.isupper():
                continue
            open_ended = node.func.attr == "_note" or any(keyword.arg is None for keyword in node.keywords)
            found.append((name, set() if open_ended else {keyword.arg for keyword in node.keywords}))
    return found


def test_every_emitted_event_is_in_the_catalogue_with_the_fields_its_sentence_names():
    wrong = []
    for name, given in emissions():
        kind = getattr(events, name, None)
        needed = {field for _, field, _, _ in Formatter().parse(kind.sentence) if field} if kind else set()
        if kind is None or (given and not needed <= given):
            wrong.append((name, sorted(needed - given)))

    assert wrong == []


def test_every_kind_of_the_catalogue_is_emitted_somewhere():
    by_constant = {name for name, value in vars(events).items() if isinstance(value, events.Kind)}

    assert by_constant - {name for name, _ in emissions()} == set()


def test_the_document_lists_exactly_the_catalogue():
    documented = set(re.findall(r"^\| `([a-z._]+)` \|", (ROOT / "docs" / "events.md").read_text(), re.M))

    assert documented == set(CATALOGUE)


def test_a_failing_listener_harms_nobody_else(logged_errors):
    heard: list[Event] = []

    def deaf(event: Event) -> None:
        raise ZeroDivisionError

    hub = Events((deaf, heard.append))
    hub.note(events.SPACE_LOW, free=1)

    assert [event.kind for event in heard] == [events.SPACE_LOW]
    assert hub.counts["disk.low"] == 1
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
