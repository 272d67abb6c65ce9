"""Copies some members of a wheel on the user's package index into a zip of their own, by ranges of bytes.

Arguments: the project, the wheel's file name, its size, the zip to write, and how the members' names begin.
Whoever reads the zip checks what is in it. Any failure ends with exit code 1: the whole wheel will do as well.
"""
import html.parser
import json
import os
import struct
import subprocess
import sys
import urllib.parse
import urllib.request

GAP_BYTES = 1 << 20  # reading over a gap of this size costs less than another request
TIMEOUT_S = 120


def index():
    """The index that the user's pip is set up for."""
    if os.environ.get("PIP_INDEX_URL"):
        return os.environ["PIP_INDEX_URL"]
    for section in ("download", "global"):
        asked = [sys.executable, "-m", "pip", "config", "get", section + ".index-url"]
        found = subprocess.run(asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode().strip()
        if found:
            return found
    # Where nothing is set, pip's own.
    from pip._internal.models.index import PyPI

    return PyPI.simple_url


class Links(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        if tag == "a":
            self.found.extend(value for name, value in attributes if name == "href" and value)


def address(project, file):
    page = index().rstrip("/") + "/" + project + "/"
    accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
    request = urllib.request.Request(page, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        is_json, text, page = "json" in answer.headers.get("Content-Type", ""), answer.read().decode(), answer.geturl()
    if is_json:
        links = [one["url"] for one in json.loads(text)["files"]]
    else:
        parser = Links()
        parser.feed(text)
        links = parser.found
    for link in links:
        link = urllib.parse.urljoin(page, link)
        if urllib.parse.unquote(urllib.parse.urlsplit(link).path).rsplit("/", 1)[-1] == file:
            return link
    raise SystemExit("the index has no " + file)


def read(url, start, end):
    request = urllib.request.Request(url, headers={"Range": "bytes=%d-%d" % (start, end - 1)})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        if answer.status != 206:
            raise SystemExit("the index does not serve ranges")
        return answer.read(end - start)


def directory(url, size):
    """Every entry of the zip's directory: its record, its name, where it begins and how long it is."""
    tail = read(url, max(0, size - 65557), size)
    at = tail.rindex(b"PK\5\6")
    length, offset = struct.unpack_from("<II", tail, at + 12)
    records, at = read(url, offset, offset + length), 0
    while at < length:
        if records[at:at + 4] != b"PK\1\2":
            raise SystemExit("not the directory of a zip file")
        packed, _, names, extra, comment = struct.unpack_from("<IIHHH", records, at + 20)
        begins, = struct.unpack_from("<I", records, at + 42)
        end = at + 46 + names + extra + comment
        yield records[at:end], records[at + 46:at + 46 + names].decode(), begins, packed
        at = end


def main(project, file, size, into, *starts):
    url = address(project, file)
    entries = list(directory(url, int(size)))
    begins = sorted(entry[2] for entry in entries)
    # An entry ends where the next one begins.
    ends = dict(zip(begins, begins[1:] + [int(size)]))
    wanted = sorted((entry for entry in entries if entry[1].startswith(tuple(starts))), key=lambda entry: entry[2])
    runs = []
    for record, _, begin, packed in wanted:
        end = min(ends[begin], begin + packed + 66000)
        if runs and begin - runs[-1][1] < GAP_BYTES:
            runs[-1][1] = end
        else:
            runs.append([begin, end])
    with open(into, "wb") as out:
        places = []
        for start, end in runs:
            places.append((start, end, out.tell()))
            out.write(read(url, start, end))
        records_at = out.tell()
        for record, _, begin, _ in wanted:
            place = next(to + begin - start for start, end, to in places if start <= begin < end)
            out.write(record[:42] + struct.pack("<I", place) + record[46:])
        length = out.tell() - records_at
        out.write(b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, len(wanted), len(wanted), length, records_at, 0))


try:
    main(*sys.argv[1:])
except (OSError, ValueError, KeyError, struct.error) as error:
    raise SystemExit("%s: %s" % (type(error).__name__, error))
