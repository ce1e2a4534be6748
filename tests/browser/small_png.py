"""Pictures of pages with few colours: a tenth of what a browser writes. The browser reads the picture for us."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

COLOURS = 48
_READ = """async ([text, most]) => {
  const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes]));
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  canvas.drawImage(bitmap, 0, 0);
  const pixels = new Uint32Array(canvas.getImageData(0, 0, bitmap.width, bitmap.height).data.buffer);
  const counts = new Map();
  for (const one of pixels) counts.set(one, (counts.get(one) || 0) + 1);
  const palette = [...counts.entries()].sort((a, b) => b[1] - a[1]).slice(0, most).map((one) => one[0]);
  const apart = (a, b) => [0, 8, 16].reduce((sum, at) => sum + (((a >>> at) & 255) - ((b >>> at) & 255)) ** 2, 0);
  const nearest = new Map();
  for (const one of counts.keys()) {
    let best = 0;
    palette.forEach((other, at) => { if (apart(one, other) < apart(one, palette[best])) best = at; });
    nearest.set(one, best);
  }
  let places = "";
  for (const one of pixels) places += String.fromCharCode(nearest.get(one));
  const colours = palette.flatMap((one) => [one & 255, (one >>> 8) & 255, (one >>> 16) & 255]);
  return [bitmap.width, bitmap.height, colours, btoa(places)];
}"""


def small(page: Any, picture: bytes) -> bytes:
    """The same picture in its COLOURS commonest colours, each other one as the nearest of them.

    :param page: a blank one, to work in.
    """
    width, height, colours, places = page.evaluate(_READ, [base64.b64encode(picture).decode(), COLOURS])
    rows = base64.b64decode(places)
    lines = b"".join(b"\0" + rows[at * width : (at + 1) * width] for at in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = [(b"IHDR", head), (b"PLTE", bytes(colours)), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, parts))


def _chunk(part: tuple[bytes, bytes]) -> bytes:
    kind, data = part
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
