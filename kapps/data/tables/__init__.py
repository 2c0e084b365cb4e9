"""Tables: columns and their kinds."""
