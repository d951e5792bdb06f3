"""Which pools can go into a kernel, against every row that is read, one by one."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from mapper.normal_form import NormalLayer
from mapper.operations import Convolution, Shape
from mapper.passes.legalize.pools import Factor, folded_shape

COUNT = st.integers(1, 6)


def rows_read(layer: NormalLayer) -> Iterator[int]:
    conv = layer.operation
    for output in range(layer.output_shape.height):
        for tap in range(conv.kernel[0]):
            yield output * conv.stride[0] - conv.padding[0] + tap


@given(COUNT, COUNT, st.integers(0, 8), COUNT, COUNT, st.integers(1, 24))
def test_a_pool_goes_into_a_kernel_where_no_row_is_read_twice(
    kernel: int, step: int, padding: int, size: int, stride: int, rows: int
) -> None:
    pooled = (rows - size) // stride + 1
    if rows < size or pooled + 2 * padding < kernel:
        return
    conv = Convolution(1, (kernel, 1), (step, 1), (padding, 0))
    layer = NormalLayer("a", Shape(1, pooled, 1), conv)
    # Of pools that are not there, which the padding counts as zeros, none may cover a row of the map.
    expected = all(
        0 <= row < pooled or row * stride + size <= 0 or row * stride >= rows for row in rows_read(layer)
    )
    wide = folded_shape(layer, Factor((size, 1), (stride, 1)), (rows, 1))
    same_map = (rows + 2 * padding * stride - (kernel - 1) * stride - size) // (step * stride) + 1
    assert (wide is not None) == (expected and same_map == layer.output_shape.height)


def test_a_map_of_any_size_costs_nothing() -> None:
    rows = 1 << 40
    conv = Convolution(1, (rows // 2, 1))
    layer = NormalLayer("a", Shape(1, rows // 2, 1), conv)
    wide = folded_shape(layer, Factor((2, 1), (2, 1)), (rows, 1))
    assert wide is not None
    assert wide.operation.kernel == (rows, 1)
