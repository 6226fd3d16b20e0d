"""The words that the model stand-in goes by. Data only: a weight, and a pattern that is searched in lower case."""

import re

Cue = tuple[int, re.Pattern[str]]


def _cues(*rows: tuple[int, str]) -> tuple[Cue, ...]:
    return tuple((weight, re.compile(pattern)) for weight, pattern in rows)


# A category's score is the sum of its cues found. 3: nearly says it by itself; 1: leans that way.
CATEGORY_CUES: dict[str, tuple[Cue, ...]] = {
    "billing": _cues(
        (3, r"\brefund(s|ed|ing)?\b|\bchargeback|\breimburse|\bmoney back\b"),
        (3, r"\b(over|double|wrongly |twice )?-?charged?\b|\bcharging\b|\bcharges\b"),
        (3, r"\bfees?\b|\binvoices?\b|\bbilling\b|\bbilled\b|\bbill\b|\bvat\b|\breceipts?\b"),
        (3, r"\bexchange rates?\b|\brates?\b"),
        (2, r"\bvat\b|\baccountant\b|\btax\b|\b(no|my) refund\b"),
        (
            3,
            r"\b(pending|cancel\w*|revert\w*|missing|direct debit)\b.{0,40}\b(payment|transfer|transaction|deposit|withdrawal|top.?up)",
        ),
        (
            3,
            r"\b(payment|transfer|transaction|deposit|withdrawal|top.?up|cheque|cash)\b.{0,50}\b(pending|cancel\w*|revert\w*|missing|not (yet )?(show\w*|arriv\w*|received)|hasn'?t|haven'?t|wrong|twice)",
        ),
        (
            3,
            r"(don'?t|didn'?t|do not|did not|not) (recogni[sz]e|make|authori[sz]e)\b|(not|never) made\b|unrecogni[sz]ed|unauthori[sz]ed",
        ),
        (
            2,
            r"\b(pay|paid|paying|payments?|transactions?|statements?|balance|debit(ed)?|deposit\w*|subscription|discount|coupon)\b",
        ),
        (2, r"\b(transfer\w*|withdr[ae]w\w*|withdrawl|cheques?|sent money|wrong amount)\b"),
        (1, r"\b(money|cash|cost|costs|price|prices|pricing|funds?|extra|amount|euros?|pounds?|dollars?)\b|[$€£]\s?\d"),
        (1, r"\btop(ped|ping)?.?ups?\b"),
    ),
    "account": _cues(
        (4, r"\b(pin|passcode|password|pass code|log ?in|logging in|sign ?in|two.factor|2fa|username)\b"),
        (4, r"\b(verif\w+|identity|proof of|my id)\b"),
        (4, r"\b(stolen|stole|lost|compromised|hacked|mugged|someone (is|has|else)|freeze|frozen)\b"),
        (
            4,
            r"\b(close|closing|delete\w*|terminat\w+|deactivate|cancel) (my |this |the )?(\w+ )?(account|membership|profile)",
        ),
        (3, r"\bactivat\w+\b|\bexpir\w+\b|\bunblock|\blocked out\b|\bunlock"),
        (
            3,
            r"\b(personal|contact|my) (details|data|information|info)\b|\b(change|update|edit|new) (my |the )?(name|address|phone|e-?mail|number|details)",
        ),
        (
            3,
            r"\b(open|opening|create|register|sign(ing)? up)\b.{0,25}\b(accounts?|for)\b|\bhow old\b|\bage\b|\b(my|a|the) (child|children|kids?|daughter|son)\b",
        ),
        (3, r"\bmerge\b|\bpermissions?\b|\bownership\b"),
        (2, r"\b(account|profile|access|blocked)\b"),
    ),
    "technical": _cues(
        (4, r"\b(bugs?|crash\w*|freezes|error( message| code)?|glitch\w*|outage|timeout|timed out|broken|broke)\b"),
        (
            4,
            r"(not|n'?t|never|stopped|stop|no longer) (seem to |be |even )?(work|respond|load|open|connect|function)\w*",
        ),
        (4, r"\b(declin\w+|denied|reject\w+|fail(s|ed|ing|ure)?|swallowed|stuck|ate my)\b"),
        (
            3,
            r"(isn'?t|not|won'?t|doesn'?t) (going through|go through|possible|letting|let)\b|(can'?t|cannot|unable to|won'?t let) (seem to )?(link|use|see|find|add|top|transfer|make|send|withdraw)",
        ),
        (3, r"\b(firmware|wi-?fi|router|offline|print(er|s)|reinstall\w*)\b"),
        (2, r"\b(app|website|browser|server|api|device|update|install|sync|contactless|software|screen)\b"),
        (1, r"\b(issue|problem|trouble|why (is|was|did|didn'?t|won'?t|can'?t|isn'?t))\b"),
    ),
    "delivery": _cues(
        (4, r"\b(deliver\w*|shipp?(ed|ing|ment)?|parcel|package|courier|in the mail|dispatch\w*|postal|posted)\b"),
        (4, r"\btrack(ing)?\b"),
        (
            4,
            r"\b(card|order|item|it)\b[^.!?]{0,40}\b(arriv\w+|come yet|get here|received?)\b|\b(arriv\w+|received?|waiting (on|for))\b.{0,25}\b(card|order|item)\b",
        ),
        (
            3,
            r"\b(order(ed|ing)?|request|send|sent|get|need)\b.{0,25}\b(physical|actual|real|replacement|spare|extra|second|another|new) cards?\b",
        ),
        (2, r"\b(where|when|how long)\b.{0,40}\b(order|card|arriv\w+|get it)\b"),
        (2, r"\b(order|ordered|stock|address)\b"),
    ),
    "product": _cues(
        (
            3,
            r"\b(do|does|can|could|will|would|are|is) (you|i|we|it|there|my|the|your)\b.{0,50}\b(support\w*|accept\w*|available|offer\w*|eligible|compatible|limit\w*|allowed)\b",
        ),
        (
            3,
            r"\b(what|which|how many)\b.{0,40}\b(currenc\w+|countr\w+|cards?|options?|limits?|features?|sizes?|colou?rs?|models?|businesses|atms?|merchants)\b",
        ),
        (
            3,
            r"\b(virtual|disposable) cards?\b|\bvisa\b|\bmastercard\b|\b(apple|google) (pay|watch)\b|\bauto(matic)?.?top",
        ),
        (3, r"\bfeature (request|suggestion)\b|\bspecifications?\b|\bwarranty\b|\bcatalog(ue)?\b|\bplans?\b"),
        (
            2,
            r"\bhow (do|does|can|could|would|should|to)\b.{0,60}\b(work|use|get|exchange|convert|top|add|receive|set up|obtain|apply)\b",
        ),
        (2, r"^\s*(can|could|do|does|is|are|will|may) (i|you|my|the|there|we|it)\b"),
        (2, r"\b(support\w*|accept\w*|available|limits?|currenc\w+|countr\w+|worldwide|abroad|anywhere|eu)\b"),
        (2, r"\bsuggest(ion|ed)?\b|\bdark mode\b"),
        (1, r"\b(cards?|atms?|use|exchange|difference|recommend)\b"),
    ),
    "complaint": _cues(
        (5, r"\b(complain\w*|complaint|unacceptable|disgust\w+|appalling|outrageous|shameful|worst)\b"),
        (4, r"\b(terrible|awful|horrible|rude\w*|disappoint\w+|ridiculous|fed up|incompetent|useless)\b"),
        (3, r"\b(never again|waste of|poor service|bad service|customer service|nobody (answers|replied|cares))\b"),
    ),
}

