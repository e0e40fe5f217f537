"""Arrays of pyarrow become numbers and texts: one grammar of numbers, one text for one value, missing values."""

import shlex

import numpy as np

from fmcore.io.tables.blocks import ColumnBlock, Fault, Lists, split
from fmcore.schema.coding import Texts
from fmcore.schema.columns import LIST
from fmcore.schema.texts import canonical_texts, missing_texts, parse_number

EMPTY = frozenset(("",))
NO_TEXT = "is not UTF-8, or contains a NUL"
NOTE = "texts such as NA count as missing; --missing-values '' takes only empty fields"


class Fields:
    """The fields of one table, block by block, and what counts as missing in them.

    columns: `Binding`. table: `TableOptions`. report: receives how often which text was missing.
    """

    def __init__(self, columns, table, report):
        self._columns, self._report, self._canonical = columns, report, table.canonical
        self._missing = missing_texts(table.missing_values) if table.canonical else EMPTY
        self._explained = table.missing_values is not None
        self._lists = {position: column for position, column in columns.features if column.kind == LIST}
        numbers = map(parse_number, self._missing)
        self._missing_numbers = [n for n in numbers if n is not None and not np.isnan(n)]

    def block(self, rows, arrays):
        """Return the `ColumnBlock` of these arrays (position -> pyarrow array); rows: see there."""
        block = ColumnBlock(rows, {}, {}, {}, [])
        for position in self._columns.numbers:
            block.numbers[position], bad = self._numbers(arrays[position], self._columns.names[position])
            block.faults.extend(Fault(row, position, problem) for row, problem in bad)
        for position in self._columns.texts:
            if is_nested(arrays[position].type):
                block.lists[position], bad = self._nested(arrays[position], position)
            else:
                texts, bad = self._texts(arrays[position], position)
                if position in self._lists:
                    block.lists[position] = split(texts, self._lists[position].separator, self._missing)
                else:
                    block.texts[position] = texts
            block.faults.extend(Fault(row, position, problem) for row, problem in bad)
        return block

    def _nested(self, array, position):
        """Return (`Lists` of an array of lists, (row, problem) pairs of values that are no text)."""
        from pyarrow import compute

        lengths = compute.fill_null(compute.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        items, bad = self._texts(plain(compute.list_flatten(array)), position)
        rows = np.repeat(np.arange(len(lengths)), lengths)
        return Lists.distinct(rows, len(lengths), items), [(int(rows[place]), problem) for place, problem in bad]

    def _numbers(self, array, name):
        """Return (float64 (rows,), NaN where missing; (row, problem) pairs of fields that are no number)."""
        import pyarrow as pa

        bad = []
        if pa.types.is_binary(array.type):
            numbers, bad = self._parsed(array, name)
        else:
            numbers = _float64(array.cast(pa.float64(), safe=False))
        for number in self._missing_numbers:
            hits = numbers == number
            self._count(f"{number:g}", name, np.count_nonzero(hits))
            numbers = np.where(hits, np.nan, numbers)
        return numbers, bad

    def _parsed(self, array, name):
        """Do as `_numbers` for an array of text."""
        numbers = _parse_all(array)
        if numbers is None:
            array = _stripped(array)
            numbers = _parse_all(array)
        if numbers is None:
            array = self._without_missing(array, name)
            numbers = _parse_all(array)
        if numbers is None:
            return _parse_each(array.dictionary_encode(), name)
        if _may_hold_nan(array) and np.count_nonzero(np.isnan(numbers)) > array.null_count:
            self._count_texts(array, np.isnan(numbers), name)
        return numbers, []

    def _without_missing(self, array, name):
        """Return an array of text with nulls for the texts that count as missing."""
        import pyarrow as pa
        from pyarrow import compute

        missing = compute.is_in(array, value_set=pa.array(sorted(self._missing), pa.string()))
        self._count_texts(array, missing.to_numpy(zero_copy_only=False), name)
        return compute.if_else(missing, pa.scalar(None, pa.string()), array)

    def _count_texts(self, array, where, name):
        """Count the texts of a numeric column where it holds missing ones; where: bool (rows,)."""
        for found in _stripped(array.filter(where).drop_null()).value_counts().to_pylist():
            self._count(found["values"], name, found["counts"])

    def _count(self, text, name, number):
        if text and number:
            self._report.count(f"missing values {text!r} in column {name}", number)
            if not self._explained:
                self._report.note(NOTE)

    def _texts(self, array, position):
        """Return (`Texts`, (row, problem) pairs of fields that are no text); ids stay as they are written."""
        import pyarrow as pa

        if not pa.types.is_dictionary(array.type):
            array = array.dictionary_encode()
        values, problems = _listed(array.dictionary)
        missing = EMPTY if position == self._columns.row_id else self._missing
        if self._canonical and position != self._columns.row_id:
            values = canonical_texts(values)
        codes = array.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        bad = []
        if problems:
            bad = [(row, NO_TEXT) for row in np.flatnonzero(np.isin(codes, problems)).tolist()]
        if not missing.isdisjoint(values):
            kept = np.arange(len(values) + 1, dtype=np.int32)
            kept[-1] = -1
            for code in (code for code, text in enumerate(values) if text in missing):
                self._count(values[code], self._columns.names[position], np.count_nonzero(codes == code))
                kept[code] = -1
            codes = kept[codes]
        return Texts(codes, values), bad


def is_text(kind):
    """Return whether a type of pyarrow is text, or bytes that may be text."""
    from pyarrow import types

    names = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view", "fixed_size_binary")
    return any(getattr(types, f"is_{name}")(kind) for name in names if hasattr(types, f"is_{name}"))


def plain(array):
    """Return an array of a Parquet file without dictionary, text as binary."""
    import pyarrow as pa

    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(pa.binary()) if is_text(array.type) else array


def is_nested(kind):
    """Return whether a type of pyarrow holds other types."""
    from pyarrow import types

    return types.is_nested(kind)


def is_list(kind):
    """Return whether a type of pyarrow is lists of plain values."""
    from pyarrow import types

    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return lists and not types.is_nested(kind.value_type)


def shown(array):
    """Return the distinct texts of an array, canonical, without missing ones, as examples."""
    values, _ = _listed(array.dictionary_encode().dictionary)
    return [text for text in canonical_texts(values) if text]


def advice(name):
    """Return what to do with a column that is not numeric."""
    return f"--categorical {shlex.quote(name)} or --ignore {shlex.quote(name)}"


def _parse_all(array):
    """Return float64 (rows,) of an array of text; None where any of it is no number."""
    import pyarrow as pa

    try:
        return _float64(array.cast(pa.float64()))
    except pa.ArrowInvalid:
        return None


def _float64(array):
    return array.to_numpy(zero_copy_only=False)  # with NaN for null


def _stripped(array):
    import pyarrow as pa
    from pyarrow import compute

    return compute.ascii_trim_whitespace(array.view(pa.string()))  # a view: bytes that are not UTF-8 may pass here


def _may_hold_nan(array):
    """Return whether an array of numbers as text holds an n."""
    letters = np.frombuffer(array.buffers()[2] or b"", np.uint8)
    return letters.max(initial=0) >= ord("N") and ((letters | 32) == ord("n")).any()


def _parse_each(array, name):
    """Return numbers and problems as `Fields` does, of a dictionary of text, one distinct text after the other."""
    import pyarrow as pa

    texts = [value.decode(errors="replace") for value in array.dictionary.view(pa.binary()).to_pylist()]
    parsed = [parse_number(text) for text in texts]
    codes = array.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    numbers = np.array([*(np.nan if number is None else number for number in parsed), np.nan])[codes]
    bad = np.array([*(number is None for number in parsed), False])[codes]
    return numbers, [
        (row, f"{texts[codes[row]][:40]!r} is not a number: {advice(name)}") for row in np.flatnonzero(bad).tolist()
    ]


def _listed(array):
    """Return (list of str, "" where null or NaN; positions of those that are no text) of distinct values."""
    import pyarrow as pa

    if pa.types.is_binary(array.type):
        return _decoded(array)
    if pa.types.is_floating(array.type):
        return _of_floats(array), []
    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        in_utc = array.cast(pa.timestamp(array.type.unit)).cast(pa.string()).to_pylist()
        return [text and f"{text}Z" for text in in_utc], []
    return [text or "" for text in array.cast(pa.string()).to_pylist()], []


def _of_floats(array):
    """Return the shortest digits of floats, at their own width, "" where null or NaN."""
    import pyarrow as pa

    if pa.types.is_float16(array.type):  # which pyarrow writes with the digits of a float32
        texts = array.to_numpy(zero_copy_only=False).astype(str).tolist()
    else:
        texts = array.cast(pa.string()).to_pylist()
    return ["" if text in {None, "nan"} else text for text in texts]


def _decoded(array):
    """Do as `_listed` for binary: strip blanks, and find what is not UTF-8 or holds a NUL."""
    import pyarrow as pa
    from pyarrow import compute

    if not _holds_nul(array):
        try:
            return compute.ascii_trim_whitespace(array.cast(pa.string())).to_pylist(), []
        except pa.ArrowInvalid:
            pass
    values, problems = [], []
    for code, value in enumerate(array.to_pylist()):
        text = value.strip().decode(errors="replace")
        values.append(text)
        if b"\0" in value or text.encode() != value.strip():
            problems.append(code)
    return values, problems


def _holds_nul(array):
    if not len(array):
        return False
    ends = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
    held = np.frombuffer(array.buffers()[2] or b"", np.uint8)
    return not held[ends[0] : ends[-1]].all()
