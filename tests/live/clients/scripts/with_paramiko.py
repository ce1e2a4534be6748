"""put, get, mkdir or rm with paramiko; says what went wrong and exits with 1."""

import os
import sys

import paramiko

transport = paramiko.Transport((os.environ["SFTP_HOST"], int(os.environ["SFTP_PORT"])))
offered = transport.get_security_options()
if os.environ.get("SFTP_CIPHER"):
    offered.ciphers = [os.environ["SFTP_CIPHER"]]
if os.environ.get("SFTP_MAC"):
    offered.digests = [os.environ["SFTP_MAC"]]
if int(os.environ.get("SFTP_REKEY_BYTES") or 0):
    transport.packetizer.REKEY_BYTES = int(os.environ["SFTP_REKEY_BYTES"])
try:
    transport.connect(username=os.environ["SFTP_USERNAME"], password=os.environ["SFTP_PASSWORD"])
    sftp = paramiko.SFTPClient.from_transport(transport)
    {"put": sftp.put, "get": sftp.get, "mkdir": sftp.mkdir, "rm": sftp.remove}[sys.argv[1]](*sys.argv[2:])
except (OSError, paramiko.SSHException) as error:
    sys.exit(f"{type(error).__name__}: {error}")
finally:
    transport.close()
