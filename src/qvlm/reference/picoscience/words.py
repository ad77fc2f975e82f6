"""The words that the text families are built from."""

from __future__ import annotations

PEOPLE = (
    "Ana", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gina", "Hugo", "Ivy", "Jack", "Kim", "Leo",
    "Mia", "Noah", "Olga", "Paul", "Rosa", "Sam", "Tara", "Zoe",
)  # fmt: skip

OPPOSITES = (
    ("hot", "cold"), ("big", "small"), ("fast", "slow"), ("high", "low"), ("light", "dark"),
    ("hard", "soft"), ("wet", "dry"), ("old", "new"), ("happy", "sad"), ("early", "late"),
    ("open", "closed"), ("full", "empty"), ("strong", "weak"), ("loud", "quiet"),
    ("rich", "poor"), ("thick", "thin"), ("long", "short"), ("near", "far"), ("good", "bad"),
    ("clean", "dirty"), ("brave", "afraid"), ("smooth", "rough"), ("easy", "difficult"),
    ("first", "last"), ("wide", "narrow"), ("true", "false"), ("begin", "end"), ("push", "pull"),
)  # fmt: skip

ALIKE = (
    ("large", "huge"), ("tiny", "little"), ("glad", "cheerful"), ("quick", "speedy"),
    ("angry", "mad"), ("smart", "clever"), ("start", "commence"), ("finish", "complete"),
    ("jump", "leap"), ("speak", "talk"), ("rock", "stone"), ("road", "street"),
    ("sick", "ill"), ("gift", "present"), ("simple", "plain"), ("silent", "still"),
    ("pretty", "lovely"), ("chilly", "cool"), ("tired", "sleepy"), ("shout", "yell"),
)  # fmt: skip

GOODS = (
    "a loaf of bread", "a wooden chair", "a pair of shoes", "a blue pen", "a bag of rice",
    "a toy robot", "a wool sweater", "a glass bowl", "a new phone", "a box of nails",
    "a birthday cake", "a garden hose", "a map of Peru", "a bar of soap", "a tin of paint",
)  # fmt: skip

SERVICES = (
    "cutting hair", "fixing a car", "teaching math", "washing windows", "driving a taxi",
    "walking dogs", "mowing a lawn", "cleaning teeth", "painting a house", "serving dinner",
    "giving a haircut", "delivering mail", "singing at a party", "repairing a roof",
    "guarding a bank",
)  # fmt: skip

VERBS = {
    "walk": "walked", "jump": "jumped", "play": "played", "cook": "cooked", "paint": "painted",
    "help": "helped", "clean": "cleaned", "climb": "climbed", "laugh": "laughed",
    "wait": "waited", "listen": "listened", "shout": "shouted",
}  # fmt: skip

NOUNS = (
    "teacher", "doctor", "farmer", "pilot", "baker", "nurse", "painter", "singer", "girl", "boy",
    "man", "woman", "child", "sailor", "king", "queen",
)  # fmt: skip

WHERE = (
    "in the park", "at school", "by the lake", "in the kitchen", "near the bridge",
    "on the hill", "at home", "in the garden", "behind the barn", "under the tree",
)  # fmt: skip
