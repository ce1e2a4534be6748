"""Named places at which a test can kill this process, as a power cut would.

``PIPE_CRASH=C3:2`` kills the process with SIGKILL the second time it passes ``crashpoint("C3")``.
Without the variable a crashpoint is one comparison. The labels and what they stand for:
"""

from __future__ import annotations

import os
import signal

LABELS = {
    "W1": "the upload has begun; a larger file's part file exists",
    "W2": "the first WRITE is in the part file, or in memory",
    "W4": "the last WRITE was answered, CLOSE not yet seen",
    "C1": "CLOSE was parsed",
    "C2": "the file is checked; a part file is fsynced",
    "C3": "the raw copy has its name in the object store; a small file's job is there after P1",
    "C4": "the object store's folder is fsynced",
    "C5a": "the record's transaction is open",
    "C5b": "the record is inserted, the job not yet",
    "C5c": "record and job are inserted, COMMIT not yet sent",
    "C6": "COMMIT returned",
    "C7": "the reply to CLOSE is queued, or sent",
    "P1": "the job is leased",
    "P2": "the raw copy was opened by the worker",
    "P4": "the worker has written its Parquet",
    "P5": "the analytics transaction is open",
    "P6": "rows are inserted, the ledger not yet",
    "P7": "rows and ledger are inserted, COMMIT not yet sent",
    "P8": "the analytics COMMIT returned",
    "P9": "the upload is settled in the catalog",
    "S1": "recovery removed the part files, nothing else yet",
    "S2": "recovery moved the first orphan",
}

PUSH_LABELS = {
    "A1": "the transaction that accepts a recording is open",
    "A2": "recording, pushes and jobs are inserted, COMMIT not yet sent",
    "A3": "COMMIT returned",
    "R1": "the job of a push is leased",
    "R2": "the attempt begins, nothing is connected",
    "R3": "connected and logged in",
    "R4": "half of the main file, or more, is on the remote, as progress tells",
    "R5": "the main file is closed on the remote",
    "R6": "all files are sent, nothing is recorded",
    "R7": "the attempt is recorded, COMMIT not yet sent",
    "R8": "the attempt is settled in the catalog",
    "T1": "a recording's files are to be deleted, all are there",
    "T2": "the first of them is deleted",
    "T3": "all are deleted, nothing is recorded",
}

NOTIFY_LABELS = {
    "N1": "the job that tells a webhook is leased",
    "N2": "the receiver has answered, nothing is recorded",
    "N3": "the attempt is settled in the catalog",
}

_wanted, _, _count = os.environ.get("PIPE_CRASH", "").partition(":")
_left = int(_count or 1)


def crashpoint(label: str) -> None:
    """Die here when the environment asks for it.

    :param label: a key of :data:`LABELS`, :data:`PUSH_LABELS` or :data:`NOTIFY_LABELS`.
    """
    global _left
    if label != _wanted:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
