"""Texts the model is trained on: digit strings and a small grammar of everyday English.

A text is lower case, letters and apostrophes, numbers in words. Engines that synthesise speech
read ``to_spoken(text)``, which spells single letters so that no engine takes "a" for the article.

    python -m training.texts --count 20          # print a sample of every kind
    python -m training.texts --count 20000 --corpus corpus.txt   # text for the tokenizer
"""

from __future__ import annotations

import argparse
import random
import zlib
from collections.abc import Callable
from pathlib import Path

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEENS = [
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
    "eighteen", "nineteen",
]  # fmt: skip
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
ORDINALS = [
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
    "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth",
    "eighteenth", "nineteenth", "twentieth", "twenty first", "twenty second", "twenty third",
    "twenty fourth", "twenty fifth", "twenty sixth", "twenty seventh", "twenty eighth",
    "twenty ninth", "thirtieth", "thirty first",
]  # fmt: skip
MONTHS = (
    "january february march april may june july august september october november december"
).split()
DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
NAMES = (
    "anna ben carol daniel emma frank grace henry john kate laura maria mike nina oliver peter "
    "rachel sam sarah tom david mary james robert linda susan paul mark george lisa"
).split()
PLACE_LIST = [
    "london", "paris", "berlin", "new york", "boston", "chicago", "dublin", "madrid", "rome",
    "the airport", "the station", "the office", "the hotel", "the hospital", "the school",
    "the bank", "the market", "the park", "the kitchen", "the bedroom", "the living room",
    "the garage", "the garden", "the library", "the museum", "the city", "the beach", "home",
]  # fmt: skip
ROOMS = [*"kitchen bedroom bathroom hallway garage office garden basement".split(), "living room"]
DEVICES = (
    "light lights lamp heater fan radio television music alarm camera door window heating printer "
    "oven speaker computer phone"
).split()
COLORS = "red green blue yellow white black orange purple pink brown grey".split()
FOODS = (
    "bread milk coffee tea water sugar salt butter cheese eggs rice soup chicken fish apples "
    "bananas oranges tomatoes potatoes chocolate cake pizza pasta salad juice"
).split()
ADJECTIVES = (
    "good bad big small old new young long short high low hot cold warm cool early late easy hard "
    "fast slow happy sad open closed clean dirty full empty cheap expensive strong weak dark "
    "bright quiet loud nice great important possible different ready free busy tired hungry "
    "right wrong true clear sure little large best better worse beautiful perfect simple heavy"
).split()
NOUNS = (
    "time year people way day man woman thing child world life hand part place case week company "
    "system program question work government number night point home water room mother father "
    "area money story fact month book eye job word business issue side kind head house service "
    "friend hour game line end member law car city name president team minute idea body "
    "information back parent face level office door health person art war history party result "
    "change morning reason research girl boy guy moment air teacher force education foot paper "
    "table chair cup bottle key bag box letter message picture song movie language voice sound "
    "street road bridge river mountain sea lake tree flower bird dog cat horse train bus plane "
    "ticket hotel doctor nurse police meeting report price order problem answer weather summer "
    "winter spring dinner lunch breakfast kitchen window wall floor garden shop market school "
    "student class test file folder screen button network server address account password email "
    "customer manager project plan list page map clock watch camera battery engine machine model"
).split()
VERBS = (
    "be have do say get make go know take see come think look want give use find tell ask work "
    "seem feel try leave call need become put mean keep let begin help show hear play run move "
    "live believe bring happen write sit stand lose pay meet include continue set learn change "
    "lead understand watch follow stop create speak read spend grow open walk win teach offer "
    "remember consider appear buy wait serve send build stay fall cut reach remain sell pass "
    "check close start finish cook clean wash drive fly sleep eat drink sing talk listen turn "
    "hold carry break fix choose join travel visit enjoy share save print search cancel repeat"
).split()
SMALL_WORDS = (
    "the of and to in is it you that he was for on are with as his they at this from or had by "
    "but not what all were we when your can said there each which she how their if will up other "
    "about out many then them these so some her would him into has more could no my than been "
    "who now over down only very just where most after also before because through back again "
    "off always never often here every under last own much while still between both few those "
    "should might must did does got going yes okay please thanks hello maybe really something "
    "nothing everything everyone someone anything today tomorrow yesterday tonight soon already "
    "together enough almost around away against without during until another second next same "
    "such too why well even any our its us me"
).split()
DIALOGUE = [
    "hello", "hi there", "good morning", "good afternoon", "good evening", "good night",
    "goodbye", "see you later", "see you tomorrow", "thank you", "thank you very much",
    "thanks a lot", "you are welcome", "please", "excuse me", "i am sorry", "no problem",
    "yes", "no", "yes please", "no thanks", "maybe", "of course", "i don't know", "i think so",
    "how are you", "i am fine thank you", "what is your name", "my name is {name}",
    "nice to meet you", "where are you from", "i am from {place}", "what time is it",
    "it is {time}", "how old are you", "i am {n99} years old", "what is the weather like",
    "it is raining", "the sun is shining", "it is very cold today", "it is too hot in here",
    "can you help me", "can you hear me", "could you repeat that please", "say that again",
    "i did not understand", "speak more slowly please", "where is the bathroom",
    "how much does it cost", "it costs {price}", "that is too expensive", "i would like to pay",
    "can i have the bill please", "i am hungry", "i am thirsty", "i am tired", "let's go",
    "wait a minute", "come here", "go away", "be careful", "look at this", "listen to me",
    "what do you think", "i agree with you", "that is a good idea", "that sounds great",
    "i don't think so", "are you sure", "i am not sure", "what happened", "nothing happened",
    "everything is fine", "don't worry about it", "it doesn't matter", "never mind",
    "i will call you back", "i'll be right back", "i can't do that", "we have to go now",
    "do you speak english", "i speak a little english", "where do you live",
    "i live in {place}", "what do you do", "i work in an office", "i am a teacher",
    "she is my sister", "he is my brother", "this is my friend {name}", "who is that",
    "which one do you want", "i want the {color} one", "how many do you need",
    "i need {n99} of them", "when does it start", "it starts at {time}",
    "when is the next train to {place}", "the train leaves at {time}",
    "i have a reservation", "i would like a room for {digit} nights", "do you have a map",
    "turn left at the corner", "turn right after the bridge", "go straight ahead",
    "it is next to the bank", "how far is it to {place}", "it is {n99} miles from here",
    "my phone number is {digits7}", "my account number is {digits8}", "the code is {digits4}",
    "the password is {digits4}", "your order number is {digits6}", "room number {digits3}",
    "the total is {price}", "i would like some {food} please", "we need {food} and {food}",
    "don't forget to buy {food}", "the {noun} is {adj}", "is the {noun} {adj}",
    "i like your {noun}", "where is my {noun}", "i lost my {noun}", "this {noun} is very {adj}",
    "the {noun} and the {noun}", "we went to {place} last {day}", "i was in {place} in {month}",
    "they will come on {day}", "he said he would {verb}", "she wants to {verb} the {noun}",
    "do you want to {verb}", "i have to {verb} now", "we can {verb} it later",
    "you should {verb} more often", "i used to {verb} every {day}", "let me {verb} that",
    "{name} and {name} are friends", "tell {name} i will be late", "is {name} at home",
    "happy birthday {name}", "the answer is {n999}", "there are {n999} people here",
    "i was born in {year}", "the year is {year}", "today is {day} the {ordinal} of {month}",
]  # fmt: skip
COMMANDS = [
    "turn on the {device}", "turn off the {device}", "turn the {device} on",
    "turn the {device} off", "switch on the {room} {device}", "switch off the {room} {device}",
    "turn on the {room} lights", "turn off all the lights", "open the {room} door",
    "close the {room} window", "lock the front door", "unlock the back door",
    "make it {color}", "set the light to {color}", "set the lights to {n99} percent",
    "set the temperature to {n99} degrees", "make it warmer", "make it cooler",
    "set a timer for {n59} minutes", "set a timer for {n59} seconds", "stop the timer",
    "set an alarm for {time}", "wake me up at {time}", "cancel the alarm",
    "remind me to {verb} at {time}", "remind me on {day} to call {name}",
    "play some music", "play the next song", "play it again", "stop the music", "pause",
    "resume", "continue", "volume up", "volume down", "set the volume to {n99}", "mute",
    "louder please", "quieter please", "skip this song", "go back", "go forward", "scroll down",
    "scroll up", "next page", "previous page", "open the file", "save the file",
    "close the window", "delete the last word", "undo that", "copy this", "paste it here",
    "select all", "new paragraph", "send the message", "read my messages",
    "send a message to {name}", "call {name}", "call {name} on the mobile", "answer the phone",
    "hang up", "dial {digits7}", "dial {digits10}", "enter {digits4}", "press {digit}",
    "call {digits10}", "add {food} to the shopping list", "what is on my list",
    "what is the time", "what is the date today", "what is the weather in {place}",
    "will it rain on {day}", "how do i get to {place}", "take me to {place}",
    "find a hotel near {place}", "book a table for {digit} at {time}",
    "book a ticket to {place}", "what is {n99} plus {n99}", "what is {n99} times {n99}",
    "what is {n99} minus {n99}", "how many minutes in an hour", "start recording",
    "stop recording", "take a picture", "turn left", "turn right", "stop", "start", "go",
    "faster", "slower", "up", "down", "left", "right", "yes", "no", "on", "off", "help",
    "repeat", "cancel", "delete", "enter", "confirm", "start the {device}", "stop the {device}",
    "move the {noun} to {place}", "bring me the {noun}", "search for {noun}",
    "show me the {noun}", "show me {noun} and {noun}", "read the {noun}", "check the {noun}",
]  # fmt: skip
UNSEEN = [
    "the quick brown fox jumps over the lazy dog", "we ran out of gas on the way to the wedding",
    "somebody left an umbrella in the waiting room", "please write your name at the top",
    "her flight was delayed because of the storm", "i can see three boats on the lake",
    "the children were laughing in the garden", "nobody told me about the meeting",
    "put the blue cup on the kitchen table", "my grandfather was born in nineteen twenty six",
    "are there any seats left on the morning bus", "it took us four hours to drive there",
    "she opened the window and looked outside", "do not press the red button",
    "the doctor will see you in ten minutes", "we should leave before it gets dark",
    "he forgot where he parked the car", "could i have a glass of cold water",
    "they moved to a small house near the sea", "what did you have for breakfast",
    "the shop closes at half past six", "i have never been to america",
    "this road goes all the way to the river", "you can pay with cash or by card",
    "my sister plays the piano very well", "send him a letter next week",
    "is it going to snow this weekend", "the old man walked slowly up the hill",
    "let me know when you are ready", "there is a big tree behind the school",
    "i bought two tickets for the show", "her new phone has a better camera",
    "we met each other a long time ago", "the baby is sleeping in the other room",
    "try to speak a little louder", "how long have you been waiting",
    "the number you have dialed is not in service", "seven people came to the party",
    "he works from monday to thursday", "nothing is better than a hot cup of coffee",
]  # fmt: skip


