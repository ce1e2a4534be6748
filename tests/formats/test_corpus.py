"""The hostile corpus: what is said of each kind of broken file, word for word.

A row of the table is the bytes and what :func:`told` makes of the verdict; an empty list means accepted.
"""

# A case is a line.
# ruff: noqa: E501, UP031

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile

import pytest

from tests.formats.files import SALES, judge, rows, schema, told

H = "id,amount,note\n"


def zipped(name: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, "x")
    return out.getvalue()


ENCODING = {
    "empty": (b"", ["-/-: the file is empty"]),
    "BOM only": (b"\xef\xbb\xbf", ["-/-: the file is empty"]),
    "blank lines only": (b"\n \r\n\t\n", ["-/-: the file is empty"]),
    "BOM": (b"\xef\xbb\xbf" + H.encode() + b"1,2,x\n", []),
    "BOM and quoted header": (b'\xef\xbb\xbf"id",amount\n1,2\n', []),
    "two-byte, three-byte, four-byte": (H.encode() + "1,2,é–\U0001f6d2\n".encode(), []),
    "UTF-16 with BOM": (H.encode("utf-16"), ["-/-: the file is UTF-16, save it as UTF-8"]),
    "UTF-16 LE without": (H.encode("utf-16-le"), ["-/-: the file looks like UTF-16, save it as UTF-8"]),
    "UTF-16 BE without": (H.encode("utf-16-be"), ["-/-: the file looks like UTF-16, save it as UTF-8"]),
    "UTF-32 with BOM": (H.encode("utf-32"), ["-/-: the file is UTF-32, save it as UTF-8"]),
    "UTF-32 BE without": (H.encode("utf-32-be"), ["-/-: the file looks like UTF-32, save it as UTF-8"]),
    "Latin-1": (
        H.encode() + b"1,2,caf\xe9\n",
        ["2/-: byte 23 of the file (0xE9) is not UTF-8, save the file as UTF-8"],
    ),
    "overlong": (
        H.encode() + b"1,2,\xc0\xaf\n",
        ["2/-: byte 20 of the file (0xC0) is not UTF-8, save the file as UTF-8"],
    ),
    "surrogate in UTF-8": (
        H.encode() + b"1,2,\xed\xa0\x80\n",
        ["2/-: byte 20 of the file (0xED) is not UTF-8, save the file as UTF-8"],
    ),
    "cut character": (H.encode() + b"1,2,caf\xc3", ["-/-: the file ends in the middle of a character, it was cut"]),
    "NUL": (H.encode() + b"1,2,a\0b\n", ["2/-: byte 21 of the file is NUL"]),
    "NUL tail": (H.encode() + b"1,2,a\n" + b"\0" * 20, ["3/-: byte 22 of the file is NUL"]),
    "gzip": (gzip.compress(b"a"), ["-/-: the file is compressed (gzip), send it as it is"]),
    "bzip2": (bz2.compress(b"a"), ["-/-: the file is compressed (bzip2), send it as it is"]),
    "xz": (lzma.compress(b"a"), ["-/-: the file is compressed (xz), send it as it is"]),
    "zip": (zipped("a.csv"), ["-/-: the file is compressed (zip), send it as it is"]),
    "xlsx": (zipped("[Content_Types].xml"), ["-/-: the file is an Excel workbook, save it as CSV UTF-8"]),
    "xls": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 8,
        ["-/-: the file is an Excel workbook, save it as CSV UTF-8"],
    ),
    "zstd": (b"\x28\xb5\x2f\xfd\0\0", ["-/-: the file is compressed (zstd), send it as it is"]),
}

