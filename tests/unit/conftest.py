"""What several of the test modules here run under."""

import pytest
import torch


@pytest.fixture
def one_thread():
    """Many small operations: threads only wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
