"""Errors of jobs."""


class JobError(ValueError):
    """A job over many files that cannot go on.

    The message says what to change.
    """
