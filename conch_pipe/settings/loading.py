"""From a file, the environment and systemd credentials to Settings; every mistake in one list.

Precedence: ``PIPE_SFTP_SECTION__NAME``, then a credential of the same name in ``$CREDENTIALS_DIRECTORY``, then the
file, then the default. Does not look at the content of what paths lead to.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from conch_pipe.errors import Code, Mistakes, PipeError
from conch_pipe.settings.places import placed, unusable
from conch_pipe.settings.sections import Settings

PREFIX = "PIPE_SFTP_"
PLACES = ("pipe-sftp.toml", "state/pipe-sftp.toml", "/etc/pipe-sftp/pipe-sftp.toml")
NO_FILE = PipeError(
    Code.NOT_FOUND,
    f"no settings file: $PIPE_SFTP_CONFIG is not set, and there is no {', '.join(PLACES)}. "
    "Make one with: conch-pipe init DIR",
)


class _Sources(Settings, BaseSettings):
    """Settings as pydantic-settings gathers them; ``__init__`` takes the file's document."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", enable_decoding=False)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        folder = _credentials()
        if folder is None:
            return env_settings, init_settings
        keys = [str(path) for path in sorted(folder.glob("ssh_host_*_key"))]
        return (
            env_settings,
            NestedSecretsSettingsSource(file_secret_settings, secrets_dir=folder),
            InitSettingsSource(settings_cls, {"ssh": {"host_keys": keys}} if keys else {}),
            init_settings,
        )


def find(file: str | os.PathLike[str] | None = None) -> Path:
    """The settings file: the one named, ``$PIPE_SFTP_CONFIG``, or the first of :data:`PLACES` that is there.

    :returns: absolute path; a file that was named need not exist.
    :raises PipeError: NOT_FOUND when none is named and none is there.
    """
    named = file or os.environ.get("PIPE_SFTP_CONFIG")
    if named:
        return Path(named).expanduser().absolute()
    for place in PLACES:
        if Path(place).is_file():
            return Path(place).absolute()
    raise NO_FILE


def load(file: str | os.PathLike[str] | None = None, *, places: bool = True) -> Settings:
    """Read, check and place the settings.

    :param file: None: see :func:`find`.
    :param places: also look whether files and folders are there and usable, as the service needs them.
    :raises Mistakes: INVALID, with every mistake of file, environment and credentials.
    :raises PipeError: NOT_FOUND when there is no file at all.
    """
    path = find(file)
    document, lines = _read(path)
    mistakes = _unknown_names()
    settings: Settings | None = None
    try:
        settings = _Sources(**document)
    except ValidationError as error:
        told = [_sentence(detail, lines) for detail in error.errors(include_url=False)]
        mistakes += [sentence for _, sentence in sorted(told)]
    if settings is not None:
        plain = Settings.model_construct(**{name: getattr(settings, name) for name in Settings.model_fields})
        settings = placed(plain, path.parent)
        settings._file = path
        mistakes += unusable(settings) if places else []
    if mistakes or settings is None:
        raise Mistakes(str(path), mistakes)
    return settings


def origins(settings: Settings) -> dict[tuple[str, str], str]:
    """Where each setting's value came from: "default", "file", or the name of the variable or credential."""
    document = _read(settings.file)[0] if settings.file else {}
    found = {}
    for section, fields in _names().items():
        given = document.get(section)
        for name in fields:
            place = "file" if isinstance(given, dict) and name in given else "default"
            found[section, name] = _outside(section, name) or place
    return found


def _names() -> dict[str, list[str]]:
    """Section → its settings."""
    defaults = Settings()
    return {name: list(type(getattr(defaults, name)).model_fields) for name in Settings.model_fields}


