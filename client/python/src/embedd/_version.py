# SPDX-License-Identifier: Apache-2.0
"""The version of everything, in one place: CMake and pyproject.toml read it from here, scripts/release writes it."""

__version__ = "0.1.0"
