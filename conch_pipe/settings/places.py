"""Where files and folders are: relative paths made absolute, and the ones that cannot be used told.

Does not create anything, and does not open databases or keys.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from conch_pipe.settings.sections import Section, Settings

LOCAL = ("sqlite", "file", "duckdb")  # schemes whose rest is a path on this machine


def local_path(url: str) -> Path | None:
    """The path of ``file:objects``, ``file:///srv/objects``, ``sqlite:////srv/c.sqlite``; None for other schemes.

    :source: RFC 8089 for ``file:``; SQLAlchemy for ``sqlite:``, where a relative path follows three slashes.
    """
    scheme, _, rest = url.partition(":")
    if scheme not in LOCAL:
        return None
    if rest.startswith("///"):
        rest = rest[3 if scheme == "sqlite" else 2 :]
    return Path(rest).expanduser()


def placed(settings: Settings, folder: Path) -> Settings:
    """The same settings with every path absolute.

    :param folder: absolute, the settings file's own: ``service.state`` is relative to it, the rest to that.
    """
    state = _absolute(folder, settings.service.state)
    sections = {name: _placed(getattr(settings, name), state) for name in type(settings).model_fields}
    sections["service"] = settings.service.model_copy(update={"state": state})
    return settings.model_copy(update=sections)


def _absolute(base: Path, path: Path) -> Path:
    return Path(os.path.normpath(base / path))


def _placed(section: Section, base: Path) -> Section:
    changed: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Path):
            changed[name] = _absolute(base, value)
        elif isinstance(value, tuple) and value and isinstance(value[0], Path):
            changed[name] = tuple(_absolute(base, one) for one in value)
        elif "file" in field.metadata and value:
            changed[name] = str(_absolute(base, Path(value).expanduser()))
        elif "url" in field.metadata and (path := local_path(value)) is not None:
            scheme = value.partition(":")[0]
            changed[name] = f"{scheme}:{'///' if scheme == 'sqlite' else ''}{_absolute(base, path)}"
    return section.model_copy(update=changed)


def unusable(settings: Settings) -> list[str]:
    """Mistakes that only this machine's disk can tell, one sentence each; for settings that are placed."""
    state = settings.service.state
    if trouble := _hidden("service.state", state):
        return [trouble]
    if not state.is_dir():
        return [f"service.state: {state} is not a folder; conch-pipe init makes it"]
    found = [_folder("service.state", state)]
    if not settings.ssh.host_keys:
        found.append("ssh.host_keys: at least one host key is needed")
    found += [_readable("ssh.host_keys", key) for key in settings.ssh.host_keys]
    for name, file in (("http.certificate", settings.http.certificate), ("http.key", settings.http.key)):
        if file and not os.access(file, os.R_OK):
            found.append(f"{name}: {file} is not there, or cannot be read by this user")
    found.append(_folder("spool.folder", settings.spool.folder))
    found.append(_folder("push.spool", settings.push.spool))
    found += [_of_others("push.roots", root) for root in settings.push.roots]
    for name, url in (("catalog", settings.catalog.url), ("warehouse", settings.warehouse.url)):
        path = local_path(url)
        found.append(_database(f"{name}.url", path) if path else "")
    objects = local_path(settings.objects.url)
    found.append(_folder("objects.url", objects) if objects else "")
    found.append(_of_others("schemas.folder", settings.schemas.folder, "; conch-pipe init makes it"))
    return [one for one in found if one]


def _hidden(name: str, path: Path) -> str:
    """A folder above the path that this user may not enter: whether the path exists cannot be told."""
    for above in reversed(path.parents):
        if above.is_dir() and not os.access(above, os.X_OK):
            return f"{name}: {above} cannot be entered by this user"
    return ""


def _readable(name: str, path: Path) -> str:
    if trouble := _hidden(name, path):
        return trouble
    if not path.exists():
        return f"{name}: there is no {path}; conch-pipe init makes the keys"
    if not path.is_file():
        return f"{name}: {path} is not a file"
    return "" if os.access(path, os.R_OK) else f"{name}: {path} cannot be read by this user"


def _of_others(name: str, path: Path, remedy: str = "") -> str:
    """A folder of others that we read from."""
    if trouble := _hidden(name, path):
        return trouble
    if not path.is_dir():
        return f"{name}: {path} is not a folder{remedy}"
    return "" if os.access(path, os.R_OK | os.X_OK) else f"{name}: {path} cannot be read by this user"


def _folder(name: str, path: Path) -> str:
    """A folder we write to; it may be missing when it can be made."""
    if trouble := _hidden(name, path):
        return trouble
    while not path.exists() and path != path.parent:
        path = path.parent
    if not path.is_dir():
        return f"{name}: {path} is not a folder"
    return "" if os.access(path, os.W_OK | os.X_OK) else f"{name}: {path} cannot be written to by this user"


def _database(name: str, path: Path) -> str:
    if trouble := _hidden(name, path):
        return trouble
    if path.exists() and not path.is_file():
        return f"{name}: {path} is not a file"
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        return f"{name}: {path} cannot be written to by this user"
    return _folder(name, path.parent)
