"""put, get, mkdir or rm with paramiko; says what went wrong and exits with 1."""

import os
import sys

import paramiko

transport = paramiko.Transport((os.environ["SFTP_HOST"], int(os.environ["SFTP_PORT"])))
try:
    transport.connect(username=os.environ["SFTP_USERNAME"], password=os.environ["SFTP_PASSWORD"])
    sftp = paramiko.SFTPClient.from_transport(transport)
    {"put": sftp.put, "get": sftp.get, "mkdir": sftp.mkdir, "rm": sftp.remove}[sys.argv[1]](*sys.argv[2:])
except (OSError, paramiko.SSHException) as error:
    sys.exit(f"{type(error).__name__}: {error}")
finally:
    transport.close()
