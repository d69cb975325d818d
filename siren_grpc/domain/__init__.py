"""The nouns of streaming recognition. Knows no transport, no tensor library and no clock."""
