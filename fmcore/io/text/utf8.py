"""Valid UTF-8 for a CSV parser that passes rows on as text, whatever bytes the file holds."""

import codecs
import re

BOM = b"\xef\xbb\xbf"  # byte order mark, which some editors put before UTF-8
NO_UTF8 = re.compile("[\udc80-\udcff]")  # an invalid byte, as the error handler "surrogateescape" decodes it


class ValidUTF8:
    """A binary stream as a file-like object in which each byte that is not UTF-8 is replaced by a NUL.

    pyarrow passes a row with the wrong number of fields to its handler as text, and fails where it is not UTF-8; a NUL
    is refused in every column that is read, as the original byte would be, and ignored in every other.
    stream: `read(n)` returns fewer bytes at the end alone.
    """

    closed = False

    def __init__(self, stream):
        self._stream, self._held = stream, b""  # held: the first bytes of a character whose rest is not read yet

    def read(self, size):
        """Return up to size bytes, never a cut character; none at the end alone. size: at least 4."""
        data = self._held + self._stream.read(size - len(self._held))
        if data.isascii():
            self._held = b""
            return data
        text, used = codecs.utf_8_decode(data, "surrogateescape", len(data) < size)
        self._held = data[used:]
        text, wrong = NO_UTF8.subn("\0", text)
        return text.encode() if wrong else data[:used]

    def close(self):
        """Do nothing: the code that opened the stream closes it."""
