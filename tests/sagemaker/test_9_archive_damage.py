"""SageMaker's contract, section 9: archives that are cut, changed or hostile are all refused."""

import gzip
import os
import resource
import stat
import struct
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from archives import (
    DENSE,
    GOLDEN,
    NONE,
    PARAMS,
    PLAIN,
    SPARSE,
    B,
    V,
    W,
    archive_of,
    dense,
    entry,
    loaded,
    members_of,
    params,
    refused,
    refused_or_sound,
    row_sparse,
    shape,
    tarred,
    zipped,
)
from hypothesis import given
from hypothesis import strategies as st

from fmcore.errors import ModelError
from fmcore.model import file as modelfile
from fmcore.model.archive import ndarrays, network, tar

HUGE = 2**40


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a"


# ------------------------------------------------------------------------------------------ arrays that are refused
def test_every_truncation_of_the_arrays_is_refused(path):
    for name in (SPARSE, DENSE):
        data = members_of(name)["params"]
        for size in range(len(data)):
            problem = refused(path, data[:size])
            assert "cut off" in problem or "empty" in problem or "not a model archive" in problem
        assert refused(path, data + b"x").startswith("damaged: 1 bytes follow")


def test_every_changed_byte_is_refused_or_changes_a_number(path):
    for name in (SPARSE, DENSE):
        data = members_of(name)["params"]
        for at in range(len(data)):
            for bits in (1, 128, 255):
                assert refused_or_sound(path, data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :])


