"""The rulings about what a partner may do, one test each."""

from __future__ import annotations

import pytest
from twisted.conch.ssh.filetransfer import FX_FAILURE, FX_NO_SUCH_FILE, FX_PERMISSION_DENIED

from conch_pipe import events
from conch_pipe.errors import Code, PipeError
from conch_pipe.sftp import shelf
from tests.sftp.conftest import APPEND, CREAT, EXCL, PUT, READ, SCHEMAS, TRUNC, WRITE

MISSING = (FX_NO_SUCH_FILE, "no such file")


def test_a_put_is_an_upload_with_its_bytes(pair, service):
    pair.put(b"/orgShifts/a.csv", b"id\n1\n")

    assert service.recorded == [("orgShifts", "a.csv", b"id\n1\n")]


def test_a_cut_put_leaves_nothing_behind(pair, service):
    """A client that vanishes before CLOSE must not produce an upload."""
    handle = pair.open(b"/orgShifts/a.csv")
    pair.ask(handle.writeChunk(0, b"id\n1\n"))

    pair.cut()

    assert service.uploads.records == []
    assert service.intake.dropped == [("a.csv", "connection lost")]


def test_a_close_that_was_seen_counts_though_the_client_is_gone(pair, service):
    service.intake.held = []
    handle = pair.open(b"/orgShifts/a.csv")
    pair.ask(handle.writeChunk(0, b"id\n1\n"))
    pair.begin(handle.close())

    pair.cut()
    service.intake.let_go()

    assert service.recorded == [("orgShifts", "a.csv", b"id\n1\n")]


@pytest.mark.parametrize("flags", [0, READ, CREAT, READ | CREAT, APPEND])
def test_an_open_that_does_not_write_is_denied(pair, flags):
    assert pair.refused(pair.client.openFile(b"/orgShifts/a.csv", flags, {})) == (
        FX_PERMISSION_DENIED,
        "upload only: nothing can be read",
    )


def test_a_handle_opened_for_both_writes_and_never_reads(pair, service):
    handle = pair.open(b"/orgShifts/a.csv", READ | PUT)
    pair.ask(handle.writeChunk(0, b"id\n"))

    code, _ = pair.refused(handle.readChunk(0, 3))
    pair.ask(handle.close())

    assert code == FX_PERMISSION_DENIED
    assert service.recorded == [("orgShifts", "a.csv", b"id\n")]


def test_the_root_takes_no_file_and_names_the_folders(pair, service):
    answer = pair.refused(pair.client.openFile(b"/a.csv", PUT, {}))

    assert answer == (FX_PERMISSION_DENIED, "put files into a schema folder: orgShifts, orgTransactions")
    (told,) = service.events.of(events.UPLOAD_REFUSED)
    assert (told["name"], told["schema"]) == ("a.csv", "/")


def test_an_unknown_schema_is_missing_and_the_text_names_what_there_is(pair):
    answer = pair.refused(pair.client.openFile(b"/orgShift/a.csv", PUT, {}))

    assert answer == (FX_NO_SUCH_FILE, "no such schema; yours are orgShifts, orgTransactions")


def test_without_any_schema_every_put_says_so(service):
    pair = service.login(schemas=frozenset()).channel()

    for path in (b"/a.csv", b"/orgShifts/a.csv"):
        assert pair.refused(pair.client.openFile(path, PUT, {})) == (
            FX_NO_SUCH_FILE,
            "no schema is enabled for your organisation",
        )
    assert pair.names(b"/") == []


def test_a_name_that_intake_refuses_is_refused_at_open(pair):
    assert pair.refused(pair.client.openFile(b"/orgShifts/a.txt", PUT, {})) == (FX_FAILURE, "use .csv or .json")


def test_a_declared_size_above_the_limit_is_refused_at_open(pair, service):
    code, text = pair.refused(pair.client.openFile(b"/orgShifts/a.csv", PUT, {"size": service.intake.limit + 1}))

    assert code == FX_FAILURE
    assert "larger than" in text


def test_size_zero_at_open_means_that_it_starts_empty(pair, service):
    handle = pair.open(b"/orgShifts/a.csv", PUT, {"size": 0})
    pair.ask(handle.writeChunk(0, b"id\n"))
    pair.ask(handle.close())

    assert len(service.uploads.records) == 1


