"""Rows to the scores that users see, and requests to predictions, bytes to bytes."""
import numpy as np

from fmcore.backends import backend_for
from fmcore.checks import known_features
from fmcore.errors import DataError
from fmcore.io.media import TYPES, answer_type, request_type
from fmcore.io.options import ReadOptions, Report
from fmcore.io.predictions import writer_for
from fmcore.io.readers import CODECS


class Scorer:
    """Scores by one model; may be used from several threads at once."""

    def __init__(self, model, threads=1):
        self._model, self._backend = model, backend_for("cpu", threads)
        self._predictor_type = model.hyperparameters.predictor_type
        self._decoders = {name: CODECS[name](ReadOptions()).decode for name in set(TYPES.values())}

    def scores(self, batch):
        """float32 (rows,): a classifier's probabilities of label 1, else y(x). Indices are all below feature_dim."""
        raw = self._backend.score(batch, self._model)
        return sigmoid(raw) if self._predictor_type == "binary_classifier" else raw

    def answer(self, body, content_type, accept=None):
        """(media type, bytes) that answer a request; the arguments are its body and headers (None where absent).

        Raises the errors of fmcore.io.media for headers, and DataError for a malformed body.
        """
        asked = request_type(content_type)
        given = answer_type(accept, asked)
        return given, self.predictions(body, asked, given)

    def predictions(self, body, asked, given):
        """The predictions, as media type `given`, for a body of media type `asked` (keys of TYPES).

        Labels are not needed, and features that the model does not know are ignored. Raises DataError for a malformed
        body, with the row, line or record.
        """
        try:
            batch = self._decoders[TYPES[asked]](body).batch
        except DataError as error:
            raise error.moved("request") from None
        writer = writer_for(TYPES[given], self._predictor_type)
        rows = known_features([batch], Report(), feature_dim=self._model.feature_dim, unseen="ignore")
        return b"".join([writer.begin(), *(writer.rows(self.scores(known), known.ids) for known in rows), writer.end()])


def sigmoid(raw):
    """1 / (1 + e^-x) without overflow, float32 by way of float64."""
    small = np.exp(-np.abs(raw, dtype=np.float64))
    return (np.where(raw >= 0, 1, small) / (1 + small)).astype(np.float32)
