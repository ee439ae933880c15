"""Text of the retrieval tasks that the reference model is trained, evaluated and prompted with.

Every sentence form, relation, key and word belongs to one of two splits: `train` makes the training
text, `heldout` makes evaluation samples and the project's own prompts. The splits share nothing, so
a score on held-out text says that the model retrieves, not that it knows the sentences. The task
kinds follow RULER (Hsieh et al., arXiv 2404.06654): needles, key-value look-ups, variable tracking.
"""

import random
import zlib
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "heldout"]

# (statement, question, start of the answer). A key always precedes its value.
_FORMS: dict[Split, list[tuple[str, str, str]]] = {
    "train": [
        ("The {rel} of {key} is {value}.", "What is the {rel} of {key}?", "The {rel} of {key} is"),
        ("{key} has the {rel} {value}.", "Which {rel} does {key} have?", "{key} has the {rel}"),
        (
            "Remember that the {rel} for {key} is {value}.",
            "Which {rel} is for {key}?",
            "The {rel} for {key} is",
        ),
        ("For {key} the {rel} is {value}.", "What is the {rel}?", "For {key} the {rel} is"),
        (
            "It is known that {key} keeps the {rel} {value}.",
            "What {rel} does {key} keep?",
            "{key} keeps the {rel}",
        ),
        (
            "One of the records says that {key} was given the {rel} {value}.",
            "Which {rel} was given?",
            "{key} was given the {rel}",
        ),
        ("{key}: {rel} {value}.", "Find the {rel} of {key}.", "{key}: {rel}"),
        ("Note: {key} = {value}.", "Which value has {key}?", "{key} ="),
        (
            "If anyone asks for {key}, the {rel} is {value}.",
            "Somebody asks for {key}.",
            "For {key}, the {rel} is",
        ),
        (
            "The {rel} that belongs to {key} is {value}.",
            "Name the {rel} that belongs to {key}.",
            "It belongs to {key} and is",
        ),
        (
            "They wrote {key} on the door, and under it the {rel} {value}.",
            "What stood under {key}?",
            "Under {key} stood the {rel}",
        ),
        (
            "Under the name of {key} the book lists {value}.",
            "What does the book list under {key}?",
            "Under the name of {key} the book lists",
        ),
        ("{key} answers to {value}.", "What does {key} answer to?", "{key} answers to"),
        (
            "The clerk entered {key} with the {rel} {value}.",
            "With which {rel} was {key} entered?",
            "The clerk entered {key} with the {rel}",
        ),
        (
            "Do not forget: {key} goes with {value}.",
            "What goes with {key}?",
            "{key} goes with",
        ),
        ("Whoever seeks {key} must say {value}.", "What opens {key}?", "For {key} one must say"),
        (
            "On the list, next to {key}, stands {value}.",
            "What stands next to {key}?",
            "Next to {key} stands",
        ),
        (
            "{key} is registered under {value}.",
            "Under what is {key} registered?",
            "{key} is registered under",
        ),
        ("To reach {key}, dial {value}.", "How does one reach {key}?", "To reach {key}, dial"),
        (
            "The label of {key} reads {value}.",
            "What does the label read?",
            "The label of {key} reads",
        ),
        (
            "Everybody agreed that {key} should receive the {rel} {value}.",
            "What should {key} receive?",
            "{key} should receive the {rel}",
        ),
        ("({key}, {rel} {value})", "({key}?)", "({key}, {rel}"),
        (
            "My {rel} for {key} has always been {value}.",
            "What has the {rel} for {key} been?",
            "The {rel} for {key} has always been",
        ),
        ("{key} paid {value}.", "How much did {key} pay?", "{key} paid"),
        (
            "We call the {rel} of {key} by its figure, {value}.",
            "What figure is the {rel} of {key}?",
            "The figure for {key} is",
        ),
        (
            "At the gate {key} showed the {rel} {value} and went in.",
            "What did {key} show at the gate?",
            "At the gate {key} showed the {rel}",
        ),
        (
            "There is a {rel} on {key}, namely {value}.",
            "Which {rel} is on {key}?",
            "On {key} there is",
        ),
        ("The answer for {key} will be {value}.", "And for {key}?", "The answer for {key} will be"),
    ],
    "heldout": [
        (
            "One of the special {rel}s for {key} is: {value}.",
            "What is the special {rel} for {key} mentioned in the text?",
            "The special {rel} for {key} mentioned in the text is:",
        ),
        (
            "The letter told us that {key} had chosen {value} as the {rel}.",
            "Which {rel} had been chosen?",
            "The letter told us that {key} had chosen",
        ),
        (
            "In the register, {key} appears beside the {rel} {value}.",
            "What appears in the register beside {key}?",
            "In the register, {key} appears beside the {rel}",
        ),
        (
            "Please keep in mind that {key} uses {value}.",
            "What does {key} use?",
            "{key} uses",
        ),
        (
            "According to the steward, {key} carries the {rel} {value}.",
            "Which {rel} does {key} carry?",
            "According to the steward, {key} carries the {rel}",
        ),
        (
            "Anyone who meets {key} should mention {value}.",
            "What should be mentioned to {key}?",
            "Anyone who meets {key} should mention",
        ),
        (
            "The {rel} assigned to {key} equals {value}.",
            "Which {rel} was assigned to {key}?",
            "The {rel} assigned to {key} equals",
        ),
        (
            "Painted above {key} you can see the {rel} {value}.",
            "What can be seen above {key}?",
            "Painted above {key} you can see the {rel}",
        ),
    ],
}
# Invented forms are made of these: a model trained on sentences of a few fixed lengths learns how
# far the value lies from its key, and fails on a sentence with more words in between.
_LINKS = (
    "was is had came went stood lay wrote sent took gave found left brought said held made asked "
    "in on at by near behind over with from to after before because when while since again still "
    "often never once more along together it him her them this that every some only very so then"
).split()
_RELATIONS: dict[Split, list[str]] = {
    "train": (
        "secret number|access code|room number|locker number|password|pass number|house number|"
        "account number|telephone number|lucky number|prize number|file number|seat number|"
        "badge number|order number|key code|safe code|ward number|page number|box number"
    ).split("|"),
    "heldout": (
        "magic number|ticket number|vault code|cabin number|index number|serial code"
    ).split("|"),
}
_ASK: dict[Split, list[str]] = {
    "train": [
        "\n\nQuestion: {question}\nAnswer: {lead}",
        "\nQ: {question}\nA: {lead}",
        " {question} {lead}",
        "\n{question} {lead}",
        "\n\n{lead}",
        "\n\nNow tell me: {question} {lead}",
        "\n\nQuestion: {question}\nAnswer:",
        "\n{question} It is",
    ],
    "heldout": [
        "\n\nNow answer from the text above. {question} {lead}",
        "\n\nThe reader is asked: {question}\nThe reply: {lead}",
    ],
}
_ADJECTIVES = (
    "grey red blue old young tall silent broken golden silver wooden narrow wide heavy bright dark "
    "hidden painted empty frozen gentle hollow iron ivory little lonely marble misty northern "
    "southern pale polished quiet rusty scarlet shallow smooth square stone sunken twisted velvet "
    "violet wandering western yellow amber crooked dusty early faded hungry jolly late merry noble"
).split()
_NOUNS = (
    "lantern anchor apple basket bell bottle bridge bucket candle carpet castle chapel clock coat "
    "cottage crown curtain dagger drum engine falcon feather fiddle fountain garden gate glove "
    "hammer harbour harp hat horse island jacket kettle ladder lamp mill mirror needle oak orchard "
    "oven parcel pepper piano pillow pipe plough pocket pony rabbit raven ribbon ring river rope "
    "saddle sail scarf shovel spoon stable statue stove sword table teapot tower trumpet tunnel "
    "umbrella vase violin wagon wheel whistle willow window wolf acorn barrel cabinet compass"
).split()
_WORDS = (
    "almond badger cactus dolphin emerald ferret ginger hazel indigo juniper koala lemon maple "
    "nutmeg olive panther quartz rocket saffron tulip unicorn vanilla walnut xylophone yogurt "
    "zebra anvil biscuit copper diamond eagle fossil granite helmet iguana jasmine kiwi lobster "
    "magnet nickel opal pebble quail raisin salmon turtle urchin velcro whale yacht zinc basalt"
).split()
_ONSETS = "b br c ch d dr f fl g gr h j k l m n p pr qu r s sh st t th tr v w z".split()
_VOWELS = "a e i o u ai ea io ei a e o".split()
_CODAS = "l n r s th nd rt m ck ll n d x ss".split()


