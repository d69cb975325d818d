"""Everything that made the embedded model ``siren-mini-en``: texts, voices, training, figures."""
