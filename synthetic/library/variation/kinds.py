"""What a class of objects may become: its kind of body, and how far its colours may change.

The table was reviewed by hand: ImageNet indices with their names, and WordNet offsets of classes that ImageNet-1k has
not. Offsets of WordNet 3.0 lie by subject, so their ranges tell animals from artefacts, foods and plants. Other animals
of ImageNet stand on legs and keep their colours, other things that people made have upright walls and any colour.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from synthetic.layouts.shapenet import ObjectClass
from synthetic.library.variation.maps import X, Y, Z
from synthetic.library.variation.shape import Body, SwellRange

BodyKind = Literal["legged", "limbless", "plant", "round", "upright", "wheeled", "dial", "ball"]
Palette = Literal["fixed", "natural", "planted", "free"]


@dataclass(frozen=True)
class Kind:
    """How the objects of a class may vary: in shape, and in colour.

    A "fixed" palette is of things known by their colours, which change a little in light only as two pictures of one
    thing do; a "natural" comes in other browns, lighter and darker; with "free" any paint and cloth will do.
    """

    body: BodyKind
    palette: Palette


BODIES: dict[BodyKind, Body] = {
    # Heights and widths along the body: a higher back or rump, a thicker belly; it turns to a side, feet on the ground.
    "legged": Body(
        whole=0.14,
        local=0.16,
        swells=(SwellRange((Y,), Z, 4, 0.09), SwellRange((X,), Z, 4, 0.16)),
        bends=((Z, X, 0.45),),
    ),
    # Swims or creeps: it bends to a side or up and down, and nothing of it has to stay on a ground.
    "limbless": Body(
        whole=0.14,
        local=0.16,
        swells=(SwellRange((Y,), Z, 4, 0.14), SwellRange((X,), Z, 4, 0.14)),
        bends=((Z, X, 0.6), (Z, Y, 0.3)),
        stands=False,
    ),
    "plant": Body(
        whole=0.16,
        local=0.2,
        swells=(SwellRange((X, Z), Y, 4, 0.18),),
        taper=0.15,
        twist=0.35,
        bends=((Y, X, 0.25), (Y, Z, 0.25)),
    ),
    # Turned about the upright axis, as vessels and lamps are: circles around it stay circles.
    "round": Body(
        whole=0.18,
        local=0.2,
        values=(1, 3, 1),
        tied=(X, Z),
        swells=(SwellRange((X, Z), Y, 3, 0.12),),
        taper=0.15,
    ),
    # Furniture and houses: what is level stays so, what is straight along an axis stays straight.
    "upright": Body(whole=0.17, local=0.14, values=(2, 3, 2), taper=0.06),
    # Wheels, which turn about axles along x, stay round.
    "wheeled": Body(whole=0.15, values=(1, 1, 1), tied=(Y, Z)),
    # Faces that look to the front, such as a clock's, stay round.
    "dial": Body(whole=0.15, values=(1, 1, 1), tied=(X, Y)),
    "ball": Body(values=(1, 1, 1), tied=(X, Y, Z)),
}


def _indices(text: str) -> frozenset[int]:
    """The numbers of a list such as "1 goldfish, 3-5 tiger shark to electric ray"."""
    spans = re.findall(r"(\d+)(?:-(\d+))?", text)
    return frozenset(n for first, last in spans for n in range(int(first), int(last or first) + 1))


_ANIMALS = _indices("0-397 tench to puffer")
_LIMBLESS = _indices(
    """
    0-6 tench to stingray, 52-68 thunder snake to sidewinder, 107 jellyfish, 110 flatworm, 111 nematode, 114
    slug, 115 sea slug, 147 grey whale, 148 killer whale, 149 dugong, 329 sea cucumber, 389-397 barracouta to puffer
    """
)
_PLANTS = _indices(
    """
    108 sea anemone, 109 brain coral, 112 conch, 113 snail, 116 chiton, 117 chambered nautilus, 327
    starfish, 328 sea urchin, 607 jack-o'-lantern, 936-957 head cabbage to pomegranate, 984-998 rapeseed to
    ear
    """
)
_BALLS = _indices(
    """
    429 baseball, 430 basketball, 479 car wheel, 522 croquet ball, 535 disk brake, 574 golf ball, 722
    ping-pong ball, 746 puck, 768 rugby ball, 805 soccer ball, 852 tennis ball, 890 volleyball
    """
)
_DIALS = _indices(
    """
    409 analog clock, 426 barometer, 577 gong, 826 stopwatch, 892 wall clock
    """
)
_ROUND = _indices(
    """
    412 ashcan, 427 barrel, 438 beaker, 440 beer bottle, 441 beer glass, 463 bucket, 469 caldron, 470
    candle, 503 cocktail shaker, 504 coffee mug, 505 coffeepot, 521 Crock Pot, 541 drum, 544 Dutch oven, 567
    frying pan, 572 goblet, 585 hair spray, 604 hourglass, 619 lampshade, 631 lotion, 635 magnetic compass,
    640 manhole cover, 647 measuring cup, 653 milk can, 657 missile, 659 mixing bowl, 666 mortar, 708
    pedestal, 711 perfume, 720 pill bottle, 725 pitcher, 737 pop bottle, 738 pot, 747 punching bag, 756 rain
    barrel, 773 saltshaker, 804 soap dispenser, 809 soup bowl, 822 steel drum, 846 table lamp, 849 teapot,
    855 thimble, 876 tub, 883 vase, 898-901 water bottle to whiskey jug, 907 wine bottle, 923 plate, 925
    consomme, 928 ice cream, 963 pizza, 967 espresso, 968 cup, 969 eggnog, 999 toilet tissue
    """
)
_WHEELED = _indices(
    """
    407 ambulance, 408 amphibian, 428 barrow, 436 beach wagon, 444 bicycle-built-for-two, 450 bobsled, 468
    cab, 511 convertible, 547 electric locomotive, 555 fire engine, 561 forklift, 565 freight car, 569
    garbage truck, 573 go-kart, 575 golfcart, 586 half track, 595 harvester, 603 horse cart, 609 jeep, 612
    jinrikisha, 621 lawn mower, 627 limousine, 654 minibus, 656 minivan, 661 Model T, 665 moped, 670 motor
    scooter, 671 mountain bike, 675 moving van, 690 oxcart, 705 passenger car, 717 pickup, 734 police van,
    751 racer, 757 recreational vehicle, 779 school bus, 791 shopping cart, 803 snowplow, 817 sports car,
    820 steam locomotive, 829 streetcar, 847 tank, 864 tow truck, 866 tractor, 867 trailer truck, 870
    tricycle, 874 trolleybus, 880 unicycle
    """
)
_COATS = _indices(
    """
    102 echidna, 104 wallaby, 105 koala, 106 wombat, 151 Chihuahua, 152 Japanese spaniel, 154-202 Pekinese
    to soft-coated wheaten terrier, 204-221 Lhasa to Irish water spaniel, 223-227 schipperke to kelpie,
    230-250 Shetland sheepdog to Siberian husky, 252 affenpinscher, 254 pug, 255 Leonberg, 256 Newfoundland,
    259-264 Pomeranian to Cardigan, 268 Mexican hairless, 269 timber wolf, 271-276 red wolf to hyena,
    281-284 tabby to Siamese cat, 286 cougar, 287 lynx, 291 lion, 294 brown bear, 297 sloth bear, 298
    mongoose, 299 meerkat, 330-339 wood rabbit to sorrel, 341-360 hog to otter, 362 badger, 364-379
    three-toed sloth to howler monkey, 381-386 spider monkey to African elephant
    """
)
_NAMED_BY_COLOR = _indices(
    """
    407 ambulance, 429 baseball, 430 basketball, 468 cab, 522 croquet ball, 555 fire engine, 574 golf ball,
    607 jack-o'-lantern, 654 minibus, 722 ping-pong ball, 734 police van, 779 school bus, 805 soccer ball,
    852 tennis ball, 890 volleyball, 919 street sign, 920 traffic light, 924-999 guacamole to toilet tissue
    """
)

# Of stone, brick, straw or old wood.
_STONES = _indices(
    """
    406 altar, 425 barn, 437 beacon, 442 bell cote, 449 boathouse, 483 castle, 497 church, 500 cliff
    dwelling, 538 dome, 649 megalith, 663 monastery, 668 mosque, 682 obelisk, 698 palace, 708 pedestal, 743
    prison, 821 steel arch bridge, 825 stone wall, 832 stupa, 839 suspension bridge, 853 thatch, 858 tile
    roof, 863 totem pole, 873 triumphal arch, 888 viaduct
    """
)
_PLANTED = _indices("580 greenhouse, 738 pot, 883 vase")

_BODY_OF_INDEX: dict[int, BodyKind] = {
    **dict.fromkeys(_ANIMALS, "legged"),
    **dict.fromkeys(_LIMBLESS, "limbless"),
    **dict.fromkeys(_PLANTS, "plant"),
    **dict.fromkeys(_BALLS, "ball"),
    **dict.fromkeys(_DIALS, "dial"),
    **dict.fromkeys(_ROUND, "round"),
    **dict.fromkeys(_WHEELED, "wheeled"),
}
_PALETTE_OF_INDEX: dict[int, Palette] = {
    **dict.fromkeys(_ANIMALS, "fixed"),
    **dict.fromkeys(_COATS | _STONES, "natural"),
    **dict.fromkeys(_PLANTED, "planted"),
    **dict.fromkeys(_NAMED_BY_COLOR, "fixed"),
}
_KIND_OF_SYNSET: dict[str, Kind] = {
    "02795169": Kind("round", "free"),  # barrel
    "02834778": Kind("wheeled", "free"),  # bicycle
    "02876657": Kind("round", "free"),  # bottle
    "02880940": Kind("round", "free"),  # bowl
    "02924116": Kind("wheeled", "free"),  # bus
    "02946921": Kind("round", "free"),  # can
    "02958343": Kind("wheeled", "free"),  # car
    "03046257": Kind("dial", "free"),  # clock
    "03400231": Kind("round", "free"),  # frying pan
    "03593526": Kind("round", "free"),  # jar
    "03636649": Kind("round", "free"),  # lamp
    "03790512": Kind("wheeled", "free"),  # motorbike
    "03797390": Kind("round", "free"),  # mug
    "03960490": Kind("round", "free"),  # plate
    "03990474": Kind("round", "free"),  # pot
    "03991062": Kind("round", "planted"),  # flowerpot
    "04225987": Kind("wheeled", "free"),  # skateboard
    "04468005": Kind("wheeled", "free"),  # train
    "04460130": Kind("upright", "natural"),  # tower
    "04490091": Kind("wheeled", "free"),  # truck
    "04589325": Kind("upright", "planted"),  # window box
    "07697100": Kind("round", "fixed"),  # hamburger
}
# First and last offset; the first range that fits decides.
_KIND_OF_RANGE: tuple[tuple[str, str, Kind], ...] = (
    ("01428580", "01503060", Kind("limbless", "fixed")),  # fish, sharks and rays
    ("01726692", "01758141", Kind("limbless", "fixed")),  # snakes
    ("02062430", "02074726", Kind("limbless", "fixed")),  # whales, dolphins, sea cows
    ("02512053", "02665250", Kind("limbless", "fixed")),  # fish
    ("01861778", "01895127", Kind("legged", "natural")),  # tusked animals, marsupials
    ("02074727", "02151447", Kind("legged", "natural")),  # seals, beasts of prey, bats
    ("02322818", "02510455", Kind("legged", "natural")),  # hares, rodents, hoofed animals, apes, elephants
    ("01313093", "02665812", Kind("legged", "fixed")),  # other animals
    ("02665985", "04615728", Kind("upright", "free")),  # artefacts
    ("07555863", "07938594", Kind("plant", "fixed")),  # foods
    ("09186064", "09483519", Kind("plant", "natural")),  # things of nature: rocks, hills
    ("11529603", "13240362", Kind("plant", "natural")),  # plants
)


def kind_of(object_class: ObjectClass) -> Kind:
    """How the objects of a class may vary."""
    index, synset = object_class.imagenet_index, object_class.synset or object_class.wnid.removeprefix("n")
    if index is not None:
        return Kind(_BODY_OF_INDEX.get(index, "upright"), _PALETTE_OF_INDEX.get(index, "free"))
    if synset in _KIND_OF_SYNSET:
        return _KIND_OF_SYNSET[synset]
    fitting = (kind for first, last, kind in _KIND_OF_RANGE if first <= synset <= last)
    return next(fitting, Kind("upright", "fixed"))
