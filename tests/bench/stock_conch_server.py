"""Conch's own SFTP server: ``stock_conch_server.py FOLDER USER PASSWORD``. Prints its port.

Stock classes throughout, and nobody reads its log. Only what has to be decided is ours: which files, who may log in.
"""

import os
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.avatar import ConchUser
from twisted.conch.interfaces import IConchUser, ISFTPServer
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.filetransfer import FileTransferServer
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.session import SSHSession
from twisted.conch.unix import SFTPServerForUnixConchUser
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.logger import globalLogBeginner
from twisted.python.components import registerAdapter
from twisted.python.filepath import FilePath

FOLDER, USER, PASSWORD = sys.argv[1:]


class User(ConchUser):
    """What ``UnixConchUser`` is for a system account, without one: files are written as who we are."""

    def __init__(self):
        super().__init__()
        self.channelLookup[b"session"] = SSHSession
        self.subsystemLookup[b"sftp"] = FileTransferServer

    def getHomeDir(self):
        return FilePath(FOLDER)

    def _runAsUser(self, f, *args, **kwargs):
        calls = f if isinstance(f, list) else [(f, args, kwargs)]
        for call in calls:
            function, arguments, named = (*call, {})[:3]
            result = function(*arguments, **named)
        return result


class Realm:
    """Everybody who knows the password is the one user."""

    def requestAvatar(self, avatarId, mind, *interfaces):
        return IConchUser, User(), lambda: None


registerAdapter(SFTPServerForUnixConchUser, User, ISFTPServer)
globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)
os.umask(0o022)
key = Key(Ed25519PrivateKey.generate())
factory = SSHFactory()
factory.portal = Portal(Realm(), [InMemoryUsernamePasswordDatabaseDontUse(**{USER: PASSWORD.encode()})])
factory.privateKeys = {key.sshType(): key}
factory.publicKeys = {key.sshType(): key.public()}
print(reactor.listenTCP(0, factory, interface="127.0.0.1", backlog=1000).getHost().port, flush=True)
reactor.run()
