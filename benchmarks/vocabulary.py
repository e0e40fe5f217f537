"""Measure a list of categorical values beside a dict: its size, building, lookups, and opening it from a file."""

import gc
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
from measure import figure, medians, parser, print_setting

from fmcore.schema.values import ValueTable

BLOCK = 4096  # values that are looked up or added at once, about those of a column in a block of rows
LOOKUPS = 1_000_000
MULTIPLIER = 2654435761  # odd, so that products modulo 2**32 are all different
STATUS = Path("/proc/self/status")


def value(number):
    """Return the text of a number, like those of the click sets: eight hexadecimal digits."""
    return f"{number * MULTIPLIER % 2**32:08x}"


def blocks(numbers):
    """Return new texts of numbers in lists of BLOCK, as a reader makes them of each block of rows."""
    texts = [value(number) for number in numbers]
    return [texts[start : start + BLOCK] for start in range(0, len(texts), BLOCK)]


def built_dict(texts):
    """Return text -> index."""
    known = {}
    for block in texts:
        for text in block:
            known.setdefault(text, len(known))
    return known


def built_table(texts):
    """Return a table of one column."""
    table = ValueTable()
    for block in texts:
        table.extend(0, block)
    return table


def looked_up(known, texts):
    """Look up all texts, as readers did before there was a table."""
    find = known.get
    for block in texts:
        np.fromiter((find(text, -1) for text in block), np.int32, len(block))


def found(table, texts):
    """Do the same in a table."""
    for block in texts:
        table.find(0, block)


def dict_bytes(known):
    """Return the bytes of a dict, its texts and its numbers."""
    return sys.getsizeof(known) + sum(sys.getsizeof(text) + sys.getsizeof(known[text]) for text in known)


def write(table, folder):
    """Write each tensor to a file."""
    for name, array in table.tensors().items():
        array.tofile(Path(folder, name))
    return {name: (Path(folder, name), array.dtype) for name, array in table.tensors().items()}


def opened(files):
    """Return the table in these files, mapped."""
    return ValueTable.from_tensors({name: np.memmap(path, dtype, "r") for name, (path, dtype) in files.items()})


def file_pages():
    """Return the bytes of mapped files that this process has in memory; 0 where the system does not report it."""
    counted = re.search(r"RssFile:\s+(\d+)", STATUS.read_text()) if STATUS.exists() else None
    return int(counted[1]) << 10 if counted else 0


def build(texts, options):
    """Print times and sizes of both; return them."""
    works = {"build, a dict": lambda: built_dict(texts), "build": lambda: built_table(texts)}
    for name, time in medians(works, options.runs).items():
        print(f"{name}: {time:.2f} s, {time / options.rows * 1e9:.0f} ns a value", flush=True)
    known, table = built_dict(texts), built_table(texts)
    size, arrays = dict_bytes(known) / options.rows, table.tensors()
    each = sum(array.nbytes for array in arrays.values()) / options.rows
    text = arrays["texts"].nbytes / options.rows
    figure("size", [each - text], "bytes a value")
    print(f"size: {each:.2f} bytes a value, {text:.2f} of them text; a dict {size:.0f}", flush=True)
    return known, table


def look_up(known, tables, options):
    """Print rates of lookups of present and absent values."""
    random = np.random.default_rng(3)
    count = min(LOOKUPS, 10 * options.rows)
    for kind, least in {"present": 0, "absent": options.rows}.items():
        texts = blocks((least + random.integers(0, options.rows, count)).tolist())
        works = {f"find {kind}, a dict": lambda texts=texts: looked_up(known, texts)}
        works |= {
            f"find {kind}, {name}": lambda table=table, texts=texts: found(table, texts)
            for name, table in tables.items()
        }
        for name, time in medians(works, options.runs).items():
            print(f"{name}: {count / time / 1e6:.1f} M values/s, {time / count * 1e9:.0f} ns each", flush=True)


def main():
    """Print the lines of all parts."""
    options = parser(__doc__, rows=10_000_000).parse_args()
    print_setting()
    print(f"{options.rows:,} values, median of {options.runs}")
    texts = blocks(range(options.rows))
    gc.freeze()  # millions of texts that are no garbage
    known, table = build(texts, options)
    with tempfile.TemporaryDirectory() as folder:
        files = write(table, folder)
        before = file_pages()
        kept = opened(files)
        pages = file_pages() - before
        for name, time in medians({"open": lambda: opened(files)}, options.runs).items():
            print(f"{name}: {time * 1e6:.0f} microseconds; {pages >> 10} KiB of the files in memory")
        look_up(known, {"in memory": table, "mapped": kept}, options)


if __name__ == "__main__":
    main()
