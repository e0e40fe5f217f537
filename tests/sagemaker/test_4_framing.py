"""SageMaker's contract, section 4: recordIO framing, as the commands read and write it."""

import struct

import numpy as np
import pytest
from record_bytes import MAGIC, features, field, floats, frame, in_parts, label, sparse, split_as_dmlc
from shell import records

MAGIC_FLOAT = np.frombuffer(MAGIC, np.float32)[0]  # a finite number whose bytes are the magic
ROW = sparse([1, 3], [1.5, MAGIC_FLOAT], 5) + label(1)
TEXT = "1 1:1.5 3:-1804698900\n"
GOOD = frame(sparse([0], [2], 5) + label(0))


def convert(fm, data, **expected):
    """Return the output of `fm convert` for recordIO bytes."""
    fm.write("rows.rec", data)
    return fm("convert", "rows.rec", "-o", "-", "--to", "libsvm", "--format", "recordio", "-q", **expected)


def padded(size):
    """Return ROW with an id of that many letters in front, so that its magic has any alignment."""
    return field(3, b"x" * size) + ROW


READ = {
    "whole, each padding": [frame(padded(size)) for size in range(4)],
    "split where the magic is aligned, and without it": [split_as_dmlc(padded(size)) for size in range(4)],
    "split, and nothing left out": [in_parts([ROW[:cut], ROW[cut:]]) for cut in (0, 7, len(ROW))],
    "many middle parts": [in_parts([ROW[at : at + 1] for at in range(len(ROW))])],
    "an empty part at either end": [in_parts([b"", ROW, b""])],
    "whole and split mixed": [frame(ROW), split_as_dmlc(padded(3)), frame(ROW), in_parts([ROW[:9], ROW[9:]])],
}


@pytest.mark.parametrize("case", READ)
def test_every_legal_framing_gives_the_row(fm, case):
    frames = READ[case]
    assert convert(fm, b"".join(frames)).out == TEXT * len(frames)


def test_a_text_in_the_records_holds_the_magic():
    assert np.float32(TEXT.rpartition(":")[2]).tobytes() == MAGIC


def test_some_record_of_the_framings_was_split_at_its_magic():
    split = [split_as_dmlc(padded(size)) for size in range(4)]
    assert [data[7] >> 5 for data in split].count(1) == 1


def test_an_empty_file_has_no_records(fm):
    assert convert(fm, b"").out == ""


BAD = {  # the bytes behind one good record -> (byte offset within them, what is said)
    "no magic": (b"\x0a\x23\xd7\xcf" + bytes(4), 0, "found 0a 23 d7 cf"),
    "half a header": (frame(ROW)[:6], 0, "truncated"),
    "half a payload": (frame(ROW)[:20], 0, "truncated"),
    "half the padding": (frame(padded(1))[:-1], 0, "truncated"),
    "the longest payload possible": (MAGIC + struct.pack("<I", 2**29 - 1), 0, "the header states 536870911 bytes"),
    "a middle part first": (frame(ROW, 2), 0, "part flag 2"),
    "a last part first": (frame(ROW, 3), 0, "part flag 3"),
    "flags that mean nothing": (frame(ROW, 5), 0, "part flag 5"),
    "a whole record within parts": (frame(ROW[:4], 1) + frame(ROW), 12, "part flag 0"),
    "a first part within parts": (frame(ROW[:4], 1) + frame(ROW[4:], 1), 12, "part flag 1"),
    "no last part": (frame(ROW[:4], 1) + frame(ROW[4:8], 2), 24, "truncated"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_framing_is_an_error_with_file_record_and_byte(fm, case):
    data, offset, problem = BAD[case]
    said = convert(fm, GOOD + data, code=3)
    assert said.err.startswith(f"fm: rows.rec, record 2, byte {len(GOOD) + offset}: "), said.err
    assert problem in said.err


def test_wrong_framing_is_not_skipped_as_a_bad_row(fm):
    fm.write("rows.rec", GOOD + BAD["no magic"][0])
    said = fm("train", "rows.rec", "-o", "m.fm", "--predictor-type", "regressor", "--on-error", "skip", code=3)
    assert f"rows.rec, record 2, byte {len(GOOD)}: " in said.err
    assert fm.files() == ["rows.rec"]


def test_written_records_are_whole_and_padded_with_zeros(fm):
    fm.write("rows.csv", "id,y,a\n" + "".join(f"{'x' * size},1,{size}.5\n" for size in range(1, 9)))
    data = fm(
        "convert", "rows.csv", "-o", "-", "--feature-dim", 1, "--label-column", "y", "--id-column", "id", binary=True
    ).out
    lengths, at = [], 0
    while at < len(data):
        magic, word = struct.unpack_from("<2I", data, at)
        assert (magic, word >> 29) == (0xCED7230A, 0)
        end = at + 8 + word
        at = end + -word % 4
        assert data[end:at] == bytes(at - end)
        lengths.append(word)
    assert at == len(data)
    assert {length % 4 for length in lengths} == {0, 1, 2, 3}


def test_a_magic_in_a_payload_is_written_whole(fm):
    fm.write("rows.rec", frame(features(field(1, floats(MAGIC_FLOAT, MAGIC_FLOAT))) + label(1)))
    written = fm("convert", "rows.rec", "-o", "-", "--feature-dim", 2, binary=True).out
    assert written[8:].count(MAGIC) == 2
    (record,) = records(written)
    assert list(record.features["values"].float32_tensor.values) == [MAGIC_FLOAT] * 2