@pytest.mark.parametrize("flags", [WRITE | CREAT, WRITE, WRITE | TRUNC, PUT])
def test_opening_an_own_name_again_is_a_new_version(pair, service, flags):
    pair.put(b"/orgShifts/a.csv", b"id\n12345\n")

    pair.put(b"/orgShifts/a.csv", b"id\n1\n", flags)

    assert [data for _, _, data in service.recorded] == [b"id\n12345\n", b"id\n1\n"]
    assert pair.stat(b"/orgShifts/a.csv")["size"] == 5
    assert pair.names(b"/orgShifts") == [b"a.csv"]


def test_excl_refuses_an_own_name_and_takes_a_new_one(pair):
    pair.put(b"/orgShifts/a.csv", b"id\n", PUT | EXCL)

    code, _ = pair.refused(pair.client.openFile(b"/orgShifts/a.csv", WRITE | CREAT | EXCL, {}))

    assert code == FX_FAILURE


def test_append_and_resume_are_not_supported_on_a_file_that_is_there(pair):
    pair.put(b"/orgShifts/a.csv", b"id\n")

    # Conch's client turns status 8 into NotImplementedError.
    with pytest.raises(NotImplementedError, match="put the whole file again"):
        pair.open(b"/orgShifts/a.csv", WRITE | CREAT | APPEND)


@pytest.mark.parametrize("flags", [WRITE | CREAT | APPEND, PUT | APPEND])
def test_append_to_nothing_is_a_put(pair, service, flags):
    """paramiko's open(name, "a") for a log that does not exist yet."""
    pair.put(b"/orgShifts/a.csv", b"id\n", flags)

    assert service.recorded == [("orgShifts", "a.csv", b"id\n")]


def test_resuming_where_another_session_stopped_is_refused_at_close(pair, service):
    """curl -C and JSch write from an offset on; the bytes before it are not here."""
    handle = pair.open(b"/orgShifts/a.csv", WRITE | CREAT)
    pair.ask(handle.writeChunk(3, b"1\n"))

    code, text = pair.refused(handle.close())

    assert (code, text) == (FX_FAILURE, "bytes are missing from 0")
    assert service.uploads.records == []


def test_the_write_that_crosses_the_limit_is_refused_and_so_is_everything_after_it(pair, service):
    """ssh2-sftp-client reports success when a WRITE fails and CLOSE does not; paramiko looks only at STAT."""
    handle = pair.open(b"/orgShifts/a.csv")
    first = pair.refused(handle.writeChunk(service.intake.limit, b"x"))

    assert pair.refused(handle.writeChunk(0, b"x")) == first
    assert pair.refused(handle.close()) == first
    assert pair.refused(pair.client.getAttrs(b"/orgShifts/a.csv")) == MISSING
    assert pair.names(b"/orgShifts") == []
    assert not service.intake.live


def test_a_slow_write_that_fails_makes_the_name_missing(pair, service):
    service.intake.slow_writes = []
    handle = pair.open(b"/orgShifts/a.csv")
    answers = pair.begin(handle.writeChunk(0, b"x"))

    service.intake.slow_writes[0].errback(PipeError(Code.NO_SPACE, "no space"))
    pair.flush()

    answers[0].trap(Exception)
    assert answers[0].value.message == "no space"
    assert pair.refused(pair.client.getAttrs(b"/orgShifts/a.csv")) == MISSING


def test_a_refused_upload_is_missing_even_when_an_earlier_version_was_accepted(pair):
    """paramiko takes a CLOSE that failed for success when STAT answers with the same size."""
    pair.put(b"/orgShifts/a.csv", b"id\n1")
    handle = pair.open(b"/orgShifts/a.csv")
    pair.ask(handle.writeChunk(0, b"BAD1"))
    pair.refused(handle.close())

    assert pair.refused(pair.client.getAttrs(b"/orgShifts/a.csv")) == MISSING
    assert pair.refused(pair.client.setAttrs(b"/orgShifts/a.csv", {"mtime": 1, "atime": 1})) == MISSING


def test_an_unknown_outcome_is_never_answered(pair, service):
    service.intake.outcome = PipeError(Code.UNKNOWN_OUTCOME, "unknown")
    handle = pair.open(b"/orgShifts/a.csv")

    answers = pair.begin(handle.close())

    assert answers == []
    assert pair.dropped is not None


