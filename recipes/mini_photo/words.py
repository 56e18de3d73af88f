"""What can be said of a Tiny-ImageNet class: its name, synonyms, and broader words."""

_BROADER = """
animal: goldfish, European fire salamander, bullfrog, tailed frog, American alligator, boa
  constrictor, scorpion, black widow, tarantula, centipede, goose, koala, jellyfish, snail, slug,
  sea slug, American lobster, spiny lobster, black stork, king penguin, albatross, dugong,
  Chihuahua, Yorkshire terrier, golden retriever, Labrador retriever, German shepherd, standard
  poodle, tabby, Persian cat, Egyptian cat, cougar, lion, brown bear, ladybug, fly, bee,
  grasshopper, walking stick, cockroach, mantis, dragonfly, monarch, sulphur butterfly, sea
  cucumber, guinea pig, hog, ox, bison, bighorn, gazelle, Arabian camel, orangutan, chimpanzee,
  baboon, African elephant, lesser panda
mammal: koala, dugong, Chihuahua, Yorkshire terrier, golden retriever, Labrador retriever, German
  shepherd, standard poodle, tabby, Persian cat, Egyptian cat, cougar, lion, brown bear, guinea
  pig, hog, ox, bison, bighorn, gazelle, Arabian camel, orangutan, chimpanzee, baboon, African
  elephant, lesser panda
pet: goldfish, Chihuahua, Yorkshire terrier, golden retriever, Labrador retriever, German
  shepherd, standard poodle, tabby, Persian cat, Egyptian cat, guinea pig
fish: goldfish
frog: bullfrog, tailed frog
toad: tailed frog
amphibian: European fire salamander, bullfrog, tailed frog
reptile: American alligator, boa constrictor
snake: boa constrictor
spider: black widow, tarantula
insect: ladybug, fly, bee, grasshopper, walking stick, cockroach, mantis, dragonfly, monarch,
  sulphur butterfly
bug: ladybug, fly, bee, grasshopper, walking stick, cockroach, mantis, dragonfly, black widow,
  tarantula, centipede, scorpion
butterfly: monarch, sulphur butterfly
bird: goose, black stork, king penguin, albatross
water bird: goose, black stork, king penguin, albatross
dog: Chihuahua, Yorkshire terrier, golden retriever, Labrador retriever, German shepherd, standard
  poodle
puppy: Chihuahua, Yorkshire terrier, golden retriever, Labrador retriever
terrier: Yorkshire terrier
retriever: golden retriever, Labrador retriever
cat: tabby, Persian cat, Egyptian cat
kitten: tabby, Persian cat, Egyptian cat
big cat: cougar, lion
wild animal: cougar, lion, brown bear, bison, bighorn, gazelle, orangutan, chimpanzee, baboon,
  African elephant, lesser panda, koala
bear: brown bear
monkey: baboon
ape: orangutan, chimpanzee
primate: orangutan, chimpanzee, baboon
antelope: gazelle
hoofed animal: hog, ox, bison, bighorn, gazelle, Arabian camel
cattle: ox, bison
sheep: bighorn
farm animal: hog, ox, goose
elephant: African elephant
camel: Arabian camel
rodent: guinea pig
lobster: American lobster, spiny lobster
crustacean: American lobster, spiny lobster
sea animal: jellyfish, brain coral, sea slug, American lobster, spiny lobster, dugong, sea
  cucumber
fossil: trilobite
vehicle: beach wagon, convertible, limousine, sports car, police van, moving van, school bus,
  trolleybus, tractor, go-kart, bullet train, freight car, jinrikisha
car: beach wagon, convertible, limousine, sports car
automobile: beach wagon, convertible, limousine, sports car
motor vehicle: beach wagon, convertible, limousine, sports car, police van, moving van, school
  bus, trolleybus, tractor, go-kart
truck: moving van
lorry: moving van
van: police van, moving van
bus: school bus, trolleybus
train: bullet train, freight car
boat: gondola, lifeboat
ship: gondola, lifeboat
vessel: gondola, lifeboat
machine: crane, tractor, sewing machine, cash machine, lawn mower
building: barn, barbershop, butcher shop, cliff dwelling, water tower, triumphal arch,
  confectionery
shop: barbershop, butcher shop, confectionery
tower: beacon, water tower, obelisk
bridge: steel arch bridge, suspension bridge, viaduct
structure: dam, fountain, flagpole, maypole, picket fence, bannister, turnstile, pole, viaduct,
  triumphal arch, steel arch bridge, suspension bridge, obelisk, beacon, water tower
monument: obelisk, triumphal arch, brass
furniture: desk, dining table, rocking chair, chest, altar
table: desk, dining table
chair: rocking chair
clothing: academic gown, apron, bikini, bow tie, cardigan, fur coat, kimono, military uniform,
  miniskirt, poncho, sandal, sock, sombrero, swimming trunks, vestment, Christmas stocking
coat: fur coat
hat: sombrero
shoe: sandal
swimwear: bikini, swimming trunks
glasses: sunglasses, binoculars
container: barrel, bucket, beaker, beer bottle, pill bottle, pop bottle, water jug, teapot,
  bathtub, backpack, chest
bottle: beer bottle, pill bottle, pop bottle
bag: backpack
ball: basketball, rugby ball, volleyball, punching bag
toy: teddy
musical instrument: oboe, organ, drumstick
electronic device: iPod, CD player, computer keyboard, remote control, cash machine, pay-phone
telephone: pay-phone
clock: hourglass, stopwatch
tool: broom, plunger, nail, chain, torch, reel, syringe, lawn mower
weapon: cannon, projectile
missile: projectile
lamp: candle, torch, lampshade
cooking vessel: frying pan, wok, teapot
kitchen thing: frying pan, wok, wooden spoon, plate, teapot, refrigerator, water jug
spoon: wooden spoon
appliance: refrigerator, space heater, sewing machine
food: guacamole, ice cream, ice lolly, pretzel, mashed potato, cauliflower, bell pepper, mushroom,
  orange, lemon, banana, pomegranate, meat loaf, pizza, potpie
dessert: ice cream, ice lolly
fruit: orange, lemon, banana, pomegranate, acorn
vegetable: cauliflower, bell pepper
drink: espresso
coffee: espresso
book: comic book
coral: brain coral, coral reef
mountain: alp, cliff
landscape: alp, cliff, lakeside, seashore
water: lakeside, seashore, coral reef, fountain, dam
beach: seashore
lake: lakeside
web: spider web
sports equipment: dumbbell, punching bag, basketball, rugby ball, volleyball, snorkel
roof: thatch
"""