@given(st.sampled_from([SPARSE, DENSE]), st.data())
def test_any_damage_to_the_arrays_is_refused_or_harmless(name, drawn):
    data = bytearray(members_of(name)["params"])
    for _ in range(drawn.draw(st.integers(1, 4))):
        at = drawn.draw(st.integers(0, len(data) - 8))
        data[at : at + 8] = struct.pack("<q", drawn.draw(st.integers(-(2**63), 2**63 - 1)))
    try:
        arrays = ndarrays.read(bytes(data))
    except ModelError:
        return
    assert all(isinstance(name, str) for name in arrays)


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        (
            {**PLAIN, "v": dense(V.reshape(4, 3), magic=0xF993FACA)},
            "an array begins with 0xf993faca; expected 0xf993fac9",
        ),
        ({**PLAIN, "v": dense(V.reshape(4, 3), storage=2)}, "an array has storage type 2; expected 0 (dense) or 1"),
        ({**PLAIN, "v": dense(V.reshape(4, 3), storage=-1)}, "an array has storage type -1"),
        ({**PLAIN, "v": dense(V.reshape(4, 3), dtype=7)}, "an array has dtype 7; expected 0 (float32)"),
        ({**PLAIN, "v": dense(V.reshape(4, 3), dtype=-1)}, "an array has dtype -1"),
        ({"v": struct.pack("<Ii", 0xF993FAC9, 0) + shape(4, -3)}, "an array has shape [4, -3], which no factorization"),
        ({"v": struct.pack("<Ii", 0xF993FAC9, 0) + shape(2**62, 4)}, "which no factorization machine has"),
        ({"v": struct.pack("<Ii", 0xF993FAC9, 0) + shape(*[2**20] * 3)}, "which no factorization machine has"),
        ({"v": struct.pack("<Ii", 0xF993FAC9, 0) + shape(HUGE, 0)}, "with a dimension of 0"),
        ({"v": struct.pack("<IiI", 0xF993FAC9, 0, 2**32 - 1)}, "an array has 4294967295 dimensions; expected 1 or 2"),
        (
            {"v": struct.pack("<Ii", 0xF993FAC9, 0) + shape(HUGE) + struct.pack("<3i", 1, 0, 0)},
            "takes 4398046511104 bytes",
        ),
        ({"v": struct.pack("<9I", 8, *[2**31] * 8) + bytes(12)}, "cut off: an array of shape [2147483648, "),
        (
            {**PLAIN, "v": row_sparse((4, 3), [1, 4], np.ones((2, 3)))},
            "row numbers of a row_sparse array do not ascend",
        ),
        ({**PLAIN, "v": row_sparse((4, 3), [-1, 2], np.ones((2, 3)))}, "do not ascend from 0 to 3"),
        ({**PLAIN, "v": row_sparse((4, 3), [2, 1], np.ones((2, 3)))}, "do not ascend"),
        ({**PLAIN, "v": row_sparse((4, 3), [1, 1], np.ones((2, 3)))}, "do not ascend"),
        ({**PLAIN, "v": row_sparse((4, 3), [0, -(2**63)], np.ones((2, 3)))}, "do not ascend"),
        (
            {**PLAIN, "v": row_sparse((4, 3), [1], np.ones((2, 3)))},
            "with row numbers of shape [1] and dtype 6; expected",
        ),
        ({**PLAIN, "v": row_sparse((4, 3), [1, 2], np.ones((2, 2)))}, "of shape [4, 3] stores [2, 2] with row numbers"),
        ({**PLAIN, "v": row_sparse((4, 3), [1, 2], np.ones((2, 3)), dtype=4)}, "and dtype 4; expected one int64"),
        ({**PLAIN, "v": row_sparse((4, 3), [1, 2], np.ones((2, 3)), counted=())}, "with row numbers of shape []"),
        ({**PLAIN, "v": row_sparse((4, 3), [1, 2], np.ones((2, 3)), stored=(HUGE, 3))}, "stores [1099511627776, 3]"),
        (
            {**PLAIN, "v": row_sparse((4, 3), [], [], stored=(HUGE, 3), counted=(HUGE,))},
            "cut off: stored rows of shape ",
        ),
        ({**PLAIN, "v": np.full((4, 3), np.nan, np.float32)}, "factors[0, 0] is nan, and a model holds finite numbers"),
        ({**PLAIN, "w1_weight": np.full((4, 1), -np.inf, np.float32)}, "linear[0] is -inf"),
        ({**PLAIN, "w0_weight": np.full(1, np.nan, np.float32)}, "bias[0] is nan"),
        ({"x": V}, "not a factorization machine; its arrays are 'x' [12]; expected w0_weight, w1_weight, v or"),
        ({}, "not a factorization machine; its arrays are none"),
        ({**PLAIN, "Linear_Plus_Bias_weight": W.T}, "not a factorization machine; its arrays are 'w0"),
        ({"w1_weight": W, "v": V.reshape(4, 3)}, "array w0_weight is missing; expected w0_weight, w1_weight, v in"),
        ({"Linear_Plus_Bias_bias": B, "Linear_Plus_Bias_weight": W.T}, "array v is missing"),
        ({**PLAIN, "w0_weight": W}, "array w0_weight has shape [4, 1]; expected [1] in a sparse network"),
        ({**PLAIN, "w0_weight": NONE}, "array w0_weight has shape []; expected [1]"),
        (
            {**PLAIN, "w1_weight": W.T},
            "array w1_weight has shape [1, 4]; expected [feature_dim, 1] in a sparse network",
        ),
        ({**PLAIN, "w1_weight": NONE}, "array w1_weight has shape []"),
        ({**PLAIN, "v": V.reshape(3, 4)}, "array v has shape [3, 4]; expected [4, num_factors] in a sparse network"),
        ({**PLAIN, "v": V}, "array v has shape [12]; expected [4, num_factors]"),
        ({**PLAIN, "v": V.reshape(4, 3, 1)}, "array v has shape [4, 3, 1]"),
        (
            {"Linear_Plus_Bias_bias": B, "Linear_Plus_Bias_weight": W, "v": V.reshape(3, 4)},
            "array Linear_Plus_Bias_weight has shape [4, 1]; expected [1, feature_dim] in a dense network",
        ),
        (
            {"Linear_Plus_Bias_bias": B, "Linear_Plus_Bias_weight": W.T, "v": V.reshape(4, 3)},
            "array v has shape [4, 3]; expected [num_factors, 4] in a dense network",
        ),
        (
            {
                "w0_weight": B,
                "w1_weight": row_sparse((2**32, 1), [], np.empty((0, 1))),
                "v": row_sparse((2**32, 1), [], np.empty((0, 1))),
            },
            "of feature_dim 4294967296 and num_factors 1; expected",
        ),
        (
            {"w0_weight": B, "w1_weight": W, "v": row_sparse((4, 2**20), [], np.empty((0, 2**20)))},
            "num_factors 1048576",
        ),
        (
            {
                "w0_weight": B,
                "w1_weight": row_sparse((2**30, 1), [], np.empty((0, 1))),
                "v": row_sparse((2**30, 8), [], np.empty((0, 8))),
            },
            "its arrays take 38,654,705,668 bytes in memory, more than 67,108,864, as most of their rows are left out of the archive",
        ),
    ],
)
def test_arrays_of_other_models_are_refused(path, arrays, problem):
    assert problem in refused(path, params(arrays))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (params(PLAIN, count=2**63), "it claims 9223372036854775808 arrays; at most 1000 are read"),
        (params(PLAIN, count=2), "it claims "),
        (params(PLAIN, count=4), ""),
        (params(PLAIN, names=["v", "v", "w1_weight"]), "two arrays called 'v'"),
        (params(PLAIN, names=["v", b"aux:v", "w1_weight"]), "two arrays called 'v'"),
        (params(PLAIN, names=[]), "it has 3 arrays, but 0 names"),
        (params(PLAIN, names=["v", b"\xff", "w1_weight"]), "the name of an array is not UTF-8"),
        (params(PLAIN, names=["v", b"x" * 1001, "w1_weight"]), "a name takes 1001 bytes; at most 1000 are read"),
        (params({})[:-8] + struct.pack("<QQ", 1, 2**64 - 1), "a name takes 18446744073709551615 bytes"),
        (params({"x": struct.pack("<I", 0)} | {f"{i}": b"\0\0\0\0" for i in range(1001)}), "at most 1000 are read"),
        (b"\x12\x01" + bytes(14), "cut off: the number of arrays at byte 16 takes 8 bytes, but only 0 follow"),
        (b"", "the file is empty"),
        (b"1 0:1\n" * 200, "not a model archive; expected model.tar.gz"),
        (bytes(2000), "not a model archive"),
        (b"\xff" * 2000, "not a model archive"),
        ((GOLDEN / "model-v1.fm").read_bytes(), "not a model archive"),
    ],
)
def test_params_without_valid_arrays_are_refused(path, data, problem):
    assert problem in refused(path, data)


