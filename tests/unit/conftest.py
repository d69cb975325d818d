"""How long a property may think is the machine's business, not a test's."""

from hypothesis import settings

settings.register_profile("siren", deadline=None, print_blob=True)
settings.load_profile("siren")
