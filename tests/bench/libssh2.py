"""The least SFTP client there is, for counting sessions: libssh2 (curl's) through ctypes; it costs little itself.

Blocking: several sessions at once take several processes.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import socket

_READ_WRITE_CREATE_TRUNCATE = 0x02 | 0x08 | 0x10
_OPENFILE = 0
_DISCONNECT_BY_APPLICATION = 11


def load() -> ctypes.CDLL | None:
    """The library, or None where it is not installed."""
    name = ctypes.util.find_library("ssh2")
    if name is None:
        return None
    lib = ctypes.CDLL(name)
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint
    for function, result, arguments in (
        ("libssh2_session_init_ex", pointer, [pointer] * 4),
        ("libssh2_session_handshake", ctypes.c_int, [pointer, ctypes.c_int]),
        ("libssh2_userauth_password_ex", ctypes.c_int, [pointer, text, number, text, number, pointer]),
        ("libssh2_userauth_publickey_fromfile_ex", ctypes.c_int, [pointer, text, number, text, text, text]),
        ("libssh2_sftp_init", pointer, [pointer]),
        ("libssh2_sftp_open_ex", pointer, [pointer, text, number, ctypes.c_ulong, ctypes.c_long, ctypes.c_int]),
        ("libssh2_sftp_write", ctypes.c_ssize_t, [pointer, text, ctypes.c_size_t]),
        ("libssh2_sftp_close_handle", ctypes.c_int, [pointer]),
        ("libssh2_sftp_shutdown", ctypes.c_int, [pointer]),
        ("libssh2_session_disconnect_ex", ctypes.c_int, [pointer, ctypes.c_int, text, text]),
        ("libssh2_session_free", ctypes.c_int, [pointer]),
        ("libssh2_init", ctypes.c_int, [ctypes.c_int]),
    ):
        found = getattr(lib, function)
        found.restype, found.argtypes = result, arguments
    assert lib.libssh2_init(0) == 0
    return lib


def one_session(
    lib: ctypes.CDLL, port: int, user: bytes, password: bytes, key: bytes | None, path: bytes, content: bytes
) -> None:
    """Connect, log in, put one file, leave.

    :param key: a private key file to log in with instead of the password.
    :raises AssertionError: any step was refused.
    """
    with socket.socket() as sock:
        sock.connect(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = lib.libssh2_session_init_ex(None, None, None, None)
        try:
            assert lib.libssh2_session_handshake(session, sock.fileno()) == 0, "key exchange"
            if key is None:
                refused = lib.libssh2_userauth_password_ex(session, user, len(user), password, len(password), None)
            else:
                refused = lib.libssh2_userauth_publickey_fromfile_ex(session, user, len(user), key + b".pub", key, b"")
            assert refused == 0, f"login: {refused}"
            sftp = lib.libssh2_sftp_init(session)
            assert sftp, "sftp"
            handle = lib.libssh2_sftp_open_ex(sftp, path, len(path), _READ_WRITE_CREATE_TRUNCATE, 0o644, _OPENFILE)
            assert handle, "open"
            sent = 0
            while sent < len(content):
                written = lib.libssh2_sftp_write(handle, content[sent:], len(content) - sent)
                assert written > 0, f"write: {written}"
                sent += written
            assert lib.libssh2_sftp_close_handle(handle) == 0, "close"
            lib.libssh2_sftp_shutdown(sftp)
            lib.libssh2_session_disconnect_ex(session, _DISCONNECT_BY_APPLICATION, b"done", b"")
        finally:
            lib.libssh2_session_free(session)
