"""Every bound of the SSH and SFTP client in one frozen value, so that a reader sees what a server can cost us.

Numbers and no behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Sizes in bytes, times in seconds, everything else a count.

    Those of the same name in :class:`~conch_pipe.ssh.limits.Limits` mean the same.

    :param connect_s: one deadline for name resolution, TCP, version and key exchange, the host key's check in it ...
    :param login_s: ... and from there one for the login and the start of SFTP; sshd delays a refusal by some seconds.
    :param peer_rekey_bytes: 0: a server's key exchanges are counted against bytes of both directions ...
    :param early_rekey: ... of which there must be so many between two; what a server sends is little, and OpenSSH's
        RekeyLimit counts both ...
    :param early_rekeys: ... or it is left after so many times.
    :param lines: before a server's version, RFC 4253 section 4.2.
    :param request_s: from an SFTP request to its reply.
    :param progress_s: while a file is being sent, the longest time in which the server takes and answers nothing.
    :param requests: SFTP requests not yet answered, WRITEs not counted; more are refused at once.
    :param writes: WRITEs not yet answered; OpenSSH's sftp has 64 too.
    :param write: bytes of one WRITE, when the server does not say what it takes; every server takes these.
    :param largest_write: bytes of one WRITE, when the server says that it takes more; OpenSSH says 261,120.
    :param sftp_packet: an SFTP packet's length field; OpenSSH's SFTP_MAX_MSG_LENGTH.
    :param names: entries of one NAME reply; OpenSSH sends 100, Go's pkg/sftp 128, Conch 250.
    :param listing: entries of one folder.
    :param attributes: extended attributes in one ATTRS.
    :param extensions: name and data pairs in VERSION; OpenSSH 9.2 sends 11.
    :param handle: draft-ietf-secsh-filexfer-02 section 6.3.
    :param path: longest path we send.
    :param window: our receive window: replies are small, listings are the largest we ask for.
    :param channel_packet: largest data packet we accept on the channel.
    :param peer_packet: smallest "maximum packet" of a server; 1 would make one packet of every byte.
    :param backlog: bytes of requests waiting for the server's window.
    :param banners: login banners, and in ``banner`` bytes of all of them; read and forgotten.
    :param prompts: requests of one keyboard-interactive login.
    :param sentence: bytes of what a server says on stderr that an error repeats.
    :param methods: bytes of the list of login methods.
    :param signature_algorithms: names in the server's list of signature algorithms (EXT_INFO).
    :param extension_info: bytes of EXT_INFO, and in ``extension_infos`` how many of them.
    """

    connect_s: float = 10.0
    login_s: float = 30.0
    version_line: int = 255
    packet_before_login: int = 35_000
    before_login: int = 262_144
    packets_before_login: int = 256
    turn: int = 1_000
    packet: int = 262_144
    kex_s: float = 30.0
    rekey_bytes: int = 2**30
    rekey_s: float = 3600.0
    peer_rekey_bytes: int = 0
    peer_rekey_breaches: int = 0
    early_rekey: int = 16_384
    early_rekeys: int = 10
    lingering_s: float = 5.0
    lines: int = 20
    request_s: float = 30.0
    progress_s: float = 60.0
    requests: int = 256
    writes: int = 64
    write: int = 32_768
    largest_write: int = 261_120
    sftp_packet: int = 262_144
    names: int = 1_000
    listing: int = 100_000
    attributes: int = 16
    extensions: int = 64
    handle: int = 256
    path: int = 4_096
    window: int = 2 * 2**20
    channel_packet: int = 32_768
    peer_packet: int = 1_024
    backlog: int = 2**20
    banners: int = 16
    banner: int = 65_536
    prompts: int = 8
    sentence: int = 200
    methods: int = 1_024
    signature_algorithms: int = 64
    extension_info: int = 16_384
    extension_infos: int = 2