def number(value: int) -> str:
    """Say 0..9999 in words, without "and"."""
    if value < 10:
        return DIGITS[value]
    if value < 20:
        return TEENS[value - 10]
    if value < 100:
        tens, ones = divmod(value, 10)
        return TENS[tens - 2] + (f" {DIGITS[ones]}" if ones else "")
    if value < 1000:
        hundreds, rest = divmod(value, 100)
        return f"{DIGITS[hundreds]} hundred" + (f" {number(rest)}" if rest else "")
    thousands, rest = divmod(value, 1000)
    return f"{number(thousands)} thousand" + (f" {number(rest)}" if rest else "")


def digit_string(rng: random.Random, length: int | None = None) -> str:
    """Say 1..10 random digits."""
    return " ".join(rng.choice(DIGITS) for _ in range(length or rng.randint(1, 10)))


def clock(rng: random.Random) -> str:
    """Say a time of day."""
    hour, minute = number(rng.randint(1, 12)), rng.randint(0, 59)
    suffix = rng.choice(["", "", " a m", " p m", " in the morning", " in the evening", " o'clock"])
    if minute < 5 or suffix == " o'clock":
        return hour + suffix
    if rng.random() < 0.3:
        return rng.choice(["half past ", "quarter past ", "quarter to ", "ten past "]) + hour
    return f"{hour} {number(minute) if minute > 9 else 'oh ' + number(minute)}" + suffix


