"""Shell-like wildcards.

`*` matches any run of characters, `?` exactly one, `\\` takes the next character as it is.
"""

import sys

ANY_RUN = object()
ANY_ONE = object()


def tokens(pattern):
    """The elements of a pattern: `ANY_RUN`, `ANY_ONE` or a literal character."""
    characters = iter(pattern)
    found = []
    for character in characters:
        if character == "*":
            found.append(ANY_RUN)
        elif character == "?":
            found.append(ANY_ONE)
        elif character == "\\":
            # A backslash at the end stands for itself.
            found.append(next(characters, "\\"))
        else:
            found.append(character)
    return found


def matches(pattern, text):
    """Whether `pattern` matches the whole of `text`.

    Only the last `*` is ever tried again, so the time is bounded by the product of both lengths.
    """
    expected = tokens(pattern)
    at = read = 0
    retry = None
    while read < len(text):
        token = expected[at] if at < len(expected) else None
        if token is ANY_RUN:
            at += 1
            retry = (at, read)
        elif token is ANY_ONE or token == text[read]:
            at += 1
            read += 1
        elif retry:
            retry = (retry[0], retry[1] + 1)
            at, read = retry
        else:
            return False
    return all(token is ANY_RUN for token in expected[at:])


def main():
    """Reads `pattern<TAB>text` lines and answers each with `yes` or `no`."""
    for line in sys.stdin.buffer.read().decode().split("\n")[:-1]:
        pattern, _, text = line.partition("\t")
        print("yes" if matches(pattern, text) else "no")


if __name__ == "__main__":
    main()
