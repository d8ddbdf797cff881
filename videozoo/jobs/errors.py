"""What a job raises when it cannot go on."""


class JobError(ValueError):
    """A job over many files that cannot go on; the message says what to change."""
