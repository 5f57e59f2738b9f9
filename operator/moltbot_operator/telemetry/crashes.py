"""What is left of a process that crashed."""

import resource

__all__ = ["leave_no_core"]


def leave_no_core() -> None:
    """Have the kernel write no image of this process's memory, nor of its children's: credentials are in it.

    A program that is given images by a pipe (core_pattern) is told this limit, and has to keep to it itself.
    Source: core(5), getrlimit(2).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
