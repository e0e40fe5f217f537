"""Bytes for a CSV parser that shows rows as text: valid UTF-8, whatever stands in the file."""

import codecs
import re

NO_UTF8 = re.compile("[\udc80-\udcff]")  # what the error handler "surrogateescape" makes of a byte that is none


class ValidUTF8:
    """A binary stream as a file-like object in which each byte that is no UTF-8 has become a NUL.

    pyarrow hands a row that has another number of fields to its handler as text, and gives up where it is none; a NUL
    is refused in every column that is read, as that byte would be, and passed over in every other.
    stream: `read(n)` gives fewer bytes at the end alone.
    """

    closed = False

    def __init__(self, stream):
        self._stream, self._held = stream, b""  # held: the beginning of a character that was cut off

    def read(self, size):
        """Up to size bytes, three fewer where a character would be cut off; none at the end alone. size: at least 4."""
        data = self._held + self._stream.read(size - len(self._held))
        if data.isascii():
            self._held = b""
            return data
        text, used = codecs.utf_8_decode(data, "surrogateescape", len(data) < size)
        self._held = data[used:]
        text, wrong = NO_UTF8.subn("\0", text)
        return text.encode() if wrong else data[:used]

    def close(self):
        """Leave the stream to whoever opened it."""