HEADER = {
    "header only": (H, []),
    "header only, no line end": ("id,amount", []),
    "any order, any case": ("NOTE,Id,AMOUNT\nx,1,2\n", []),
    "alias with blanks": (
        ' "Sale ID" ,amount\n1,2\n',
        [
            "1/-: the column id is missing",
            '1/-: the column "Sale ID" is not known',
        ],
    ),
    "alias": ("Sale ID,amount\n1,2\n", []),
    "blanks around names": (" id , amount\n1,2\n", []),
    "optional columns absent": ("id\n1\n", []),
    "required missing": ("amount,note\n1,x\n", ["1/-: the column id is missing"]),
    "required misspelt": (
        "ids,amount\n1,2\n",
        [
            "1/-: the column id is missing (is ids meant as id?)",
            "1/-: the column ids is not known",
        ],
    ),
    "unknown": ("id,colour\n1,2\n", ["1/-: the column colour is not known"]),
    "unknown, near": ("id,ammount\n1,2\n", ["1/-: the column ammount is not known (is ammount meant as amount?)"]),
    "unknown, two": ("id,x,y\n1,2,3\n", ["1/-: the columns x and y are not known"]),
    "twice": ("id,amount,ID\n1,2,3\n", ["1/-: the column ID is in the header twice"]),
    "twice by alias": ("id,sale id\n1,2\n", ["1/-: the column sale id is in the header twice"]),
    "unknown twice": (
        "id,x,X\n1,2,3\n",
        [
            "1/-: the column X is in the header twice",
            "1/-: the column x is not known",
        ],
    ),
    "no name": ("id,,note\n1,2,3\n", ["1/-: column 2 of the header has no name"]),
    "comma at the end": ("id,amount,\n1,2,\n", ["1/-: column 3 of the header has no name"]),
    "semicolons": ("id;amount;note\n1;2;x\n", ["1/-: the file looks separated by ;, use commas"]),
    "tabs": ("id\tamount\tnote\n", ["1/-: the file looks separated by tabs, use commas"]),
    "pipes": ("id|amount\n", ["1/-: the file looks separated by |, use commas"]),
    "strange names with semicolons": ("a;b;c\n1;2;3\n", ["1/-: the file looks separated by ;, use commas"]),
    "no header": (
        "1,2.50,x\n2,3.50,y\n",
        [
            "1/-: the column id is missing",
            "1/-: the columns 1, 2.50 and x are not known",
        ],
    ),
    "first line empty": ("\nid\n1\n", ["1/-: the first line is empty, it must name the columns"]),
    "control characters": ("id,\x1b[31m\n", ["1/-: the column \\x1b[31m is not known"]),
    "quote never closed": (
        '"id,amount\n1,2\n',
        ["1/-: the header is not CSV: a quote is opened here and never closed"],
    ),
    "quoted line break": ('id,"no\nte"\n1,2\n', ["1/-: the column no\\nte is not known (is no\\nte meant as note?)"]),
    "too many": (",".join(f"c{n}" for n in range(2001)), ["1/-: the header has 2001 columns, at most 2000 are taken"]),
    "a million": ("x," * 1_000_000, ["1/-: the header has 1000001 columns, at most 2000 are taken"]),
}

SHAPE = {
    "good": (H + "1,2.50,x\n", []),
    "no line end": (H + "1,2.50,x", []),
    "CRLF": (H.replace("\n", "\r\n") + "1,2,x\r\n2,3,y\r\n", []),
    "CR only": ("id,amount\r1,2\r2,3\r", []),
    "mixed line ends": (H + "1,2,x\r\n2,3,y\n3,4,z\r\n", []),
    "one CR among LF": (H + "1,2,x\r2,3,y\n", []),
    "blank lines": (H + "\n1,2,x\n\n\n2,3,y\n\n", []),
    "quoted line breaks": (H + '1,2,"a\nb"\n2,3,"c\r\nd"\n', []),
    "doubled quotes": (H + '1,2,"say ""hi"""\n', []),
    "quote in the middle": (H + '1,2,5" pipe\n', []),
    "empty cells too many": (H + "1,2,x,,\n", []),
    "short": (H + "1,2\n2,3,y\n", ["2/1: the row has 2 columns, the header 3 [1,2]"]),
    "long": (H + "1,2,x,y\n", ["2/1: the row has 4 columns, the header 3 [1,2,x,y]"]),
    "short and long": (H + "1\n1,2,x\n1,2,3,4\n", [
        "2/1: the row has 1 column, the header 3 [1]",
        "4/3: the row has 4 columns, the header 3 [1,2,3,4]",
    ]),
    "line after quoted break": (H + '1,2,"a\nb\nc"\n2\n3,x,z\n', [
        "5/2: the row has 1 column, the header 3 [2]",
        "6/3 amount: not a number [x]",
    ]),
    "cut": (H + "1,2,x\n2,3", ["3/-: the file was cut: the last line has 2 of 3 columns"]),
    "decimal comma": (H + "1,12,34,x\n", ["2/1: the row has 4 columns, the header 3 [1,12,34,x]"]),
    "text after quotes": (H + '1,2,"bad"quote\n2,3,y\n', ['2/1: a quote inside a quoted field must be doubled ("")']),
    "quote never closed": (H + '1,2,x\n2,3,"y\n3,4,z\n', ["3/2: a quote is opened here and never closed"]),
    "blank beside a quote": (H + '1,2,"x" \n', ['2/1: a quote inside a quoted field must be doubled ("")']),
    "field of 1 MiB": (H + "1,2," + "x" * (1 << 20) + "\n", [f"2/1 note: longer than 20 characters [{'x' * 80}]"]),
    "field longer than 1 MiB": (H + "1,2," + "x" * (1 << 20) + "x\n", [
        "2/1: a field is longer than 1048576 bytes, or its quote is never closed"
    ]),
    "quote swallows the file": (H + '1,2,"' + "1,2,x\n" * 200_000, [
        "2/1: a field is longer than 1048576 bytes, or its quote is never closed"
    ]),
    "giant line": (H + "1,2," + "x" * (1 << 23) + "\n", ["2/-: the line is longer than 4194304 bytes"]),
    "giant line without end": ("x" * (1 << 23), ["1/-: the line is longer than 4194304 bytes"]),
}  # fmt: skip

