"""Rows to the scores that users see, and requests to predictions, bytes to bytes."""

from __future__ import annotations

from functools import cached_property, partial

import numpy as np

from fmcore.errors import DataError, ModelError
from fmcore.io.predictions import writer_for
from fmcore.io.requests.bodies import BodyReader
from fmcore.io.requests.media import TYPES, answer_type, request_type
from fmcore.kernels import backend_of
from fmcore.model.info import encoder_for, read_options
from fmcore.model.model import Model
from fmcore.model.scaling import label_range
from fmcore.objectives import objective_of
from fmcore.rows.batch import Batch
from fmcore.rows.scaling import bounded


class Scorer:
    """Scoring by one model; may be used from several threads at once.

    A score that is not finite is never returned: where the model's numbers are at fault a ModelError is raised, else a
    DataError with the row, whose values are too large.

    by_position: see ReadOptions; of requests.
    """

    def __init__(self, model: Model, threads: int = 1, *, by_position: bool = False) -> None:
        self._by_position = by_position
        self._model, self._backend = model, backend_of(model.hyperparameters, "cpu", threads, training=False)
        self._objective, self._range = objective_of(model.hyperparameters), label_range(model)

    def scores(self, batch: Batch) -> np.ndarray:
        """Return float32 (rows,): what the model's objective predicts. Indices are all below feature_dim."""
        return self._objective.predict(self.raw(batch))

    def raw(self, batch: Batch) -> np.ndarray:
        """Return float32 (rows,): y(x), within the model's label range, before the objective predicts by it."""
        raw = self._backend.score(batch, self._model)
        finite = np.isfinite(raw)
        if not finite.all():
            raise self._refusal(raw, batch, int(finite.argmin()))
        return bounded(raw, self._range)

    def answer(self, body: bytes, content_type: str | None, accept: str | None = None) -> tuple[str, bytes]:
        """Return (media type, bytes) that answer a request; the arguments are its body and headers (None where absent).

        Raises the errors of fmcore.io.requests.media for headers, and DataError for a malformed body.
        """
        asked = request_type(content_type)
        given = answer_type(accept, asked)
        return given, self.predictions(body, asked, given)

    def predictions(self, body: bytes, asked: str, given: str) -> bytes:
        """Return the predictions, as media type `given`, for a body of media type `asked` (keys of TYPES).

        Labels are not needed, and features that the model does not know are ignored. Raises DataError for a malformed
        body, with the row, line or record.
        """
        try:
            known, _ = self._bodies.read(body, TYPES[asked]).within(self._model.feature_dim)
            scores = self.scores(known)
        except DataError as error:
            raise error.moved("request") from None
        writer = writer_for(TYPES[given], self._objective.columns)
        return b"".join([writer.begin(), writer.rows(scores, known.ids), writer.end()])

    @cached_property
    def _bodies(self) -> BodyReader:
        """Return what reads bodies; made at first use, as the commands that read files never need it."""
        options = read_options(self._model, by_position=self._by_position)
        return BodyReader(options, partial(encoder_for, self._model, options.table))

    @cached_property
    def _defect(self) -> str | None:
        """Return what is not finite in the model, computed once; None where all of it is finite."""
        return self._model.not_finite()

    def _refusal(self, raw: np.ndarray, batch: Batch, row: int) -> ModelError | DataError:
        if self._defect:
            return ModelError(f"the model's {self._defect}; it cannot score, train it again")
        return DataError(
            f"the score is {raw[row]}, beyond the range of 32-bit floats; the row's values are too large for the model",
            **batch.place(row),
        )