def test_after_an_unknown_outcome_the_catalog_answers_stat(pair, service):
    """The client comes back and asks; perhaps the commit went through."""
    service.intake.held = []
    handle = pair.open(b"/orgShifts/a.csv")
    pair.ask(handle.writeChunk(0, b"id\n"))
    pair.begin(handle.close())
    upload = next(iter(service.intake.live))
    upload._accept("a.csv")
    service.intake.outcome = PipeError(Code.UNKNOWN_OUTCOME, "unknown")
    service.intake.let_go()

    assert pair.dropped is not None
    assert service.login().channel().stat(b"/orgShifts/a.csv")["size"] == 3


def test_a_file_being_written_is_there_with_its_size_so_far(pair, connection):
    handle = pair.open(b"/orgShifts/a.csv")
    pair.ask(handle.writeChunk(0, b"12345"))

    assert pair.stat(b"/orgShifts/a.csv")["size"] == 5
    assert pair.ask(handle.getAttrs())["size"] == 5
    assert connection.channel().stat(b"/orgShifts/a.csv")["size"] == 5
    assert connection.channel().names(b"/orgShifts") == [b"a.csv"]
    pair.cut()


def test_setstat_is_ok_and_ignored(pair):
    pair.put(b"/orgShifts/a.csv", b"id\n")

    for path in (b"/orgShifts/a.csv", b"/orgShifts", b"/", b"/orgShifts/never-put.csv"):
        pair.ask(pair.client.setAttrs(path, {"permissions": 0o600}))
    assert pair.stat(b"/orgShifts/a.csv")["permissions"] & 0o777 == 0o200


@pytest.mark.parametrize(("declared", "accepted"), [(3, True), (2, False), (4, False)])
def test_a_size_by_fsetstat_must_be_the_one_received(pair, service, declared, accepted):
    handle = pair.open(b"/orgShifts/a.csv", WRITE | CREAT)
    pair.ask(handle.writeChunk(0, b"id\n"))
    pair.ask(pair.fsetstat(handle, {"size": declared}))

    (answer,) = pair.begin(handle.close())

    assert bool(service.uploads.records) is accepted
    assert hasattr(answer, "trap") is not accepted


def test_a_size_of_zero_before_the_first_byte_only_empties(pair, service):
    handle = pair.open(b"/orgShifts/a.csv", WRITE | CREAT)
    pair.ask(pair.fsetstat(handle, {"size": 0}))
    pair.ask(handle.writeChunk(0, b"id\n"))
    pair.ask(handle.close())

    assert len(service.uploads.records) == 1


def test_a_size_by_path_counts_for_the_file_that_is_open(pair, service):
    handle = pair.open(b"/orgShifts/a.csv")
    pair.ask(handle.writeChunk(0, b"id\n"))
    pair.ask(pair.client.setAttrs(b"/orgShifts/a.csv", {"size": 2}))

    pair.refused(handle.close())

    assert service.uploads.records == []


DENIED = {
    "mkdir": lambda c: c.makeDirectory(b"/new", {}),
    "mkdir in a folder": lambda c: c.makeDirectory(b"/orgShifts/new", {}),
    "mkdir deeper": lambda c: c.makeDirectory(b"/no/such/folder", {}),
    "mkdir of a folder that is there": lambda c: c.makeDirectory(b"/orgShifts", {}),
    "rmdir": lambda c: c.removeDirectory(b"/orgShifts"),
    "remove a folder": lambda c: c.removeFile(b"/orgShifts"),
    "remove": lambda c: c.removeFile(b"/orgShifts/a.csv"),
    "rename": lambda c: c.renameFile(b"/orgShifts/a.csv", b"/orgShifts/b.csv"),
    "rename a folder": lambda c: c.renameFile(b"/orgShifts", b"/shifts"),
    "symlink": lambda c: c.makeLink(b"/orgShifts/l", b"/orgShifts/a.csv"),
    "readlink": lambda c: c.readLink(b"/orgShifts/a.csv"),
}


@pytest.mark.parametrize("what", DENIED)
def test_everything_but_putting_is_denied_in_a_sentence(pair, service, what):
    pair.put(b"/orgShifts/a.csv", b"id\n")

    code, text = pair.refused(DENIED[what](pair.client))

    assert code == FX_PERMISSION_DENIED
    assert " " in text
    assert pair.stat(b"/orgShifts/a.csv")["size"] == 3
    assert len(service.uploads.records) == 1


