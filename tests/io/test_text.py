import bz2
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shell import ROOT
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

from fmcore.errors import DataError, UsageError
from fmcore.io.text import codec as text
from fmcore.io.text.codec import chunks, decode_libffm, decode_libsvm, encode_libsvm
from fmcore.rows.batch import Batch, RowOrigin, concatenate

DATA = Path(os.environ.get("FMKIT_DATA", ROOT.parent / "shared" / "data"))
F32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


def rows(decoded):
    """Return comparable rows: (label, weight, line, [(index, value)...])."""
    batch = decoded.batch
    values = np.ones(len(batch.indices)) if batch.values is None else batch.values
    weights = np.ones(len(batch)) if batch.weights is None else batch.weights
    return [
        (
            float(batch.labels[r]),
            float(weights[r]),
            int(batch.origin.numbers[r]),
            [(int(batch.indices[i]), float(values[i])) for i in range(batch.indptr[r], batch.indptr[r + 1])],
        )
        for r in range(len(batch))
    ]


def fails(chunk, *, decode=decode_libsvm, **options):
    with pytest.raises(DataError) as caught:
        decode(chunk, **options)
    return caught.value


def test_every_part_of_the_libsvm_grammar_is_read():
    decoded = decode_libsvm(
        b"# a comment\n+1 3:1 7:0.5\r\n\n -1.5e0:2 \t9:1 2:-3 9:.25 # 1:x\n0 qid:7 1:1.\n2#x\n  # y\n3:1"
    )
    assert rows(decoded) == [
        (1, 1, 2, [(3, 1), (7, 0.5)]),
        (-1.5, 2, 4, [(9, 1), (2, -3), (9, 0.25)]),
        (0, 1, 5, [(1, 1)]),
        (2, 1, 6, []),
        (3, 1, 8, []),
    ]
    assert decoded.units == 8
    assert dict(decoded.facts) == {"min_index": 1, "max_index": 9, "qid": 1}
    batch = decoded.batch
    assert [a.dtype for a in (batch.indptr, batch.indices, batch.values, batch.labels, batch.weights)] == [
        np.int64,
        np.int32,
        np.float32,
        np.float32,
        np.float32,
    ]


@pytest.mark.parametrize("chunk", [b"", b"\n", b"# only\n\n", b" \t\r\n"])
def test_text_without_rows_gives_an_empty_batch(chunk):
    decoded = decode_libsvm(chunk)
    assert (rows(decoded), decoded.units, decoded.facts) == ([], chunk.count(b"\n"), ())
    assert decoded.batch.indptr.tolist() == [0]


def test_ones_need_no_values_and_no_weights():
    batch = decode_libsvm(b"1:1 1:1 2:1.0\n0:1e0 4:10e-1\n").batch
    assert (batch.values, batch.weights) == (None, None)
    batch = decode_libsvm(b"1 1:1 2:1.0000001\n").batch
    assert batch.values.tolist() == [1, np.float32(1.0000001)]


def test_index_base_shifts_indices():
    chunk = b"1 1:1 2147483646:1\n"
    assert decode_libsvm(chunk).batch.indices.tolist() == [1, 2147483646]
    assert decode_libsvm(chunk, "0").batch.indices.tolist() == [1, 2147483646]
    one = decode_libsvm(b"1 1:1 2147483647:1\n", "1")
    assert one.batch.indices.tolist() == [0, 2147483646]
    assert dict(one.facts) == {"min_index": 0, "max_index": 2147483646}
    with pytest.raises(UsageError, match="index base is '2'"):
        decode_libsvm(chunk, "2")
    with pytest.raises(UsageError, match="on error is 'stop'"):
        decode_libsvm(chunk, on_error="stop")


def test_libffm_drops_and_counts_fields():
    decoded = decode_libffm(b"1 0:3:1 17:5:0.5\n0:2 2:3:1\n")
    assert rows(decoded) == [(1, 1, 1, [(3, 1), (5, 0.5)]), (0, 2, 2, [(3, 1)])]
    assert dict(decoded.facts) == {"min_index": 3, "max_index": 5, "fields": 18}