TEMPLATES = (
    "a photo of a {}.", "a photo of a {}.", "a photo of the {}.", "a photo of one {}.",
    "a photo of my {}.", "a good photo of a {}.", "a bad photo of a {}.", "a blurry photo of a {}.",
    "a bright photo of a {}.", "a dark photo of a {}.", "a cropped photo of a {}.",
    "a close-up photo of a {}.", "a low resolution photo of a {}.", "a small photo of a {}.",
    "a black and white photo of a {}.", "a picture of a {}.", "a picture of the {}.",
    "an image of a {}.", "an image of the {}.", "a pixelated picture of a {}.", "this is a {}.",
    "there is a {} in the picture.", "a {} in the scene.", "a large {}.", "a small {}.", "the {}",
    "a {}", "a {}.", "{}", "{}", "{}.", "itap of a {}.", "a snapshot of a {} outside",
    "a centered photo of a {}.", "a photo of a {}, seen from near",
    "a jpeg corrupted image of a {}.",
)  # fmt: skip
"""Ways to say it. They are about the photo, so they are true of whatever it shows."""


def broader_words() -> dict[str, tuple[str, ...]]:
    """Return the classes that each broader word covers."""
    lines = _BROADER.replace("\n  ", " ").strip().splitlines()
    pairs = (line.split(": ", 1) for line in lines)
    return {word: tuple(covered.split(", ")) for word, covered in pairs}
