"""The words of a text as the evaluation of captions counts them: Penn Treebank's tokens.

The rules are those of Stanford's PTBTokenizer 3.4.1, lower-cased, without its punctuation, as
pycocoevalcap runs it: at each place the longest match of all rules is a token, of equals the first.
Telephone numbers, and abbreviations that are in no caption, have no rule of their own here.

References:
    Marcus et al. 1993, https://aclanthology.org/J93-2004;
    Chen et al. 2015, https://arxiv.org/abs/1504.00325
"""

import functools
import re

from mmjax.metrics.ptb_characters import DIGITS, LETTERS, SYMBOLS

DROPPED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
# As the Treebank writes them, in lower case.
WRITTEN = {
    '"': "''",
    "\u00a2": "cents",
    "\u00a3": "#",
    "\u00bc": "1/4",
    "\u00bd": "1/2",
    "\u00be": "3/4",
    "\u2026": "...",
    "\u2153": "1/3",
    "\u2154": "2/3",
    **dict.fromkeys("\u0080\u00a4\u20a0\u20ac", "$"),
    **dict.fromkeys("\u0096\u0097\u2013\u2014\u2015", "--"),
    **dict.fromkeys("\u0091\u0092\u2018\u2019\u201b\u2039\u203a", "'"),
    **dict.fromkeys("\u0093\u0094\u201c\u201d\u00ab\u00bb", "''"),
    "[": "-lsb-",
    "]": "-rsb-",
    "{": "-lcb-",
    "}": "-rcb-",
    "&amp;": "&",
    "&lt;": "<",
    "&gt;": ">",
    "&nbsp;": " ",
    "&quot;": "''",
    "&apos;": "'",
}
SPACES = " \t\u00a0\u2000-\u200a\u3000\n\r\u2028\u2029\u000b\u000c\u0085"
# With their full stop, wherever they are; in capitals at least at the start; before a number.
ABBREVIATIONS = (
    "mr mrs ms dr prof st mt sr jr sgt gen rev capt lt col sen rep gov pres hon cpl maj cmdr "
    "adm mme mlle messrs supt det insp pvt jan feb mar apr jun jul aug sep sept oct nov dec "
    "mon tue tues wed thu thurs fri inc co cos corp ltd plc bros assn assoc dept univ est etc "
    "al vs cf ave blvd rd ct sq ft ala ariz calif colo conn fla ga ind kan ky md mich minn mo "
    "mont neb nev okla penn tenn va vt wis wyo dak alex wm jos cie ph esq bldg bhd treas adj "
    "adv atty ste ext tel intl natl"
)
CAPITALISED = "Miss Ark Del Ill La Mass Ore Pa Tex Wash Mfg Pty"
NUMBERED = "ca no nos fig figs pp art op prop"
SPLIT = ("cannot", "gonna", "gotta", "lemme", "gimme", "wanna")  # behind the third letter
APOSTROPHES = (  # words that keep theirs
    "o{A}clock ma{A}am c{A}mon cap{A}n o{A}er e{A}er ne{A}er ol{A} {A}em {A}till? {A}cause"
    " {A}n{A}? [ldj]{A} {A}[2-9]0s s{A}mores li{A}l nor{A}easter c{A}est pro- anti-"
)


def _class(ranges: str) -> str:
    ends = [[f"\\u{int(end, 16):04x}" for end in part.split("-")] for part in ranges.split()]
    return "".join("-".join(pair) for pair in ends)