def test_libffm_gives_the_field_of_each_non_zero_where_asked():
    chunk = b"1 0:3:1 17:5:0.5\n\n0:2 2147483646:3:1 # 4:4:1\n1\n"
    assert (decode_libffm(chunk).batch.fields, decode_libffm(chunk).batch.groups) == (None, None)
    decoded = decode_libffm(chunk, fields=True)
    assert (decoded.batch.fields.tolist(), decoded.batch.fields.dtype) == ([0, 17, 2147483646], np.int32)
    assert rows(decoded) == rows(decode_libffm(chunk))
    assert decoded.facts == decode_libffm(chunk).facts
    assert decoded.batch.groups is None


def test_fields_of_wrong_lines_are_left_out():
    chunk = b"1 5:1:1 6:2:1\n1 7:1:1 8:2:x\n1 9:1:1 2147483647:2:1\n0 3:4:1\n"
    decoded = decode_libffm(chunk, fields=True, on_error="skip")
    assert (decoded.batch.fields.tolist(), decoded.batch.indices.tolist()) == ([5, 6, 3], [1, 2, 4])
    assert [(error.number, error.field) for error in decoded.skipped] == [(2, 3), (3, 3)]


@pytest.mark.parametrize("token", ["2147483647:1:1", "-1:1:1", "a:1:1", ":1:1", "1.0:1:1"])
def test_a_field_that_is_none_is_refused_with_its_place(token):
    error = fails(f"1 0:1:1\n1 1:2:1 {token}\n".encode(), decode=decode_libffm, fields=True)
    assert (error.number, error.field) == (2, 3)
    assert (
        error.problem == f"found {token!r}; expected field:index:value, field and index decimal integers of 0 or more"
    )


@pytest.mark.parametrize("decode", [decode_libsvm, decode_libffm])
def test_qid_gives_the_group_of_each_row_where_asked(decode):
    pair = "3:1" if decode is decode_libsvm else "0:3:1"
    largest = 2**63 - 1
    chunk = f"1 qid:7 {pair}\n0 {pair}\n# x\n2 qid:00{largest}\n1 qid:10000000001\n1 qid:0 {pair}\n".encode()
    assert decode(chunk).batch.groups is None
    decoded = decode(chunk, groups=True)
    assert decoded.batch.groups.tolist() == [7, -1, largest, 10000000001, 0]
    assert (decoded.batch.groups.dtype, decoded.batch.fields) == (np.int64, None)
    assert (rows(decoded), decoded.facts) == (rows(decode(chunk)), decode(chunk).facts)


def test_groups_of_wrong_lines_are_not_taken_for_those_of_later_ones():
    decoded = decode_libsvm(b"1 qid:7 1:x\n0 1:1\n1 qid:8\n", groups=True, on_error="skip")
    assert decoded.batch.groups.tolist() == [-1, 8]


@pytest.mark.parametrize("number", [2**63, 10**19, 2**64 + 5, 10**30])
def test_a_qid_too_large_for_a_group_is_refused_where_groups_are_asked_for(number):
    chunk = f"1 qid:1 1:1\n1 qid:{number} 1:1\n".encode()
    assert len(decode_libsvm(chunk).batch) == 2
    error = fails(chunk, groups=True)
    assert (error.number, error.field) == (2, 2)
    assert error.problem == f"found 'qid:{number}'; the largest qid allowed is 9223372036854775807"


FIELDED = st.lists(st.tuples(st.integers(0, 2**31 - 2), st.integers(0, 2**31 - 2)), max_size=5)


@given(st.lists(st.tuples(FIELDED, st.integers(0, 2**63 - 1)), min_size=1, max_size=8), st.integers(1, 60))
def test_fields_and_groups_come_back_however_the_text_is_cut(written, size):
    lines = [" ".join(["1", f"qid:{group}", *(f"{f}:{i}:0.5" for f, i in pairs)]) + "\n" for pairs, group in written]
    pieces = [
        decode_libffm(p, fields=True, groups=True).batch for p in chunks(io.BytesIO("".join(lines).encode()), size)
    ]
    batch = concatenate(pieces)
    assert batch.fields.tolist() == [f for pairs, _ in written for f, _ in pairs]
    assert batch.indices.tolist() == [i for pairs, _ in written for _, i in pairs]
    assert batch.groups.tolist() == [group for _, group in written]