CELLS = {  # column, cell, reason or None
    "integer": ("id", "42", None),
    "integer signed": ("id", "+7", None),
    "integer zeros": ("id", "007", None),
    "integer blanks": ("id", " 7 ", None),
    "integer no-break space": ("id", "\u00a07", None),
    "integer largest": ("id", "9223372036854775807", None),
    "integer too large": ("id", "9223372036854775808", "too large for an integer"),
    "integer far too large": ("id", "9" * 5000, "too large for an integer"),
    "integer empty": ("id", "", "is empty"),
    "integer quoted empty": ("id", '""', "is empty"),
    "integer blank": ("id", "  ", "is empty"),
    "integer 1.5": ("id", "1.5", "not an integer"),
    "integer 1.0": ("id", "1.0", "not an integer"),
    "integer 1_000": ("id", "1_000", "not an integer"),
    "integer 1e3": ("id", "1e3", "not an integer"),
    "integer hexadecimal": ("id", "0x10", "not an integer"),
    "integer True": ("id", "True", "not an integer"),
    "integer other digits": ("id", "٣", "not an integer"),
    "integer line break": ("id", '"7\n"', "not an integer"),
    "integer tab": ("id", "\t7", "not an integer"),
    "integer NULL": ("id", "NULL", "not an integer"),
    "decimal": ("amount", "12.34", None),
    "decimal point first": ("amount", ".5", None),
    "decimal point last": ("amount", "5.", None),
    "decimal zeros": ("amount", "1.2300000", None),
    "decimal largest": ("amount", "9999.99", None),
    "decimal negative": ("amount", "-9999.99", None),
    "decimal empty": ("amount", "", None),
    "decimal rounding": ("amount", "1.235", "more than 2 decimal places"),
    "decimal too large": ("amount", "10000", "too large for decimal(6,2)"),
    "decimal just too large": ("amount", "9999.995", "more than 2 decimal places"),
    "decimal NaN": ("amount", "NaN", "not a number"),
    "decimal Infinity": ("amount", "Infinity", "not a number"),
    "decimal exponent": ("amount", "1e2", "not a number"),
    "decimal comma": ("amount", '"12,34"', "not a number like 1234.50, without commas"),
    "decimal thousands": ("amount", '"1,234.50"', "not a number like 1234.50, without commas"),
    "decimal currency": ("amount", "12 EUR", "not a number"),
    "decimal sign only": ("amount", "-", "not a number"),
    "decimal point only": ("amount", ".", "not a number"),
    "text": ("note", "=cmd|' /C calc'!A0", None),
    "text empty": ("note", "", None),
    "text blank": ("note", "  ", None),
    "text of 20": ("note", "é" * 20, None),
    "text of 21": ("note", "é" * 21, "longer than 20 characters"),
    "text SQL": ("note", "'; DROP TABLE a", None),
    "boolean": ("flag", "TRUE", None),
    "boolean yes": ("flag", "Yes", None),
    "boolean 0": ("flag", "0", None),
    "boolean 2": ("flag", "2", "not true or false"),
    "boolean t": ("flag", "t", "not true or false"),
    "date": ("day", "2024-02-29", None),
    "date first": ("day", "0001-01-01", None),
    "date last": ("day", "9999-12-31", None),
    "date month 13": ("day", "2026-13-01", "there is no such date"),
    "date no leap year": ("day", "2026-02-29", "there is no such date"),
    "date year 0": ("day", "0000-01-01", "not a date like 2026-02-28"),
    "date year 10000": ("day", "10000-01-01", "not a date like 2026-02-28"),
    "date short": ("day", "2026-2-1", "not a date like 2026-02-28"),
    "date American": ("day", "02/28/2026", "not a date like 2026-02-28"),
    "date BC": ("day", "2026-02-28 (BC)", "not a date like 2026-02-28"),
    "date infinity": ("day", "infinity", "not a date like 2026-02-28"),
    "date epoch": ("day", "epoch", "not a date like 2026-02-28"),
    "date with time": ("day", "2026-02-28 00:00:00", "not a date like 2026-02-28"),
    "time": ("at", "2026-02-28T09:30:00+02:00", None),
    "time Z": ("at", "2026-02-28 09:30Z", None),
    "time of .NET": ("at", "2026-02-28T09:30:00.1234560Z", None),
    "time nanoseconds": ("at", "2026-02-28T09:30:00.1234567Z", "not a time like 2026-02-28T09:30:00+02:00"),
    "time without zone": (
        "at",
        "2026-02-28T09:30:00",
        "the time has no zone, write it like 2026-02-28T09:30:00+02:00",
    ),
    "time with zone's name": ("at", "2026-02-28 09:30 Europe/Paris", "not a time like 2026-02-28T09:30:00+02:00"),
    "time number": ("at", "1700000000", "not a time like 2026-02-28T09:30:00+02:00"),
    "time 24:00": ("at", "2026-02-28T24:00:00Z", "not a time like 2026-02-28T09:30:00+02:00"),
    "time leap second": ("at", "2016-12-31T23:59:60Z", "not a time like 2026-02-28T09:30:00+02:00"),
    "time no such day": ("at", "2026-02-30T09:30:00Z", "there is no such date or time"),
    "time before the first": ("at", "0001-01-01T00:00:00+14:00", "there is no such date or time"),
    "time after the last": ("at", "9999-12-31T23:59:59-14:00", "there is no such date or time"),
    "time offset too far": ("at", "2026-02-28T09:30:00+15:00", "not a time like 2026-02-28T09:30:00+02:00"),
    "local time": ("local", "2026-02-28 09:30", None),
    "local time with offset": ("local", "2026-03-29T03:30:00+02:00", None),
    "local time that does not exist": ("local", "2026-03-29 03:30", "this time does not exist in Europe/Bucharest"),
    "local time that comes twice": ("local", "2026-10-25 03:30", None),
    "enum": ("kind", "B", None),
    "enum blanks": ("kind", " B ", None),
    "enum case": ("kind", "b", "not one of A, B"),
    "minimum": ("small", "-1", None),
    "below": ("small", "-2", "less than -1"),
    "maximum": ("small", "10", None),
    "above": ("small", "11", "more than 10"),
    "pattern": ("code", "A1", None),
    "pattern is for the whole": ("code", "A1 ", "does not match [A-Z][0-9]"),
    "pattern and line end": ("code", '"A1\n"', "does not match [A-Z][0-9]"),
}

