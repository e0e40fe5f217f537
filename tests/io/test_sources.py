import json
import os
from pathlib import Path

import pytest

from fmcore.errors import DataError, UsageError
from fmcore.io.sources.source import Source, find


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("b.svm", "a.svm", ".hidden", "_SUCCESS", "sub/c.svm", "sub/.x/d.svm", "_tmp/e.svm", "m.manifest"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("0 1:1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paths(*names):
    return [source.path for source in find(names)]


def test_files_keep_the_order_given(folder):
    assert find(["b.svm", folder / "a.svm", "b.svm"]) == [
        Source("b.svm", 6),
        Source(str(folder / "a.svm"), 6),
        Source("b.svm", 6),
    ]


def test_a_folder_gives_its_files_sorted_without_hidden_ones_and_manifests(folder):
    os.mkfifo(folder / "pipe")
    assert paths(folder) == [str(folder / name) for name in ("a.svm", "b.svm", "sub/c.svm")]


def test_a_pattern_gives_its_matches_sorted(folder):
    assert paths("*.svm") == ["a.svm", "b.svm"]
    assert paths("**/[a-c].svm") == ["a.svm", "b.svm", "sub/c.svm"]
    assert paths("sub/**") == ["sub/c.svm"]
    assert paths("s*") == ["sub/c.svm"]
    (folder / "[1].svm").write_text("0\n")
    assert paths("[1].svm") == ["[1].svm"]


def test_standard_input_and_pipes_cannot_be_read_again(folder):
    os.mkfifo("pipe")
    stdin, pipe, file = find(["-", "pipe", "a.svm"])
    assert (stdin.name, stdin.size, stdin.rereadable) == ("stdin", None, False)
    assert (pipe.name, pipe.size, pipe.rereadable) == ("pipe", None, False)
    assert (file.name, file.size, file.rereadable) == ("a.svm", 6, True)
    with Path("a.svm").open() as opened:
        assert not find([f"/dev/fd/{opened.fileno()}"])[0].rereadable


def manifest(content, name="x.manifest"):
    Path(name).write_text(content if isinstance(content, str) else json.dumps(content))
    return name


@pytest.mark.parametrize("prefix", ["sub/", "sub", "./sub/", "{folder}/sub/"])
def test_a_manifest_lists_files_below_its_prefix(folder, prefix):
    (folder / "sub" / "b.pbr").write_text("")
    manifest([{"prefix": prefix.format(folder=folder)}, "c.svm", "b.pbr", "c.svm"])
    assert [Path(path).name for path in paths("x.manifest")] == ["c.svm", "b.pbr", "c.svm"]
    assert [source.size for source in find([folder / "x.manifest"])] == [6, 0, 6]


def test_a_manifest_prefix_may_end_within_a_name(folder):
    assert paths(manifest([{"prefix": "sub/c"}, ".svm"])) == ["sub/c.svm"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[{", "not a readable manifest"),
        ("[" * 100_000, "not a readable manifest"),
        ("{}", "expected a JSON list"),
        ("[]", "expected a JSON list"),
        (["a.svm"], "expected a JSON list"),
        ([{"prefix": 3}, "a"], "expected a JSON list"),
        ([{"prefix": ""}, ["a"]], "expected a JSON list"),
        ([{"prefix": ""}], "the manifest lists no file"),
        ([{"prefix": "s3://bucket/x/"}, "a"], "its prefix s3://bucket/x/ is on S3, which cannot be read directly"),
        ([{"prefix": ""}, "nowhere"], "it lists nowhere, but there is no such file"),
        ([{"prefix": ""}, "sub"], "it lists sub, which is a folder"),
        ("\xff\xfe", "expected a JSON list"),
    ],
)
def test_malformed_manifests_are_refused(folder, content, says):
    if content == "\xff\xfe":
        (folder / "x.manifest").write_bytes(b"\xff\xfe\x00")
        says = "not a readable manifest"
    else:
        manifest(content)
    with pytest.raises(DataError) as caught:
        find(["x.manifest"])
    assert str(caught.value).startswith("x.manifest: ")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere", "nowhere: no such file"),
        ("a.svm/x", "a.svm/x: no such file"),
        ("no*", "no\\*: no file matches this"),
        ("empty", "empty: the folder holds no file"),
        ("a\0b", "no such file"),
        ("x" * 300, "cannot be read: File name"),
    ],
)
def test_missing_files_are_a_data_error(folder, name, says):
    (folder / "empty" / ".git").mkdir(parents=True)
    with pytest.raises(DataError, match=says):
        find([name])


@pytest.mark.parametrize(
    ("names", "says"),
    [([], "no input is named"), (["-", "a.svm", "-"], "named twice"), (["s3://b/k"], "s3://b/k is on S3")],
)
def test_names_that_stand_for_no_input_are_a_usage_error(folder, names, says):
    with pytest.raises(UsageError, match=says):
        find(names)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_is_a_data_error(folder):
    (folder / "sub").chmod(0)
    with pytest.raises(DataError, match="sub: cannot be listed: Permission denied"):
        find(["."])
    (folder / "sub").chmod(0o700)