def year(rng: random.Random) -> str:
    """Say a year."""
    if rng.random() < 0.4:
        return "two thousand" + (f" {number(rng.randint(1, 12))}" if rng.random() < 0.7 else "")
    return f"{rng.choice(['nineteen', 'twenty', 'eighteen'])} {number(rng.randint(10, 99))}"


def date(rng: random.Random) -> str:
    """Say a date, in one of several orders."""
    ordinal, month, day = rng.choice(ORDINALS), rng.choice(MONTHS), rng.choice(DAYS)
    return rng.choice(
        [
            f"{month} {ordinal}",
            f"the {ordinal} of {month}",
            f"{day} the {ordinal} of {month}",
            f"{day} {month} {ordinal}",
            f"{month} {ordinal} {year(rng)}",
            f"next {day}",
            f"{day} at {clock(rng)}",
        ]
    )


def price(rng: random.Random) -> str:
    """Say a price."""
    unit = rng.choice(["dollars", "euros", "pounds"])
    if rng.random() < 0.4:
        return f"{number(rng.randint(2, 99))} {unit} and {number(rng.randint(2, 99))} cents"
    return f"{number(rng.choice([rng.randint(2, 99), rng.randint(100, 999)]))} {unit}"


def phone(rng: random.Random) -> str:
    """Say a phone number, sometimes with "oh", "double" or an area code."""
    words = digit_string(rng, rng.choice([7, 7, 9, 10, 10])).split()
    words = ["oh" if w == "zero" and rng.random() < 0.4 else w for w in words]
    if rng.random() < 0.15:
        words[rng.randrange(len(words))] = f"double {rng.choice(DIGITS)}"
    return " ".join(words)


