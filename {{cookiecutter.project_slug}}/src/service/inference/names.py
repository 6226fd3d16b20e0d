"""Names of people, found by a spaCy model through Presidio.

Copyable together with `pii.py`. Needs presidio-analyzer and a spaCy model, neither of which comes with the service.
Of Presidio it loads the recogniser that listens to the model and no other, and it never fetches a model: nothing here
asks the network. The model guesses: it misses names, and takes other words for names. It is left to you to measure
that on your own messages.
"""

from service.inference.pii import Found

_ENTITIES = ["PERSON"]  # not LOCATION: which country a customer writes of is often what the message is about


class NamesUnavailable(RuntimeError):
    """A package is not installed; the message says which."""


class PresidioNames:
    """Finds PERSON. Slow to make and heavy on the CPU: share one, and call it off the event loop."""

    def __init__(self, model: str, language: str) -> None:
        """`model` is the name of an installed spaCy model, such as en_core_web_sm. Raises `NamesUnavailable`."""
        try:
            import spacy
            from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
            from presidio_analyzer.nlp_engine import SpacyNlpEngine
        except ImportError as error:
            raise NamesUnavailable("PII_SPACY_MODEL needs presidio-analyzer: uv sync --extra names") from error
        if not spacy.util.is_package(model):  # Presidio would download it
            raise NamesUnavailable(f"PII_SPACY_MODEL is {model}, which is no installed spaCy model")
        engine = SpacyNlpEngine(models=[{"lang_code": language, "model_name": model}])
        engine.load()
        registry = RecognizerRegistry(supported_languages=[language])
        registry.add_nlp_recognizer(engine)
        self._language = language
        self._analyzer = AnalyzerEngine(registry, engine, supported_languages=[language])

    def find(self, text: str) -> list[Found]:
        results = self._analyzer.analyze(text, self._language, entities=_ENTITIES)
        return [Found(result.start, result.end, result.entity_type) for result in results]