@pytest.mark.parametrize(
    ("line", "field", "says"),
    [
        ("x 1:1", 1, "found 'x' where the label stands; expected a finite number"),
        ("nan 1:1", 1, "found 'nan' where the label"),
        ("1e39", 1, "found '1e39' where the label"),
        ("1_0", 1, "found '1_0'"),
        ("0x1", 1, "found '0x1'"),
        (". 1:1", 1, "found '.'"),
        ("- 1:1", 1, "found '-'"),
        ("1e 1:1", 1, "found '1e'"),
        ("1:-1 1:1", 1, "found '1:-1'; expected label:weight with a finite weight of 0 or more"),
        ("1:inf", 1, "found '1:inf'; expected label:weight"),
        ("1:2:3", 1, "found '1:2:3'; expected label:weight"),
        ("1 qid:x", 2, "found 'qid:x'; expected qid: and a number"),
        ("1 1:1 qid:3", 3, "found 'qid:3'; expected index:value"),
        ("1 a:1", 2, "found 'a:1'; expected index:value, the index a decimal integer"),
        ("1 -1:1", 2, "found '-1:1'; expected index:value"),
        ("1 1.5:1", 2, "found '1.5:1'; expected index:value"),
        ("1 :1", 2, "found ':1'; expected index:value"),
        ("1 1:1 17", 3, "found '17', an index without a value; expected index:value (1 for what is just present)"),
        ("1 17#:1", 2, "found '17', an index without"),
        ("1 3:", 2, "found '3:'; the value after the colon is not one finite number"),
        ("1 3: 4:1", 2, "found '3:'"),
        ("1 3:1x", 2, "found '3:1x'"),
        ("1 3:2,4:1", 2, "found '3:2,4:1'"),
        ("1 3:NaN", 2, "found '3:NaN'"),
        ("1 3:-inf", 2, "found '3:-inf'"),
        ("1 3:4e38", 2, "found '3:4e38'"),
        ("1 0:3:1", 2, "found '0:3:1'; the value"),
        ("1 2147483647:1", 2, "found '2147483647:1'; the largest index allowed is 2147483646"),
        ("1 99999999999999999999999:1", 2, "the largest index allowed"),
        ("1 18446744073709551617:1", 2, "the largest index allowed"),
        ("1 1:1 \x00 2:1", 3, "found '\\x00'"),
        ("1 1:1\x00", 3, "found '\\x00'"),
        ("\ufeff1 1:1", 1, "found '\\ufeff1'"),
        ("1 " + "9" * 90 + "x", 2, "found '" + "9" * 40 + "...'"),
    ],
)
def test_libsvm_errors_give_line_field_found_and_expected(line, field, says):
    error = fails(b"1 1:1\n\n" + line.encode() + b"\n")
    assert (error.unit, error.number, error.field) == ("line", 3, field)
    assert says in str(error)
    assert str(error).startswith(f"input, line 3, field {field}: ")
    decoded = decode_libsvm(b"1 1:1 2:1\n" + line.encode() + b"\n0 5:2", on_error="skip")
    assert rows(decoded) == [(1, 1, 1, [(1, 1), (2, 1)]), (0, 1, 3, [(5, 2)])]
    assert [(skipped.number, str(skipped).split(": ", 1)[1]) for skipped in decoded.skipped] == [
        (2, str(error).split(": ", 1)[1])
    ]
    assert decoded.units == 3


@pytest.mark.parametrize("token", ["1:1", "a:1:1", "1:a:1", "-1:1:1", "1:-1:1", "1::1", "2147483647:1:1", "1", "1:1:"])
def test_libffm_errors_give_line_field_found_and_expected(token):
    error = fails(f"1 0:0:1 {token}\n".encode(), decode=decode_libffm)
    assert (error.number, error.field) == (1, 3)
    assert ("expected field:index:value" in str(error)) == (token != "1:1:")


