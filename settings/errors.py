"""What can go wrong, as the user sees it: one line that says what, where, and what to do.

The command line prints the message without a traceback and leaves with `exit_status`: 2 for what the user can
mend (a parameter, a file, the machine), 1 for what failed while it ran.
"""


class PipelineError(Exception):
    """Base of every error that is meant for the user."""

    exit_status = 1


class BadParameter(PipelineError):
    """`params.yaml`, `local.yaml` or a profile says something that cannot be."""

    exit_status = 2


class BadInput(PipelineError):
    """A raw file or folder is missing, unreadable or not what it should be."""

    exit_status = 2


class BadArtifact(PipelineError):
    """Something under `artifacts/` is missing, damaged or of another kind than expected."""

    exit_status = 2


class WrongEnvironment(PipelineError):
    """This machine lacks what was asked of it: a device, ranks, space, a free lock."""

    exit_status = 2


class TrainingFailed(PipelineError):
    """A training cannot go on, or what it made must not be recorded."""


class Skipped(PipelineError):
    """A stage has nothing to give at these parameters, and those below it neither; the others go on."""


class Interrupted(PipelineError):
    """A signal asked the run to end; its state was saved and the next run goes on from there."""

    exit_status = 143
