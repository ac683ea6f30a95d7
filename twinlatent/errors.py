"""The one exception family of the package: a line that names the bad value and the mend."""


class TwinlatentError(ValueError):
    """Bad input. The message is one line, names the offending value and says how to mend it.

    The command line prints the message alone, without a traceback.
    """