def _patterns() -> list[tuple[str, str, int]]:
    """What a token is, what must follow, and how much of its end is a token of its own."""
    letter, digit = _class(LETTERS) + "\u00ad", _class(DIGITS)
    any_, a = f"[{letter}{digit}]", "['\u0092\u2019]"
    quote = "['\u0092\u2019`\u0091\u2018\u201b]"
    word = f"[{letter}]{any_}*(?:[.!?][{letter}]{any_}*)*"
    plain = f"(?:(?=[{letter}{digit}])[^\\W_])"  # letters and digits without marks
    number = f"(?:[{digit}]*(?:[.:,\u00ad\u066b\u066c][{digit}]+)+|[{digit}]+)"
    thing = f"(?:[dDoOlL]{quote}{plain})?{plain}+(?:[-_]{plain}+)*"
    acronym = r"[A-Za-z](?:\.[A-Za-z])+"
    joined = rf"[A-Za-z0-9][A-Za-z0-9.,\u00ad]*(?:-(?:{acronym}\.|[A-Za-z0-9\u00ad]+))+"
    endings = "(?i:[msd]|re|ve|ll)"
    ending = f"(?:'{endings}(?![A-Za-z])|[\u0092\u2019]{endings})"
    keeps = "|".join(APOSTROPHES.replace("{A}", a).split())
    always, numbered = ABBREVIATIONS.replace(" ", "|"), NUMBERED.replace(" ", "|")
    first = "|".join(f"{w[0]}(?i:{w[1:]})" for w in CAPITALISED.split())
    no_space = f'{SPACES}"<>|'
    return [
        (f"(?i:{'|'.join(SPLIT)})", "", 3),
        ("'(?i:tis|twas)", "", 2),
        (r"<(?:[!?][A-Za-z-][^>]*|/?[A-Za-z][A-Za-z0-9:.-]*(?: +[^<>]*)?/?)>", "", 0),
        *((kind, ending, 0) for kind in (word, thing, joined, number, acronym)),
        ("[A-Za-z]*[A-MO-Za-mo-z]", f"[nN]{a}[tT]", 0),
        (f"[nN]{a}[tT]", "(?![A-Za-z])", 0),
        (ending, "", 0),
        (f"(?i:{keeps})", "", 0),
        (f"[yY]{a}", f"[{letter}]", 0),
        (f"{a}[0-9]{{2}}", f"[{SPACES}]|$", 0),
        (f"[{letter}]+[aeiouyAEIOUY]{a}[aeiouA-Z][{letter}]*", "", 0),
        (f"[A-HJ-XZn]{a}[{letter}]{{2,}}", "", 0),
        (word, "", 0),
        (thing, "", 0),
        (joined, "", 0),
        (f"https?://[^{no_space}()]+[^{no_space}.!?,{{}}()-]", "", 0),
        (
            rf"(?:www\.(?:[^{no_space}.!?()}}{{,]+\.)+[a-zA-Z]{{2,4}}"
            rf"|(?:[^{no_space}`'!()}}{{$,-_]+\.)+(?:com|net|org|edu))"
            rf"(?:/[^{no_space}()]+[^{no_space}.!?()}}{{,-])?",
            "",
            0,
        ),
        (rf"[a-zA-Z0-9][^{no_space}()]*@(?:[^{no_space}().]+\.)*[^{no_space}().]+", "", 0),
        (f"@[A-Za-z_]+|#[{letter}]+", "", 0),
        (f"{word}\\.", "[,;:\u3001]", 0),
        (f"[-+]?{number}", "", 0),
        (r"\([0-9]{2,3}\) ?[0-9]{3,4}[- .]?[0-9]{4}", "", 0),
        (f"[{digit}]{{1,4}}(?:/|\u2044)[{digit}]{{1,4}}", "", 0),
        (r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}(?:/[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}){1,2}", "", 0),
        (r"[A-Z]+(?:(?:[&+]|&amp;)[A-Z]+)+", "", 0),
        (r"(?i:c\+\+)|[cCfF]#", "", 0),
        (rf"{acronym}\.?|[A-Za-z]\.|(?i:ph\.d\.)", "", 0),
        (rf"(?:(?i:{always})|{first})\.", "", 0),
        (rf"(?i:{numbered})\.", f"[{SPACES}]?[0-9]", 0),
        (r"[<>]?[:;=][-o*']?(?:[()\\{@|\[\]]|[DPdpO](?![A-Za-z]))", "", 0),
        (r"[\^x=~<>]\.[\^x=~<>]|[-\^x=~<>']_[-\^x=~<>']|\([-\^x=~<>'][_.]?[-\^x=~<>']\)", "", 0),
        (r"[A-Z]*\$|#+|@+|_+|\*+|[?!]+|-+|\.{3,}|<<|>>", "", 0),
        ("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+|[\u2080-\u2089]+", "", 0),
        ("&(?:amp|lt|gt|nbsp|quot|apos);", "", 0),
        (f"[{_class(SYMBOLS)}]", "", 0),
        (f"[{letter}{digit}]", "", 0),
    ]


@functools.cache
def _rules() -> list[tuple[re.Pattern, int]]:
    return [(re.compile(f"({token})({ahead})"), split) for token, ahead, split in _patterns()]


# Most words: no rule takes more than their letters.
_PLAIN = re.compile(f"[A-Za-z]+(?=[{SPACES}]|$)")
_ENDING = re.compile("n?['\u0092\u2019](?:[msdt]|re|ve|ll)")
_SPACE = re.compile(f"[{SPACES}]+")


@functools.lru_cache(2**17)
def words(text: str) -> tuple[str, ...]:
    """The tokens of a text in lower case, without punctuation marks.

    Characters that the tokenizer does not know, such as pictographs, are dropped.
    """
    found: list[str] = []
    place = 0
    while place < len(text):
        if space := _SPACE.match(text, place):
            place = space.end()
            continue
        tokens = _next(text, place)
        place += max(1, sum(map(len, tokens)))
        found += " ".join(map(_written, tokens)).split()
    return tuple(token for token in found if token not in DROPPED)


def _next(text: str, place: int) -> tuple[str, ...]:
    """The token at a place, or the two that it is made of; none of a character that is dropped."""
    plain = _PLAIN.match(text, place)
    if plain and plain[0].lower() not in SPLIT:
        return (plain[0],)
    best, longest, cut = "", 0, 0
    for pattern, split in _rules():
        match = pattern.match(text, place)
        if match and match.end() - place > longest:
            best, longest, cut = match[1], match.end() - place, split
    return (best[:cut], best[cut:]) if cut else (best,) if best else ()


def _written(token: str) -> str:
    """A token as the Treebank writes it."""
    token = token.replace("\u00ad", "").lower()
    if len(set(token)) == 1 and token[0] in "-.":
        return token if len(token) > 4 and token[0] == "-" else token[0]
    if _ENDING.fullmatch(token):
        return token.replace("\u2019", "'").replace("\u0092", "'")
    return WRITTEN.get(token) or token.replace("(", "-lrb-").replace(")", "-rrb-")
