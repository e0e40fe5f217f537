"""libsvm and libffm text: cut into whole lines, decode, encode.

The grammar, one row a line (libsvm as of LIBSVM's README, the weight as in its weighted edition):

    label[:weight] [qid:N] index:value index:value ...

Tokens stand between blanks or tabs. `#` begins a comment; blank lines and lines of comment alone hold no row. libffm
writes field:index:value; the field, from 0 to 2**31 - 2, is checked and counted, and kept where it is asked for: a
factorization machine has one vector a feature. A first token such as 3:1 is label 3 with weight 1, never a feature:
every row has a label. `qid:N`, the query of a ranking, is kept as the row's group where it is asked for, then from 0 to
2**63 - 1. An index is a decimal integer from 0 to 2**31 - 2, or to 2**64 - 1 where ids of 64 bits are asked for, in any
order; an index that comes twice in a row adds. Numbers are finite decimals.
"""

import re
from collections.abc import Sequence

import numpy as np

from fmcore.errors import DataError
from fmcore.io.grouping import NO_GROUP
from fmcore.io.options import require_one_of
from fmcore.io.pieces import Decoded
from fmcore.io.text import _text, _textout
from fmcore.io.text.utf8 import BOM
from fmcore.rows.batch import Batch, RowOrigin

CHUNK = 2 << 20  # bytes
LONGEST_LINE = 256 << 20  # bytes; a file without line ends must not fill the memory
SHOWN = 40  # characters of a wrong token
TOKEN = re.compile(rb"[^ \t\n\r\v\f#]+")
Problem = _text.Problem

WRONG = {
    Problem.LABEL: "found {} where the label stands; expected a finite number, or label:weight",
    Problem.WEIGHT: "found {}; expected label:weight with a finite weight of 0 or more",
    Problem.QID: "found {}; expected qid: and a number",
    Problem.PAIR: "found {}; expected index:value, the index a decimal integer of 0 or more",
    Problem.FIELD: "found {}; expected field:index:value, field and index decimal integers of 0 or more",
    Problem.NO_VALUE: "found {}, an index without a value; expected index:value (1 for what is just present)",
    Problem.VALUE: "found {}; the value after the colon is not one finite number",
    Problem.ZERO_INDEX: "found {} where indices begin at 1; expected an index of 1 or more, or --index-base 0",
    Problem.INDEX_RANGE: "found {}; the largest index allowed is 2147483646; --hash-bits hashes larger ids, and "
    "--compact counts those that there are",
    Problem.ID_RANGE: "found {}; the largest id allowed is 18446744073709551615",
    Problem.GROUP_RANGE: "found {}; the largest qid allowed is 9223372036854775807",
}


class WrongLines(Sequence):
    """The DataErrors of wrong lines, each made when asked for, as a chunk may hold nothing but wrong lines."""

    def __init__(self, chunk, found):
        self._chunk, self._found = chunk, found  # found: int64 (n, 4) as from _text.parse

    def __len__(self):
        return len(self._found)

    def __getitem__(self, item):
        problem, line, field, offset = (int(n) for n in self._found[item])
        token = TOKEN.match(self._chunk, offset, offset + 4 * SHOWN)[0].decode(errors="replace")
        shown = token if len(token) <= SHOWN else token[:SHOWN] + "..."
        return DataError(WRONG[problem].format(repr(shown)), number=line, field=field)


def chunks(stream, size=CHUNK):
    """Yield whole lines of a byte stream, about `size` bytes or one line a piece; the last may lack its line end.

    A byte order mark at the start of a file is left out. Raises DataError at a line of more than LONGEST_LINE bytes.
    """
    pieces = _whole_lines(stream, size)
    for first in pieces:
        yield first if getattr(stream, "start", 0) else first.removeprefix(BOM)
        yield from pieces


def _whole_lines(stream, size):
    parts, held = [], 0
    while block := stream.read(size):
        cut = block.rfind(b"\n") + 1
        if cut:
            yield b"".join([*parts, memoryview(block)[:cut]])
            parts, held = [], 0
        parts.append(block[cut:])
        held += len(block) - cut
        if held > LONGEST_LINE:
            raise DataError(f"a line of more than {LONGEST_LINE >> 20} MiB; is this a text file?")
    if held:
        yield b"".join(parts)


