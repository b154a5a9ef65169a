"""Action names: BABEL's categories, styles, and the Bandai set's names in BABEL's terms. No torch."""

import difflib
import re
from collections.abc import Iterable, Sequence

from models.errors import PoseGPTError

BABEL_CATEGORIES = (
    "walk", "stand", "hand movements", "turn", "interact with/use object", "arm movements", "t pose",
    "step", "backwards movement", "raising body part", "look", "touch object", "leg movements",
    "forward movement", "circular movement", "stretch", "jump", "touching body part", "sit",
    "place something", "take/pick something up", "run", "bend", "throw", "foot movements", "a pose",
    "stand up", "lowering body part", "sideways movement", "move up/down incline", "action with ball",
    "kick", "gesture", "head movements", "jog", "grasp object", "waist movements", "lift something",
    "knee movement", "wave", "move something", "swing body part", "catch", "dance", "lean", "greet",
    "poses", "touching face", "sports move", "exercise/training", "clean something", "punch", "squat",
    "scratch", "hop", "play sport", "stumble", "crossing limbs", "perform", "martial art", "balance",
    "kneel", "shake", "grab body part", "clap", "crouch", "spin", "upper body movements", "knock", "adjust",
    "crawl", "twist", "move back to original position", "bow", "hit", "touch ground", "shoulder movements",
    "telephone call", "grab person", "play instrument", "tap", "spread", "skip", "rolling movement",
    "jump rope", "play catch", "drink", "evade", "support", "point", "side to side movement", "stop",
    "protect", "wrist movements", "stances", "wait", "shuffle", "lunge", "communicate (vocalise)",
    "jumping jacks", "rub", "dribble", "swim", "sneak", "to lower a body part", "misc. abstract action",
    "mix", "limp", "sway", "slide", "cartwheel", "press something", "shrug", "open something", "leap",
    "trip", "golf", "move misc. body part", "get injured", "sudden movement", "duck", "flap", "salute",
    "stagger", "draw", "tie", "eat", "style hair", "relax", "pray", "flip", "shivering",
    "interact with rope", "march", "zombie", "check", "wiggle", "bump", "give something", "yoga", "mime",
    "wobble", "release", "wash", "stroke", "rocking movement", "swipe", "strafe", "hang", "flail arms",
)  # fmt: skip
"""BABEL's action categories (Punnakkal et al., CVPR 2021) in the order of its release, most frequent first.

The first 60 are BABEL-60, the first 120 BABEL-120.
"""

STYLE_PREFIX = "style:"
"""A label that says how an action is done starts with this, e.g. `style:tired`."""

BANDAI_PATTERN = r"dataset-[12]_(?P<action>[a-z-]+)_(?P<style>[a-z-]+)_\d+"
"""File names of the Bandai-Namco-Research-Motiondataset, without suffix."""

BANDAI_CATEGORIES: dict[str, tuple[str, ...]] = {
    "walk": ("walk", "forward movement"),
    "walk-turn-left": ("walk", "turn"),
    "walk-turn-right": ("walk", "turn"),
    "walk-back": ("walk", "backwards movement"),
    "walk-left": ("walk", "sideways movement"),
    "walk-right": ("walk", "sideways movement"),
    "run": ("run", "forward movement"),
    "dash": ("run", "forward movement"),
    "bow": ("bend", "greet"),
    "bye": ("wave", "greet", "hand movements"),
    "byebye": ("wave", "greet", "hand movements"),
    "call": ("gesture", "hand movements"),
    "respond": ("gesture", "hand movements"),
    "guide": ("gesture", "arm movements"),
    "punch": ("punch", "martial art"),
    "kick": ("kick", "martial art"),
    "slash": ("swing body part", "arm movements"),
    "dance-short": ("dance",),
    "dance-long": ("dance",),
    "wave-both-hands": ("wave", "hand movements"),
    "wave-left-hand": ("wave", "hand movements"),
    "wave-right-hand": ("wave", "hand movements"),
    "raise-up-both-hands": ("raising body part", "arm movements"),
    "raise-up-left-hand": ("raising body part", "arm movements"),
    "raise-up-right-hand": ("raising body part", "arm movements"),
}
"""The Bandai set's content names -> BABEL categories: our own mapping."""


def clip_labels(action: str, style: str | None = None, extra: Iterable[str] = ()) -> tuple[str, ...]:
    """Labels of one clip: its own action first, then further actions, then its style; none twice."""
    styles = (STYLE_PREFIX + style,) if style else ()
    return tuple(dict.fromkeys((action, *extra, *styles)))


def bandai_labels(stem: str) -> tuple[str, ...] | None:
    """Labels of a Bandai clip from its file name, BABEL's categories included; None for another's name.

    >>> bandai_labels("dataset-2_wave-both-hands_active_001")
    ('wave-both-hands', 'wave', 'hand movements', 'style:active')
    """
    match = re.fullmatch(BANDAI_PATTERN, stem)
    if match is None or match["action"] not in BANDAI_CATEGORIES:
        return None
    return clip_labels(match["action"], match["style"], BANDAI_CATEGORIES[match["action"]])


def own_label(labels: Iterable[str]) -> str | None:
    """The label that is most likely a clip's own name, where nobody kept which one that was.

    A name that is no category of BABEL's, or else the rarest of its categories; those that only say what
    moves ("forward movement") come last. None without an action.

    >>> own_label(("walk", "forward movement", "style:old"))
    'walk'
    """
    rank = {name: k for k, name in enumerate(BABEL_CATEGORIES)}
    actions = [label for label in labels if not label.startswith(STYLE_PREFIX)]
    if not actions:
        return None
    return max(actions, key=lambda name: ("movement" not in name, rank.get(name, len(rank))))


def order_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """The vocabulary's one order: BABEL's categories as released, other actions by name, styles by name."""
    rank = {name: k for k, name in enumerate(BABEL_CATEGORIES)}
    return tuple(sorted(set(labels), key=lambda n: (n.startswith(STYLE_PREFIX), rank.get(n, len(rank)), n)))


def split_labels(labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """Actions, and styles without their prefix."""
    actions = [name for name in labels if not name.startswith(STYLE_PREFIX)]
    styles = [name.removeprefix(STYLE_PREFIX) for name in labels if name.startswith(STYLE_PREFIX)]
    return actions, styles


def resolve_label(name: str, vocabulary: Sequence[str], kind: str = "action") -> str:
    """The label of `vocabulary` that `name` means; case, space, `_` and `-` are alike, `style:` is optional.

    Args:
        kind: what the vocabulary holds, for messages.

    Raises PoseGPTError with the closest names if there is none.
    """
    # Reversed, so that of labels that read alike the first one wins.
    plain = {_plain(label): label for label in reversed(vocabulary)}
    for candidate in (name, STYLE_PREFIX + name):
        if candidate in vocabulary:
            return candidate
        if _plain(candidate) in plain:
            return plain[_plain(candidate)]

    # Nothing fits: the nearest names help more than the whole list.
    close = difflib.get_close_matches(_plain(name), plain, n=3, cutoff=0.6)
    if close:
        hint = "did you mean " + " or ".join(repr(plain[c]) for c in close) + "?"
    else:
        hint = "posegpt actions lists actions and styles"
    raise PoseGPTError(f"no {kind} named {name!r} among the {len(vocabulary)} {kind}s", hint)


def _plain(label: str) -> str:
    return re.sub(r"[\s_-]+", " ", label.strip().lower())
