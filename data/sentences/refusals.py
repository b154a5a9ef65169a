"""What is not guessed: negations, other bodies than one human one, several people. Imports no torch."""

import re

from data.sentences.english import either

_NEGATION = re.compile(
    r"\b(?:not|never|without|nobody|no one|none|neither|nor|cannot|no longer|no"
    r"|(?:do|does|is|are|wo|ca|did)n'?t|refus\w+ to|avoids? \w+ing|instead of|except|fails? to|stops? \w+ing"
    r"|hardly|rarely|unable to)\b"
)
_NOT_NEGATED = re.compile(
    r"\b(?:(?:try|tries|trying|careful|as|order) not to \w+"
    r"|not (?:confident|sure|too \w+|very \w+|so \w+)(?:ly)?"
    rf"|(?:without|no) (?:(?:any|much|a) )?(?:{either('no_hurry')})(?: (?:around|back|up))?)\b"
)
"""How something is done, rather than that it is not."""

_BODY = re.compile(rf"\b(?P<body>(?:{either('animals')}|{either('machines')})s?|{either('people')})\b")

_AS_OBJECT = re.compile(
    rf"\b(?:{either('before_objects')})(?: (?:{either('before_nouns')}|(?:crowd|group|pair) of))*$"
)
"""Words before a noun that make it no subject: "waves to the people", "hops like a rabbit"."""
_AS_SUBJECT = re.compile(rf"(?:(?:{either('before_subjects')}|\d+) )*(?:\w+ ){{0,2}}")

_TOGETHER = re.compile(
    r"\b(?:each other|one another|they both|both of them|with (?:a|his|her) partner|in pairs|together with"
    r"|(?:two|three|four|five|six|several|many|both|all)(?: \w+)? (?:people|persons|men|women|kids|children"
    r"|dancers|friends|players|fighters|girls|boys|guys)|(?:danc|walk|run|jump|jogg)\w* together)\b"
)
_GAITS = re.compile(
    r"(?<!\ba )(?<!\bthe )\b(?:bunny|rabbit|frog|kangaroo|crab|bear|duck)[ -](?=(?:hop|walk|jump)s?\b)"
)
"""Animals that say how: "bunny hops"."""


def refusal(clause: str) -> str | None:
    """Why a clause in lower case is not guessed; None if nothing speaks against it."""
    match = _NEGATION.search(_NOT_NEGATED.sub(" ", clause))
    if match:
        return f"what is not done cannot be generated ('{match[0]}')"
    match = _TOGETHER.search(clause)
    if match:
        return f"one person is generated, not several ('{match[0]}')"

    plain = _GAITS.sub("", clause)
    for match in _BODY.finditer(plain):
        before = plain[: match.start()].rstrip()
        # Only a noun in front, with few words before it, does what follows.
        is_first = _AS_SUBJECT.fullmatch(f"{before} " if before else "")
        if is_first and not _AS_OBJECT.search(before):
            return f"one human body is generated, no other ('{match['body']}')"
    return None
