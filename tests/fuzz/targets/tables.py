"""CSV and TSV under several options, at once against byte by byte; the file of a vocabulary."""

import io

from fuzz.checks import check_batch, numbers_of, outcome, rows_of
from fuzz.places import written

from fmcore.errors import DataError, UsageError
from fmcore.io.options import ReadOptions, Report
from fmcore.io.sources.source import Source
from fmcore.io.tables import codec as tables
from fmcore.schema import vocabulary_file
from fmcore.schema.encoder import Encoder
from fmcore.schema.features import Hashed
from fmcore.schema.names import FeatureNames
from fmcore.schema.options import TableOptions

REFUSALS = (DataError, UsageError)
OPTIONS = (  # by the first byte of the input: separator, table options, others
    ("csv", TableOptions(), {}),
    ("csv", TableOptions(header=False, label="0"), {}),
    ("csv", TableOptions(header=True, label="label", weight="w", row_id="id"), {}),
    ("csv", TableOptions(header=False, label="0", categorical=("1",), hash_bits=8), {"binary": True}),
    ("tsv", TableOptions(label="0", categorical=("1", "2"), vocabulary="new"), {"positive": "yes", "binary": True}),
    ("csv", TableOptions(header=False, categorical=("0",), hash_bits=2, missing="error"), {}),
    ("csv", TableOptions(delimiter=";", quotes=False, missing_values=("1", "?")), {}),
    ("tsv", TableOptions(label="1", categorical=("0",), hash_bits=4, missing_values=()), {}),
)


class TrickleFile(io.BytesIO):
    """A stream that gives five bytes at a time, as a slow pipe may."""

    def read(self, size=-1):
        return super().read(5 if size < 0 else min(size, 5))


def csv(data):
    """Check a file; the first byte chooses the options."""
    form, table, more = OPTIONS[data[0] % len(OPTIONS) if data else 0]
    batches, _, error = _read(data[1:], form, ReadOptions(table=table, **more))
    skipping = ReadOptions(table=table, on_error="skip", **more)
    kept, skipped, refused = _read(data[1:], form, skipping)
    for batch in [*batches, *kept]:
        check_batch(batch)
    if error is None:
        assert (refused, skipped.counts.get("rows skipped")) == (None, None)
        assert rows_of(kept) == rows_of(batches)
    else:
        assert refused is not None or skipped.errors
    slow, slow_report, late = _read(TrickleFile(data[1:]).getvalue(), form, skipping, TrickleFile)
    assert (late and str(late)) == (refused and str(refused))
    assert rows_of(slow) == rows_of(kept)
    assert [numbers_of(b).tolist() for b in slow] == [numbers_of(b).tolist() for b in kept]
    assert [str(bad) for bad in slow_report.errors] == [str(bad) for bad in skipped.errors]


def vocabulary(data):
    """Check that a vocabulary that was read is written again alike."""
    path = written("vocabulary.tsv", data)
    found, error = outcome(DataError, FeatureNames.of_file, path)
    if error is None:
        again = io.BytesIO()
        vocabulary_file.write(again, found)
        same = FeatureNames.of_file(written("again.tsv", again.getvalue()))
        assert list(same) == list(found)
        assert len(same) == len(found) == again.getvalue().count(b"\n") - 1


def _read(data, form, options, stream=io.BytesIO):
    """Return (batches, report, the error that ends them or None)."""
    report = Report()
    bits = options.table.hash_bits
    encoder = Encoder(None if bits is None else Hashed(bits))
    batches = tables.read(Source("a.csv"), stream(data), options, report, form, encoder=encoder)
    found, error = [], None
    while error is None:
        batch, error = outcome(REFUSALS, next, batches, None)
        if batch is None:
            break
        found.append(batch)
    assert all(map(str, report.errors))
    return found, report, error
