"""A model for other programs: its weights as JSON or CSV, and vectors of items and users for nearest-neighbour search.

Recommenders that put nearest-neighbour search behind a factorization machine index a vector for each item, v_item and
then w_item, and ask with a vector for each user, v_user and then 1. The dot product of the two is <v_user, v_item> +
w_item: the score of a row of this user and item, but for w0 + w_user, which are the same for all items of a user.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmcore.errors import UsageError
from fmcore.families import require_fm
from fmcore.io import _format
from fmcore.io.naming import output_format
from fmcore.io.options import require_one_of
from fmcore.io.predictions import quoted
from fmcore.io.sources import streams
from fmcore.model import file as modelfile
from fmcore.schema.names import FeatureNames

BLOCK = 1 << 16  # numbers turned into text together
VECTORS = ("items", "users")
SEPARATORS = (",", ":")  # of JSON
EXACT_LABELS = 1 << 24  # up to here every integer is a float32


@dataclass(frozen=True)
class Selection:
    """The features to export.

    role: "items" or "users", what their vectors are for.
    span: (first, behind the last) feature, None for the ends; or None.
    column: the categorical column whose values are meant, or None.
    """

    role: str
    span: tuple | None = None
    column: str | None = None


def parse_range(text):
    """Return the (first, behind the last) index of A:B, None for one left out; raise UsageError where it is none."""
    found = re.fullmatch(r"\s*(\d{0,10})\s*:\s*(\d{0,10})\s*", text, re.ASCII)
    if not found:
        raise UsageError(f"range {text!r} is not understood; expected A:B, indices from A up to but not including B")
    return tuple(int(number) if number else None for number in found.groups())


def export(model, target, *, to=None, selection=None, vocabulary=None):
    """Write all weights to `target` as `weights` gives them, or a selection's `vectors`.

    to: a format of these, or None to go by the name of the target, else JSON of weights and CSV of vectors.
    vocabulary: path of a file that names the features of a model that does not know their names, or None.
    The output is opened only once the arguments have been checked.
    """
    names = feature_names(model, vocabulary)
    writable, default = (VECTOR_FORMATS, "csv") if selection else (WEIGHTS, "json")
    to = output_format(target, tuple(writable), default, to)
    pieces = vectors(model, selection, to, names) if selection else weights(model, to, names)
    with streams.open_output(target) as out:
        for piece in pieces:
            out.write(piece)
        modelfile.require_unchanged(model)


def feature_names(model, vocabulary=None):
    """Return the FeatureNames of a model, or None where they are not known.

    vocabulary: path of a file that lists them in place of the model; one of format 1 names the file itself.
    Raises UsageError where that has more features than the model.
    """
    schema = model.schema
    if vocabulary is None and schema is None:
        vocabulary = model.info.get("input", {}).get("table", {}).get("vocabulary")
        if vocabulary is not None and not Path(vocabulary).exists():
            return None
    if vocabulary is not None:
        names = FeatureNames.of_file(Path(vocabulary))
    elif schema is not None and schema.columns is not None:
        names = FeatureNames.of_schema(schema)
    elif schema is not None and (schema.compact or schema.buckets_of_ids):
        base = int(model.info.get("input", {}).get("index_base") == "1")
        names = FeatureNames.of_ids(schema.encoder().ids, base, model.feature_dim)
    else:
        return None
    if len(names) > model.feature_dim:
        raise UsageError(
            f"the vocabulary has {len(names)} features, but the model {model.feature_dim}; expected the "
            "one of its training rows"
        )
    return names


# ------------------------------------------------------------------------------------------------------- weights
def weights(model, to, names=None):
    """Return pieces of bytes: bias, linear weights and factors of all features, or what tensors another family has.

    to: "json", one object with the hyperparameters, or "csv", a line a feature under a header, the bias first.
    names: FeatureNames, or None. Raises UsageError for CSV of another family than fm.
    """
    require_one_of("format of weights", to, tuple(WEIGHTS))
    if to == "csv":
        require_fm(model.hyperparameters, "weights as CSV")
    return WEIGHTS[to](model, names)


def _json(model, names):
    head = {
        "feature_dim": model.feature_dim,
        "num_factors": model.num_factors,
        "hyperparameters": model.hyperparameters.as_dict(),
    }
    yield json.dumps(head, separators=SEPARATORS)[:-1].encode()
    for tensor in model.family.tensors:
        yield from _json_tensor(tensor, model.weights[tensor.name])
    if names is not None:
        yield b',"names":'
        yield from _list(f"{json.dumps(entry, separators=SEPARATORS)},".encode() for entry in names)
    yield b"}\n"


def _json_tensor(tensor, array):
    """Yield a member of the object: a number, a list of them, or a list for each row with all that it holds."""
    member = b',"%s":' % tensor.name.encode()
    if not tensor.per_feature and array.shape == (1,):
        yield _format.rows(array[None], member, b"", b"")
        return
    yield member
    rows, flat = array.reshape(len(array), -1), array.ndim == 1
    opened, between, closed = (b"", b"", b",") if flat else (b"[", b",", b"],")
    step = max(1, BLOCK // rows.shape[1])
    blocks = (rows[start : start + step] for start in range(0, len(rows), step))
    yield from _list(_format.rows(block, opened, between, closed) for block in blocks)


def _list(pieces):
    """Yield a JSON list of pieces that all end with a comma."""
    last = b"["
    for piece in pieces:
        yield last
        last = piece
    yield last.removesuffix(b",") + b"]"


def _csv(model, names):
    named = names is not None
    columns = ["index", *(("column", "value") if named else ()), "linear", *_factor_names(model)]
    yield ",".join(columns).encode() + b"\n"
    rest = b"," * model.num_factors + b"\n"
    yield b"bias," + b",," * named + _format.rows(model.bias[None], b"", b"", rest)
    for start, stop in _blocks(model, 1 + model.num_factors):
        numbers = np.column_stack([model.linear[start:stop], model.factors[start:stop]])
        prefixes = [b"%d," % index for index in range(start, stop)]
        if named:
            prefixes = [prefix + _name_fields(names, start + i) for i, prefix in enumerate(prefixes)]
        yield _format.rows(numbers, b"", b",", b"\n", prefixes)


WEIGHTS = {"json": _json, "csv": _csv}


def _name_fields(names, index):
    entry = names.entry(index)
    if entry is None:
        return b",,"
    column, value = entry
    return quoted(column) + b"," + (b"" if value is None else quoted(value)) + b","


# ------------------------------------------------------------------------------------------------------- vectors
def vectors(model, selection, to, names=None):
    """Return pieces of bytes: an id and a vector of num_factors + 1 numbers for each feature of the selection.

    to: "csv" under a header; "jsonlines", {"id": ..., "features": [...]}; "recordio", dense Records with the id as uid
    and, for items, the feature's index as label, since a nearest-neighbour model answers with labels.
    The id is the value in the column, column=value where names are known with a range, else the index.
    Raises UsageError where the selection does not fit the model or the names (FeatureNames or None) and for another
    family than fm.
    """
    require_one_of("format of vectors", to, tuple(VECTOR_FORMATS))
    require_one_of("role", selection.role, VECTORS)
    require_fm(model.hyperparameters, "vectors")
    features, ids = _selected(model, selection, names)
    last = features[-1]
    if to == "recordio" and selection.role == "items" and last > EXACT_LABELS:
        raise UsageError(
            f"feature {last} is beyond {EXACT_LABELS}, the last integer that a record's label, a float32, "
            "holds with all before it; write csv or jsonlines"
        )
    return _vectors(model, selection.role, VECTOR_FORMATS[to], (features, ids))


def _vectors(model, role, encode, chosen):
    features, names = chosen
    if encode is _csv_vectors:
        yield ",".join(["id", *_factor_names(model), "linear" if role == "items" else "one"]).encode() + b"\n"
    step = max(1, BLOCK // (model.num_factors + 1))
    for start in range(0, len(features), step):
        block = features[start : start + step]
        ids = [str(index) if names is None else names[index] for index in block.tolist()]
        last = model.linear[block] if role == "items" else np.ones(len(block), np.float32)
        yield encode(np.column_stack([model.factors[block], last]), ids, block if role == "items" else None)


def _csv_vectors(numbers, ids, _labels):
    return _format.rows(numbers, b",", b",", b"\n", [quoted(name) for name in ids])


def _json_vectors(numbers, ids, _labels):
    prefixes = [f'{{"id":{json.dumps(name, ensure_ascii=False)},"features":['.encode() for name in ids]
    return _format.rows(numbers, b"", b",", b"]}\n", prefixes)


def _record_vectors(numbers, ids, labels):
    from fmcore.io.recordio import codec as recordio

    return recordio.encode_dense(numbers, None if labels is None else labels.astype(np.float32), ids)


VECTOR_FORMATS = {"csv": _csv_vectors, "jsonlines": _json_vectors, "recordio": _record_vectors}


def _selected(model, selection, known):
    """Return (int64 indices, not empty and ascending; what names them: a mapping, or None for the index itself)."""
    if (selection.span is None) == (selection.column is None):
        raise UsageError(
            f"which features are {selection.role}? Give either a range of indices, with --range A:B, or "
            "the column that holds them, with --column"
        )
    if selection.column is not None:
        names = _of_column(selection.column, known)
        features = np.array(list(names), np.int64)
        if features[-1] >= model.feature_dim:
            raise UsageError(
                f"column {selection.column!r} has feature {features[-1]}, but the model's feature_dim is "
                f"{model.feature_dim}; expected the vocabulary of its training rows"
            )
        return features, names
    first, stop = selection.span
    first, stop = first or 0, model.feature_dim if stop is None else stop
    if not first < stop <= model.feature_dim:
        raise UsageError(f"range {first}:{stop} is empty or leaves the model, whose features are 0:{model.feature_dim}")
    names = None if known is None else {index: known.get(index) or str(index) for index in range(first, stop)}
    return np.arange(first, stop), names


def _of_column(column, names):
    """Return index -> value for the features of that column, ascending."""
    if names is None:
        raise UsageError(f"the model does not know the features of column {column!r}; name a file with --vocabulary")
    found = names.of_column(column)
    if not found:
        listed = ", ".join(names.columns) or "none"
        raise UsageError(f"no column {column!r} whose features are known; those are: {listed}")
    return found


def _factor_names(model):
    return [f"v{factor}" for factor in range(model.num_factors)]


def _blocks(model, columns):
    """Return (start, stop) of runs of features whose rows of so many numbers make about BLOCK."""
    step = max(1, BLOCK // columns)
    return ((start, min(start + step, model.feature_dim)) for start in range(0, model.feature_dim, step))