def decode_libsvm(chunk, index_base="auto", on_error="fail", *, groups=False, wide=False):
    """Return the rows of whole libsvm lines (bytes), as Decoded.

    index_base: "0" and "auto" keep indices as they stand, "1" subtracts one.
    on_error: "fail" raises DataError at the first wrong line; "skip" leaves wrong lines out, into `skipped`.
    groups: whether the batch gets `groups`, -1 where a row has no qid (see fmcore.io.grouping).
    wide: whether the batch's indices are ids of 64 bits, uint64.
    Facts: qid (rows that had one, where any); unless wide, min_index and max_index (as kept, if there are non-zeros).
    """
    decoded, _ = _decode(chunk, False, index_base, on_error, groups=groups, wide=wide)
    return decoded


def decode_libffm(chunk, index_base="auto", on_error="fail", *, fields=False, groups=False, wide=False):
    """Return the rows of whole libffm lines, as `decode_libsvm`; with `fields` where they are asked for.

    One fact more, fields: one more than the largest field.
    """
    decoded, count = _decode(chunk, True, index_base, on_error, fields=fields, groups=groups, wide=wide)
    return decoded._replace(facts=(*decoded.facts, ("fields", count)))


def _decode(chunk, with_fields, index_base, on_error, *, fields=False, groups=False, wide=False):
    require_one_of("index base", index_base, ("auto", "0", "1"))
    require_one_of("on error", on_error, ("fail", "skip"))
    room = 1 if on_error == "fail" else len(chunk) + 1
    indptr, indices, values, labels, weights, numbers, lines, found, count, qids = _text.parse(
        chunk, with_fields, int(index_base == "1"), room, wide
    )
    origin = RowOrigin(None, "line", numbers)
    batch = Batch(indptr, indices, _unless_ones(values), labels, _unless_ones(weights), origin=origin)
    if fields or groups:
        batch, found = _with_extras(batch, chunk, found, fields=fields, groups=groups)
    facts = []
    if len(batch.indices) and not wide:
        facts += [("min_index", int(batch.indices.min())), ("max_index", int(batch.indices.max()))]
    if qids:
        facts.append(("qid", qids))
    wrong = WrongLines(chunk, found)
    if wrong and on_error == "fail":
        raise wrong[0]
    return Decoded(batch, lines, wrong, tuple(facts)), count


def _with_extras(batch, chunk, found, *, fields, groups):
    """Return the batch with its fields and groups, less rows whose qid is too large, and the problems with these."""
    batch.fields, batch.groups, offsets = _text.extras(chunk, batch.origin.numbers, batch.indptr, fields)
    if not groups:
        batch.groups = None
    elif len(large := np.flatnonzero(batch.groups < NO_GROUP)):
        problem, second = np.full(len(large), Problem.GROUP_RANGE), np.full(len(large), 2)
        more = np.column_stack([problem, batch.origin.numbers[large], second, offsets[large]])
        found = np.concatenate([found, more])
        found = found[np.argsort(found[:, 1])]  # by line, of which each has one problem
        batch = batch.take(np.flatnonzero(batch.groups >= NO_GROUP))
    return batch, found


def _unless_ones(array):
    return None if (array == 1).all() else array


def encode_libsvm(batch):
    """Return rows as libsvm lines (bytes): label[:weight] index:value ..., indices as they stand.

    Each number is the shortest decimal that reads back as the same float32. Row ids have no place in the format and
    are left out. Raises DataError at a row without a label or with a number that is not finite.
    """
    _require_finite(batch)
    return _textout.write(batch.indptr, batch.indices, batch.values, batch.labels, batch.weights)


def _require_finite(batch):
    if (row := _first_not_finite(batch.labels)) is not None:
        raise DataError("the row has no finite label; libsvm text cannot be written without", **batch.place(row))
    if (row := _first_not_finite(batch.weights)) is not None:
        raise DataError("the weight of the row is not finite", **batch.place(row))
    if (item := _first_not_finite(batch.values)) is not None:
        row = np.searchsorted(batch.indptr, item, side="right") - 1
        raise DataError(f"the value of feature {batch.indices[item]} is not finite", **batch.place(row))


def _first_not_finite(array):
    finite = True if array is None else np.isfinite(array)
    return None if np.all(finite) else int(np.argmin(finite))