@dataclass(frozen=True, slots=True)
class Fact:
    """One statement hidden in a haystack, and the question that asks for its value."""

    statement: str
    question: str  # ends where the answer begins; the answer is " " + value
    value: str


def _held_out(text: str) -> bool:
    return zlib.crc32(text.encode()) % 5 == 0


def _of_split(text: str, split: Split) -> bool:
    return _held_out(text) == (split == "heldout")


def _name(rng: random.Random) -> str:
    syllables = [rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.choice([1, 2, 2, 3]))]
    return ("".join(syllables) + rng.choice(_CODAS)).capitalize()


def key(rng: random.Random, split: Split) -> str:
    """Return a key of `split`: an invented name, a full name, or a thing such as `the old harp`."""
    while True:
        kind = rng.random()
        if kind < 0.35:
            text = _name(rng)
        elif kind < 0.55:
            text = f"{_name(rng)} {_name(rng)}"
        else:
            text = f"the {rng.choice(_ADJECTIVES)} {rng.choice(_NOUNS)}"
        if _of_split(text, split):
            return text


def value(rng: random.Random, split: Split) -> str:
    """Return a value of `split`: four to seven digits, or (training only) a word or two."""
    if split == "train" and rng.random() < 0.2:
        return " ".join(rng.choices(_WORDS, k=rng.choice([1, 2])))
    n_digits = rng.choice([4, 5, 6, 7])
    return str(rng.randrange(10 ** (n_digits - 1), 10**n_digits))