def _read(path: Path) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    """The file's document, and the line of each section and setting."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise Mistakes(str(path), [f"cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise Mistakes(str(path), [f"is not UTF-8 text (byte {error.start})"]) from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Mistakes(str(path), [f"is not TOML: {error}"]) from error
    lines: dict[tuple[str, ...], int] = {}
    section: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([\w-]+)\s*\]", line):
            section = (header[1],)
            lines.setdefault(section, number)
        elif setting := re.match(r"\s*([\w-]+(?:\s*\.\s*[\w-]+)*)\s*=", line):
            lines.setdefault((*section, *re.split(r"\s*\.\s*", setting[1])), number)
    return document, lines


def _credentials() -> Path | None:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(folder) if folder and Path(folder).is_dir() else None


def _given(kind: str) -> list[str]:
    """Names beginning with our prefix: of variables ("environment") or of credential files ("credential")."""
    if kind == "environment":
        names = list(os.environ)
    else:
        folder = _credentials()
        names = [path.name for path in folder.iterdir()] if folder else []
    return sorted(name for name in names if name.upper().startswith(PREFIX))


def _outside(section: str, name: str) -> str:
    """The variable or credential that sets this, or an empty string."""
    wanted = f"{PREFIX}{section}__{name}".upper() if name else f"{PREFIX}{section}".upper()
    for kind in ("environment", "credential"):
        for given in _given(kind):
            if given.upper() == wanted:
                return f"{kind} {given}"
    if (section, name) == ("ssh", "host_keys") and (folder := _credentials()) and any(folder.glob("ssh_host_*_key")):
        return "credential ssh_host_*_key"
    return ""


def _unknown_names() -> list[str]:
    """Variables and credentials that look like ours and name no setting.

    Only those with two underscores: Kubernetes gives every container PIPE_SFTP_SERVICE_HOST and the like when a
    service is called pipe-sftp. A known setting written with one underscore is told all the same.
    """
    known = _names()
    flat = {f"{section}_{name}": (section, name) for section, fields in known.items() for name in fields}
    mistakes = []
    for kind in ("environment", "credential"):
        for given in _given(kind):
            rest = given[len(PREFIX) :].lower()
            section, two, name = rest.partition("__")
            if rest in flat:
                section, name = flat[rest]
                mistakes.append(f"{kind} {given}: write two underscores, {PREFIX}{section.upper()}__{name.upper()}")
            elif two and section not in known:
                mistakes.append(f"{kind} {given}: no such section{_close(section, list(known))}")
    return mistakes


def _close(word: str, words: list[str]) -> str:
    matches = difflib.get_close_matches(word, words, 1)
    return f"; did you mean {matches[0]}?" if matches else ""


def _sentence(detail: ErrorDetails, lines: dict[tuple[str, ...], int]) -> tuple[int, str]:
    """One mistake: its line (0: not in the file), and where it is written, which setting, what is wrong."""
    where = tuple(str(part) for part in detail["loc"])
    section, name = (*where, "", "")[:2]
    place = _outside(section, name)
    line = 0 if place else lines.get(where[:2]) or lines.get(where[:1]) or 0
    place = place or (f"line {line}" if line else "file")
    return line, f"{place}: {'.'.join(where[:2])}: {_complaint(detail, section, name)}"


def _complaint(detail: ErrorDetails, section: str, name: str) -> str:
    kind, limits = detail["type"], detail.get("ctx", {})
    # A URL may hold a password: its value is not repeated.
    shown = "" if name in ("url", "") else f", not {_short(detail['input'])}"
    known = _names()
    if kind == "extra_forbidden" and not name:
        return f"no such section{_close(section, list(known))}"
    if kind == "extra_forbidden":
        return f"no such setting{_close(name, known[section]) or _elsewhere(name, known)}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"is a section: write [{section}] and its settings below it"
    if kind == "value_error":
        return f"{limits['error']}{shown}"
    if kind in ("greater_than_equal", "greater_than"):
        return f"must be {'at least' if 'ge' in limits else 'more than'} {limits.get('ge', limits.get('gt')):g}{shown}"
    if kind in ("less_than_equal", "less_than"):
        return f"must be {'at most' if 'le' in limits else 'less than'} {limits.get('le', limits.get('lt')):g}{shown}"
    if kind == "literal_error":
        return f"must be {str(limits['expected']).replace(chr(39), chr(34))}{shown}"
    if kind == "string_pattern_mismatch":
        example = getattr(getattr(Settings(), section), name)
        return f"must be a URL such as {example}"
    needed = {
        "int": "a whole number is needed",
        "float": "a number is needed",
        "finite": "a number is needed",
        "bool": "true or false is needed",
        "string": "text is needed",
        "path": "a path is needed",
        "tuple": "a list is needed",
    }
    return f"{needed.get(kind.partition('_')[0], detail['msg'])}{shown}"


def _elsewhere(name: str, known: dict[str, list[str]]) -> str:
    """The setting exists in another section."""
    homes = [section for section, fields in known.items() if name in fields]
    return f"; it belongs to [{homes[0]}]" if len(homes) == 1 else ""


def _short(value: Any) -> str:
    shown = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else repr(value)
    return shown if shown and len(shown) <= 60 else f"{shown}"[:57] + "..."
