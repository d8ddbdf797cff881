"""Errors of the training engine."""


class EngineError(RuntimeError):
    """Error of a run or an evaluation that cannot continue.

    The message says why and what to do.
    """


class TrainingError(EngineError):
    """Error for a loss or a score that is not finite.

    The last checkpoint stays as it was.
    """


class CheckpointError(EngineError):
    """Error for a checkpoint that could not be written, read or continued.

    What was complete before still is.
    """