def test_the_limit_of_unpacked_bytes_can_be_raised(path):
    data = params(
        {
            "w0_weight": B,
            "w1_weight": row_sparse((9000, 1), [5], [[2]]),
            "v": row_sparse((9000, 2000), [7], np.ones((1, 2000))),
        }
    )
    assert "its arrays take 72,036,004 bytes in memory, more than 67,108,864" in refused(path, data)
    assert loaded(path, data, limit=1 << 27).factors.sum() == 2000
    packed = gzip.compress(tarred(("model_algo-1", zipped({"params": PARAMS}))))
    assert "bytes of gzip unpack to more than 100; raise the limit with --memory-limit" in refused(
        path, packed, limit=100
    )
    assert "of gzip unpack to more than 0" in refused(path, packed, limit=0)


# -------------------------------------------------------------------------------------- containers that are refused
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a named pipe"),
        (tarfile.GNUTYPE_SPARSE, "of type b'S'"),
    ],
)
def test_tar_members_other_than_files_are_refused(path, kind, said):
    inner = ("model_algo-1", zipped({"params": PARAMS}))
    for entries in ((entry("params", kind), inner), (inner, entry("x", kind))):
        assert f" of the tar is {said}; expected only files" in refused(path, tarred(*entries))


@pytest.mark.parametrize("name", ["../params", "/params", "a/../../params", "..", "a\\..\\params", "\\x", "C:params"])
def test_member_names_that_lead_out_of_an_archive_are_refused(fm, path, name):
    for data in (
        tarred((name, PARAMS), form=tarfile.USTAR_FORMAT),
        zipped({name: PARAMS}),
        tarred(("model_algo-1", zipped({name: PARAMS, "params": PARAMS}))),
    ):
        assert "has a name that leads out of the archive; the archive is refused" in refused(path, data)
    fm.write("in/x.tar.gz", gzip.compress(tarred((name, PARAMS), form=tarfile.USTAR_FORMAT)))
    said = fm("import", "in/x.tar.gz", "-o", "in/x.fm", code=4).err
    assert said.startswith("fm: in/x.tar.gz: member ")
    assert fm.files() == ["a", "in"]
    assert [found.name for found in (fm.folder / "in").iterdir()] == ["x.tar.gz"]


def test_empty_member_names_are_refused(path):
    nameless = zipped({"params": PARAMS}).replace(b"params", b"\0arams")
    for data in (nameless, tarred(("", PARAMS), form=tarfile.USTAR_FORMAT)):
        assert "member '' has a name that leads" in refused(path, data)


