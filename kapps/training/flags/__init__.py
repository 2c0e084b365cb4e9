"""The flags that recipes share, and which of them do not go together."""