def test_removing_what_is_not_there_says_so(pair):
    for path in (b"/orgShifts/a.csv", b"/orgShifts/a.csv.filepart", b"/a.csv"):
        code, _ = pair.refused(pair.client.removeFile(path))
        assert code == FX_NO_SUCH_FILE


# Temporary names (ruling 2)


@pytest.mark.parametrize("rename", ["renameFile", "posix_rename"])
def test_a_temporary_name_is_an_upload_once_it_is_renamed(pair, service, rename):
    pair.put(b"/orgShifts/a.csv.filepart", b"id\n1\n")
    assert service.uploads.records == []
    assert pair.stat(b"/orgShifts/a.csv.filepart")["size"] == 5

    do = pair.client.renameFile if rename == "renameFile" else pair.posix_rename
    pair.ask(do(b"/orgShifts/a.csv.filepart", b"/orgShifts/a.csv"))

    assert service.recorded == [("orgShifts", "a.csv", b"id\n1\n")]
    assert pair.stat(b"/orgShifts/a.csv")["size"] == 5
    assert pair.refused(pair.client.getAttrs(b"/orgShifts/a.csv.filepart")) == MISSING
    assert pair.names(b"/orgShifts") == [b"a.csv"]


def test_a_temporary_file_is_renamed_from_another_channel(pair, connection, service):
    pair.put(b"/orgShifts/a.csv.part", b"id\n")
    pair.cut()

    other = connection.channel()
    other.ask(other.client.renameFile(b"/orgShifts/a.csv.part", b"/orgShifts/a.csv"))

    assert service.recorded == [("orgShifts", "a.csv", b"id\n")]


def test_a_temporary_file_is_renamed_from_another_connection_of_the_client(pair, connection, service):
    """rclone takes any connection of its pool for the rename (rclone#9000)."""
    other = service.login()
    pair.put(b"/orgShifts/a.csv.part", b"id\n")
    connection.end()

    channel = other.channel()
    channel.ask(channel.client.renameFile(b"/orgShifts/a.csv.part", b"/orgShifts/a.csv"))

    assert service.recorded == [("orgShifts", "a.csv", b"id\n")]
    assert channel.names(b"/orgShifts") == [b"a.csv"]


def test_the_connection_that_put_it_lists_it_under_its_final_name(pair, service):
    pair.put(b"/orgShifts/a.csv.part", b"id\n")

    other = service.login().channel()
    other.ask(other.client.renameFile(b"/orgShifts/a.csv.part", b"/orgShifts/a.csv"))

    assert pair.names(b"/orgShifts") == [b"a.csv"]


def test_nobody_else_renames_or_removes_a_temporary_file(pair, service):
    pair.put(b"/orgShifts/a.csv.part", b"id\n")
    other = service.login("rival-1", "rival").channel()

    for request in (
        other.client.renameFile(b"/orgShifts/a.csv.part", b"/orgShifts/a.csv"),
        other.client.removeFile(b"/orgShifts/a.csv.part"),
        other.client.getAttrs(b"/orgShifts/a.csv.part"),
    ):
        assert other.refused(request) == MISSING
    assert pair.stat(b"/orgShifts/a.csv.part")["size"] == 3


RENAMES = {
    "to another folder": (b"/orgTransactions/a.csv", FX_PERMISSION_DENIED),
    "to another temporary name": (b"/orgShifts/b.csv.part", FX_PERMISSION_DENIED),
    "to the root": (b"/a.csv", FX_PERMISSION_DENIED),
    "to a folder": (b"/orgShifts", FX_PERMISSION_DENIED),
    "to an unknown schema": (b"/other/a.csv", FX_NO_SUCH_FILE),
}


@pytest.mark.parametrize("where", RENAMES)
def test_a_temporary_file_stays_where_it_is_when_its_rename_is_denied(pair, service, where):
    target, code = RENAMES[where]
    pair.put(b"/orgShifts/a.csv.part", b"id\n")

    assert pair.refused(pair.client.renameFile(b"/orgShifts/a.csv.part", target))[0] == code

    pair.ask(pair.client.renameFile(b"/orgShifts/a.csv.part", b"/orgShifts/a.csv"))
    assert len(service.uploads.records) == 1


