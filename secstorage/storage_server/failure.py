"""How a job ends that doesn't succeed."""


class JobError(Exception):
    """A job has failed: a word for programs, a sentence for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class CancelledError(Exception):
    """Somebody doesn't want the job any more."""


class StoppedError(Exception):
    """The daemon ends, or the store is gone: the job goes on another time, from where it was."""
