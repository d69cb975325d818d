from __future__ import annotations

from itertools import pairwise

import pytest

from siren_grpc.models.calibrate import sizes_up_to


@pytest.mark.parametrize("largest", [1, 2, 3, 5, 7, 16, 48, 64, 200, 256])
def test_batch_sizes_rise_by_a_quarter_at_most_and_end_at_the_largest(largest: int) -> None:
    sizes = sizes_up_to(largest)
    assert sizes[0] == 1
    assert sizes[-1] == largest
    assert all(small < large <= max(small + 1, 1.25 * small) for small, large in pairwise(sizes))
