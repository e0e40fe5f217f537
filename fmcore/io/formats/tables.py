"""CSV, TSV and Parquet, which fmcore.io.tables reads by columns."""

from fmcore.io.formats.contract import Format, Head


def _separators(head: Head) -> tuple[int, int] | None:
    """Return how many commas and tabs a line has; None for no table: neither, or JSON, whose lists have commas."""
    line = head.features
    commas, tabs = line.count(b","), line.count(b"\t")
    return None if not (commas or tabs) or line.startswith(b"[") else (commas, tabs)


def _looks_like_csv(head: Head) -> bool:
    found = _separators(head)
    return found is not None and found[0] > found[1]


def _looks_like_tsv(head: Head) -> bool:
    found = _separators(head)
    return found is not None and found[0] <= found[1]


CSV = Format("csv", None, looks=_looks_like_csv, last=True)
TSV = Format("tsv", None, looks=_looks_like_tsv, last=True)
PARQUET = Format("parquet", None, magic=b"PAR1")