def test_a_rename_to_a_name_that_intake_refuses_drops_the_file(pair, service):
    pair.put(b"/orgShifts/a.csv.part", b"id\n")

    answer = pair.refused(pair.client.renameFile(b"/orgShifts/a.csv.part", b"/orgShifts/a.txt"))

    assert answer == (FX_FAILURE, "use .csv or .json")
    assert pair.refused(pair.client.getAttrs(b"/orgShifts/a.csv.part")) == MISSING
    assert not service.intake.live


def test_a_file_is_not_renamed_while_it_is_open(pair):
    pair.open(b"/orgShifts/a.csv.part")

    code, text = pair.refused(pair.client.renameFile(b"/orgShifts/a.csv.part", b"/orgShifts/a.csv"))

    assert (code, text) == (FX_FAILURE, "close the file before renaming it")
    pair.cut()


def test_a_rename_on_another_channel_waits_for_the_close_under_way(pair, connection, service):
    service.intake.held = []
    handle = pair.open(b"/orgShifts/a.csv.part")
    pair.ask(handle.writeChunk(0, b"id\n"))
    pair.begin(handle.close())
    other = connection.channel()
    renamed = other.begin(other.client.renameFile(b"/orgShifts/a.csv.part", b"/orgShifts/a.csv"))
    assert renamed == []

    service.intake.let_go()
    other.flush()

    assert len(renamed) == 1
    assert service.recorded == [("orgShifts", "a.csv", b"id\n")]


def test_of_two_renames_at_once_one_wins_and_the_file_is_one_upload(pair, connection, service):
    pair.put(b"/orgShifts/a.csv.part", b"id\n")
    service.intake.held = []
    other = connection.channel()
    pair.begin(pair.client.renameFile(b"/orgShifts/a.csv.part", b"/orgShifts/a.csv"))
    second = other.begin(other.client.renameFile(b"/orgShifts/a.csv.part", b"/orgShifts/b.csv"))

    service.intake.let_go()
    pair.flush()
    other.flush()

    assert second[0].value.code == FX_NO_SUCH_FILE
    assert [name for _, name, _ in service.recorded] == ["a.csv"]


def test_removing_a_temporary_file_drops_it(pair, service):
    pair.put(b"/orgShifts/a.csv.filepart", b"id\n")

    pair.ask(pair.client.removeFile(b"/orgShifts/a.csv.filepart"))

    assert service.intake.dropped == [("a.csv.filepart", "removed by the client")]
    assert pair.refused(pair.client.removeFile(b"/orgShifts/a.csv.filepart")) == MISSING


def test_removing_a_temporary_file_that_is_open_stops_it(pair, connection, service):
    handle = pair.open(b"/orgShifts/a.csv.filepart")
    other = connection.channel()
    other.ask(other.client.removeFile(b"/orgShifts/a.csv.filepart"))

    assert pair.refused(handle.writeChunk(0, b"id\n"))[0] == FX_FAILURE
    assert pair.refused(handle.close())[0] == FX_FAILURE
    assert service.uploads.records == []


def test_a_temporary_name_put_again_replaces_the_one_that_waited(pair, service):
    pair.put(b"/orgShifts/a.csv.filepart", b"old\n")
    pair.put(b"/orgShifts/a.csv.filepart", b"new\n")
    pair.ask(pair.client.renameFile(b"/orgShifts/a.csv.filepart", b"/orgShifts/a.csv"))

    assert service.recorded == [("orgShifts", "a.csv", b"new\n")]
    assert not service.intake.live


def test_of_two_files_open_under_one_temporary_name_the_later_one_counts(pair, service):
    """The earlier one could never be renamed, and would stay on the spool for ever."""
    first, second = pair.open(b"/orgShifts/a.csv.part"), pair.open(b"/orgShifts/a.csv.part")
    pair.ask(second.writeChunk(0, b"new\n"))

    assert pair.refused(first.close()) == (FX_FAILURE, "another file was put under this temporary name")
    pair.ask(second.close())
    pair.ask(pair.client.renameFile(b"/orgShifts/a.csv.part", b"/orgShifts/a.csv"))

    assert service.recorded == [("orgShifts", "a.csv", b"new\n")]
    assert not service.intake.live


