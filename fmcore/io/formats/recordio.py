"""recordIO-protobuf."""

from functools import partial

from fmcore.io.formats.contract import Codec, Format
from fmcore.io.options import ReadOptions


def _recordio(options: ReadOptions) -> Codec:
    from fmcore.io.recordio import codec as recordio

    decode = partial(recordio.decode, index_base=options.index_base, wide=options.wide)
    return Codec(recordio.chunks, partial(decode, on_error=options.on_error))


RECORDIO = Format(
    "recordio", _recordio, magic=b"\x0a\x23\xd7\xce", cut=True
)  # fmcore.io.sources.ranges finds records, too
