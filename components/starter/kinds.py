"""The kinds of entity in the starter's documents: what is said about each, and how it is asked for."""

from components.starter.schema import Attribute, Kind, deed_attribute, home_attribute, year_attribute

COMPANY = Kind(
    "company",
    ("{n} Works", "{n} Mills", "{n} Lines", "{n} Partners"),
    (
        Attribute(
            "director",
            "person",
            ("is directed by {v}", "has {v} as its director"),
            ("Who directs {e}", "Who is the director of {e}", "By whom is {e} directed"),
            ("{v} directs {e}",),
        ),
        deed_attribute("founder", "founded", "owes its start to {v}"),
        year_attribute("founding year", "founded", "has existed since {v}"),
        home_attribute("home town", "is based", "has its head office in {v}", "Where is {e} based"),
        Attribute(
            "main product",
            "goods",
            ("makes {v}", "earns its money with {v}"),
            ("What does {e} make", "What is the main product of {e}"),
        ),
        Attribute(
            "number of workers",
            "number",
            ("employs {v} people", "has a staff of {v}"),
            ("How many people work for {e}", "What is the number of workers of {e}"),
        ),
    ),
)
PERSON = Kind(
    "person",
    ("{first} {n}",),
    (
        Attribute(
            "profession",
            "job",
            ("works as a {v}", "earns a living as a {v}"),
            ("What is the profession of {e}", "What does {e} work as"),
        ),
        home_attribute("birthplace", "was born", "comes from {v}", "Where was {e} born"),
        deed_attribute("teacher", "taught", "learned everything from {v}"),
        Attribute(
            "employer",
            "company",
            ("works for {v}", "has a post at {v}"),
            ("Which company does {e} work for", "Who is the employer of {e}"),
            ("{v} employs {e}",),
        ),
        Attribute(
            "instrument",
            "instrument",
            ("plays the {v}", "practises the {v} every day"),
            ("Which instrument does {e} play", "What is the instrument of {e}"),
        ),
        Attribute(
            "pet",
            "animal",
            ("keeps a {v}", "lives with a tame {v}"),
            ("Which animal does {e} keep", "What is the pet of {e}"),
        ),
    ),
)
TOWN = Kind(
    "town",
    ("{n}", "Port {n}"),
    (
        Attribute(
            "mayor",
            "person",
            ("is governed by {v}", "has {v} as its mayor"),
            ("Who is the mayor of {e}", "Who governs {e}"),
            ("{v} governs {e}",),
        ),
        Attribute(
            "river",
            "river",
            ("lies on the river {v}", "stands beside the river {v}"),
            ("On which river does {e} lie", "What is the river of {e}"),
        ),
        Attribute(
            "population",
            "number",
            ("has {v} inhabitants", "is home to {v} people"),
            ("How many people live in {e}", "What is the population of {e}"),
        ),
        Attribute(
            "main trade",
            "goods",
            ("is known for its {v}", "lives from selling {v}"),
            ("What is {e} known for", "What is the main trade of {e}"),
        ),
        Attribute(
            "market day",
            "day",
            ("holds its market on {v}", "has a market every {v}"),
            ("On which day does {e} hold its market", "What is the market day of {e}"),
        ),
        deed_attribute("planner", "planned", "owes its streets to {v}"),
        year_attribute("charter year", "chartered", "has had a charter since {v}"),
    ),
)
RIVER = Kind(
    "river",
    ("the river {n}",),
    (
        Attribute(
            "source",
            "mountain",
            ("rises on {v}", "has its source on {v}"),
            ("Where does {e} rise", "What is the source of {e}"),
        ),
        Attribute(
            "mouth",
            "town",
            ("reaches the sea at {v}", "ends at {v}"),
            ("Where does {e} reach the sea", "What is the mouth of {e}"),
        ),
        Attribute(
            "length in miles",
            "number",
            ("is {v} miles long", "runs for {v} miles"),
            ("How many miles long is {e}", "What is the length in miles of {e}"),
        ),
        Attribute(
            "main fish",
            "fish",
            ("is full of {v}", "is a good place to catch {v}"),
            ("Which fish live in {e}", "What is the main fish of {e}"),
        ),
        deed_attribute("explorer", "explored", "first appears on a map by {v}"),
    ),
)
MUSEUM = Kind(
    "museum",
    ("the {n} Museum", "the {n} Gallery"),
    (
        deed_attribute("architect", "designed", "was drawn up by the architect {v}"),
        year_attribute("opening year", "opened", "has welcomed visitors since {v}"),
        home_attribute("location", "stands", "can be visited in {v}", "Where does {e} stand"),
        Attribute(
            "collection",
            "goods",
            ("collects {v}", "shows old {v}"),
            ("What does {e} collect", "What is the collection of {e}"),
        ),
        Attribute(
            "number of rooms",
            "number",
            ("has {v} rooms", "fills {v} rooms"),
            ("How many rooms does {e} have", "What is the number of rooms of {e}"),
        ),
        Attribute(
            "free day",
            "day",
            ("is free on {v}", "asks for no ticket on {v}"),
            ("On which day is {e} free", "What is the free day of {e}"),
        ),
    ),
)
SHIP = Kind(
    "ship",
    ("the ship {n}", "the ferry {n}"),
    (
        Attribute(
            "captain",
            "person",
            ("is commanded by {v}", "sails under {v}"),
            ("Who commands {e}", "Who is the captain of {e}"),
            ("{v} commands {e}",),
        ),
        Attribute(
            "builder",
            "company",
            ("was built by {v}", "left the yard of {v}"),
            ("Which company built {e}", "Who is the builder of {e}"),
            ("{v} built {e}",),
        ),
        year_attribute("launch year", "launched", "has been at sea since {v}"),
        Attribute(
            "home port",
            "town",
            ("has its berth in {v}", "returns each night to {v}"),
            ("What is the home port of {e}", "Where does {e} have its berth"),
        ),
        Attribute(
            "cargo", "goods", ("carries {v}", "is loaded with {v}"), ("What does {e} carry", "What is the cargo of {e}")
        ),
        Attribute(
            "colour",
            "colour",
            ("is painted {v}", "has a {v} hull"),
            ("Which colour is {e} painted", "What is the colour of {e}"),
        ),
    ),
)
BRIDGE = Kind(
    "bridge",
    ("the {n} Bridge", "the {n} Viaduct"),
    (
        deed_attribute("engineer", "designed", "was worked out by the engineer {v}"),
        year_attribute("opening year", "opened", "has carried traffic since {v}"),
        Attribute(
            "river",
            "river",
            ("crosses the river {v}", "spans the river {v}"),
            ("Which river does {e} cross", "What is the river of {e}"),
        ),
        Attribute(
            "material",
            "material",
            ("is made of {v}", "was put together from {v}"),
            ("What is {e} made of", "What is the material of {e}"),
        ),
        Attribute(
            "length in feet",
            "number",
            ("is {v} feet long", "measures {v} feet"),
            ("How many feet long is {e}", "What is the length in feet of {e}"),
        ),
    ),
)
SCHOOL = Kind(
    "school",
    ("the {n} School", "the {n} Academy"),
    (
        Attribute(
            "head teacher",
            "person",
            ("is headed by {v}", "has {v} as its head teacher"),
            ("Who heads {e}", "Who is the head teacher of {e}"),
            ("{v} heads {e}",),
        ),
        deed_attribute("founder", "founded", "owes its start to {v}"),
        home_attribute("location", "stands", "has its campus in {v}", "Where does {e} stand"),
        Attribute(
            "number of pupils",
            "number",
            ("has {v} pupils", "teaches {v} children"),
            ("How many pupils does {e} have", "What is the number of pupils of {e}"),
        ),
        Attribute(
            "main subject",
            "subject",
            ("specialises in {v}", "is famous for teaching {v}"),
            ("What does {e} specialise in", "What is the main subject of {e}"),
        ),
        Attribute(
            "emblem",
            "animal",
            ("has a {v} on its flag", "chose a {v} as its emblem"),
            ("Which animal is on the flag of {e}", "What is the emblem of {e}"),
        ),
    ),
)
NOVEL = Kind(
    "novel",
    ("the novel {n}",),
    (
        deed_attribute("author", "penned", "came from the pen of {v}"),
        year_attribute("year of publication", "published", "has been in print since {v}"),
        Attribute(
            "setting",
            "town",
            ("is set in {v}", "takes its readers to {v}"),
            ("Where is {e} set", "What is the setting of {e}"),
        ),
        Attribute(
            "hero",
            "person",
            ("tells the life of {v}", "has {v} as its hero"),
            ("Who is the hero of {e}", "Whose life does {e} tell"),
        ),
        Attribute(
            "publisher",
            "company",
            ("is sold by {v}", "appears at {v}"),
            ("Which company sells {e}", "Who is the publisher of {e}"),
            ("{v} sells {e}",),
        ),
    ),
)
KINDS = (COMPANY, PERSON, TOWN, RIVER, MUSEUM, SHIP, BRIDGE, SCHOOL, NOVEL)