def test_winscp_clears_the_way_for_its_rename_and_nothing_accepted_is_lost(pair, service):
    pair.put(b"/orgShifts/a.csv", b"old\n")
    pair.put(b"/orgShifts/a.csv.filepart", b"new\n")

    pair.ask(pair.client.removeFile(b"/orgShifts/a.csv"))
    assert pair.refused(pair.client.getAttrs(b"/orgShifts/a.csv")) == MISSING
    pair.ask(pair.client.renameFile(b"/orgShifts/a.csv.filepart", b"/orgShifts/a.csv"))

    assert [data for _, _, data in service.recorded] == [b"old\n", b"new\n"]
    assert pair.stat(b"/orgShifts/a.csv")["size"] == 4


def test_leftovers_are_dropped_when_the_clients_last_connection_ends(pair, connection, service):
    other = service.login()
    pair.put(b"/orgShifts/a.csv.part", b"id\n")

    connection.end()
    assert service.intake.live

    other.end()
    assert not service.intake.live
    assert service.uploads.records == []


def test_leftovers_are_dropped_after_some_minutes(pair, service):
    pair.put(b"/orgShifts/a.csv.part", b"id\n")

    service.clock.advance(599)
    service.visits.sweep()
    assert service.intake.live
    service.clock.advance(1)
    service.visits.sweep()

    assert service.intake.dropped == [("a.csv.part", "never renamed to a final name")]
    assert pair.refused(pair.client.getAttrs(b"/orgShifts/a.csv.part")) == MISSING


def test_without_the_setting_a_temporary_name_is_a_name_like_any_other(pair, service):
    """WinSCP falls back to the final name when the OPEN of .filepart is refused (issue 2277)."""
    service.intake.temporary_names = False

    assert pair.refused(pair.client.openFile(b"/orgShifts/a.csv.filepart", PUT, {}))[0] == FX_FAILURE


# Other connections, other clients, other days (ruling 3)


def test_listings_show_this_sessions_uploads_only_and_on_all_its_channels(pair, connection, service):
    pair.put(b"/orgShifts/a.csv", b"id\n")

    assert connection.channel().names(b"/orgShifts") == [b"a.csv"]
    assert connection.channel().names(b"/orgTransactions") == []
    assert service.login().channel().names(b"/orgShifts") == []


def test_stat_answers_on_the_clients_other_connections_for_ten_minutes(pair, connection, service):
    pair.put(b"/orgShifts/a.csv", b"id\n")
    connection.end()
    other = service.login().channel()

    service.clock.advance(599)
    service.visits.sweep()
    assert other.stat(b"/orgShifts/a.csv")["size"] == 3
    service.clock.advance(2)
    service.visits.sweep()

    assert other.refused(other.client.getAttrs(b"/orgShifts/a.csv")) == MISSING


def test_stat_asks_the_catalog_for_what_another_process_took(pair, service):
    pair.put(b"/orgShifts/a.csv", b"id\n")
    service.visits._shelves.clear()

    assert service.login().channel().stat(b"/orgShifts/a.csv")["size"] == 3


def asked(service) -> list:
    """Lets the catalog's answers to STAT be counted. :returns: a list with one entry each."""
    looks = []
    latest = service.uploads.latest
    service.uploads.latest = lambda *what: looks.append(what) or latest(*what)
    return looks


def test_stat_asks_the_catalog_no_more_when_every_upload_of_the_last_minutes_passed_here(pair, service):
    """OpenSSH asks by STAT before each put."""
    pair.put(b"/orgShifts/a.csv", b"id\n")
    looks = asked(service)
    service.visits.newest_elsewhere = service.clock.seconds() - 601

    assert pair.stat(b"/orgShifts/a.csv")["size"] == 3
    assert pair.refused(pair.client.getAttrs(b"/orgShifts/b.csv")) == MISSING
    assert looks == []


