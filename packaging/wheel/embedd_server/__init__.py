# SPDX-License-Identifier: Apache-2.0
"""The embedd server, as programs. There is nothing to import: `embedd` and `embedctl` are on the PATH."""

from ._built import VERSION as __version__

__all__ = ["__version__"]
