"""Memory that a piece of code holds at once."""

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd.profiler import profile


def most_held(run: Callable[[], Any], device: torch.device) -> int:
    """Bytes that run() holds at once above what was held before, its result and what kernels need inside included;
    counted by torch's allocator, so exact also where a process gives nothing back.
    """
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(profile_memory=True) as profiled:
        result = run()
    events = [event for event in profiled.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    del result
    return most