def test_stat_asks_the_catalog_while_it_may_know_more(pair, service):
    """Of a time before this start, of names that were too many to remember, or when others take uploads as well."""
    pair.put(b"/orgShifts/a.csv", b"id\n")
    looks = asked(service)
    now, of_client = service.clock.seconds(), next(iter(service.visits._shelves.values()))

    assert pair.refused(pair.client.getAttrs(b"/orgShifts/b.csv")) == MISSING
    service.visits.newest_elsewhere = now - 599
    assert pair.refused(pair.client.getAttrs(b"/orgShifts/b.csv")) == MISSING
    service.visits.newest_elsewhere = now - 601
    of_client.forgot_at = now - 599
    assert pair.refused(pair.client.getAttrs(b"/orgShifts/b.csv")) == MISSING
    assert len(looks) == 3
    of_client.forgot_at = now - 601
    assert pair.refused(pair.client.getAttrs(b"/orgShifts/b.csv")) == MISSING
    assert len(looks) == 3


def test_a_shelf_remembers_when_it_forgot_something(service, monkeypatch):
    monkeypatch.setattr(shelf, "SHELF_LENGTH", 2)
    pair = service.login().channel()
    of_client = next(iter(service.visits._shelves.values()))
    for number in range(2):
        pair.put(b"/orgShifts/%d.csv" % number, b"id\n")
    assert of_client.forgot_at < 0

    pair.put(b"/orgShifts/2.csv", b"id\n")

    assert of_client.forgot_at == service.clock.seconds()


def test_after_an_unknown_outcome_the_catalog_is_asked_whatever_else_is_known(pair, service):
    service.visits.newest_elsewhere = float("-inf")
    service.intake.held = []
    handle = pair.open(b"/orgShifts/a.csv")
    pair.ask(handle.writeChunk(0, b"id\n"))
    pair.begin(handle.close())
    next(iter(service.intake.live))._accept("a.csv")
    service.intake.outcome = PipeError(Code.UNKNOWN_OUTCOME, "unknown")
    service.intake.let_go()

    assert service.login().channel().stat(b"/orgShifts/a.csv")["size"] == 3


def test_a_session_sees_its_own_uploads_for_as_long_as_it_lasts(pair, service):
    pair.put(b"/orgShifts/a.csv", b"id\n")

    service.clock.advance(86_400)
    service.visits.sweep()

    assert pair.stat(b"/orgShifts/a.csv")["size"] == 3
    assert pair.names(b"/orgShifts") == [b"a.csv"]


def test_a_session_remembers_a_bounded_number_of_files(service):
    service.visits._remembered = 3
    pair = service.login().channel()
    for number in range(5):
        pair.put(b"/orgShifts/%d.csv" % number, b"id\n")

    assert pair.names(b"/orgShifts") == [b"2.csv", b"3.csv", b"4.csv"]


def test_changed_schemas_take_effect_with_the_next_operation(pair, service, connection):
    visit = connection.avatar.visit
    visit.client = visit.client.__class__(visit.client.client_id, "acme", SCHEMAS - {"orgShifts"}, visit.client.peer)

    assert pair.names(b"/") == [b"orgTransactions"]
    assert pair.refused(pair.client.openFile(b"/orgShifts/a.csv", PUT, {}))[0] == FX_NO_SUCH_FILE


def test_nothing_is_opened_while_draining_but_running_puts_end_well(pair, service):
    handle = pair.open(b"/orgShifts/a.csv")
    service.visits.draining = True

    code, text = pair.refused(pair.client.openFile(b"/orgShifts/b.csv", PUT, {}))
    pair.ask(handle.close())

    assert code == FX_FAILURE
    assert "shutting down" in text
    assert [name for _, name, _ in service.recorded] == ["a.csv"]


def test_statvfs_tells_the_spools_numbers(pair):
    reply = pair.ask(pair.client.extendedRequest(b"statvfs@openssh.com", b"\0\0\0\1/"))

    assert int.from_bytes(reply[0:8], "big") == 4096


def test_a_tree_of_links_to_nowhere_is_walked_as_clients_walk_it(pair):
    assert pair.ask(pair.client.realPath(b".")) == "/"
    assert pair.ask(pair.client.realPath(b"/orgShifts/not-yet.csv")) == "/orgShifts/not-yet.csv"
    assert pair.stat(b"orgShifts/.")["permissions"] & 0o170000 == 0o040000
    assert pair.refused(pair.client.openDirectory(b"/orgShifts/a.csv"))[0] == FX_NO_SUCH_FILE
    assert pair.refused(pair.client.openDirectory(b"/other"))[0] == FX_NO_SUCH_FILE
    assert pair.refused(pair.client.getAttrs(b"/other"))[0] == FX_NO_SUCH_FILE
