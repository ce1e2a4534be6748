"""Every bound of the SSH and SFTP server in one frozen value, so that a reader sees what a client can cost us.

Numbers and no behaviour. Sources: research notes on Conch (section 5) and on reliability (section 6.1), which name the
clients whose needs were measured.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds, everything else a count.

    :param connections: at a time, of all processes together; idle ones cost 6 KiB each, the bound is file descriptors.
    :param not_logged_in: connections that have not logged in (sshd: MaxStartups).
    :param early_drop_share: of ``not_logged_in``; from there on newcomers are refused at random, 30 % at first and all
        at the end (sshd: MaxStartups 10:30:100).
    :param per_address: connections of one IPv4 address or IPv6 /64.
    :param not_logged_in_per_address: the same, before login.
    :param penalty_password_s: what a wrong password costs its address; this and the next five as sshd's
        PerSourcePenalties (authfail, invaliduser).
    :param penalty_no_attempt_s: a connection that ends without a try (noauth).
    :param penalty_late_s: a connection that has not logged in in time (grace-exceeded).
    :param penalty_violation_s: a connection that breaks the protocol before login.
    :param penalty_from_s: an address that owes so much is refused until all has run off (min).
    :param penalty_longest_s: more is never owed (max); 0: nobody is punished.
    :param version_s: from accept to the client's version line.
    :param kexinit_wait_s: how long the client's KEXINIT is waited for before ours is sent; 0: not at all. Clients that
        send theirs only after ours lose this time.
    :param login_s: from accept to login; sshd's LoginGraceTime is 120, scripts need under 2, a person 20.
    :param version_line: with its line end; RFC 4253 section 4.2.
    :param packet_before_login: an SSH packet's length field; RFC 4253 section 6.1 asks for 35,000.
    :param before_login: all that a connection may send before login; 8 KiB are needed, 64 KiB of small packets cost us
        44 ms (C17).
    :param packets_before_login: the same in packets.
    :param turn: packets dealt with before others have their turn; one read can bring 16,000 tiny ones.
    :param packet: the same as ``packet_before_login`` after login; OpenSSH's PACKET_MAX_SIZE.
    :param kex_s: a key exchange must end in this time, the first one counted from accept (C18).
    :param rekey_bytes: sent and received under one key before we ask for new ones; RFC 4253 section 9.
    :param rekey_s: the same in seconds.
    :param peer_rekey_bytes: a peer that starts a key exchange after fewer bytes than this breaks a rule ...
    :param peer_rekey_breaches: ... and is thrown out after so many times; OpenSSH 9.2 with RekeyLimit=200K starts one
        every 34 KB (run).
    :param lingering_s: after our DISCONNECT the connection is aborted at the latest then (C22).
    :param auth_failures: wrong passwords on one connection.
    :param auth_requests: login requests of any kind on one connection, also ``none`` and unsupported methods.
    :param auth_queue: login requests waiting while one is being checked.
    :param user_name: longest user name that reaches the checker.
    :param password: longest password that reaches the checker.
    :param channels: on one connection; rclone opens 7.
    :param subsystem_s: from opening a channel to the request for the subsystem.
    :param window: receive window of a channel; 2 MiB carries 20 MB/s at 100 ms.
    :param channel_packet: largest data packet we accept on a channel; larger ones gained nothing when measured.
    :param peer_packet: smallest "maximum packet" of a peer; 1 would make one packet of every byte (C26).
    :param backlog: replies the peer has not taken, on a channel or during a key exchange; then the end.
    :param keepalive_s: between our keepalive@openssh.com requests.
    :param keepalive_misses: intervals without any packet from the peer.
    :param idle_s: without an SFTP request.
    :param open_file_s: an open file without a WRITE.
    :param session_s: longest connection.
    :param tick_s: how often the four times above are looked at.
    :param sftp_packet: an SFTP packet's length field; OpenSSH's SFTP_MAX_MSG_LENGTH.
    :param outstanding: SFTP requests not yet answered; OpenSSH and ssh2 use 64, asyncssh 128.
    :param handles: open files and folders of one SFTP channel.
    :param attributes: extended attributes in one ATTRS; the count on the wire goes to 2**32-1.
    :param path: longest path.
    :param listing: one READDIR reply is not longer than this by more than one name.
    :param unfinished: bytes of WRITEs that storage has not taken; above it the window stays shut.
    :param told: sentences on stderr for one channel.
    """

    connections: int = 500
    not_logged_in: int = 50
    early_drop_share: float = 0.5
    per_address: int = 20
    not_logged_in_per_address: int = 10
    penalty_password_s: float = 5.0
    penalty_no_attempt_s: float = 1.0
    penalty_late_s: float = 10.0
    penalty_violation_s: float = 30.0
    penalty_from_s: float = 15.0
    penalty_longest_s: float = 600.0
    version_s: float = 10.0
    kexinit_wait_s: float = 0.2
    login_s: float = 30.0
    version_line: int = 255
    packet_before_login: int = 35_000
    before_login: int = 131_072
    packets_before_login: int = 256
    turn: int = 1_000
    packet: int = 262_144
    kex_s: float = 30.0
    rekey_bytes: int = 2**30
    rekey_s: float = 3600.0
    peer_rekey_bytes: int = 16_384
    peer_rekey_breaches: int = 10
    lingering_s: float = 5.0
    auth_failures: int = 6
    auth_requests: int = 20
    auth_queue: int = 4
    user_name: int = 128
    password: int = 256
    channels: int = 10
    subsystem_s: float = 30.0
    window: int = 2 * 2**20
    channel_packet: int = 32_768
    peer_packet: int = 1_024
    backlog: int = 2**20
    keepalive_s: float = 60.0
    keepalive_misses: int = 3
    idle_s: float = 15 * 60.0
    open_file_s: float = 5 * 60.0
    session_s: float = 12 * 3600.0
    tick_s: float = 15.0
    sftp_packet: int = 262_144
    outstanding: int = 256
    handles: int = 32
    attributes: int = 16
    path: int = 1_024
    listing: int = 32_000
    unfinished: int = 2 * 2**20
    told: int = 20