def test_index_0_is_refused_where_indices_begin_at_1():
    error = fails(b"1 1:1\n1 0:1\n", index_base="1")
    assert str(error) == (
        "input, line 2, field 2: found '0:1' where indices begin at 1; expected an index of 1 or "
        "more, or --index-base 0"
    )


def test_a_chunk_of_only_bad_lines_takes_little_memory():
    decoded = decode_libsvm(b"x\n" * 100_000, on_error="skip")
    assert (len(decoded.skipped), len(decoded.batch), decoded.units) == (100_000, 0, 100_000)
    assert decoded.skipped[99_999].number == 100_000


def decimals():
    digits = st.text("0123456789", min_size=0, max_size=40)
    sign = st.sampled_from(["", "+", "-"])
    exponents = st.one_of(
        st.just(""), st.builds("{}{}{}".format, st.sampled_from("eE"), sign, st.integers(0, 60).map(str))
    )
    body = st.tuples(digits, st.sampled_from(["", "."]), digits).filter(lambda t: t[0] or (t[1] and t[2]))
    return st.builds(lambda s, b, e: s + b[0] + (b[1] + b[2] if b[1] else "") + e, sign, body, exponents)


def expected_float32(token):
    with np.errstate(over="ignore"):
        return np.float32(float(token))


def check_number(token):
    expected = expected_float32(token)
    chunk = f"1 1:{token}\n".encode()
    if not np.isfinite(expected):
        assert fails(chunk).field == 2
    else:
        got = decode_libsvm(chunk).batch.values
        assert (1 if got is None else got[0]) == expected


@settings(max_examples=1500)
@given(decimals())
def test_numbers_are_rounded_to_double_then_float32(token):
    check_number(token)


@settings(max_examples=500)
@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 25))
def test_any_double_in_any_precision_is_read_as_by_python(x, digits):
    check_number(repr(x))
    check_number(f"{x:.{digits}e}")


@settings(max_examples=500)
@given(st.integers(0, 0x7F7FFFFE), st.sampled_from(["", "1", "0000000000000001"]), st.sampled_from([-1, 0, 1]))
def test_numbers_at_and_near_the_middle_of_two_float32_round_right(bits, more, step):
    low, high = np.array([bits, bits + 1], np.uint32).view(np.float32).astype(np.float64)
    middle = (low + high) / 2
    beside = np.nextafter(middle, {-1: low, 0: middle, 1: high}[step])
    check_number(f"{beside:.60f}" + more)
    check_number(f"{beside:.60e}")


@pytest.mark.parametrize(
    "token",
    [
        "0",
        "-0",
        "0e999999999999",
        "1e-999999999999",
        "0." + "0" * 400 + "1e401",
        "1" + "0" * 400 + "e-400",
        "16777217",
        "16777217.0000000000000000000001",
        "9007199254740993",
        "3.4028235677973366e38",
        "3.4028235677973365e38",
        "340282356779733661637539395458142568447",
        "340282356779733661637539395458142568448",
        "7.006492321624085e-46",
        "7.0064923216240853e-46",
        "7.0064923216240854e-46",
        "1e-45",
        "1e-46",
        "1.17549435e-38",
        "1" * 5000 + "e-4990",
        "1e99999999999999999999",
        "123456789012345678901234567890",
        ".5",
        "5.",
        "1E+2",
    ],
)
def test_numbers_that_are_hard_to_round_are_read_right(token):
    check_number(token)


def judged(chunk, **options):
    """Return scikit-learn's reading of the same bytes, features in the order of indices."""
    matrix, labels = load_svmlight_file(io.BytesIO(chunk), dtype=np.float64, **options)
    matrix.sort_indices()
    return matrix, labels


