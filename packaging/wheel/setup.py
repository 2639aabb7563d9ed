# SPDX-License-Identifier: Apache-2.0
"""Says what setuptools cannot be told in pyproject.toml: the wheel holds programs for one platform, and no Python extension."""

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel


class ForOnePlatform(Distribution):
    def has_ext_modules(self) -> bool:
        return True


class AnyPython(bdist_wheel):
    def get_tag(self) -> tuple[str, str, str]:
        return ("py3", "none", super().get_tag()[2])


setup(distclass=ForOnePlatform, cmdclass={"bdist_wheel": AnyPython})
