"""The seams between the rooms. A docstring there is the contract: who calls, when, and what may fail."""

from conch_pipe.interfaces.ingest import (
    ICredentials,
    IEvents,
    IIntake,
    IJobs,
    ILogin,
    IObjects,
    IUpload,
    IUploads,
    IWarehouse,
    IWorkers,
)
from conch_pipe.interfaces.operations import IOperations, IPieces
from conch_pipe.interfaces.people import IPeople, ISignIns, ITokens
from conch_pipe.interfaces.push import IPusher, IRecordingIntake, IRecordings, IRemotes
from conch_pipe.interfaces.threads import InThread
from conch_pipe.interfaces.webhooks import ISender, IWebhooks

__all__ = [
    "ICredentials",
    "IEvents",
    "IIntake",
    "IJobs",
    "ILogin",
    "IObjects",
    "IOperations",
    "IPeople",
    "IPieces",
    "IPusher",
    "IRecordingIntake",
    "IRecordings",
    "IRemotes",
    "ISender",
    "ISignIns",
    "ITokens",
    "IUpload",
    "IUploads",
    "IWarehouse",
    "IWebhooks",
    "IWorkers",
    "InThread",
]