def same_as_judge(chunk, decoded, **options):
    matrix, labels = judged(chunk, **options)
    batch = decoded.batch
    np.testing.assert_array_equal(batch.indptr, matrix.indptr)
    np.testing.assert_array_equal(batch.indices, matrix.indices)
    values = np.ones(len(batch.indices), np.float32) if batch.values is None else batch.values
    np.testing.assert_array_equal(values, matrix.data.astype(np.float32))
    np.testing.assert_array_equal(batch.labels, labels.astype(np.float32))


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(F32, st.dictionaries(st.integers(0, 100_000), F32.filter(bool), max_size=6)), min_size=1, max_size=12
    ),
    st.booleans(),
)
def test_files_written_by_scikit_learn_read_back(lines, zero_based):
    from scipy.sparse import csr_matrix

    indptr = np.cumsum([0, *(len(row) for _, row in lines)])
    indices = [i for _, row in lines for i in sorted(row)]
    values = [row[i] for _, row in lines for i in sorted(row)]
    matrix = csr_matrix((values, indices, indptr), shape=(len(lines), 100_001))
    out = io.BytesIO()
    dump_svmlight_file(matrix, np.array([label for label, _ in lines]), out, zero_based=zero_based, comment="by it")
    decoded = decode_libsvm(out.getvalue(), "0" if zero_based else "1")
    same_as_judge(out.getvalue(), decoded, zero_based=zero_based)
    assert decoded.batch.indices.tolist() == indices


@pytest.mark.parametrize("name", ["a9a.bz2", "a9a.t.bz2"])
def test_a9a_reads_as_scikit_learn_reads_it(name):
    path = DATA / "a9a" / name
    if not path.exists():
        pytest.skip(f"{path} is not here (set FMKIT_DATA to the folder of data sets)")
    chunk = bz2.decompress(path.read_bytes())
    decoded = decode_libsvm(chunk, "1")
    same_as_judge(chunk, decoded, zero_based=False)
    assert decoded.batch.values is None
    assert rows(decode_libsvm(encode_libsvm(decoded.batch))) == rows(decoded)


WRITTEN = Batch(
    np.array([0, 2, 2, 3]),
    np.array([7, 0, 12], np.int32),
    np.array([0.1, -3, 1e-20], np.float32),
    np.array([0, -1.5, 1e7], np.float32),
    np.array([1, 0.25, 3], np.float32),
    ["a", None, "c"],
    RowOrigin("x.csv", "row", np.array([4, 5, 9])),
)


def test_rows_are_written_as_libsvm_lines():
    assert encode_libsvm(WRITTEN) == b"0:1 7:0.1 0:-3\n-1.5:0.25\n10000000:3 12:1e-20\n"
    plain = Batch(WRITTEN.indptr, WRITTEN.indices, None, WRITTEN.labels)
    assert encode_libsvm(plain) == b"0 7:1 0:1\n-1.5\n10000000 12:1\n"
    assert encode_libsvm(WRITTEN.take([])) == b""


@pytest.mark.parametrize(
    ("x", "written"),
    [
        (1e-5, "0.00001"),
        (1.25e-5, "0.0000125"),
        (123456.75, "123456.75"),
        (1e8, "100000000"),
        (1e9, "1000000000"),
        (0, "0"),
        (2**24, "16777216"),
        (9999999, "9999999"),
        (1e-45, "1e-45"),
        (3.4028235e38, "3.4028235e38"),
        (-0.5, "-0.5"),
        (0.00012, "0.00012"),
        (-1.1754944e-38, "-1.1754944e-38"),
        (1.5, "1.5"),
        (1234567936, "1234568000"),
    ],
)
def test_numbers_are_written_in_their_shortest_form(x, written):
    batch = Batch(np.array([0, 1]), np.array([1], np.int32), np.array([x], np.float32), np.ones(1, np.float32))
    assert encode_libsvm(batch) == f"1 1:{written}\n".encode()


@settings(max_examples=300)
@given(st.lists(F32, min_size=1, max_size=20), st.booleans())
def test_written_rows_read_back_and_are_as_short_as_possible(numbers, weighted):
    x = np.array(numbers, np.float32)
    batch = Batch(
        np.arange(len(x) + 1), np.arange(len(x), dtype=np.int32), x, x[::-1].copy(), np.abs(x) if weighted else None
    )
    written = encode_libsvm(batch)
    back = decode_libsvm(written).batch
    np.testing.assert_array_equal(np.ones_like(x) if back.values is None else back.values, x)
    np.testing.assert_array_equal(back.labels, batch.labels)
    if weighted:
        np.testing.assert_array_equal(np.ones_like(x) if back.weights is None else back.weights, batch.weights)
    for line, number in zip(written.split(b"\n"), x, strict=False):
        token = line.rpartition(b":")[2].decode()
        assert np.float32(float(token)) == number
        assert significant(token) <= significant(str(number))