# The first list with a hit wins.
PRIORITY_CUES: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "urgent",
        re.compile(
            r"\b(urgent\w*|immediately|asap|right now|emergency|stolen|stole|hacked|compromised|fraud\w*|mugged)\b|some(one|body) (else )?(has|is|must|used)\b"
        ),
    ),
    (
        "high",
        re.compile(
            r"\b(lost|twice|declined|denied|blocked|missing|never arrived|unauthori[sz]ed|deadline|today|tomorrow|since (\d+ )?this morning|still (no|not|waiting|hasn'?t|haven'?t|pending))\b|(don'?t|didn'?t|not) (recogni[sz]e|make)\b|not working|can'?t (access|log)|!!"
        ),
    ),
    (
        "low",
        re.compile(
            r"\b(just (curious|wondering)|no (hurry|rush)|wondering|suggestion|feature request|thank(s| you))\b|^\s*(can|could|do|does|is|are|what|which|how|where|will) "
        ),
    ),
)

ENTITY_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("placeholder", re.compile(r"[\[<{]{1,2}(?P<type>[A-Z][A-Z_]*[A-Z])(?:_[0-9a-f]+)?_?\d+[\]>}]{1,2}")),
    ("email", re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")),
    ("url", re.compile(r"https?://[^\s<>\"')\]]+")),
    (
        "order_number",
        re.compile(
            r"(?:(?<=order )|(?<=order number )|(?<=order no\. )|(?<=ticket )|(?<=invoice )|(?<=booking )|(?<=customer number )|(?<=booking number )|(?<=reader number ))#?(?=[\w-]*\d)[A-Za-z0-9][\w-]{2,}|#\d{3,}|\b[A-Z]{1,4}-\d{3,}\b",
            re.IGNORECASE,
        ),
    ),
    (
        "amount",
        re.compile(
            r"[$€£]\s?\d[\d.,]*\d|[$€£]\s?\d|\b\d[\d.,]*\s?(?:EUR|USD|GBP|CHF|AUD|euros?|dollars?|pounds?)\b",
            re.IGNORECASE,
        ),
    ),
    (
        "date",
        re.compile(
            r"\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b|\b\d{1,2} (?:January|February|March|April|May|June|July|August|September|October|November|December)\b"
        ),
    ),
    ("phone", re.compile(r"\+\d[\d ()-]{7,}\d")),
)

PRAISE = re.compile(
    r"\b(great|wonderful|fantastic|brilliant|amazing|lovely|excellent|love (it|how|that|your)|well done|congratulations|perfect)\b"
)
DOUBLE_NEGATION = re.compile(
    r"(n't|\bnot|\bcannot|\bnever) (say|think|claim|believe|deny|pretend)\b.{0,40}(\bnot\b|\bnever\b|\bno\b|n't\b)"
    r"|\bnot (un\w+|without|impossible)\b|(n't|\bnot|\bnever)\b.{0,15}\bnot\b"
)
NEXT_PROBLEM = re.compile(
    r"\b(also|secondly|second(?=[ ,])|another (thing|problem|question|issue)|on top of that|besides|by the way|additionally)\b"
)
