#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the manual page of a program from its --help, so that there is one description of every flag.

    man_page.py PROGRAM > NAME.1        for embedctl the page ends with the help of each of its commands

Called by cmake --install (cmake/EmbeddInstall.cmake) and scripts/build-wheel.
"""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys


def escaped(text: str) -> str:
    """Text as roff takes it: no line is a request, and a hyphen stays one that can be searched and copied."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)


def bold(text: str) -> str:
    return "\\fB" + escaped(text) + "\\fR"


def output_of(program: str, *arguments: str) -> str:
    return subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout


def entries(lines: list[str]) -> list[tuple[str, str]]:
    """(flag or command, its text) of the lines of a section: both on one line, or the text deeper below."""
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if indent == 2:
            head, _, text = line.strip().partition("  ")
            found.append((head, [text.strip()] if text else []))
        elif found and line.strip():
            found[-1][1].append(line.strip())
    return [(head, " ".join(text)) for head, text in found]


def sections(help_text: str) -> list[tuple[str, list[str]]]:
    """(title, lines) in their order; the title is empty for what stands before the first."""
    result: list[tuple[str, list[str]]] = [("", [])]
    for line in help_text.splitlines():
        if re.fullmatch(r"[A-Z][A-Za-z, ]*:", line):
            result.append((line[:-1], []))
        elif line and not line.startswith(" ") and result[-1][0]:
            result.append(("", [line]))  # a paragraph after a section
        else:
            result[-1][1].append(line)
    return result


def body(help_text: str, heading: str) -> list[str]:
    out: list[str] = []
    for title, lines in sections(help_text):
        if title == "Examples":
            out += [f"{heading} {title.upper()}", ".nf", *[escaped(line.rstrip()[2:]) for line in lines if line.strip()], ".fi"]
        elif title:
            out.append(f'{heading} "{title.upper() if heading == ".SH" else title}"')
            for head, text in entries(lines):
                out += [".TP", bold(head), escaped(text) or "\\&"]
        else:
            paragraphs = "\n".join(line for line in lines if not line.startswith("Usage: ")).strip()
            for paragraph in re.split(r"\n\s*\n", paragraphs):
                if paragraph:
                    out += [".PP", escaped(paragraph)]
    return out


def page(program: str) -> str:
    name = pathlib.Path(program).name
    help_text = output_of(program, "--help")
    version = output_of(program, "--version").split()[-1]
    first, _, rest = help_text.partition("\n")
    what = first.removeprefix(f"{name}: ").rstrip(".")
    usage = re.search(r"(?m)^Usage: (.*)$", help_text)
    out = [f'.\\" Made from {name} --help by packaging/man_page.py.',
           f'.TH {name.upper()} 1 "" "embedd {version}" "User commands"',
           ".SH NAME", f"{escaped(name)} \\- {escaped(what[0].lower() + what[1:])}",
           ".SH SYNOPSIS", escaped(usage.group(1)) if usage else bold(name),
           ".SH DESCRIPTION", escaped(what + "."), *body(rest, ".SH")]
    for title, lines in sections(rest):
        if title == "Subcommands":
            for command, _ in entries(lines):
                text = output_of(program, command, "--help")
                usage = re.search(r"(?m)^Usage: (.*)$", text)
                out += [f'.SH "{name.upper()} {command.upper()}"']
                if usage:
                    out += [escaped(usage.group(1))]
                out += body(text, ".SS")
    other = "embedctl" if name == "embedd" else "embedd"
    out += [".SH SEE ALSO", f"\\fB{other}\\fR(1)"]
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.stdout.write(page(sys.argv[1]))
