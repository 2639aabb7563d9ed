# SPDX-License-Identifier: Apache-2.0
"""EmbedColumn: a batch in, the same batch with vectors out, in every form that engines hand over."""

import pickle

import numpy as np
import pytest

import embedd
from embedd.batch import EmbedColumn
from fake_server import FakeServer, text_content, vectors

IMAGES = [b"one", b"bad", None, b"two"]
GOOD = [0, 3]


def rows_of(column):
    return [None if row is None else np.asarray(row, np.float32) for row in column]


def check(values, errors, fingerprints):
    assert [error if isinstance(error, str) else None for error in errors] == [None, "CORRUPT_IMAGE", "MISSING", None]
    assert [one if isinstance(one, str) else None for one in fingerprints] == ["fp-1", None, None, "fp-1"]
    assert np.array_equal(np.stack([values[index] for index in GOOD]), vectors([b"one", b"two"]))


def test_a_dict_of_arrays_keeps_its_columns_and_gets_three(server):
    column = EmbedColumn(server.target)
    batch = {"id": np.arange(4), "image": np.array(IMAGES, object)}
    out = column(batch)
    assert list(out) == ["id", "image", "vector", "error", "fingerprint"] and list(batch) == ["id", "image"]
    check(out["vector"], out["error"], out["fingerprint"])
    assert out["vector"].shape == (4, 16) and np.isnan(out["vector"][[1, 2]]).all()


def test_a_pandas_frame_keeps_its_index(server):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"image": IMAGES, "id": range(4)}, index=[9, 8, 7, 6])
    out = EmbedColumn(server.target, into="v")(frame)
    assert list(out.index) == [9, 8, 7, 6] and list(out.columns) == ["image", "id", "v", "error", "fingerprint"]
    check(rows_of(out["v"]), out["error"], out["fingerprint"])
    assert out["v"].iloc[1] is None and "v" not in frame.columns


def test_an_arrow_table_has_nulls_where_there_is_no_vector(server):
    arrow = pytest.importorskip("pyarrow")
    for make in (arrow.table, arrow.RecordBatch.from_pydict):
        out = EmbedColumn(server.target)(make({"image": IMAGES, "id": [1, 2, 3, 4]}))
        assert type(out) is type(make({"a": [1]}))
        assert out.schema.field("vector").type == arrow.list_(arrow.float32())
        columns = {name: out.column(position).to_pylist() for position, name in enumerate(out.schema.names)}
        assert columns["vector"][1] is columns["vector"][2] is None and columns["id"] == [1, 2, 3, 4]
        check(rows_of(columns["vector"]), columns["error"], columns["fingerprint"])


def test_every_kind_of_null_of_pandas_is_missing(server):
    pandas = pytest.importorskip("pandas")
    column = EmbedColumn(server.target, column="caption", kind="text")
    for kind, nulls in (("string", [pandas.NA, None]), (object, [pandas.NA, None, float("nan"), pandas.NaT])):
        out = column(pandas.DataFrame({"caption": pandas.Series(["a cat", *nulls], dtype=kind)}))
        assert out["error"].tolist()[1:] == ["MISSING"] * len(nulls)
        assert np.array_equal(out["vector"].iloc[0], vectors([text_content("a cat")])[0])


def test_texts_and_empty_batches(server):
    column = EmbedColumn(server.target, column="caption", kind="text")
    out = column({"caption": ["a cat", ""]})
    assert np.array_equal(out["vector"], vectors([text_content("a cat"), text_content("")]))
    assert column({"caption": []})["vector"].shape == (0, 16)
    assert column({"caption": [None]})["error"].tolist() == ["MISSING"]


def test_it_travels_by_pickle_with_what_it_knows(server):
    column = EmbedColumn(server.target)
    column({"image": [b"x"]})
    copy = pickle.loads(pickle.dumps(column))
    assert copy.fingerprint == "fp-1" and np.array_equal(copy({"image": [b"x"]})["vector"], vectors([b"x"]))


def test_a_second_model_is_refused(server):
    column = EmbedColumn(server.target)
    column({"image": [b"x"]})
    server.fingerprint = "fp-2"
    with pytest.raises(embedd.ModelMismatch):
        column({"image": [b"x"]})
    with pytest.raises(embedd.ModelMismatch):
        EmbedColumn(server.target, expect_fingerprint="fp-1")({"image": [b"x"]})


def test_several_servers_share_a_batch():
    with FakeServer() as one, FakeServer() as two:
        images = [b"image-%d" % number for number in range(300)]
        out = EmbedColumn([one.target, two.target])({"image": images})
        assert np.array_equal(out["vector"], vectors(images)) and one.answered and two.answered


def test_errors_raise_when_asked_and_mistakes_are_named(server):
    strict = EmbedColumn(server.target, on_error="raise")
    for bad in ([b"x", b"bad"], [b"x", None]):
        with pytest.raises(embedd.ImageRejected) as caught:
            strict({"image": bad})
        assert caught.value.index == 1
    with pytest.raises(KeyError, match="'image'; it has id"):
        strict({"id": [1]})
    for wrong in ({"kind": "video"}, {"on_error": "ignore"}):
        with pytest.raises(ValueError, match="pass"):
            EmbedColumn(server.target, **wrong)
