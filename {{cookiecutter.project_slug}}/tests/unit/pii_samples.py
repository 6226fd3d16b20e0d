"""Messages that carry one generated value each, and messages that only look as if they did, in eight locales.

`samples(seed)` is deterministic. Values are made here, checksums included, without a look at the detector.
Two wordings exist: what was mended after a look at the first was measured again on the second.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

POSITIVES, NEGATIVES = 10, 40  # of each kind, and in all, for each locale
LOCALES = ("en-US", "en-GB", "de", "fr", "es", "it", "nl", "pl")
NATIONAL = dict(zip(LOCALES, ("SSN", "NINO", "STEUER_ID", "NIR", "DNI", "CODICE_FISCALE", "BSN", "PESEL"), strict=True))
COUNTRY = dict(zip(LOCALES, ("IE", "GB", "DE", "FR", "ES", "IT", "NL", "PL"), strict=True))
UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Sample:
    """A message. `value` is what must be found in it; a negative has none."""

    text: str
    locale: str
    kind: str | None = None
    value: str = ""


CARDS = (
    *(("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15), ("305", 14), ("36", 14)),
    *(
        ("6011", 16),
        ("65", 16),
        ("3528", 16),
        ("62", 16),
        ("62", 19),
        ("6759", 16),
        ("5018", 18),
        ("2202", 16),
        ("4", 19),
    ),
)
IBAN_BODY = {"IE": 18, "GB": 18, "DE": 18, "FR": 23, "ES": 20, "IT": 23, "NL": 14, "PL": 24}
PHONES = {
    "en-US": ("(212) 4##-####", "415-2##-####", "+1 303 5## ####", "646.3##.####", "1-702-4##-####", "503 6## ####"),
    "en-GB": ("07### ######", "0161 4## ####", "+44 7### ######", "020 7### ####", "01273 ######", "07#########"),
    "de": ("0171 #######", "030/########", "+49 151 ########", "089 ######", "0049 221 ######", "(040) #######"),
    "fr": ("06 ## ## ## ##", "01.4#.##.##.##", "+33 6 ## ## ## ##", "07########", "0033 1########", "04-##-##-##-##"),
    "es": ("6## ### ###", "91# ## ## ##", "+34 6########", "6########", "93 ### ## ##", "0034 9########"),
    "it": ("34# #######", "+39 33# #######", "02 ########", "06/#######", "34########", "+39 051 ######"),
    "nl": ("06-########", "06 ## ## ## ##", "+31 6 ########", "020-#######", "0031 30 #######", "010 ### ## ##"),
    "pl": ("5## ### ###", "+48 6## ### ###", "22 ### ## ##", "5##-###-###", "7########", "(12) ### ## ##"),
}


@dataclass(slots=True)
class Maker:
    """Makes values of one locale."""

    chance: random.Random
    locale: str

    def digits(self, count: int, first: str = "0123456789") -> str:
        return self.chance.choice(first) + "".join(self.chance.choices("0123456789", k=count - 1))

    def filled(self, *shapes: str) -> str:
        """One of the shapes, with a digit for each #."""
        return "".join(self.digits(1) if char == "#" else char for char in self.chance.choice(shapes))

    def email(self) -> str:
        name = self.chance.choice(("anna", "j.smith", "o'neill", "info", "m_weber", "zoe-martin", "Kowalski", "müller"))
        host = self.chance.choice(("mail.example", "firma.example.de", "shop-24.example.com", "uni.example.ac.uk"))
        return f"{name}{self.chance.choice(('', '+shop', self.digits(2), '.x'))}@{host}"

    def phone(self) -> str:
        return self.filled(*PHONES[self.locale])

    def card(self) -> str:
        start, size = self.chance.choice(CARDS)
        body = (start + self.digits(size))[: size - 1]
        doubled = [int(char) * (1 + (size - place) % 2) for place, char in enumerate(body, 1)]
        number = body + str(-sum(value // 10 + value % 10 for value in doubled) % 10)
        sizes = {14: (4, 6, 4), 15: (4, 6, 5)}.get(size, (4, 4, 4, 4, 3))
        return self.chance.choice((number, grouped(number, sizes, " "), grouped(number, sizes, "-")))

    def iban(self) -> str:
        country = COUNTRY[self.locale]
        bank = "".join(self.chance.choices(UPPER, k=4)) if country in ("IE", "GB", "NL") else ""
        bank = self.chance.choice(UPPER) if country == "IT" else bank
        body = bank + self.digits(IBAN_BODY[country] - len(bank))
        check = 98 - int("".join(str(int(char, 36)) for char in body + country + "00")) % 97
        value = f"{country}{check:02}{body}"
        return self.chance.choice((value, grouped(value, (4,) * 8, " "), value.lower()))

    def ip(self) -> str:
        if self.chance.random() < 0.3:
            return f"2001:db8:{self.chance.randrange(65536):x}::{self.chance.randrange(1, 65536):x}"
        return ".".join(str(self.chance.randrange(11, 255)) for _ in range(4))

    def national(self) -> str:
        made: Callable[[], str] = getattr(self, f"_{NATIONAL[self.locale].lower()}")
        return made()

    def _ssn(self) -> str:
        area, pair, serial = (self.chance.randrange(1, limit) for limit in (666, 100, 10000))
        return f"{area:03}-{pair:02}-{serial:04}"

    def _nino(self) -> str:
        letters = self.chance.choice("ABCEHJLMPRSTWX") + self.chance.choice("ABCEHJLMPRSX")
        return self.filled(f"{letters}######", f"{letters} ## ## ## ") + self.chance.choice("ABCD")

    def _steuer_id(self) -> str:
        nine = self.chance.sample("0123456789", 9)
        ten = "".join((nine if nine[0] != "0" else nine[::-1]) + [nine[4]])
        product = 10
        for char in ten:
            product = ((int(char) + product) % 10 or 10) * 2 % 11
        value = f"{ten}{(11 - product) % 10}"
        return self.chance.choice((value, grouped(value, (2, 3, 3, 3), " ")))

    def _nir(self) -> str:
        month, place = self.chance.randrange(1, 13), self.chance.randrange(1, 96)
        body = f"{self.digits(1, '12')}{self.digits(2)}{month:02}{place:02}{self.digits(6)}"
        value = f"{body}{97 - int(body) % 97:02}"
        return self.chance.choice((value, grouped(value, (1, 2, 2, 2, 3, 3, 2), " ")))

    def _dni(self) -> str:
        first = self.chance.choice("XYZ0123456789")
        seven = self.digits(7)
        letter = "TRWAGMYFPDXBNJZSQVHLCKE"[int({"X": "0", "Y": "1", "Z": "2"}.get(first, first) + seven) % 23]
        return f"{first}{seven}{self.chance.choice(('', '-'))}{letter}"

    def _codice_fiscale(self) -> str:
        body = "".join(self.chance.choices("BCDFGLMNPRSTVZ", k=6)) + self.digits(2)
        month, town = self.chance.choice("ABCDEHLMPRST"), self.chance.choice("ABCDEFGHIL")
        body += f"{month}{self.chance.randrange(1, 29):02}{town}{self.digits(3)}"
        places = [int(char) if char.isdigit() else UPPER.index(char) for char in body]
        total = sum(at if turn % 2 else "BAKPLCQDREVOSFTGUHMINJWZYX".index(UPPER[at]) for turn, at in enumerate(places))
        return body + UPPER[total % 26]

    def _bsn(self) -> str:
        while True:
            eight = self.digits(8, "123456789")
            last = sum(int(char) * weight for char, weight in zip(eight, range(9, 1, -1), strict=True)) % 11
            if last < 10:
                return eight + str(last)

    def _pesel(self) -> str:
        month = self.chance.randrange(1, 13) + self.chance.choice((0, 20))
        ten = f"{self.digits(2)}{month:02}{self.chance.randrange(1, 29):02}{self.digits(4)}"
        total = sum(int(char) * weight for char, weight in zip(ten, (1, 3, 7, 9) * 3, strict=False))
        return f"{ten}{-total % 10}"

    def password(self) -> str:
        word = self.chance.choice(("Sommer", "tiger", "BlueMoon", "cafe", "Lisboa", "domek", "fiets"))
        return word + self.chance.choice((self.digits(2), self.digits(4), f"!{self.digits(1)}", "#xY", "_77a"))

    def pin(self) -> str:
        return self.digits(self.chance.choice((4, 4, 6)))

    def key(self) -> str:
        tail = "".join(self.chance.choices("abcdefghijkmnopqrstuvwxyz0123456789", k=36))
        return self.chance.choice(("sk-" + tail, "ghp_" + tail, "AK" + "IA" + tail[:16].upper(), "hvs." + tail))

    def number(self) -> str:
        """What a shop calls its orders."""
        return self.filled(
            *("ORD-#####", "#4###", "1########", "########", "##########", "20##-####-######", "AB-######/#"),
            "###-#######-#######",
        )

    def article(self) -> str:
        return self.filled("XR-####/##", "40########6##", "97801######1#", "B0#K#Q##", "SN#######QX", "#.###.###")

    def tracking(self) -> str:
        return self.filled(
            *("003404341########0##", "1Z999AA1##########", "##########12", "RX#########GB", "JD0146000########")
        )

    def amount(self) -> str:
        whole, cents = str(self.chance.randrange(1, 999)), self.digits(2)
        english = self.locale.startswith("en")
        sign = {"en-US": "$", "en-GB": "£", "pl": "zł"}.get(self.locale, "€")
        big = self.filled("1,###,###.00" if english else "1.###.###,00", "## ### ###", "### ### ###")
        value = self.chance.choice((f"{whole}{'.' if english else ','}{cents}", big))
        return f"{sign}{value}" if english else f"{value} {sign}"

    def date(self) -> str:
        day, month, year = (
            f"{self.chance.randrange(1, 29):02}",
            f"{self.chance.randrange(1, 13):02}",
            self.filled("202#"),
        )
        joint = self.chance.choice("./- ")
        return self.chance.choice((f"{year}-{month}-{day}", joint.join((day, month, year)), f"{year}{month}{day}"))

    def time(self) -> str:
        return self.filled("1#:3#", "0#.1# - 1#.0#", "2026-11-1#T0#:2#:5#", "1#.00-1#.30", "1#:2#:4#")

    def version(self) -> str:
        return self.filled("1#.#.2##.1#", "2.#.##", "20##.1#.#", "4.1#.#.##")

    def broken(self) -> str:
        """A card, IBAN or national id whose last character is another one."""
        value = self.chance.choice((self.card, self.iban, self.national))()
        value = value if self.locale not in ("en-US", "en-GB") else self.card()
        last = value[-1]
        return value[:-1] + (str((int(last) + 1) % 10) if last.isdigit() else UPPER[(UPPER.index(last) + 1) % 26])


def grouped(value: str, sizes: tuple[int, ...], joint: str) -> str:
    parts, at = [], 0
    for size in sizes:
        parts.append(value[at : at + size])
        at += size
    return joint.join(part for part in parts if part)


def samples(seed: int, wording: int) -> list[Sample]:
    """640 positives and 320 negatives in the first (0) or second (1) wording."""
    made = []
    for locale in LOCALES:
        maker = Maker(random.Random(f"{seed}/{locale}"), locale)
        kinds: dict[str, Callable[[], str]] = {
            "EMAIL": maker.email, "PHONE": maker.phone, "CALL": maker.phone, "CARD": maker.card, "IBAN": maker.iban,
            "IP": maker.ip, NATIONAL[locale]: maker.national,
        }  # fmt: skip
        lines = WORDINGS[wording][locale]
        for line, (kind, make) in zip(lines[:7], kinds.items(), strict=True):
            for _ in range(POSITIVES):
                value = make()
                made.append(Sample(line.format(value), locale, kind.replace("CALL", "PHONE"), value))
        for slot in (("password", "pin", "key") * POSITIVES)[:POSITIVES]:
            value = getattr(maker, slot)()
            line = lines[7 + ("password", "pin", "key").index(slot)]
            made.append(Sample(line.format(value), locale, "SECRET", value))
        for turn in range(NEGATIVES):
            slots = _Slots(maker)
            made.append(Sample(lines[10 + turn % (len(lines) - 10)].format_map(slots), locale))
    return made


class _Slots(dict[str, str]):
    """Makes what a negative's line asks for by name."""

    def __init__(self, maker: Maker) -> None:
        self.maker = maker

    def __missing__(self, name: str) -> str:
        made: str = getattr(self.maker, name)()
        return made


# A line each: e-mail, phone, call, card, IBAN, IP, national id, password, PIN, key; then those without any.
WORDINGS: tuple[dict[str, tuple[str, ...]], ...] = (
    {
        "en-US": (
            "Please send the receipt to {} as soon as you can.",
            "Nobody got back to me, {} works best after lunch.",
            "Call my cell {} when the truck is close.",
            "You billed {} two times this week.",
            "The refund should go to {} this time.",
            "Somebody logged in from {} and it was not me.",
            "My SSN is {}, does that help to find the file?",
            "My password is {} and it stopped working.",
            "The PIN {} is refused at every machine.",
            "Our script uses the key {} and gets an error.",
            "My order {number} shipped on {date} and nothing came.",
            "You charged {amount} instead of {amount} for item {article}.",
            "Tracking says {tracking} is delayed until {date}, {time}.",
            "Since version {version} the app says card {broken} is invalid.",
            "Is my password wrong, or is the PIN blocked after {time}?",
        ),
        "en-GB": (
            "My new address for invoices is {}, thank you.",
            "I am at work all day but {} is fine in the evening.",
            "Could somebody ring {} about the boiler?",
            "Payment with {} was declined at your till.",
            "I set up the standing order from {} on Monday.",
            "Your letter says I signed in from {}, which I did not.",
            "My National Insurance number is {}.",
            "I tried the password: {} and was locked out.",
            "My pin number is {} but the reader will not have it.",
            "I pasted {} into the settings and the export failed.",
            "Order no. {number} of {date} came without the lid.",
            "The price was {amount}, yet I paid {amount} on {date}.",
            "Parcel {tracking} has sat in the depot since {time}.",
            "Reference {number}, article {article}, firmware {version}.",
            "The form rejects {broken} although I copied it.",
        ),
        "de": (
            "Bitte schicken Sie die Rechnung an {}, nicht per Post.",
            "Tagsüber bin ich unterwegs, {} geht immer.",
            "Rufen Sie mich unter {} zurück.",
            "Die Abbuchung von {} war doppelt.",
            "Die Erstattung bitte auf {} überweisen.",
            "Es gab eine Anmeldung von {}, das war ich nicht.",
            "Meine Steuer-ID lautet {}.",
            "Mein Passwort ist {} und wird abgelehnt.",
            "Die PIN {} nimmt der Automat nicht.",
            "Mit dem Schlüssel {} kommt eine Fehlermeldung.",
            "Bestellung {number} vom {date} ist nicht angekommen.",
            "Statt {amount} wurden {amount} für Artikel {article} berechnet.",
            "Die Sendung {tracking} hängt seit {time} fest.",
            "Seit Version {version} wird {broken} nicht angenommen.",
            "Kundennummer {number}, Termin am {date} um {time}.",
        ),
        "fr": (
            "Merci d'envoyer la facture à {} cette fois.",
            "Je travaille la journée, {} plutôt le soir.",
            "Vous pouvez me joindre au {} demain.",
            "Le paiement avec {} a été refusé deux fois.",
            "Le remboursement doit aller sur {} comme convenu.",
            "On me signale une connexion depuis {} hier.",
            "Mon numéro de sécurité sociale est {}.",
            "Mon mot de passe est {} et rien ne marche.",
            "Le code PIN {} est rejeté par la borne.",
            "La clé {} ne fonctionne plus depuis hier.",
            "La commande {number} du {date} n'est jamais arrivée.",
            "On m'a débité {amount} au lieu de {amount}, article {article}.",
            "Le colis {tracking} est bloqué depuis {time}.",
            "Depuis la version {version}, la saisie {broken} est refusée.",
            "Facture {number} du {date}, rendez-vous à {time}.",
        ),
        "es": (
            "Envíen la factura a {} por favor.",
            "Por la mañana no puedo, {} por la tarde sí.",
            "Pueden llamarme al {} cuando quieran.",
            "El cobro en {} aparece dos veces.",
            "Quiero la devolución en {} y no en un vale.",
            "Hubo un acceso desde {} que no es mío.",
            "Mi documento es {} y no me dejan entrar.",
            "Mi contraseña es {} y no la acepta.",
            "El PIN {} no funciona en el cajero.",
            "Con la clave {} la conexión da error.",
            "El pedido {number} del {date} no ha llegado.",
            "Me cobraron {amount} en vez de {amount} por el artículo {article}.",
            "El envío {tracking} está parado desde {time}.",
            "Con la versión {version} el formulario rechaza {broken}.",
            "Factura {number}, fecha {date}, hora {time}.",
        ),
        "it": (
            "Mandate la ricevuta a {} per favore.",
            "Di giorno lavoro, {} va bene dopo le sei.",
            "Il mio cellulare è {}, chiamatemi.",
            "L'addebito su {} risulta doppio.",
            "Il rimborso va fatto su {} grazie.",
            "Vedo un accesso da {} che non ho fatto io.",
            "Il mio codice fiscale è {}.",
            "La mia password è {} ma non entra.",
            "Il codice PIN {} non viene accettato.",
            "La chiave {} non funziona più.",
            "L'ordine {number} del {date} non è arrivato.",
            "Mi avete addebitato {amount} invece di {amount}, articolo {article}.",
            "La spedizione {tracking} è ferma dalle {time}.",
            "Dalla versione {version} il modulo rifiuta {broken}.",
            "Fattura {number} del {date} ore {time}.",
        ),
        "nl": (
            "Stuur de factuur naar {} alstublieft.",
            "Overdag werk ik, {} kan na zessen.",
            "Bel me op {} als de monteur komt.",
            "De betaling met {} is twee keer gedaan.",
            "Maak het bedrag over naar {} graag.",
            "Er is ingelogd vanaf {} en dat was ik niet.",
            "Mijn BSN is {}, staat dat goed in het dossier?",
            "Mijn wachtwoord is {} en het werkt niet.",
            "Mijn pincode is {} maar de automaat weigert.",
            "De sleutel {} geeft een fout.",
            "Bestelling {number} van {date} is niet geleverd.",
            "Er is {amount} in plaats van {amount} afgeschreven voor artikel {article}.",
            "Het pakket {tracking} ligt stil sinds {time}.",
            "Sinds versie {version} wordt {broken} niet geaccepteerd.",
            "Factuur {number} van {date}, afspraak om {time}.",
        ),
        "pl": (
            "Proszę wysłać fakturę na {} jak najszybciej.",
            "W dzień pracuję, {} najlepiej po osiemnastej.",
            "Proszę dzwonić na {} przed dostawą.",
            "Płatność kartą {} pobrano dwa razy.",
            "Zwrot proszę przelać na {} w tym tygodniu.",
            "Ktoś zalogował się z {} i to nie ja.",
            "Mój PESEL to {}.",
            "Moje hasło to {} i nie działa.",
            "Kod PIN {} jest odrzucany.",
            "Klucz {} przestał działać.",
            "Zamówienie {number} z dnia {date} nie dotarło.",
            "Pobrano {amount} zamiast {amount} za artykuł {article}.",
            "Przesyłka {tracking} stoi od {time}.",
            "Od wersji {version} formularz odrzuca {broken}.",
            "Faktura {number} z {date}, wizyta o {time}.",
        ),
    },
    {
        "en-US": (
            "Could you use {} from now on? The old mailbox is gone.",
            "{} is the best way to get hold of my wife.",
            "I left a message from my mobile, {}, on Friday.",
            "Why was the card ending our contract, {}, still used?",
            "Wire it to {} and close the account.",
            "Your firewall blocks {} since the weekend.",
            "For the tax form you asked for {} as my social security number.",
            "It worked with password: {} until this morning",
            "He told me to type security code {} and nothing happened.",
            "Authorization fails, token: {}, every time.",
            "I need to return {article} from order number {number} before {date}.",
            "The estimate said {amount}. The statement of {date} says {amount}!",
            "UPS shows {tracking}, out for delivery at {time}.",
            "We run {version} here. Case {number} was closed without an answer.",
            "Checkout will not take {broken}, it says the number is wrong.",
            "Gates open {date} {time}, confirmation {number}.",
        ),
        "en-GB": (
            "The confirmation never reached {}; could you resend it?",
            "If I am out, try {} and leave a message with my son.",
            "Text {} once the engineer is on the way.",
            "I no longer own {} so please remove it.",
            "The direct debit comes out of {} on the first.",
            "Requests from {} time out since your update.",
            "HMRC knows me as {} and so should you.",
            "The website says no to my password, which is: {}",
            "I type my PIN, {}, and it beeps.",
            "What is wrong with {} as an access key?",
            "I have two bookings, {number} and {number}, for {date}.",
            "Postage of {amount} on a basket of {amount} is a joke.",
            "Royal Mail have no record of {tracking} after {time}.",
            "Is {article} compatible with release {version}?",
            "Your page calls {broken} a mistake.",
            "Invoice {number} dated {date} shows {amount} twice.",
        ),
        "de": (
            "Unter {} kommt seit Wochen nichts von Ihnen an.",
            "Meine Tochter hilft mir, {} ist ihr Anschluss.",
            "Telefonisch bin ich über {} zu erreichen.",
            "Ich habe {} gesperrt, trotzdem wird abgebucht.",
            "Neue Bankverbindung: {} ab sofort.",
            "Unser Server {} wird von Ihnen abgewiesen.",
            "Das Finanzamt führt mich unter {} seit Jahren.",
            "Anmeldung klappt nicht, Kennwort: {}",
            "Beim Bezahlen verlangt er die PIN: {} und bricht ab.",
            "Der Zugang mit {} wurde gesperrt.",
            "Ich möchte {article} aus dem Auftrag {number} zurückgeben.",
            "Am {date} wurden {amount} statt {amount} eingezogen.",
            "Paket {tracking} liegt angeblich seit {date} im Depot.",
            "Nach dem Update auf Version {version} um {time} ging nichts mehr.",
            "Ihr Formular hält {broken} für falsch.",
            "Rechnungsnummer: {number}, Betrag {amount}, fällig am {date}.",
        ),
        "fr": (
            "Rien n'arrive à {} depuis le changement.",
            "Ma fille répond au {} si je suis absente.",
            "Appelez le {} avant de livrer.",
            "J'ai fait opposition sur {} lundi dernier.",
            "Voici mon nouveau compte, {}, pour le prélèvement.",
            "Notre serveur {} est rejeté par le vôtre.",
            "La caisse me connaît sous {} depuis toujours.",
            "Je me connecte avec le mot de passe: {} sans succès",
            "Le terminal refuse mon code secret {} à chaque fois.",
            "Avec {} votre interface répond toujours non.",
            "Je voudrais rendre {article} de la commande n° {number}.",
            "Le devis disait {amount}, la facture du {date} dit {amount}.",
            "Suivi {tracking}: aucune nouvelle depuis {date}.",
            "La version {version} plante à {time} chaque jour.",
            "Votre page trouve que {broken} est faux.",
            "Dossier client {number}, échéance le {date}.",
        ),
        "es": (
            "A {} ya no llega ningún aviso.",
            "Mi marido contesta en el {} casi siempre.",
            "Mi móvil es {} por si el repartidor no encuentra la casa.",
            "He bloqueado {} y aun así sigue el cargo.",
            "La nueva cuenta es {} desde este mes.",
            "Nuestro servidor {} no puede conectarse.",
            "Figuro con el {} en su archivo.",
            "Intento entrar con la contraseña: {} sin éxito",
            "Me pide el código PIN {} y se bloquea.",
            "El acceso con {} fue rechazado.",
            "Quiero devolver {article} del pedido número {number}.",
            "El presupuesto era {amount} y el {date} cobraron {amount}.",
            "El paquete {tracking} no se mueve desde el {date}.",
            "La versión {version} se cierra a las {time}.",
            "La página dice que {broken} no es válido.",
            "Referencia {number}, vencimiento {date}.",
        ),
        "it": (
            "A {} non arriva più nessun avviso.",
            "Mia moglie risponde allo {} quasi sempre.",
            "Per la consegna telefonare al {} grazie.",
            "Ho bloccato {} eppure continuate ad addebitare.",
            "Il nuovo conto è {} da questo mese.",
            "Il nostro server {} viene rifiutato.",
            "In archivio risulto come {} da anni.",
            "Provo a entrare con password: {} senza riuscirci",
            "Il lettore chiede il pin, {}, e poi si blocca.",
            "L'accesso con {} viene respinto.",
            "Vorrei rendere {article} dell'ordine numero {number}.",
            "Il preventivo era {amount} e il {date} avete preso {amount}.",
            "Il pacco {tracking} non si muove dal {date}.",
            "La versione {version} si chiude alle {time}.",
            "La pagina dice che {broken} non va bene.",
            "Riferimento cliente {number}, scadenza {date}.",
        ),
        "nl": (
            "Op {} komt niets meer binnen.",
            "Mijn zoon neemt op, {} is zijn nummer.",
            "Mijn mobiele nummer is {} voor de bezorger.",
            "Ik heb {} geblokkeerd en toch wordt er afgeschreven.",
            "De nieuwe rekening is {} vanaf deze maand.",
            "Onze server {} wordt geweigerd.",
            "Mijn burgerservicenummer, {}, staat verkeerd op de brief.",
            "Inloggen met wachtwoord: {} lukt niet",
            "Bij de kassa werkt pin {} niet meer.",
            "De toegang met {} is geweigerd.",
            "Ik wil {article} uit bestelling nr. {number} terugsturen.",
            "De offerte was {amount} en op {date} ging er {amount} af.",
            "Pakket {tracking} staat al sinds {date} stil.",
            "Versie {version} sluit af om {time}.",
            "De pagina vindt {broken} ongeldig.",
            "Klantnummer {number}, vervaldatum {date}.",
        ),
        "pl": (
            "Na {} nic już nie przychodzi.",
            "Odbierze córka, {} to jej numer.",
            "Mój telefon to {} dla kuriera.",
            "Zablokowałem {} a opłaty nadal schodzą.",
            "Nowe konto to {} od tego miesiąca.",
            "Nasz serwer {} jest odrzucany.",
            "W aktach jestem jako {} od lat.",
            "Logowanie, hasło: {} bez skutku",
            "Bankomat nie przyjmuje, a pin to {} na pewno.",
            "Dostęp przez {} został odmówiony.",
            "Chcę zwrócić {article} z zamówienia nr {number}.",
            "Wycena to {amount}, a {date} pobrano {amount}.",
            "Paczka {tracking} nie rusza się od {date}.",
            "Wersja {version} zamyka się o {time}.",
            "Strona twierdzi, że {broken} jest błędne.",
            "Numer klienta {number}, termin {date}.",
        ),
    },
)
