"""English words and pairs of them, for keys and lists in generated prompts."""

import random

_ADJECTIVES = (
    "able ample azure bitter blunt bold brave brief bright brisk broad bronze calm civil clean "
    "clear clever cold cosy crisp curly damp dapper dark deep dense dim dusty eager early easy "
    "exact faint fair famous fancy fast fierce fine firm flat fond frail free fresh gentle "
    "giant glad golden grand grave green grim hardy hasty heavy hollow honest huge humble icy "
    "idle jolly keen kind large late lean light lively lone loud loyal lucky mellow merry mild "
    "misty modest narrow neat noble odd old open pale plain polite proud pure quick quiet rapid "
    "rare raw ready rich ripe rough round royal rustic sharp shiny short shy silent simple "
    "sleek slim slow small smooth soft solid sour spare steady steep stern still stout strict "
    "strong sturdy subtle sunny sweet swift tall tame tidy tight tiny tough true vast vivid "
    "warm wary weak wide wild wise witty young zesty"
).split()
_NOUNS = (
    "acorn anchor apron arrow badge barrel basin basket beacon bell bench berry blanket board "
    "bottle bridge brook broom bucket button cabin candle canoe carpet castle cellar chain "
    "chalk chapel chimney circle cliff clock cloud coast collar comet copper corner cottage "
    "cradle crown curtain desk ditch donkey dragon drum eagle engine falcon feather fence ferry "
    "fiddle flag flute forest forge fountain fox garden gate glove goose grape hammer harbour "
    "harp hawk hedge helmet heron hinge honey horn island jacket jewel kettle kite ladder lamp "
    "lantern lemon lever lily lizard lobster locket magnet maple marble meadow medal mill "
    "mirror monkey moss mountain needle nest notebook oak oar onion orchard otter owl paddle "
    "palace parrot pebble pencil pepper pigeon pillow pine planet plate plough pocket pond "
    "prism puzzle quilt rabbit raven ribbon ring river robin rocket rope saddle sail salmon "
    "scarf shell shield ship shovel signal slipper spider spoon spruce squirrel stable statue "
    "stone stove sword table tailor teapot temple thimble thistle throne tiger timber tower "
    "trumpet tunnel turnip turtle valley vase velvet violin wagon walnut whistle willow window "
    "wolf yarn"
).split()


def pair(rng: random.Random) -> str:
    """Return an adjective and a noun, such as `calm-otter`: one of some 30,000."""
    return f"{rng.choice(_ADJECTIVES)}-{rng.choice(_NOUNS)}"


def distinct(rng: random.Random, count: int) -> list[str]:
    """Return so many different words in random order; beyond single words, pairs of them."""
    single = [*_ADJECTIVES, *_NOUNS]
    found = dict.fromkeys(rng.sample(single, min(count, len(single))))
    while len(found) < count:
        found[pair(rng)] = None
    return list(found)
