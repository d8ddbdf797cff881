"""What the engine raises when a run cannot go on."""


class EngineError(RuntimeError):
    """A run or an evaluation cannot go on; the message says why and what to do."""


class TrainingError(EngineError):
    """A loss or a score is not finite; the last checkpoint stays as it was."""


class CheckpointError(EngineError):
    """A checkpoint could not be written, read or continued; what was complete before still is."""
