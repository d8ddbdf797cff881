"""Errors of the training engine."""


class EngineError(RuntimeError):
    """A run or an evaluation cannot go on.

    The message says why and what to do.
    """


class TrainingError(EngineError):
    """A loss or a score is not finite.

    The last checkpoint stays as it was.
    """


class CheckpointError(EngineError):
    """A checkpoint could not be written, read or continued.

    What was complete before still is.
    """
