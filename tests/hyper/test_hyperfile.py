"""The file of hyperparameters: what is read of it, and what is refused."""

import pytest

from fmcore.errors import DataError, UsageError
from fmcore.hyper.file import MAX_SIZE, read_file

OBJECT = 'expected a JSON object of hyperparameters, such as {"epochs": "3"}'


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(content):
        (tmp_path / "h.json").write_bytes(content if isinstance(content, bytes) else content.encode())
        return "h.json"

    return write


def test_texts_numbers_and_booleans_become_typed_values(write):
    path = write(
        '{"predictor_type": "regressor", "epochs": "3", "num_factors": 16, "linear_lr": 1e-1, "eps": "none", '
        '"use_bias": false, "use_linear": "True", "clip_gradient": null, "bias_wd": " 0.5 "}'
    )
    assert read_file(path) == (
        {
            "predictor_type": "regressor",
            "epochs": 3,
            "num_factors": 16,
            "linear_lr": 0.1,
            "eps": None,
            "use_bias": False,
            "use_linear": True,
            "clip_gradient": None,
            "bias_wd": 0.5,
        },
        [],
    )


def test_names_that_begin_with_an_underscore_are_dropped_and_returned(write):
    path = write('{"_optimizer": "adam", "epochs": "3", "_tuning_objective_metric": "", "_x": {"any": ["thing"]}}')
    assert read_file(path) == ({"epochs": 3}, ["_optimizer", "_tuning_objective_metric", "_x"])


@pytest.mark.parametrize("content", ["{}", " {\n}\n", b"\xef\xbb\xbf{}", "{}".encode("utf-16")])
def test_an_empty_object_is_read_in_any_encoding_of_json(write, content):
    assert read_file(write(content)) == ({}, [])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "not valid JSON (Expecting value: line 1 column 1 (char 0)); " + OBJECT),
        ("epochs: 3", "not valid JSON (Expecting value: line 1 column 1 (char 0)); " + OBJECT),
        (
            '{"epochs": "1"\n "num_factors": "2"}',
            "not valid JSON (Expecting ',' delimiter: line 2 column 2 (char 16)); " + OBJECT,
        ),
        ('{"epochs": "1", "epochs": "2"}', "not valid JSON ('epochs' is given twice); " + OBJECT),
        (b'{"epochs": "\xff"}', "not valid JSON ("),
        ("[" * 200_000, "not valid JSON ("),
        ('["epochs", 3]', OBJECT),
        ('"epochs"', OBJECT),
        ("3", OBJECT),
        ("null", OBJECT),
        (" " * (MAX_SIZE + 1), "larger than 1,048,576 bytes; " + OBJECT),
    ],
)
def test_a_file_without_a_json_object_is_refused(write, content, problem):
    with pytest.raises(DataError) as raised:
        read_file(write(content))
    assert str(raised.value).startswith(f"h.json: {problem}")


def test_an_object_cut_off_anywhere_is_refused(write):
    whole = '{"epochs": "3", "linear_lr": 0.1, "_x": [true]}'
    read_file(write(whole))
    for end in range(len(whole)):
        with pytest.raises(DataError, match=r"^h\.json: not valid JSON"):
            read_file(write(whole[:end]))


def test_a_hyperparameter_file_that_cannot_be_read_is_refused(tmp_path):
    for path, reason in ((tmp_path / "gone.json", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(DataError) as raised:
            read_file(path)
        assert str(raised.value) == f"{path}: cannot be read: {reason}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"mini_batch_siz": "1"}',
            "Additional properties are not allowed ('mini_batch_siz' was unexpected); did you mean 'mini_batch_size'?",
        ),
        ('{"epochs": "1", "a": "1", "b": "1"}', "Additional properties are not allowed ('a', 'b' were unexpected)"),
        ('{"epochs": "0"}', "epochs is 0; expected an integer of at least 1"),
        ('{"epochs": 1.5}', "epochs is '1.5'; expected an integer of at least 1"),
        ('{"epochs": true}', "epochs is True; expected an integer of at least 1"),
        ('{"epochs": ["1"]}', "epochs is ['1']; expected an integer of at least 1"),
        ('{"epochs": ' + "9" * 5000 + "}", "epochs is '999"),
        ('{"linear_lr": NaN}', "linear_lr is nan; expected a number of at least 0"),
        (
            '{"bias_init_method": "uniform", "bias_init_sigma": "0.5"}',
            "bias_init_sigma is 0.5, but bias_init_method is uniform, which takes bias_init_scale; leave bias_init_sigma",
        ),
    ],
)
def test_refusals_name_the_file_and_the_key(write, content, message):
    with pytest.raises(UsageError) as raised:
        read_file(write(content))
    assert str(raised.value).startswith(f"h.json: {message}")


def test_a_number_may_come_without_its_method_which_the_preset_or_an_option_gives(write):
    assert read_file(write('{"bias_init_sigma": "0.5"}')) == ({"bias_init_sigma": 0.5}, [])
