"""The end of an audit that cannot go on now, but can be resumed."""


class Stopped(RuntimeError):
    """An audit stops here and keeps everything that it has: the target fails, or a limit is reached.

    The message is one line. The command line prints it with exit code 1.
    """