def spelling(rng: random.Random) -> str:
    """Spell some letters, sometimes mixed with digits."""
    letters = [rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(2, 6))]
    if rng.random() < 0.3:
        letters += digit_string(rng, rng.randint(1, 4)).split()
    return " ".join(letters)


def fill(template: str, rng: random.Random) -> str:
    """Fill a template's braces."""
    slots: dict[str, Callable[[], str]] = {
        "name": lambda: rng.choice(NAMES),
        "place": lambda: rng.choice(PLACE_LIST),
        "time": lambda: clock(rng),
        "price": lambda: price(rng),
        "color": lambda: rng.choice(COLORS),
        "food": lambda: rng.choice(FOODS),
        "noun": lambda: rng.choice(NOUNS),
        "adj": lambda: rng.choice(ADJECTIVES),
        "verb": lambda: rng.choice(VERBS),
        "day": lambda: rng.choice(DAYS),
        "month": lambda: rng.choice(MONTHS),
        "year": lambda: year(rng),
        "ordinal": lambda: rng.choice(ORDINALS),
        "room": lambda: rng.choice(ROOMS),
        "device": lambda: rng.choice(DEVICES),
        "digit": lambda: rng.choice(DIGITS[2:]),
        "n59": lambda: number(rng.randint(2, 59)),
        "n99": lambda: number(rng.randint(2, 99)),
        "n999": lambda: number(rng.randint(2, 999)),
        **{f"digits{n}": (lambda n=n: digit_string(rng, n)) for n in (3, 4, 6, 7, 8, 10)},
    }
    while "{" in template:
        head, _, tail = template.partition("{")
        slot, _, rest = tail.partition("}")
        template = head + slots[slot]() + rest
    return template