def test_every_truncation_of_the_containers_is_refused(path):
    inner = zipped(members_of(SPARSE))
    plain = tarred(("model_algo-1", inner))
    end = len(plain.rstrip(b"\0"))
    end += -end % 512
    for data in (archive_of(SPARSE), inner, plain[:end]):
        for size in range(0, len(data), 3):
            refused(path, data[:size], predictor_type=None)
    assert loaded(path, plain[: end + 512], None).feature_dim == 7


@given(st.sampled_from(["gz", "tar", "zip"]), st.data())
def test_any_damage_to_the_containers_is_refused_or_harmless(tmp_path_factory, kind, drawn):
    path = tmp_path_factory.getbasetemp() / "damaged"
    inner = zipped(members_of(DENSE))
    data = bytearray({"gz": archive_of(DENSE), "zip": inner, "tar": tarred(("model_algo-1", inner))}[kind])
    for _ in range(drawn.draw(st.integers(1, 6))):
        at = drawn.draw(st.integers(0, min(len(data), 6000) - 1))
        data[at : at + drawn.draw(st.integers(0, 4))] = drawn.draw(st.binary(max_size=4))
    assert refused_or_sound(path, bytes(data))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (tarred(), "not a model archive"),
        (
            tarred(("x", b"1")),
            "not a factorization machine: it holds 'x'; expected params, or model_algo-1 with params",
        ),
        (zipped({}), "it holds nothing; expected params"),
        (zipped({"model_algo-1": zipped({"params": PARAMS})}), "not a factorization machine: it holds 'model_algo-1'"),
        (tarred(("model_algo-1", zipped({"x": b""}))), "model_algo-1: not a factorization machine: it holds 'x'"),
        (
            tarred(("model_algo-1", b"PK" + bytes(50))),
            "model_algo-1: not a ZIP, or a damaged one: File is not a zip file",
        ),
        (tarred(("model_algo-1", PARAMS)), "model_algo-1: not a ZIP, or a damaged one"),
        (tarred(("model_algo-1", b"1"), ("model_algo-2", b"2")), "it holds both 'model_algo-1' and 'model_algo-2'"),
        (
            tarred(("params", PARAMS), ("a/params", PARAMS)),
            "it holds both 'params' and 'a/params', but a model has only one",
        ),
        (tarred(*[(f"{i}", b"") for i in range(65)]), "the tar holds more than 64 members"),
        (zipped({f"{i}": b"" for i in range(65)}), "the ZIP holds up to 65 members; at most 64 are read"),
        (zipped({"params": PARAMS, "symbol.json": b"[]"}), "symbol.json is not a JSON object"),
        (zipped({"params": PARAMS, "symbol.json": b"[" * 100_000}), "symbol.json is not a JSON object"),
        (zipped({"params": PARAMS, "meta.json": b'{"a":' + b"9" * 10_000 + b"}"}), "meta.json is not a JSON object"),
        (zipped({"params": PARAMS, "meta.json": b"\xff"}), "meta.json is not a JSON object"),
        (zipped({"params": PARAMS, "meta.json": bytes(2 << 20)}), "meta.json takes 2,097,152 bytes; at most 1,048,576"),
        (
            zipped({"params": PARAMS}, zipfile.ZIP_BZIP2),
            "'params' of the ZIP has compression 12; expected 0 (stored) or 8",
        ),
        (gzip.compress(bytes(70 << 20)), "bytes of gzip unpack to more than 67,108,864"),
        (gzip.compress(b"", mtime=0), "the file is empty"),
        (b"\x1f\x8b", "cut off: the gzip data ends too early"),
        (b"\x1f\x8b\x07" + bytes(20), "damaged gzip data: Unknown compression method"),
    ],
)
def test_containers_without_one_valid_model_are_refused(path, data, problem):
    assert problem in refused(path, data, predictor_type=None)


def test_a_zip_with_an_encrypted_member_or_a_link_is_refused(path):
    data = bytearray(zipped({"params": PARAMS}))
    for at in (6, data.index(b"PK\x01\x02") + 8):
        data[at] |= 1
    assert "'params' of the ZIP is encrypted" in refused(path, data)
    link = zipfile.ZipInfo("params")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "'params' of the ZIP is a link or a device" in refused(path, zipped([(link, "/etc/passwd")]))