def _invented_form(rng: random.Random) -> tuple[str, str, str]:
    """Return a form for training, of random words; 1 to 10 of them are between key and value."""
    opening = " ".join(rng.choices(_LINKS, k=rng.randrange(5)))
    between = " ".join(rng.choices(_LINKS, k=rng.randrange(1, 9)))
    if rng.random() < 0.6:
        between += " the {rel}"
    lead = f"{{key}} {between}"
    if rng.random() < 0.5:
        lead = f"{opening} {lead}".lstrip()
    return f"{opening} {{key}} {between} {{value}}.".lstrip(), "What about {key}?", lead


def facts(rng: random.Random, n_facts: int, split: Split) -> list[Fact]:
    """Return `n_facts` facts of one sentence form and relation, with distinct keys and values."""
    if split == "train" and rng.random() < 0.5:
        statement, question, lead = _invented_form(rng)
    else:
        statement, question, lead = rng.choice(_FORMS[split])
    relation = rng.choice(_RELATIONS[split])
    # An answer without a lead can be found only where the question names the key.
    asks = [ask for ask in _ASK[split] if "{lead}" in ask or "{key}" in question]
    keys: list[str] = []
    values: list[str] = []
    while len(keys) < n_facts:
        new_key, new_value = key(rng, split), value(rng, split)
        if new_key not in keys and new_value not in values:
            keys.append(new_key)
            values.append(new_value)
    made = []
    for one_key, one_value in zip(keys, values, strict=True):
        words = {"rel": relation, "key": one_key, "value": one_value}
        asked = rng.choice(asks).format(
            question=question.format(**words), lead=lead.format(**words)
        )
        text = statement.format(**words)
        made.append(Fact(text[0].upper() + text[1:], asked, one_value))
    return made


def lookups(rng: random.Random, n_facts: int, split: Split) -> list[Fact]:
    """Return key-value records of one table, written without any sentence around them."""
    mark = rng.choice([": ", " = ", " -> ", ", "] if split == "train" else [" | ", " => "])
    made = []
    for fact in facts(rng, n_facts, split):
        one_key = _name(rng) if rng.random() < 0.7 else str(rng.randrange(10**4, 10**6))
        made.append(
            Fact(f"\n{one_key}{mark}{fact.value}", f"\n\n{one_key}{mark.rstrip()}", fact.value)
        )
    return made


_CHAINS: dict[Split, list[tuple[str, str, str]]] = {
    "train": [
        ("VAR {name} = {value}.", "VAR {name} = {other}.", "\n\nThe value of {name} ="),
        ("Let {name} be {value}.", "Let {name} be {other}.", "\n\nSo {name} must be"),
        ("Set {name} to {value}.", "Set {name} to {other}.", "\n\nWe find that {name} is set to"),
        ("{name} := {value};", "{name} := {other};", "\nprint {name}:"),
    ],
    "heldout": [
        ("Define {name} as {value}.", "Define {name} as {other}.", "\n\nIn the end {name} is"),
        ("{name} stores {value}.", "{name} stores {other}.", "\n\nTherefore {name} stores"),
    ],
}


def chain(rng: random.Random, n_hops: int, split: Split) -> tuple[list[str], str, str]:
    """Return a variable-tracking chain: its statements in order, the question and the value.

    The first statement gives a number to a variable; each of the `n_hops` next ones copies the
    variable before it; the question asks for the last variable.
    """
    first, link, ask = rng.choice(_CHAINS[split])
    names: list[str] = []
    while len(names) <= n_hops:
        name = "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=rng.choice([2, 3, 3])))
        if name not in names and _of_split(name, split):
            names.append(name)
    number = str(rng.randrange(10**4, 10**6))
    statements = [first.format(name=names[0], value=number)]
    statements += [
        link.format(name=name, other=other) for name, other in zip(names[1:], names, strict=False)
    ]
    return statements, ask.format(name=names[-1]), number