def phrase(rng: random.Random) -> str:
    """Make a sentence from a pattern of word classes."""
    pattern = rng.choice(
        [
            "the {adj} {noun} will {verb} the {noun}", "we {verb} the {noun} every {day}",
            "i want to {verb} a {adj} {noun}", "they {verb} in {place} with {name}",
            "can we {verb} the {noun} before {time}", "{name} has a {adj} {color} {noun}",
            "you need to {verb} your {noun} and {verb} the {noun}",
            "there is a {adj} {noun} in {place}", "my {noun} is more {adj} than your {noun}",
            "when did {name} {verb} the {noun}", "who will {verb} the {adj} {noun}",
            "a {noun} and a {noun} in the {noun}", "i think the {noun} was very {adj}",
            "please {verb} the {noun} for {name}", "it is not {adj} to {verb} the {noun}",
        ]
    )  # fmt: skip
    return fill(pattern, rng)


def word_salad(rng: random.Random) -> str:
    """Join frequent words in no order: the acoustics of each word without a language model."""
    pools = [SMALL_WORDS, NOUNS, VERBS, ADJECTIVES, SMALL_WORDS]
    return " ".join(rng.choice(rng.choice(pools)) for _ in range(rng.randint(2, 7)))


KINDS: dict[str, tuple[float, Callable[[random.Random], str]]] = {
    "dialogue": (0.20, lambda rng: fill(rng.choice(DIALOGUE), rng)),
    "command": (0.20, lambda rng: fill(rng.choice(COMMANDS), rng)),
    "phrase": (0.20, phrase),
    "salad": (0.16, word_salad),
    "date": (0.05, date),
    "time": (0.03, clock),
    "price": (0.03, price),
    "number": (0.05, lambda rng: number(rng.choice([rng.randint(0, 99), rng.randint(0, 9999)]))),
    "phone": (0.04, phone),
    "spelling": (0.04, spelling),
}


def sentence(rng: random.Random) -> tuple[str, str]:
    """Draw (kind, text) of an everyday sentence."""
    kind = rng.choices(list(KINDS), [weight for weight, _ in KINDS.values()])[0]
    return kind, KINDS[kind][1](rng)


def is_held_out(text: str) -> bool:
    """Tell whether a sentence belongs to the test set: a fixed twentieth of the grammar, by hash.

    Sentences of one or two words are never held out: they are vocabulary, not sentences.
    """
    return len(text.split()) > 2 and zlib.crc32(text.encode()) % 20 == 0


def to_spoken(text: str) -> str:
    """Return what a speech synthesiser should be given to say ``text``."""
    words = text.split()
    letters = [len(w) == 1 for w in words]
    out = []
    for i, word in enumerate(words):
        beside = (i > 0 and letters[i - 1]) or (i + 1 < len(words) and letters[i + 1])
        if word == "a" and beside:
            word = "ay"
        elif len(word) == 1 and word not in "ai":
            word = word.upper()
        elif word == "i":
            word = "I"
        out.append(word)
    return " ".join(out)


def main() -> None:
    """Print a sample, or write a corpus for the tokenizer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=20, help="sentences of each kind (or in all)")
    parser.add_argument("--corpus", type=Path, help="write --count mixed lines to this file")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same texts")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    if args.corpus is None:
        for kind, (_, draw) in KINDS.items():
            for _ in range(args.count):
                print(f"{kind:9} {draw(rng)}")
        return
    with args.corpus.open("w") as out:
        for _ in range(args.count):
            text = digit_string(rng) if rng.random() < 0.25 else sentence(rng)[1]
            out.write(text + "\n")


if __name__ == "__main__":
    main()
