"""The real clients of the live tests, in one table. A new client is one class and one line here."""

from tests.live.clients.base import Client, Outcome, Target
from tests.live.clients.guide import GuideBash, GuideCron, GuideNode, GuideParamiko
from tests.live.clients.libraries import Asyncssh, Node, NodeFastPut, Paramiko
from tests.live.clients.openssh import Scp, Sftp, SftpByHand
from tests.live.clients.putty import Pscp, Psftp
from tests.live.clients.transfer import Curl, Lftp, Rclone

CLIENTS: tuple[Client, ...] = (
    Sftp(),
    SftpByHand(),
    GuideBash(),
    GuideCron(),
    Scp(),
    Psftp(),
    Pscp(),
    Lftp(),
    Curl(),
    Rclone(),
    Paramiko(),
    GuideParamiko(),
    Asyncssh(),
    Node(),
    NodeFastPut(),
    GuideNode(),
)

__all__ = ["CLIENTS", "Client", "Outcome", "Target"]
