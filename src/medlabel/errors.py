"""The one exception that a user is meant to read."""


class MedlabelError(Exception):
    """An expected failure, told in one line: what is wrong, where, and what to do.

    The command line prints the message alone, without a traceback, and exits with status 1.
    """
