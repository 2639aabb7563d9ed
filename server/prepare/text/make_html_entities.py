# SPDX-License-Identifier: Apache-2.0
"""Writes html_entities.inc beside this file: HTML 5's named character references as Python knows them.

  python server/prepare/text/make_html_entities.py
"""

from html.entities import html5
from pathlib import Path


def table():
    lines = ["// SPDX-License-Identifier: Apache-2.0", "// Made by make_html_entities.py from Python's html.entities. Sorted by name."]
    line = ""
    for name, value in sorted(html5.items()):
        first, *rest = map(ord, value)
        row = f'{{"{name}", {first:#x}, {rest[0] if rest else 0:#x}}},'
        if len(line) + 1 + len(row) > 120:
            lines.append(line)
            line = ""
        line += (" " if line else "") + row
    return "\n".join([*lines, line]) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("html_entities.inc").write_text(table())