def significant(token):
    return len(token.lower().partition("e")[0].lstrip("-").replace(".", "").strip("0"))


@pytest.mark.parametrize(
    ("field", "row", "says"),
    [
        ("labels", 1, "the row has no finite label; libsvm text cannot be written without"),
        ("values", 2, "the value of feature 12 is not finite"),
        ("weights", 1, "the weight of the row is not finite"),
    ],
)
def test_rows_that_cannot_be_written_are_named(field, row, says):
    batch = WRITTEN.take(slice(None))
    getattr(batch, field)[{"values": 2}.get(field, row)] = np.nan
    with pytest.raises(DataError) as caught:
        encode_libsvm(batch)
    assert str(caught.value) == f"x.csv, row {batch.origin.numbers[row]}: {says}"


FILE = b"\xef\xbb\xbf# head\n1 3:1 4:2.5\n\n-1:0.5 7:1e-3\r\n0\n12 1:1 2:1 3:1"


def test_text_chunks_of_every_size_hold_whole_lines_and_all_bytes():
    whole = rows(decode_libsvm(FILE.removeprefix(b"\xef\xbb\xbf")))
    for size in range(1, len(FILE) + 2):
        pieces = list(chunks(io.BytesIO(FILE), size))
        assert b"".join(pieces) == FILE.removeprefix(b"\xef\xbb\xbf")
        assert all(piece.endswith(b"\n") for piece in pieces[:-1])
        units, got = 0, []
        for piece in pieces:
            decoded = decode_libsvm(piece)
            got += [(label, weight, line + units, pairs) for label, weight, line, pairs in rows(decoded)]
            units += decoded.units
        assert (got, units) == (whole, 6)
    assert list(chunks(io.BytesIO(b""))) == []


def test_every_truncation_of_a_text_decodes_or_names_the_last_line():
    file = FILE.removeprefix(b"\xef\xbb\xbf")
    for end in range(len(file)):
        decoded = decode_libsvm(file[:end], on_error="skip")
        assert decoded.units == file[:end].count(b"\n") + (not file[:end].endswith(b"\n") and end > 0)
        assert [error.number for error in decoded.skipped] in ([], [decoded.units])
        assert rows(decoded)[:-1] == rows(decode_libsvm(file))[: max(len(decoded.batch) - 1, 0)]


@settings(max_examples=300)
@given(st.text(" \t\n\r#:.,+-e0123456789qidnax\x00\xff", max_size=60).map(lambda t: t.encode("latin-1")))
def test_any_text_bytes_decode_or_raise_an_error_with_a_place(chunk):
    for decode in (decode_libsvm, decode_libffm):
        decoded = decode(chunk, on_error="skip")
        assert len(decoded.batch) + len(decoded.skipped) <= decoded.units
        assert decoded.batch.indptr[-1] == len(decoded.batch.indices)
        if decoded.skipped:
            error = fails(chunk, decode=decode)
            assert str(error) == str(decoded.skipped[0])


def test_a_line_without_end_is_refused_in_bounded_memory(monkeypatch):
    monkeypatch.setattr(text, "LONGEST_LINE", 1 << 20)
    with pytest.raises(DataError, match="a line of more than 1 MiB"):
        list(chunks(io.BytesIO(bytes(3 << 20)), 1 << 18))


def test_threads_decode_text_independently():
    pieces = [f"{n} {n}:{n}.5 {n + 1}:16777217\n".encode() * 2000 for n in range(1, 9)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(decode_libsvm, pieces))
    assert [rows(d)[-1] for d in together] == [rows(decode_libsvm(p))[-1] for p in pieces]
