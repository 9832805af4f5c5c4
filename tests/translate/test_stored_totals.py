"""Stored outputs of several versions of Keras are read, and compared with a model."""

from __future__ import annotations

import contextlib
import html
import io
import re
from typing import Any

import pytest

from signs_lightning.translate.cells import Cell, Output
from signs_lightning.translate.stored_totals import (
    LayerRow,
    StoredSummary,
    describe_agreement,
    read_summaries,
)

KERAS1 = """
____________________________________________________________________________________________________
Layer (type)                     Output Shape          Param #     Connected to
====================================================================================================
convolution2d_1 (Convolution2D)  (None, 30, 30, 8)     224         convolution2d_input_1[0][0]
____________________________________________________________________________________________________
flatten_1 (Flatten)              (None, 7200)          0           convolution2d_1[0][0]
____________________________________________________________________________________________________
dense_1 (Dense)                  (None, 6)             43206       flatten_1[0][0]
====================================================================================================
Total params: 43430
____________________________________________________________________________________________________
"""
KERAS2 = """Model: "sequential"
_________________________________________________________________
 Layer (type)                Output Shape              Param #   
=================================================================
 conv2d (Conv2D)             (None, 30, 30, 8)         224       
                                                                 
 max_pooling2d (MaxPooling2D  (None, 15, 15, 8)        0         
 )                                                               
                                                                 
 flatten (Flatten)           (None, 1800)              0         
                                                                 
 dense (Dense)               (None, 6)                 10806     
                                                                 
=================================================================
Total params: 11030 (43.09 KB)
Trainable params: 10806 (42.21 KB)
Non-trainable params: 224 (896.00 Byte)
_________________________________________________________________
"""  # noqa: W291, W293
HTML = (
    '<pre style="white-space:pre">┏━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━┓\n'
    '┃<span style="font-weight: bold"> Layer (type)    </span>┃ Output Shape ┃ Param # ┃\n'
    "┡━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━┩\n"
    '│ conv2d (<span style="color: #0087ff">Conv2D</span>) │ (<span>None</span>, <span>30</span>, '
    "<span>30</span>, <span>8</span>) │ <span>224</span> │\n"
    "│ a_layer_with_a_long_name │ (None, 15, 15, 8)  │       0 │\n"
    "│ (MaxPooling2D)           │                    │         │\n"
    "│ dense (Dense)            │ (None, 6)          │  10,806 │\n"
    "└──────────────────────────┴────────────────────┴─────────┘\n"
    '</pre>\n<pre><span style="font-weight: bold"> Total params: </span>'
    "<span>11,030</span> (43.09 KB)\n</pre>\n"
    "<pre> Trainable params: 11,030 (43.09 KB)\n</pre>"
)


def _cell(*outputs: Output, text: str = "model.summary()", number: int = 3) -> Cell:
    return Cell(number, text, None, outputs=outputs)


@pytest.mark.parametrize(
    ("output", "total", "trainable", "parameters"),
    [
        (Output("text", KERAS1), 43430, None, [224, 0, 43206]),
        (Output("text", KERAS2), 11030, 10806, [224, 0, 0, 10806]),
        (Output("html", HTML), 11030, 11030, [224, 0, 10806]),
    ],
)
def test_tables_of_each_version(
    output: Output, total: int, trainable: int | None, parameters: list[int]
) -> None:
    (summary,) = read_summaries([_cell(output)])
    assert (summary.cell, summary.total, summary.trainable) == (3, total, trainable)
    assert [row.parameters for row in summary.rows] == parameters


def test_what_keras_prints() -> None:
    import keras

    model = keras.Sequential(
        [
            keras.layers.Input((12, 12, 3)),
            keras.layers.Conv2D(4, 3, name="a_rather_long_name_of_a_convolution_layer"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(5),
        ]
    )
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        model.summary(line_length=60)
    (summary,) = read_summaries([_cell(Output("text", printed.getvalue()))])
    assert summary.total == model.count_params()
    assert [row.parameters for row in summary.rows] == [
        layer.count_params() for layer in model.layers
    ]


def test_count_params_and_other_numbers() -> None:
    number = Output("text", "23600006\n")
    counted = read_summaries([_cell(number, text="print(model.count_params())")])
    assert counted == [StoredSummary(3, (), 23600006)]
    assert read_summaries([_cell(number, text="print(len(x))")]) == []
    two = Output("text", "12\n23600006\n")
    assert read_summaries([_cell(two, text="print(n); print(model.count_params())")]) == []


def test_a_table_and_its_totals_in_several_outputs_and_as_html() -> None:
    plain = html.unescape(re.sub("<[^>]*>", "", HTML))
    table, _, totals = plain.partition(" Total params")
    parts = [Output("text", table), Output("text", f" Total params{totals}"), Output("html", HTML)]
    (summary,) = read_summaries([_cell(*parts)])
    assert (summary.total, len(summary.rows)) == (11030, 3)


ROWS = [
    LayerRow("conv2d", "Conv2D", "(None, 30, 30, 8)", 224),
    LayerRow("max_pooling2d", "MaxPooling2D", "(None, 15, 15, 8)", 0),
    LayerRow("flatten", "Flatten", "(None, 1800)", 0),
    LayerRow("dense", "Dense", "(None, 6)", 10806),
]


def _agreement(rows: list[LayerRow], trainable: int, **more: Any) -> tuple[bool | None, str]:
    summaries = read_summaries([_cell(Output("text", KERAS2))])
    return describe_agreement(summaries, rows, sum(r.parameters for r in rows), trainable, **more)


def test_agreement_names_the_cell() -> None:
    agrees, text = _agreement(ROWS, 10806)
    assert agrees
    assert text == "Parameters: agrees with the notebook's own output (cell 3)."
    assert "10,806 were trainable" in _agreement(ROWS, 11030)[1]


def test_difference_names_the_first_layer() -> None:
    other = [*ROWS[:3], LayerRow("dense", "Dense", "(None, 7)", 12607)]
    agrees, text = _agreement(other, 12831)
    assert agrees is False
    assert "11,030 there, 12,831 here" in text
    assert "first at dense (Dense) with 10,806, here dense (Dense) with 12,607" in text
    longer = [*ROWS, LayerRow("dense_1", "Dense", "(None, 2)", 14)]
    assert "dense_1 (Dense) is only here" in _agreement(longer, 10820)[1]


def test_nothing_stored() -> None:
    assert describe_agreement([], ROWS, 11030, 11030)[0] is None
