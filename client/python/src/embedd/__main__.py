# SPDX-License-Identifier: Apache-2.0
"""`python -m embedd COMMAND`: what the package does from the shell. The server is another program, of the same name."""

import sys
from typing import List, Optional

_USAGE = """usage: python -m embedd pull NAME [--to DIR] [--revision REVISION]

  pull    download a model folder from the Hugging Face hub; `pull --help` says more
"""


def main(arguments: Optional[List[str]] = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["pull"]:
        from .pull import main as pull

        return pull(arguments[1:])
    print(_USAGE, end="", file=sys.stdout if arguments[:1] in (["-h"], ["--help"]) else sys.stderr)
    return 0 if arguments[:1] in (["-h"], ["--help"]) else 2


if __name__ == "__main__":
    sys.exit(main())