def test_zips_that_would_unpack_beyond_the_limit_are_refused(path):
    bomb = zipped({"params": bytes(70 << 20)})
    assert len(bomb) < 100_000
    assert "the ZIP would unpack to 73,400,320 bytes, more than 67,108,864" in refused(path, bomb)
    assert "would unpack to 73,400,320 bytes" in refused(path, gzip.compress(tarred(("model_algo-1", bomb))))
    lies = bytearray(bomb)  # which say that they unpack to a little
    for at in (22, lies.index(b"PK\x01\x02") + 24):
        lies[at : at + 4] = struct.pack("<I", 1000)
    assert refused(path, lies).startswith("damaged ZIP, at 'params': Bad CRC-32")
    for claim in (0xFFFFFFFF, 0xFFFFFFFE):
        lies[lies.index(b"PK\x01\x02") + 24 :][:4] = struct.pack("<I", claim)
        refused(path, lies)


def test_an_archive_path_that_is_no_file_is_refused(tmp_path, fm):
    for make in (os.mkfifo, Path.mkdir, lambda path: None):
        path = tmp_path / "x"
        make(path)
        with pytest.raises(ModelError):
            network.load(path)
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)
    assert fm("import", "gone.tar.gz", "-o", "x.fm", code=4).err == "fm: gone.tar.gz: No such file or directory\n"
    assert fm("import", "gone.tar.gz", "-o", "no/x.fm", code=2).err.startswith("fm: no/x.fm cannot be written: ")


@pytest.mark.parametrize(
    "field", [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"777777777777", b"-1\0", b"1_0\0", b"\0" * 12]
)
def test_hostile_sizes_in_a_tar_are_refused(path, field):
    data = bytearray(tarred(("params", PARAMS), form=tarfile.USTAR_FORMAT))
    data[124:136] = field.ljust(12, b"\0")
    data[148:156] = b"%06o\0 " % (sum(data[:148]) + 8 * 32 + sum(data[156:512]))
    problem = refused(path, data)
    assert any(
        words in problem for words in ("has no valid size", "of the tar takes ", "the tar has no valid header at byte")
    )


def test_tar_names_and_sizes_written_by_the_standard_library_are_read():
    long = "a" * 90 + "/" + "b" * 90
    for form in (tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        data = tarred(("one", b"1"), ("deep/two", b"2" * 513), ("none", b""), form=form)
        assert [(name, bytes(view)) for name, view in tar.files(data)] == [
            ("one", b"1"),
            ("deep/two", b"2" * 513),
            ("none", b""),
        ]
    assert [name for name, _ in tar.files(tarred((long, b""), form=tarfile.USTAR_FORMAT))] == [long]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold a process to a limit")
def test_a_small_hostile_archive_takes_little_memory(fm):
    """With 400 MB of memory each ends with exit 4, and not for lack of memory."""
    empty = np.empty((0, 1))
    bombs = {
        "shape": params(
            {
                "w0_weight": B,
                "w1_weight": row_sparse((2**31 - 1, 1), [], empty),
                "v": row_sparse((2**31 - 1, 1), [], empty),
            }
        ),
        "gzip": gzip.compress(bytes(1 << 20)) * 1024,
        "zip": zipped({"params": bytes(1 << 27)}),
    }
    for name, data in bombs.items():
        fm.write(name, data)
        process = fm.start(
            "import",
            name,
            "-o",
            "x.fm",
            "--predictor-type",
            "regressor",
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (400 << 20, 400 << 20)),
        )
        said = process.communicate()[1].decode()
        assert process.returncode == 4, said
    assert fm.files() == sorted(bombs)


def test_nothing_is_published_where_an_archive_is_refused(fm):
    fm.write("x.fm", b"old")
    fm.write("x", params({**PLAIN, "v": np.full((4, 3), np.nan, np.float32)}))
    said = fm("import", "x", "-o", "x.fm", "--predictor-type", "regressor", code=4).err
    assert said.startswith("fm: x: factors[0, 0] is nan")
    assert fm.read("x.fm") == b"old"
    fm("import", GOLDEN / f"{DENSE}.tar.gz", "-o", "x.fm")
    assert modelfile.load(fm.folder / "x.fm", verify=True).num_factors == 3