MORE = (
    SALES
    + """
[columns.flag]
type = "boolean"
[columns.day]
type = "date"
[columns.at]
type = "timestamp"
[columns.local]
type = "timestamp"
zone = "Europe/Bucharest"
[columns.kind]
type = "enum"
values = ["A", "B"]
[columns.small]
type = "integer"
min = -1
max = 10
[columns.code]
type = "text"
pattern = "[A-Z][0-9]"
"""
)

G = '{"id": 1, "amount": 2.5, "note": "x"}'
NOT_AN_ARRAY = (
    '-/-: the file must be an array of objects, or an object with one under "data", "records", "items" or "rows"'
)
JSON = {
    "array": (f"[{G}]", []),
    "BOM": (f"\ufeff[{G}]", []),
    "data": (f'{{"meta": {{"x": [1, {{}}]}}, "data": [{G}], "z": null}}', []),
    "records": (f'{{"records": [{G}]}}', []),
    "items": (f'{{"items": [{G}]}}', []),
    "rows": (f'{{"rows": [{G}]}}', []),
    "rows as a number": (f'{{"rows": 1, "data": [{G}]}}', []),
    "no records": ("[]", []),
    "keys in any case and by alias": ('[{"Sale ID": 1, "AMOUNT": "2.5"}]', []),
    "null and absent": ('[{"id": 1, "amount": null}]', []),
    "numbers as text": ('[{"id": "1", "amount": "2.50", "note": 5}]', []),
    "exponent": ('[{"id": 1, "amount": 25e-1}]', []),
    "exponent upwards": ('[{"id": 1, "amount": 1e3}]', []),
    "minus zero": ('[{"id": -0, "amount": -0.0}]', []),
    "pair": ('[{"id": 1, "note": "\\ud83d\\uded2"}]', []),
    "escaped backslash before u": ('[{"id": 1, "note": "\\\\ud800"}]', []),
    "empty": ("", ["-/-: the file is empty"]),
    "blanks": (" \n\t", ["-/-: the file is empty"]),
    "wrapped under another name": (f'{{"payload": [{G}]}}', [NOT_AN_ARRAY]),
    "one object": (G, [NOT_AN_ARRAY]),
    "number": ("5", [NOT_AN_ARRAY]),
    "text": ('"a"', [NOT_AN_ARRAY]),
    "two arrays": (f'{{"data": [{G}], "rows": [{G}]}}', ["-/1: there is more than one array of records"]),
    "lines of objects": (f"{G}\n{G}\n", [
        "2/-: there is more after the end of the JSON text (one object per line is not taken)"
    ]),
    "garbage behind": (f"[{G}] x", ["1/-: there is more after the end of the JSON text (one object per line is not taken)"]),
    "cut": (f"[{G},\n" + '{"id": 2', ["2/-: the file was cut: it ends in the middle of the JSON text"]),
    "cut after a record": (f"[{G}", ["1/-: the file was cut: it ends in the middle of the JSON text"]),
    "comma too many": (f"[{G},]", ["1/-: not JSON at byte 40: unallowed token at this point in JSON text"]),
    "comma too many in an object": ('[{"id": 1,}]', [
        "1/-: not JSON at byte 11: invalid object key (must be a string)"
    ]),
    "single quotes": ("[\n{'id': 1}]", ["2/-: not JSON at byte 4: invalid char in json text."]),
    "comment": (f"[{G} // x\n]", ["1/-: not JSON at byte 40: probable comment found in input text, comments are not enabl"]),
    "NaN": ('[{"id": 1, "amount": NaN}]', ["1/-: not JSON at byte 22: invalid char in json text."]),
    "Infinity": ('[{"id": 1, "amount": -Infinity}]', ["1/-: not JSON at byte 23: malformed number, a digit is required after the minus sign."]),
    "number 01": ('[{"id": 01}]', ["1/-: not JSON at byte 11: after key and value, inside map, I expect ',' or '}'"]),
    "line break in text": ('[{"id": 1, "note": "a\nb"}]', ["1/-: not JSON at byte 22: invalid character inside string."]),
    "1e999": ('[{"id": 1, "amount": 1e999}]', ["-/1 amount: a number has more than 40 digits"]),
    "1e-999": ('[{"id": 1, "amount": 1e-999}]', ["-/1 amount: a number has more than 40 digits"]),
    "1e999999999": ('[{"id": 1, "amount": 1e999999999}]', ["-/1 amount: a number has more than 40 digits"]),
    "41 digits": ('[{"id": %s}]' % ("1" * 41), ["-/1 id: a number has more than 40 digits"]),
    "40 digits": ('[{"id": %s}]' % ("1" * 40), [f"-/1 id: too large for an integer [{'1' * 40}]"]),
    "10,000 digits": ('[{"id": %s}]' % ("1" * 10_000), ["-/-: there are more than 4000 digits in a row at byte 9"]),
    "exponent beyond everything": ('[{"id": 1e99999999999999999999}]', ["-/-: a number has more than 40 digits"]),
    "10,000 digits far inside": ("[" + f"{G}, " * 9000 + "9" * 10_000 + "]", ["-/-: there are more than 4000 digits in a row at byte 351002"]),
    "rounding": ('[{"id": 1, "amount": 1.235}]', ["-/1 amount: more than 2 decimal places [1.235]"]),
    "1.0 is no integer": ('[{"id": 1.0}]', ["-/1 id: not an integer [1.0]"]),
    "duplicate key": ('[{"id": 1, "id": 2}]', ["-/1 id: the key id is there twice"]),
    "duplicate by case": ('[{"id": 1, "ID": 1}]', ["-/1 id: the key ID is there twice"]),
    "duplicate by alias": ('[{"id": 1, "sale id": 1}]', ["-/1 id: the key sale id is there twice"]),
    "duplicate in the wrapper": (f'{{"a": 1, "a": 2, "data": [{G}]}}', ["-/-: the key a is there twice"]),
    "unknown key": ('[{"id": 1, "colour": 1}]', ["-/1: the column colour is not known"]),
    "missing key": (f'[{G}, {{"note": "x"}}]', ["-/2 id: is empty"]),
    "empty text is empty": ('[{"id": ""}]', ["-/1 id: is empty"]),
    "nested object": ('[{"id": {"a": 1}}]', ["-/1 id: must be one value, not an object or array"]),
    "nested array": ('[{"id": [1]}]', ["-/1 id: must be one value, not an object or array"]),
    "records that are none": (f'[1, "a", null, true, [{G}], {G}]', [
        "-/1: the record is not an object",
        "-/2: the record is not an object",
        "-/3: the record is not an object",
        "-/4: the record is not an object",
        "-/5: the record is not an object",
    ]),
    "half a pair": ('[{"id": 1, "note": "\\ud83d"}]', ["-/-: the escape at byte 21 is half of a surrogate pair"]),
    "low half": ('[{"id": 1, "note": "\\uDE00"}]', ["-/-: the escape at byte 21 is half of a surrogate pair"]),
    "high half, then text": ('[{"id": 1, "note": "\\ud83d\\u0041"}]', ["-/-: the escape at byte 21 is half of a surrogate pair"]),
    "NUL escaped": ('[{"id": 1, "note": "a\\u0000b"}]', ["-/1 note: contains NUL [a\\x00b]"]),
    "depth 64": (f'{{"x": {"[" * 63}{"]" * 63}, "data": [{G}]}}', []),
    "depth 65": (f'{{"x": {"[" * 64}{"]" * 64}, "data": [{G}]}}', ["-/-: values are nested deeper than 64"]),
    "a million brackets": ("[" * 1_000_000, ["-/1: values are nested deeper than 64"]),
    "2,001 keys": ('[{"id": 1, %s}]' % ", ".join(f'"k{n}": 1' for n in range(2001)), [
        "-/1: an object has more than 2000 keys"
    ]),
    "text longer than 1 MiB": ('[{"id": 1, "note": "%s"}]' % ("x" * ((1 << 20) + 1)), [
        f"-/1 note: longer than 1048576 bytes [{'x' * 80}]"
    ]),
    "Latin-1": (b'[{"id": 1, "note": "\xe9"}]', ["-/-: byte 21 of the file (0xE9) is not UTF-8, save the file as UTF-8"]),
    "UTF-16": (f"[{G}]".encode("utf-16"), ["-/-: the file is UTF-16, save it as UTF-8"]),
}  # fmt: skip


