"""Contexts to try, in the kind of English that the starter model reads."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """A context with a question."""

    name: str
    context: str
    question: str


EXAMPLES = (
    Example(
        "Ferry",
        "The ferry Staldegik has been at sea since 1772. The river Malvesh rises on Mount Grenlora. "
        "Mark Kraltosund commands the ferry Staldegik. The river Malvesh ends at Jalmane. "
        "The cargo of the ferry Staldegik is clocks.",
        "Who is the captain of the ferry Staldegik?",
    ),
    Example(
        "Schools",
        "The Gorbavora Academy has Maria Hilkost as its head teacher. The Lortotane School was founded by "
        "David Galvova. According to the record, the number of pupils of the Lortotane School is 766. "
        "The Lortotane School is headed by Simon Murneth. The emblem of the Gorbavora Academy is bear.",
        "Who heads the Lortotane School?",
    ),
    Example(
        "Towns",
        "Port Lenrane lives from selling lamps. Forsinane stands beside the river Jorfisova. "
        "Port Lenrane is home to 267 people, while Forsinane is home to 789 people.",
        "How many people live in Port Lenrane?",
    ),
    Example(
        "Not in the text",
        "The emblem of the Valvalyr School is goat. It has 780 pupils. "
        "The head teacher of the Valvalyr School is Nina Senlomora. "
        "The Valvalyr School owes its start to Ida Brurseth.",
        "Where does the Valvalyr School stand?",
    ),
)
