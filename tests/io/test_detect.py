import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmcore.errors import DataError
from fmcore.io.detect import detect, enough
from fmcore.io.formats import FORMATS
from fmcore.io.sources.streams import ByteStream

KNOWN = [
    (b"\x0a\x23\xd7\xce\x10\0\0\0", "recordio"),
    (b"PAR1\x15\x04", "parquet"),
    (b'{"instances": [{"features": [1]}]}', "json"),
    (b' \n{\n  "configuration": {},\n  "instances": [\n {"features": [1]}]}', "json"),
    (b'{"instances": [' + b'{"features": [1]}, ' * 1000, "json"),
    (b'{"features": [1, 2]}\n{"features": [3, 4]}\n', "jsonlines"),
    (b'{"data": {"features": {"keys": [1], "values": [1], "shape": [9]}}}', "jsonlines"),
    (b'{"features": [' + b"1.5, " * 9000, "jsonlines"),
    (b'{"a": ' * 3000, "jsonlines"),
    (b"", "libsvm"),
    (b"\n\n", "libsvm"),
    (b"# nothing yet", "libsvm"),
    (b"\xef\xbb\xbf", "libsvm"),
    (b"0 1:1 2:0.5\n", "libsvm"),
    (b"+1\t1:1\t2:0.5\r\n", "libsvm"),
    (b"-1:0.25 7:1", "libsvm"),
    (b"1.5e-3 qid:3 1:1", "libsvm"),
    (b"1 3:x", "libsvm"),
    (b"1 3:1 oops", "libsvm"),
    (b"1 # all zero\n", "libsvm"),
    (b"0\n1\n0\n", "libsvm"),
    (b"0\n", "libsvm"),
    (b"0\n1 3:1\n", "libsvm"),
    (b"# c\n\n0\n1:2\n1 3:1 4:1 5", "libsvm"),
    (b"0\n1\t0:3:1", "libffm"),
    (b"\xef\xbb\xbf0 1:1\n", "libsvm"),
    (b"1 0:3:1 1:4:1\n", "libffm"),
    (b"1 qid:3 0:3:1 1:4:1\n", "libffm"),
    (b"1 qid:3\n0\n", "libsvm"),
    (b"1 qid:3 x\n", "libsvm"),
    (b"0\n1\t0:3:1\n", "libffm"),
    (b"a,b,c\n1,2,3\n", "csv"),
    (b"1,2,3", "csv"),
    (b'"x y","1\n2"\n', "csv"),
    (b"\xef\xbb\xbflabel,x\n", "csv"),
    (b"na\xefve,caf\xe9\n", "csv"),
    (b"1 2,3\n", "csv"),
    (b"12:30,1\n", "csv"),
    (b"\n#\xd7", "recordio"),
    (b"PAR", "parquet"),
    (b"\n#", "libsvm"),
    (b"label\tx\n0\t3\n", "tsv"),
    (b"1\t\t\n", "tsv"),
    (b"\t1\n", "tsv"),
    (b"a, b\tc\n", "tsv"),
    (b"0\t12:30\t5\n", "tsv"),
]


@pytest.mark.parametrize(("head", "name"), KNOWN)
def test_known_formats_are_detected(head, name):
    assert detect(head) == name
    assert name in FORMATS


@pytest.mark.parametrize(
    "head",
    [
        b"\x7fELF\x02\x01\x01\0\0",
        b"label\n0\n1\n",
        b"1 2 3\n",
        b"0\n1 3",
        b"hello world\n",
        b"[1, 2]\n",
        b"PARQ",
        b"1,\x002\n",
        b"\0\0\0\0\0\0",
        b"1 |f a:1 b:2\n",
        b'"a" b:1\n',
    ],
)
def test_content_of_no_known_format_is_refused(head):
    with pytest.raises(DataError) as caught:
        detect(head, "x.bin")
    assert str(caught.value) == (
        "x.bin: the content is of no known format (libsvm, libffm, csv, tsv, parquet, recordio, json, jsonlines); "
        "if it is one of these, choose it with --format"
    )


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"y;a\n1;2\n", "the content is of no known format; if fields stand between ';', give --delimiter ';'"),
        (b"a|b\n", "the content is of no known format; if fields stand between '|', give --delimiter '|'"),
        ("1,2\n".encode("utf-16"), "the text is in UTF-16, but is read as UTF-8; convert it first, as by iconv "),
        ("1 0:1\n".encode("utf-16-le"), "the text is in UTF-16, "),
        ("y,a\n1,2\n".encode("utf-16-be"), "the text is in UTF-16, "),
        (b"\xfd7zXZ\0\0\4", "the content is compressed by xz, which is not read; unpack it or write it in another "),
        (b"PK\3\4\x14", "the content is a ZIP archive or a workbook, which is not read; "),
        (b"ARROW1\0\0", "the content is an Arrow file, which is not read; "),
    ],
)
def test_content_that_is_recognized_but_not_read_is_refused_with_what_to_do(head, message):
    with pytest.raises(DataError) as caught:
        detect(head, "x")
    assert str(caught.value).startswith(f"x: {message}")


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"? 0:1 2:1\n", "libsvm"),
        (b"nan 0:1\n", "libsvm"),
        (b"yes qid:1 0:1\n", "libsvm"),
        (b"1 1e3:1\n", "libsvm"),
        (b"1 -1:1\n", "libsvm"),
        (b"0x1 1:1\n", "libsvm"),
        (b"? 0:1:1\n", "libffm"),
        (b"1 a:0:1 2\n", "libffm"),
        (b"? qid:1 0:1:1\n", "libffm"),
    ],
)
def test_a_first_line_with_an_error_is_left_to_its_decoder(head, name):
    assert detect(head) == name


def test_long_numbers_do_not_make_detection_backtrack():
    with pytest.raises(DataError):
        detect(b"1" * 500_000 + b"x")


@pytest.mark.parametrize(("head", "name"), KNOWN)
def test_a_pipe_that_gives_a_byte_at_a_time_is_detected_alike(head, name):
    class Slow(io.BytesIO):
        def read1(self, size=-1):
            return self.read(min(size, 1 if self.tell() < 60 else 4096))

    stream = ByteStream(Slow(head), "slow")
    assert detect(stream.head(enough)) == name
    assert stream.read() == head


@pytest.mark.parametrize(
    ("head", "decided"),
    [
        (b"", False),
        (b"\n", False),
        (b"\n#", False),
        (b"PAR1", True),
        (b"PAR", False),
        (b"P,1\n", True),
        (b"\n0 1:1\n", True),
        (b"0\n", False),
        (b"0#x\n1 1:1\n", True),
        (b"0\n1\t2\n", True),
        (b"0 1:1", False),
        (b"# c\n", False),
        (b"# c\n0\n", False),
        (b"\n#c\n", False),
        (b'{"features": [1]}\n', True),
        (b"{\n", False),
        (b'{\n"instances"', True),
        (b'{"features":\n', False),
        (b"\xef\xbb\xbf\n", False),
    ],
)
def test_detection_waits_for_no_more_bytes_than_it_needs(head, decided):
    assert enough(head) == decided


@given(st.binary(max_size=80))
def test_any_bytes_have_a_format_or_raise_a_data_error(head):
    with suppress(DataError):
        assert detect(head) in FORMATS
