"""Tables that people bring, in any format: columns found by name, unit and UCD."""
