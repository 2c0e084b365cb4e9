"""What lies in people's folders without their knowing, in small letters."""

HIDDEN = {
    "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r", "__pycache__", "@eadir",
    "#recycle", "$recycle.bin", "lost+found", "system volume information",
}  # fmt: skip
