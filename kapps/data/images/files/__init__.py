"""Files of pictures: what lies in a folder, what is in a file, and what is kept of both."""
