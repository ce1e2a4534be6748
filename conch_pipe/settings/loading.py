"""From a file, the environment and systemd credentials to Settings; every mistake in one list.

Precedence: ``PIPE_SFTP_SECTION__NAME``, then a credential of the same name in ``$CREDENTIALS_DIRECTORY``, then the
file, then the default. Does not look at the content of what paths lead to.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from conch_pipe.errors import Code, Mistakes, PipeError
from conch_pipe.settings.complaints import sentence
from conch_pipe.settings.outside import PREFIX, SEALING_KEY, credentials, names, origin, strangers
from conch_pipe.settings.places import placed, unusable
from conch_pipe.settings.sections import Settings

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
        folder = credentials()
        if folder is None:
            return env_settings, init_settings
        keys = [str(path) for path in sorted(folder.glob("ssh_host_*_key"))]
        standing_in: dict[str, Any] = {"ssh": {"host_keys": keys}} if keys else {}
        if (folder / SEALING_KEY).is_file():
            standing_in["secrets"] = {"key_file": str(folder / SEALING_KEY)}
        return (
            env_settings,
            NestedSecretsSettingsSource(file_secret_settings, secrets_dir=folder),
            InitSettingsSource(settings_cls, standing_in),
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
    mistakes = strangers()
    # pydantic-settings would take these for orders of its own, such as _env_file.
    mistakes += [f"line {lines.get((key,), 0)}: {key}: no such section" for key in document if key.startswith("_")]
    settings: Settings | None = None
    try:
        settings = _Sources(**{key: value for key, value in document.items() if not key.startswith("_")})
    except (SettingsError, UnicodeDecodeError, OSError) as error:
        mistakes.append(f"$CREDENTIALS_DIRECTORY cannot be read as settings: {error}")
    except ValidationError as error:
        told = [sentence(detail, lines) for detail in error.errors(include_url=False)]
        mistakes += [text for _, text in sorted(told)]
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
    for section, fields in names().items():
        given = document.get(section)
        for name in fields:
            place = "file" if isinstance(given, dict) and name in given else "default"
            found[section, name] = origin(section, name) or place
    return found


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
        if header := re.match(r"\s*\[\s*([\w-]+(?:\s*\.\s*[\w-]+)*)\s*\]", line):
            section = tuple(re.split(r"\s*\.\s*", header[1]))
            lines.setdefault(section, number)
        elif setting := re.match(r"\s*([\w-]+(?:\s*\.\s*[\w-]+)*)\s*=", line):
            lines.setdefault((*section, *re.split(r"\s*\.\s*", setting[1])), number)
    return document, lines
