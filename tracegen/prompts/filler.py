"""Plain sentences that the project writes itself, for haystacks that need no book.

The words are apart from the keys and values of the tasks, so that a haystack never answers
a question.
"""

import random

_PLACES = (
    "the market|the station|the river bank|the library|the hill|the kitchen|"
    "the long road|the old school|the square|the workshop|the field|the shore"
).split("|")
_PEOPLE = (
    "the doctor|the gardener|my neighbour|the teacher|the captain|a traveller|the baker|"
    "the postman|her brother|the young painter|the judge|an old friend"
).split("|")
_THINGS = (
    "the letter|the newspaper|a cup of tea|the morning train|the last page|"
    "a loaf of bread|the photograph|a pair of boots|the map|the winter coat|the bill|"
    "a box of seeds"
).split("|")
_WEATHER = (
    "the rain had stopped|the wind was rising|the snow lay deep|the sun came out|"
    "fog covered the valley|the evening was warm|the streets were empty|"
    "the clouds were low"
).split("|")
_MOODS = ("calm|tired|cheerful|curious|worried|patient|proud|thoughtful").split("|")
_FRAMES = (
    "{Person} walked to {place}, and {weather}.",
    "When {weather}, {person} stayed at {place} with {thing}.",
    "Nobody at {place} had seen {thing} since the day before.",
    "{Person} was {mood}, because {thing} had come at last.",
    "It was late, {weather}, and {person} thought of {thing}.",
    "After dinner {person} and {other} talked about {place} for an hour.",
    "{Person} put {thing} on the table and looked {mood}.",
    "There was little to do at {place}; {person} read, and {other} slept.",
    "Although {weather}, they went on to {place} without {other}.",
    "{Person} asked {other} about {thing}, but the reply was short.",
    "On the way to {place} they lost {thing} and found it again.",
    "That week {person} wrote to {other} twice, and both times {weather}.",
)


def sentence_list(rng: random.Random, count: int) -> list[str]:
    """Return `count` sentences."""
    return [_sentence(rng) for _ in range(count)]


def sentences(rng: random.Random, n_characters: int) -> str:
    """Return about `n_characters` of sentences in paragraphs, at least one sentence."""
    parts: list[str] = []
    size = 0
    while size < n_characters or not parts:
        sentence = _sentence(rng)
        parts.append(sentence + ("\n\n" if rng.random() < 0.12 else " "))
        size += len(parts[-1])
    return "".join(parts)


def _sentence(rng: random.Random) -> str:
    person, other = rng.sample(_PEOPLE, 2)
    words = {
        "person": person,
        "Person": person[0].upper() + person[1:],
        "other": other,
        "place": rng.choice(_PLACES),
        "thing": rng.choice(_THINGS),
        "weather": rng.choice(_WEATHER),
        "mood": rng.choice(_MOODS),
    }
    sentence = rng.choice(_FRAMES).format(**words)
    return sentence[0].upper() + sentence[1:]
