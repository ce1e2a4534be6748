"""Makes ``twistd pipe-sftp`` known to Twisted; imports nothing heavy."""

from twisted.application.service import ServiceMaker

pipe_sftp = ServiceMaker(
    "pipe-sftp", "conch_pipe.tap", "SFTP gateway: partners' files into rows, recordings out to customers", "pipe-sftp"
)
