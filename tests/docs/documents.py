"""The Markdown of the project: its files, fenced blocks, links, headings, commands. Knows nothing of the service."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTNERS = ROOT / "docs" / "partners.md"
OPERATORS = ROOT / "docs" / "operators.md"
SCHEMAS = ROOT / "docs" / "schemas.md"
SECURITY = ROOT / "docs" / "security.md"
CUSTOMERS = ROOT / "docs" / "customers.md"
API = ROOT / "docs" / "api.md"

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_CELLS = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Block:
    """A fenced block: the language behind the fence, the heading above it, its text."""

    language: str
    heading: str
    text: str


def documents() -> list[Path]:
    """Every document a reader can come to."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "etc").rglob("*.md")])


def blocks(path: Path) -> list[Block]:
    """All fenced blocks, in order."""
    text = path.read_text()
    found = []
    for fence in _FENCE.finditer(text):
        above = _HEADING.findall(without_blocks(text[: fence.start()]))
        found.append(Block(fence[2], above[-1] if above else "", re.sub(f"(?m)^{fence[1]}", "", fence[3])))
    return found


def block(path: Path, heading: str, language: str, number: int = 0) -> str:
    """One block, by its heading and language. :raises IndexError: it is gone."""
    return [one.text for one in blocks(path) if (one.heading, one.language) == (heading, language)][number]


def without_blocks(text: str) -> str:
    """The text between the fences."""
    return _FENCE.sub("", text)


def links(path: Path) -> list[str]:
    """Targets of all links that lead to files or headings of ours."""
    text = re.sub(r"`[^`\n]*`", "", without_blocks(path.read_text()))
    return [link for link in _LINK.findall(text) if "://" not in link and not link.startswith("mailto:")]


def anchors(path: Path) -> set[str]:
    """The names by which GitHub links to a document's headings."""
    headings = _HEADING.findall(without_blocks(path.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def rows(path: Path, *header: str) -> list[list[str]]:
    """The cells of every table with this header, without the header itself."""
    found: list[list[str]] = []
    inside = False
    for line in path.read_text().splitlines():
        cells = [cell.strip() for cell in _CELLS.split(line.strip())[1:-1]] if line.strip().startswith("|") else []
        if not cells:
            inside = False
        elif cells == list(header):
            inside = True
        elif inside and set("".join(cells)) - set("-:"):
            found.append(cells)
    return found


def code(cell: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def commands(path: Path) -> list[str]:
    """Each `conch-pipe …` command line of a document, in blocks and between backticks, up to a pipe or redirection."""
    text = path.read_text()
    lines = [line for one in blocks(path) if one.language in ("", "sh") for line in one.text.splitlines()]
    lines += re.findall(r"`([^`]+)`", without_blocks(text).replace("\n", " "))
    found = []
    for line in lines:
        start = re.match(r"(?:\$ )?(?:runuser \S+ \S+ -- )?(?:\S*/)?conch-pipe(?= |$)(.*)", line)
        if start:
            found.append(re.split(r" [|>#] | \d?> |;|\s{4,}", start[1])[0].strip())
    return found
