"""Texts to try, in the kind of English that the starter model reads."""

EXAMPLES: dict[str, dict[str, str]] = {
    "single_label": {
        "Museum": "Stilmara asks for no ticket on Friday. Kilorva is set in Port Dalmik. Stilmara fills 40 rooms.",
        "Ship": "Dorvane has a grey hull. Dorvane returns each night to Port Balmyr.",
        "School": "Trenova has 312 pupils. The emblem of Trenova is falcon.",
    },
    "multi_label": {
        "Two sorts": "Paul Grilmost founded the Saldane School. The ferry Jormeth has been at sea since 1888.",
        "Four sorts": "Vera Tilgova governs Port Jalnik. Braldost Works employs 240 people. The Belune Gallery shows "
        "old clocks. The novel Hurlova is set in Dalmora.",
        "None": "The ship Norvesh is painted blue.",
    },
    "regression": {
        "Good": "The rooms of the Talvora Museum are splendid. The music is very bright. The garden is quiet.",
        "Poor": "The paintings of the Gilmane Gallery are dreadful. Visitors say that the rooms are very cold.",
        "Mixed": "The tower of the Sorneth Museum is not small. The market is famous. The lamps are dark.",
    },
    "ner": {
        "Founder": "The school Gorbavora was founded by Anna Balvik. It stands in Port Lenrane.",
        "Works": "The novel Hurlmane has Karl Dornova as its hero. The bridge Stelgost spans the river Malvesh.",
        "Yard": "The ship Brenrane was built by Torvane Works. Nina Kalmyr commands the ship Brenrane.",
    },
}
