"""Scene and event classes: which are indoors, and how much a room of an indoor class reverberates.

Names and ranges are those of the PolSESS generator (generatePolSESSInit.m, s17060/PolSESS).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

OUTDOOR_SCENES = (
    "beach",
    "city_center",
    "forest_path",
    "park",
    "public_square",
    "residential_area",
    "street_pedestrian",
    "street_traffic",
)
HIGH_CUT_HZ = (15000.0, 20000.0)
FREQ_DAMP = (0.1, 0.9)


@dataclass(frozen=True)
class Reverb:
    """Ranges of an indoor class: delay of the tail (s), diffusion and decay (0 to 1), the room's sides (m)."""

    pre_delay: tuple[float, float]
    diffusion: tuple[float, float]
    decay: tuple[float, float]
    smallest: tuple[float, float, float] = (3.0, 2.5, 2.4)
    largest: tuple[float, float, float] = (8.0, 6.0, 3.2)


_HALL = {"smallest": (12.0, 10.0, 5.0), "largest": (25.0, 20.0, 8.0)}
_VEHICLE = {"smallest": (4.0, 2.2, 2.0), "largest": (12.0, 2.8, 2.4)}
_CAR = {"smallest": (2.0, 1.4, 1.1), "largest": (2.8, 1.7, 1.4)}

REVERBS = {
    "airport": Reverb((0.01, 0.5), (0.1, 0.5), (0.3, 0.8), **_HALL),
    "shopping_mall": Reverb((0.01, 0.5), (0.1, 0.5), (0.3, 0.8), **_HALL),
    "metro_station": Reverb((0.01, 0.3), (0.2, 0.5), (0.5, 0.7), **_HALL),
    "h": Reverb((0.01, 0.3), (0.3, 0.8), (0.7, 0.9)),
    "m": Reverb((0.001, 0.2), (0.4, 0.8), (0.8, 0.95)),
    "cafe": Reverb((0.001, 0.2), (0.4, 0.8), (0.9, 0.99)),
    "l": Reverb((0.0001, 0.1), (0.5, 0.8), (0.9, 0.99)),
    "home": Reverb((0.0001, 0.1), (0.4, 0.6), (0.9, 0.99)),
    "grocery": Reverb((0.0001, 0.1), (0.3, 0.6), (0.9, 0.99)),
    "library": Reverb((0.0001, 0.15), (0.4, 0.6), (0.95, 0.99)),
    "office": Reverb((0.0001, 0.2), (0.4, 0.6), (0.9, 0.99)),
    "bus": Reverb((0.0001, 0.05), (0.5, 0.9), (0.95, 0.99), **_VEHICLE),
    "train": Reverb((0.0001, 0.05), (0.5, 0.9), (0.95, 0.99), **_VEHICLE),
    "tram": Reverb((0.0001, 0.05), (0.5, 0.9), (0.95, 0.99), **_VEHICLE),
    "metro": Reverb((0.0001, 0.05), (0.5, 0.9), (0.95, 0.99), **_VEHICLE),
    "car": Reverb((0.0001, 0.05), (0.5, 0.9), (0.95, 0.99), **_CAR),
}
UNKNOWN_ROOM = REVERBS["m"]  # a class that the user calls indoor and that PolSESS does not have

# Event classes (ESC-50's names) that belong to one side; every other class fits any scene.
OUTDOOR_EVENTS = frozenset(
    "airplane car_horn chainsaw chirping_birds church_bells cow crickets crow engine fireworks frog hand_saw "
    "helicopter hen insects pig rain rooster sea_waves sheep siren thunderstorm train wind".split()
)
INDOOR_EVENTS = frozenset(
    "brushing_teeth can_opening clock_alarm clock_tick door_wood_creaks door_wood_knock drinking_sipping "
    "glass_breaking keyboard_typing mouse_click pouring_water snoring toilet_flush vacuum_cleaner "
    "washing_machine water_drops".split()
)


def reverb_of(scene_class: str) -> Reverb:
    """Return the ranges of an indoor scene class; a longer name (cafe_restaurant) is the class it begins with."""
    return REVERBS.get(_known_name(scene_class) or "", UNKNOWN_ROOM)


def is_indoor(scene_class: str, indoor_classes: Collection[str] = ()) -> bool:
    """Say whether a scene class is indoors: one of PolSESS's 16, or one that the user names.

    Example
    -------
    >>> is_indoor("cafe"), is_indoor("park"), is_indoor("rain"), is_indoor("workshop", ["workshop"])
    (True, False, False, True)
    """
    return scene_class in indoor_classes or _known_name(scene_class) is not None


def event_fits(event_class: str, indoor: bool) -> bool:
    """Say whether an event may be heard in a scene indoors (or outdoors).

    Example
    -------
    >>> event_fits("chainsaw", indoor=True), event_fits("dog", indoor=True), event_fits("dog", indoor=False)
    (False, True, True)
    """
    return event_class not in (OUTDOOR_EVENTS if indoor else INDOOR_EVENTS)


def _known_name(scene_class: str) -> str | None:
    name = scene_class.lower().replace("-", "_").replace(" ", "_").replace("/", "_")
    if name in REVERBS:
        return name
    if name in OUTDOOR_SCENES:
        return None
    # the letters h, m and l (WHAM) and short vehicle names never stand for a longer name; grocery_store does
    longer = [known for known in REVERBS if len(known) > 1 and name.startswith(known + "_")]
    return max(longer, key=len, default=None)
