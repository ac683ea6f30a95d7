"""The command line. Thin: every command is a call into the library and a table of what it returned.

A file a group of commands; `program` joins them. What is slow to import, as torch is, a command imports when it runs.
"""

import os
import sys

from twinlatent.failures import DEBUG, last_resort, safe_streams
from twinlatent.interrupts import ending_as_by_ctrl_c

DEBUG_VARIABLE = "TWINLATENT_DEBUG"


def main() -> None:
    """Run the command line; whatever goes wrong ends in one line and exit status 1, Ctrl-C and SIGTERM with 130.

    Words that make no sense end with 2. `--debug` among them, or 1 in $TWINLATENT_DEBUG, shows the traceback of all
    else that goes wrong, too.
    """
    safe_streams()
    words = [word for word in sys.argv[1:] if word != DEBUG]
    debug = len(words) < len(sys.argv[1:]) or os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
    with last_resort(debug), ending_as_by_ctrl_c():
        try:
            from twinlatent.cli.program import app  # here, so that Ctrl-C ends in a line while this is imported, too

            app(words)
        finally:
            sys.stdout.flush()
