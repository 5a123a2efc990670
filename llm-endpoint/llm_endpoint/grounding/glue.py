"""Words that an answer may add without claiming anything, in the languages that grounding was tried on."""

from collections.abc import Iterable

from llm_endpoint.grounding.words import ARTICLES, fold

_ENGLISH = """
am are be been being is was were do did does had has have can could may might must shall should will would
he her him his it its me my our she their them they this that these those us we what when where which while who whom
whose why you your how there here all any both each either more most only other some such too very just no nor not never
about according after at before between by during for from in into of off on onto out over per since than then through
to under until up via with within among if and but or so because as also although however therefore thus hence namely
answer answered answers article based called context correct described describes document following given information
known mention mentioned mentions named paragraph passage provided question referred referring refers said say says
source state stated states text means sure certainly accordingly
"""
_WRAPPERS = """
antwoord antwort bağlama cevap conform contexto gemäß göre kontext laut lautet metne resposta respuesta risposta
réponse răspuns răspunsul secondo segundo según selon textului theo volgens yanıt zufolge
"""
_LATIN = {
    "es": """a al como con de del el en era eran es esta fue fueron ha han hay la las lo los más o para por que se ser
    sin son su sus texto un una unas uno unos y""",
    "de": """als am an auch auf aus bei das dass dem den der des die durch ein eine einem einen einer eines er es für
    haben hat ihr im in ist mit nach nicht oder sich sie sind text und vom von war waren wie wird wurde wurden
    zu zum zur""",
    "tr": """bir bu da de en gibi idi ile ise için olan olarak oldu tarafından ve veya çok""",
    "vi": """bản bởi cho các câu có cũng của khi không là lời mà một những này ra thì trong trả tại từ và vào văn với đã
    đó được để ở""",
    "ro": """a ai al ale au ca care ce cel cu de din este fi fost la lui mai nu o pe pentru prin sa sau se sunt un unei
    unui în și""",
    "fr": """a au aux avec ce cette d dans de des du elle en est et il l la le les ou par pas pour qu que qui sa se ses
    son sont sur texte un une était""",
    "it": """a al alla che con da dal dei del della delle di e era gli i il in la le lo nel nella non o per si sono su
    testo un una è""",
    "pt": """a ao as com da das de do dos e em era foi na nas no nos o os para por que se um uma é""",
    "nl": """aan dat de door een en er het in is met na niet of om op te uit van voor was werd zijn""",
}
_OTHER_SCRIPTS = """
ο η το οι τα τον την τη του της των τους τις στο στη στην στον στους στις σε από για με που ως δεν να και είναι ήταν
απάντηση σύμφωνα κείμενο
в во на с со к по из за от до у о об не для при и или а но что как это его её их он она они оно был была было были
является являются ответ согласно тексту
في من إلى على عن مع هذا هذه ذلك التي الذي الذين أن إن ما لا لم هو هي كان كانت و ال الإجابة الجواب وفقا للنص السياق
में से को पर ने एक यह वह हो गया गई नहीं जो कि भी और का की के है हैं था थी थे उत्तर जवाब अनुसार
"""
_PARTICLES = """
的 了 是 在 和 与 及 为 有 被 由 于 其 该 这 那 他 她 它 们 答案 回答 根据 文中 文章 上下文 里 地 得 也 都 就 对 从 以
คำตอบ คือ เป็น ที่ ใน ของ และ จาก โดย ได้ มี อยู่ กับ ว่า ซึ่ง ให้ ถูก นั้น นี้ ตาม บริบท ข้อความ
の は が を に で と も です だ である ます 答え から まで による
"""
_CONNECTORS = "of de del di da do dos du des la le las los el van von der den al bin ibn e y и του της των ve an zu"
_LINKS = """
are be been being is was were it its this that these those which who whom whose he she they and or but so because as has
have had also είναι ήταν και это был была было были и что как هو هي كان كانت है हैं था थी थे और
"""
_YES_NO = """
yes no yeah yep nope true false sí ja nein ναι όχι да нет evet hayır نعم لا có không nu हाँ हां नहीं oui non 是 不是 不 否
对 ใช่ ไม่ ไม่ใช่ はい いいえ
"""
_NUMBERS = """
two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen
twenty
"""


def _words(text: str) -> frozenset[str]:
    return frozenset(map(fold, text.split()))


GLUE = ARTICLES | _words(_ENGLISH) | _words(_WRAPPERS) | _words(_OTHER_SCRIPTS)
"""Function words that are the same in every text; other languages in Latin letters add theirs by `glue_for`."""
CONNECTORS = ARTICLES | _words(_CONNECTORS)
"""May stand inside a name: what lies on both sides must be found together."""
CLITICS = frozenset(("s", "t", "d", "m", "ll", "re", "ve"))
"""Function words behind an apostrophe only: "vitamin D" has a name in it."""
LINKS = _words(_LINKS)
"""Dropped at both ends of a piece of evidence: "is Paris" is evidenced by "Paris"."""
UNSPACED_GLUE = tuple("".join(map(fold, particle)) for particle in _PARTICLES.split())
"""For scripts written without spaces: sought as strings."""
YES_NO = _words(_YES_NO) | {"".join(map(fold, word)) for word in _YES_NO.split()}
"""Whole answers that name nothing in the context."""
MAGNITUDES = frozenset(("hundred", "thousand", "million", "billion", "trillion", "dozen", "half", "quarter"))
NUMBERS = {word: str(number) for number, word in enumerate(_NUMBERS.split(), start=2)} | {
    "thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90",
}  # fmt: skip
"""`one` is left out: it is a pronoun more often than a number."""
ABBREVIATIONS = {
    "january": "jan", "february": "feb", "march": "mar", "april": "apr", "june": "jun", "july": "jul", "august": "aug",
    "september": "sep", "sept": "sep", "october": "oct", "november": "nov", "december": "dec", "doctor": "dr",
    "saint": "st", "mount": "mt", "professor": "prof", "general": "gen", "governor": "gov", "junior": "jr",
    "senior": "sr", "university": "univ", "department": "dept", "company": "co", "corporation": "corp",
    "percent": "%", "percentage": "%", "cent": "%", "prozent": "%", "ciento": "%", "dollar": "$", "dollars": "$",
    "euro": "€", "euros": "€", "pound": "£", "pounds": "£", "rupees": "₹", "yen": "¥", "kilometers": "km",
    "kilometres": "km", "kilometer": "km", "kilometre": "km", "miles": "mi", "kilograms": "kg", "kilogram": "kg",
    "meters": "m", "metres": "m", "versus": "vs",
}  # fmt: skip
"""Long form to short form or sign."""

_ENGLISH_WORDS = ARTICLES | _words(_ENGLISH)
_LANGUAGES = {language: _words(text) for language, text in _LATIN.items()}


def glue_for(keys: Iterable[str]) -> frozenset[str]:
    """Function words of a text: a word such as "war" or "son" is one only where the text is German or Spanish."""
    present = set(keys)
    counts = {language: len(present & words) for language, words in _LANGUAGES.items()}
    language = max(counts, key=lambda name: counts[name])
    return GLUE | _LANGUAGES[language] if counts[language] > len(present & _ENGLISH_WORDS) else GLUE
