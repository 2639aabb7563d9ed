# SPDX-License-Identifier: Apache-2.0
"""`EmbedColumn`: embeds a column of a batch, for engines that divide a table over machines. Knows none of them.

    column = EmbedColumn("gpu-1:50051,gpu-2:50051", column="image")
    table = column(table)          # a dict of arrays, a pandas frame or an Arrow table; with "vector", "error", "fingerprint"

Ray Data's `map_batches`, Dask's `map_partitions` and `datasets.map(batched=True)` take it as it is, Spark's `mapInPandas`
and `mapInArrow` in a loop of two lines (client/python/examples). Give it 64 to 256 rows at a time: one batch is one wait.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

import numpy as np

from . import errors
from ._channel import Targets, Tls, Token
from ._job import check_same_model
from .client import EmbedClient
from .result import EmbedResult

# Names of the columns of what is known beside the vector.
ERROR, FINGERPRINT = "error", "fingerprint"


class EmbedColumn:
    """Callable that adds vectors to a batch. Pickles; opens its connection on first use, one per process.

    All batches have to come from one model: a second fingerprint is a `ModelMismatch`. Workers that must agree with each
    other, or with vectors stored earlier, get it as `expect_fingerprint`.

    Args:
      target, tls, token, timeout: as in `EmbedClient`.
      column: what to embed: paths, the bytes of image files, PIL images or arrays; or strings with kind="text".
      into: the column of the vectors. Beside it come `error` (the reason, null where there is a vector) and `fingerprint`.
      kind: "image" or "text".
      on_error: "return": a row that fails has no vector (null; NaN in a dict of arrays) and its reason in `error`, also
        where it was null. "raise": raises.
      expect_fingerprint, dtype, normalize, retry_for: as in `EmbedClient.embed_images`.
    """

    def __init__(
        self,
        target: Targets = None,
        *,
        column: str = "image",
        into: str = "vector",
        kind: str = "image",
        on_error: str = "return",
        expect_fingerprint: Optional[str] = None,
        dtype: str = "float32",
        normalize: bool = True,
        retry_for: Optional[float] = None,
        tls: Tls = None,
        token: Token = None,
        timeout: float = 60.0,
    ) -> None:
        if kind not in ("image", "text"):
            raise ValueError(f"kind is {kind!r}; pass 'image' or 'text'")
        if on_error not in ("raise", "return"):
            raise ValueError(f"on_error is {on_error!r}; pass 'raise' or 'return'")
        self.column, self.into, self.kind = column, into, kind
        self.on_error = on_error
        self.fingerprint = expect_fingerprint or ""
        self._client = EmbedClient(target, tls=tls, token=token, timeout=timeout)
        self._options = {"dtype": dtype, "normalize": normalize, "retry_for": retry_for}

    def __call__(self, batch: Any) -> Any:
        """The batch with its new columns; of the kind that was given."""
        values = self._values(batch)
        result = self._embed(values)
        reasons: List[Optional[str]] = [None] * len(values)
        for error in result.errors:
            reasons[error.index] = error.reason or "FAILED"
        prints = [None if reason else result.fingerprint for reason in reasons]
        return self._with(batch, result.vectors, reasons, prints)

    def close(self) -> None:
        self._client.close()

    def _values(self, batch: Any) -> List[Any]:
        if isinstance(batch, dict):
            names: Any = list(batch)
        else:
            names = list(batch.column_names if hasattr(batch, "column_names") else batch.columns)
        if self.column not in names:
            raise KeyError(f"the batch has no column {self.column!r}; it has {', '.join(map(str, names))}")
        column = batch[self.column]
        if hasattr(column, "to_pylist"):  # Arrow
            return column.to_pylist()
        if hasattr(column, "isna"):  # pandas, which has several kinds of null
            return [None if null else one for one, null in zip(column, column.isna())]
        # A float column of missing values is how pandas holds nulls.
        return [None if isinstance(one, float) else one for one in column]

    def _embed(self, values: List[Any]) -> EmbedResult:
        """Embeds what is there; a null fails like a broken image."""
        there = [index for index, value in enumerate(values) if value is not None]
        if len(there) < len(values) and self.on_error == "raise":
            missing = next(index for index, value in enumerate(values) if value is None)
            raise self._missing(missing)
        embed = self._client.embed_texts_detailed if self.kind == "text" else self._client.embed_images_detailed
        result = embed(
            [values[index] for index in there],
            on_error=self.on_error,
            priority="bulk",
            expect_fingerprint=self.fingerprint or None,
            **self._options,
        )
        if result.fingerprint:
            self.fingerprint = self.fingerprint or result.fingerprint
            check_same_model(self.fingerprint, result.fingerprint, "", self._client.target)
            self.fingerprint = result.fingerprint
        vectors = np.full((len(values), result.vectors.shape[1]), np.nan, result.vectors.dtype)
        vectors[there] = result.vectors
        failed = {there[error.index]: error for error in result.errors}
        failed.update({index: self._missing(index) for index, value in enumerate(values) if value is None})
        return EmbedResult(vectors, [failed[index] for index in sorted(failed)], result.fingerprint, result.calls)

    def _missing(self, index: int) -> errors.InputRejected:
        kind = errors.TextRejected if self.kind == "text" else errors.ImageRejected
        error = kind(f"row {index} of column {self.column!r} is null", index=index, reason="MISSING")
        return error

    def _with(self, batch: Any, vectors: np.ndarray, reasons: List[Any], prints: List[Any]) -> Any:
        rows = [None if reason else row for row, reason in zip(vectors, reasons)]
        if isinstance(batch, dict):
            added: Dict[str, Any] = {self.into: vectors, ERROR: np.array(reasons, object)}
            return {**batch, **added, FINGERPRINT: np.array(prints, object)}
        if hasattr(batch, "column_names"):
            return self._with_arrow(batch, rows, reasons, prints, vectors)
        return batch.assign(**{self.into: rows, ERROR: reasons, FINGERPRINT: prints})

    def _with_arrow(self, table: Any, rows: List[Any], reasons: List[Any], prints: List[Any], like: np.ndarray) -> Any:
        import pyarrow

        number = pyarrow.from_numpy_dtype(like.dtype)
        made = {
            self.into: pyarrow.array(rows, pyarrow.list_(number)),
            ERROR: pyarrow.array(reasons, pyarrow.string()),
            FINGERPRINT: pyarrow.array(prints, pyarrow.string()),
        }
        columns = {name: table[name] for name in table.column_names if name not in made}
        return type(table).from_pydict({**columns, **made})
