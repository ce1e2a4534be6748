"""Our SSH room over plain files: ``plain_door_server.py FOLDER USER PASSWORD``. Prints its port.

Stores as OpenSSH's server does: pwrite into the page cache, no hash, no fsync, no record. What is left is the door.
"""

import os
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.interfaces import IConchUser
from twisted.conch.ssh.filetransfer import FX_NO_SUCH_FILE, FXF_CREAT, FXF_TRUNC, SFTPError
from twisted.conch.ssh.keys import Key
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.logger import globalLogBeginner
from zope.interface import implementer

from conch_pipe.ssh.interfaces import IConnectionListener, IPasswordAttempt, IPutFile, IPutServer
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.server.factory import PutFactory
from conch_pipe.ssh.transport.tcp import hasten

FOLDER, USER, PASSWORD = sys.argv[1:]
MANY = 1000
FLAGS = {FXF_CREAT: os.O_CREAT, FXF_TRUNC: os.O_TRUNC}


@implementer(IPutFile)
class DiskFile:
    """An open file of the disk."""

    lagging = False

    def __init__(self, path, flags):
        asked = sum(flag for bit, flag in FLAGS.items() if flags & bit)
        self.number = os.open(path, os.O_WRONLY | os.O_CLOEXEC | asked, 0o644)

    def writeChunk(self, offset, data):
        return self.writeChunks(offset, [data])

    def writeChunks(self, offset, pieces):
        if os.pwritev(self.number, pieces, offset) != sum(map(len, pieces)):
            raise OSError("the disk is full")

    def getAttrs(self):
        return attributes(os.fstat(self.number))

    def setAttrs(self, attrs):
        pass

    def close(self):
        os.close(self.number)

    def abort(self, reason):
        os.close(self.number)


@implementer(IPutServer)
class DiskTree:
    """Files of one folder. Has only what a client asks for that puts."""

    def __init__(self, avatar=None):
        pass

    def __conform__(self, interface):
        return self

    def openFile(self, filename, flags, attrs):
        return DiskFile(below(filename), flags)

    def getAttrs(self, path, followLinks):
        try:
            return attributes(os.stat(below(path)))
        except FileNotFoundError:
            raise SFTPError(FX_NO_SUCH_FILE, "no such file") from None

    def setAttrs(self, path, attrs):
        pass

    def realPath(self, path):
        return os.path.normpath(b"/" + path)

    def gotVersion(self, otherVersion, extData):
        return {}

    def channelLost(self, reason):
        pass


@implementer(IConnectionListener)
class Deaf:
    """Nobody counts connections here."""

    def opened(self, session, address, port):
        pass

    def refused(self, address, reason):
        pass

    def disagreed(self, address, banner, what, client, server):
        pass

    def learnt(self, session, address, host_keys):
        pass

    def closed(self, session, address, seconds, reason):
        pass


class OneUser:
    """Realm and checker."""

    credentialInterfaces = (IPasswordAttempt,)

    def requestAvatar(self, avatarId, mind, *interfaces):
        return IConchUser, DiskTree(), lambda: None

    def requestAvatarId(self, credentials):
        if (credentials.username, credentials.password) != (USER.encode(), PASSWORD.encode()):
            raise UnauthorizedLogin("wrong")
        return credentials.username


def below(path):
    """Where a client's path is on the disk."""
    return FOLDER.encode() + os.path.normpath(b"/" + path)


def attributes(stat):
    """As a client is told."""
    names = {"size": "st_size", "uid": "st_uid", "gid": "st_gid", "permissions": "st_mode"}
    times = {"atime": int(stat.st_atime), "mtime": int(stat.st_mtime)}
    return {name: getattr(stat, found) for name, found in names.items()} | times


globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)
user = OneUser()
limits = Limits(connections=MANY, not_logged_in=MANY, per_address=MANY, not_logged_in_per_address=MANY)
factory = PutFactory(Portal(user, [user]), [Key(Ed25519PrivateKey.generate())], Deaf(), reactor, limits)
port = reactor.listenTCP(0, factory, interface="127.0.0.1", backlog=MANY)
hasten(port)
print(port.getHost().port, flush=True)
reactor.run()