def cases(table: dict) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("data", "expected"), list(table.values()), ids=list(table))


@cases(ENCODING | HEADER | SHAPE)
def test_of_a_csv_file_this_is_said(data, expected, tmp_path):
    verdict = judge(tmp_path, data)

    assert told(verdict) == expected
    assert verdict.accepted == (not expected)
    assert (tmp_path / "rows.parquet").exists() == verdict.accepted


@cases(JSON)
def test_of_a_json_file_this_is_said(data, expected, tmp_path):
    verdict = judge(tmp_path, data, name="a.json")

    assert told(verdict) == expected
    assert verdict.accepted == (not expected)


def test_of_a_cell_this_is_said(tmp_path):
    """All cells in one file, one row each, in the given order."""
    wanted = schema(MORE, top='on_bad_row = "reject_row"')
    columns = [column.name for column in wanted.columns]
    lines = []
    for column, cell, _ in CELLS.values():
        row = {"id": "1", column: cell}
        lines.append(",".join(row.get(name, "") for name in columns))

    verdict = judge(tmp_path, ",".join(columns) + "\n" + "\n".join(lines) + "\n", wanted, problems=1000)

    said = {one.row: (one.column, one.reason) for one in verdict.problems}
    expected = {n: (column, why) for n, (column, _, why) in enumerate(CELLS.values(), 1) if why is not None}
    assert said == expected
    assert [row for (row,) in rows(tmp_path, "_row")] == [
        n for n, (_, _, why) in enumerate(CELLS.values(), 1) if why is None
    ]
