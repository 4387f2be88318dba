"""Text that others chose, as it is printed: data and never markup, neither for a terminal nor in Markdown.

Names of files, columns, groups, classes and attacks may hold anything. A terminal must not obey them, and a group must
not add a row to a table.
"""

import re

# C0 and C1 (escape sequences begin there), characters that turn the direction of text, and halves of pairs.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

# What Markdown would read: pipes, tags and entities, emphasis, code, links and images, and backslashes before these.
_MARKUP = re.compile(
    r"[|*`~]"
    r"|<(?=[A-Za-z/!?])"
    r"|&(?=#?\w+;)"
    r"|(?<=\])[(\[]"
    r"|(?<![^\W_])_|_(?![^\W_])"
    r"|\\(?=[!-/:-@\[-`{-~]|$)"
)
_ENTITIES = {"<": "&lt;", "&": "&amp;"}
_BEGINNING = re.compile(r"(?:[#>+=\[-]|\d+(?=[.)]\s))")  # Of a line that would be a heading, a quote, a list or a link.


def line(text: object) -> str:
    r"""The text in one line for a terminal: line ends and control characters are written out.

    Example:
        >>> from hardlabel.printed import line
        >>> print(line("a\nb\x1b[2J"))
        a\nb\x1b[2J
    """
    return _HIDDEN.sub(_written_out, str(text))


def lines(text: object) -> str:
    r"""The text for a terminal, with its line ends; other control characters are written out.

    Example:
        >>> from hardlabel.printed import lines
        >>> print(lines("two\nlines\a"))
        two
        lines\x07
    """
    return "\n".join(line(part) for part in str(text).split("\n"))


def cell(text: object) -> str:
    r"""The text inside a line of Markdown, such as a cell of a table, where it reads as it is and is no markup.

    Example:
        >>> from hardlabel.printed import cell
        >>> print(cell("a|b <script>"))
        a\|b &lt;script>
    """
    return _MARKUP.sub(lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), line(text))


def paragraph(text: object) -> str:
    r"""The text as a paragraph of Markdown: a `cell` that begins neither a heading nor a list.

    Example:
        >>> from hardlabel.printed import paragraph
        >>> print(paragraph("# no heading"))
        \# no heading
    """
    told = cell(text)
    begins = _BEGINNING.match(told)
    if begins is None:
        return told
    return f"{begins[0]}\\{told[begins.end() :]}" if begins[0][0].isdigit() else f"\\{told}"


def _written_out(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
