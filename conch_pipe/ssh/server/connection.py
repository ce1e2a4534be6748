"""The connection protocol: session channels for SFTP, no forwarding, and the clocks of a session.

Subclasses Conch's SSHConnection; reads every message strictly and logs no payload (Conch's service logs raw packets,
C13).
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Any, ClassVar, cast

from twisted.conch.ssh import connection as conch

from conch_pipe.ssh.fields import Malformed, Reader, string, u32
from conch_pipe.ssh.server.announced import PROOF, understands
from conch_pipe.ssh.server.channel import PutChannel, refusal

if TYPE_CHECKING:
    from conch_pipe.ssh.server.transport import PutTransport

_DATA = Struct(">BLL")  # number, channel, size
_BY_APPLICATION = 11  # SSH_DISCONNECT_BY_APPLICATION


class PutConnection(conch.SSHConnection):
    """The service after login, one per connection."""

    transport: PutTransport
    channels: dict[int, PutChannel]

    def __init__(self) -> None:
        super().__init__()
        self._fed: list[PutChannel] = []  # channels that got data in this turn
        self._proved = False

    def serviceStarted(self) -> None:
        """The client logged in."""
        self._began = self._requested = self._beat_at = self.transport.clock.seconds()
        self._packets_seen = self._misses = 0
        self.transport.after("tick", self.transport.limits.tick_s, self._tick)
        self._announce()

    def serviceStopped(self) -> None:
        """The connection is gone."""
        self.transport.stop_timer("tick")
        super().serviceStopped()

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        """A message of numbers 50 to 255.

        :raises Malformed: the transport disconnects then.
        """
        read = self._messages.get(messageNum)
        if read is not None:
            read(self, Reader(packet))
        elif messageNum not in self._ignored:
            self.transport.sendUnimplemented()

    def channelData(self, packet: memoryview) -> None:
        """CHANNEL_DATA as a view, its number first, good until :meth:`turnEnded`. The hot path.

        :raises Malformed: the transport disconnects then.
        """
        if len(packet) < 9:
            raise Malformed("the message ends too early")
        _, number, size = _DATA.unpack_from(packet)
        if size > len(packet) - 9:
            raise Malformed("the message ends too early")
        channel = self.channels.get(number)
        if channel is None:
            if number >= self.localChannelID:
                raise Malformed("a message for a channel that never was")
        elif not channel.localClosed:
            self._take(channel, size)
            channel.dataReceived(packet[9 : 9 + size])

    def turnEnded(self) -> None:
        """The transport has no more packets now."""
        fed, self._fed = self._fed, []
        for channel in fed:
            channel.turnEnded()
        for channel in list(self.channels.values()):
            channel.go_on()

    @property
    def open_files(self) -> int:
        """Files being put on all channels."""
        return sum(channel.server.open_files for channel in self.channels.values() if channel.server is not None)

    # Messages.

    def _global_request(self, reader: Reader) -> None:
        # keepalive@openssh.com, tcpip-forward and all others: REQUEST_FAILURE is an answer to the first and a refusal
        # to the rest, as sshd without forwarding replies.
        name, wants_answer = reader.string(), reader.flag()
        if not wants_answer:
            return
        if name != PROOF or not self._prove(reader):
            self.transport.sendPacket(conch.MSG_REQUEST_FAILURE, b"")

    def _announce(self) -> None:
        if understands(self.transport.banner):
            self.transport.sendPacket(conch.MSG_GLOBAL_REQUEST, self.transport.factory.announced.request)

    def _prove(self, reader: Reader) -> bool:
        """Answer a client that asks whether host keys are ours, once: it asks for all that it does not know."""
        transport = self.transport
        session_id, factory = transport.sessionID, transport.factory
        if self._proved or session_id is None:
            return False
        proof = factory.announced.prove(reader, session_id, transport.rsa_algorithm())
        if proof is None:
            return False
        self._proved = True
        answer, host_keys = proof
        transport.sendPacket(conch.MSG_REQUEST_SUCCESS, answer)
        factory.learnt(transport.peer, host_keys)
        return True

    def _channel_open(self, reader: Reader) -> None:
        kind, sender, window, packet = reader.string(), reader.u32(), reader.u32(), reader.u32()
        limits = self.transport.limits
        if kind != b"session":
            code, text = conch.OPEN_ADMINISTRATIVELY_PROHIBITED, "only SFTP is served here, nothing is forwarded"
        elif len(self.channels) >= limits.channels:
            code, text = conch.OPEN_RESOURCE_SHORTAGE, f"more than {limits.channels} channels"
        elif packet < limits.peer_packet:
            code, text = conch.OPEN_CONNECT_FAILED, f"a maximum packet below {limits.peer_packet} bytes"
        else:
            self._open(sender, window, packet)
            return
        self.transport.sendPacket(conch.MSG_CHANNEL_OPEN_FAILURE, u32(sender) + u32(code) + refusal(text))

    def _open(self, sender: int, window: int, packet: int) -> None:
        limits = self.transport.limits
        channel = PutChannel(
            limits.window, limits.channel_packet, window, packet, conn=self, avatar=cast(Any, self.transport.avatar)
        )
        channel.id = number = self.localChannelID
        self.localChannelID += 1
        self.channels[number] = channel
        self.channelsToRemoteChannel[channel] = sender
        self.localToRemoteChannel[number] = sender
        confirmation = u32(sender) + u32(number) + u32(channel.localWindowSize) + u32(channel.localMaxPacket)
        self.transport.sendPacket(conch.MSG_CHANNEL_OPEN_CONFIRMATION, confirmation)
        channel.channelOpen(b"")

    def _find(self, reader: Reader) -> PutChannel | None:
        """The channel a message is for; None when it has gone: libssh2 and others send to channels they have closed."""
        number = reader.u32()
        channel = self.channels.get(number)
        if channel is None and number >= self.localChannelID:
            raise Malformed("a message for a channel that never was")
        return channel

    def _window_adjust(self, reader: Reader) -> None:
        channel, more = self._find(reader), reader.u32()
        if channel is not None:
            channel.addWindowBytes(more)

    def _extended_data(self, reader: Reader) -> None:
        channel, kind, data = self._find(reader), reader.u32(), reader.view()
        if channel is not None and not channel.localClosed:
            self._take(channel, len(data))
            channel.extReceived(kind, b"")

    def _take(self, channel: PutChannel, size: int) -> None:
        if size > channel.localWindowLeft or size > channel.localMaxPacket:
            raise Malformed("more data than the window allows")
        if channel.eof:
            raise Malformed("data after the end of data")
        channel.localWindowLeft -= size
        if channel not in self._fed:
            self._fed.append(channel)

    def _eof(self, reader: Reader) -> None:
        channel = self._find(reader)
        if channel is not None and not channel.eof:
            channel.eof = True
            channel.eofReceived()

    def _close(self, reader: Reader) -> None:
        channel = self._find(reader)
        if channel is not None:
            channel.remoteClosed = True
            channel.closeReceived()
            self.channelClosed(channel)

    def _channel_request(self, reader: Reader) -> None:
        channel, kind, want_reply = self._find(reader), reader.string(), reader.flag()
        if channel is None or channel.localClosed:
            return
        granted = channel.requestReceived(kind, reader.rest())
        if want_reply:
            reply = conch.MSG_CHANNEL_SUCCESS if granted else conch.MSG_CHANNEL_FAILURE
            self.transport.sendPacket(reply, u32(self.localToRemoteChannel[channel.id]))
        channel.requestAnswered()

    _messages: ClassVar[dict[int, Callable[[PutConnection, Reader], None]]] = {
        conch.MSG_GLOBAL_REQUEST: _global_request,
        conch.MSG_CHANNEL_OPEN: _channel_open,
        conch.MSG_CHANNEL_WINDOW_ADJUST: _window_adjust,
        conch.MSG_CHANNEL_EXTENDED_DATA: _extended_data,
        conch.MSG_CHANNEL_EOF: _eof,
        conch.MSG_CHANNEL_CLOSE: _close,
        conch.MSG_CHANNEL_REQUEST: _channel_request,
    }
    # Answers to requests of ours (only the keepalive asks for one), and 50: a login request that came too late, which
    # RFC 4252 section 5.1 wants ignored. Its packet holds a password.
    _ignored = frozenset(
        (
            50,
            conch.MSG_REQUEST_SUCCESS,
            conch.MSG_REQUEST_FAILURE,
            conch.MSG_CHANNEL_OPEN_CONFIRMATION,
            conch.MSG_CHANNEL_OPEN_FAILURE,
            conch.MSG_CHANNEL_SUCCESS,
            conch.MSG_CHANNEL_FAILURE,
        )
    )

    def adjustWindow(self, channel: PutChannel, bytesToAdd: int) -> None:
        """Let the peer send more (Conch's, without a log line for each)."""
        if not channel.localClosed:
            remote = self.channelsToRemoteChannel[channel]
            self.transport.sendPacket(conch.MSG_CHANNEL_WINDOW_ADJUST, u32(remote) + u32(bytesToAdd))
            channel.localWindowLeft += bytesToAdd

    def sendData(self, channel: PutChannel, data: bytes) -> None:
        """Send data, which the peer's window allows."""
        if not channel.localClosed:
            remote = self.channelsToRemoteChannel[channel]
            self.transport.sendPacket(conch.MSG_CHANNEL_DATA, u32(remote) + string(data))

    def sendEnd(self, channel: PutChannel, status: int) -> None:
        """Exit status, end of data, close (Conch's three, without a log line for each)."""
        if not channel.localClosed:
            remote = u32(self.channelsToRemoteChannel[channel])
            exit_status = remote + string(b"exit-status") + b"\0" + u32(status)
            self.transport.sendPacket(conch.MSG_CHANNEL_REQUEST, exit_status)
            self.transport.sendPacket(conch.MSG_CHANNEL_EOF, remote)
            self.sendClose(channel)

    def sendClose(self, channel: PutChannel) -> None:
        """Close our side (Conch's, without a log line for each)."""
        if not channel.localClosed:
            self.transport.sendPacket(conch.MSG_CHANNEL_CLOSE, u32(self.channelsToRemoteChannel[channel]))
            channel.localClosed = True
            if channel.remoteClosed:
                self.channelClosed(channel)

    # Clocks.

    def _tick(self) -> None:
        limits, clock = self.transport.limits, self.transport.clock
        self.transport.after("tick", limits.tick_s, self._tick)
        now = clock.seconds()
        for channel in self.channels.values():
            if channel.server is not None:
                channel.server.expire_files()
                # While requests wait for us the client has nothing to ask.
                busy = channel.server.holding or channel.server.working
                self._requested = now if busy else max(self._requested, channel.server.requested_at)
        if now - self._began >= limits.session_s:
            self.transport.sendDisconnect(_BY_APPLICATION, b"the session was too long")
        elif now - self._requested >= limits.idle_s:
            self.transport.sendDisconnect(_BY_APPLICATION, b"nothing was asked for too long")
        elif now - self._beat_at >= limits.keepalive_s:
            self._beat(now)

    def _beat(self, now: float) -> None:
        """Ask whether the peer is there; any packet of its counts as an answer, also UNIMPLEMENTED."""
        seen = self.transport.packets_received
        self._misses = 0 if seen != self._packets_seen else self._misses + 1
        self._packets_seen, self._beat_at = seen, now
        if self._misses >= self.transport.limits.keepalive_misses:
            self.transport.abort("the client does not answer any more")
            return
        self.transport.sendPacket(conch.MSG_GLOBAL_REQUEST, string(b"keepalive@openssh.com") + b"\x01")
